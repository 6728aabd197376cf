"""Turns a Google-style docstring into Markdown."""

import inspect
import re

SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
ENTRY = re.compile(r"^    (\*{0,2}\w[\w.|\[\], ]*): (.*)$")


def markdown(docstring: str) -> str:
    """The docstring, its sections as lists with a bold heading; other text as it is."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(docstring).splitlines():
        if heading := SECTION.match(line):
            section = heading[1]
            lines += [f"**{section}**", ""]
        elif section and (not line or line.startswith(" ")):
            lines.append(_entry(line))
        else:
            section = ""
            lines.append(line)
    return "\n".join(lines).strip()


def _entry(line: str) -> str:
    """A line of a section: `    name: text` begins an item, deeper lines go on with it."""
    if entry := ENTRY.match(line):
        return f"- `{entry[1]}`: {entry[2]}"
    return f"  {line.strip()}" if line else ""
