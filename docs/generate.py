"""Makes the generated pages of docs/reference again, or tells which are stale.

Usage: `make docs`, or `.venv/bin/python docs/generate.py [--check | --missing | --unknown]`.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from generator import command_line, conformance, counters, python_api
from quantummq.config import reference

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGES: dict[str, Callable[[Path], str]] = {
    "command-line.md": command_line.page,
    "configuration.md": lambda _: reference.render_markdown(),
    "configuration.schema.json": lambda _: reference.json_schema(),
    "conformance.md": conformance.page,
    "counters.md": counters.page,
    "python.md": python_api.page,
}


def stale() -> list[str]:
    """Names of the pages that differ from what would be made now."""
    return [
        name
        for name, make in PAGES.items()
        if not (REFERENCE / name).exists()
        or (REFERENCE / name).read_text(encoding="utf-8") != make(ROOT)
    ]


def main(arguments: list[str]) -> int:
    """Does what the arguments ask; the exit code is 1 if a check found something."""
    say = sys.stdout.write
    if arguments == ["--check"]:
        pages = stale()
        for name in pages:
            say(f'docs/reference/{name} is stale: run "make docs"\n')
        return 1 if pages else 0
    if arguments == ["--missing"]:
        missing = conformance.missing(ROOT)
        for statement in missing:
            say(f"{statement}\n")
        return 1 if missing else 0
    if arguments == ["--unknown"]:
        unknown = conformance.unknown(ROOT)
        for statement, file, test in unknown:
            say(f"{file}::{test} cites [{statement}], which does not exist\n")
        return 1 if unknown else 0
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make(ROOT), encoding="utf-8")
        say(f"docs/reference/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
