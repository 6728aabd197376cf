"""The reference page and the JSON Schema, made from the models.

`python -m quantummq.config.reference docs/reference` writes both; a test compares them.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from quantummq.config.address import Address
from quantummq.config.config import Config
from quantummq.config.explain import is_list, key_of, table_of

PAGE: Final = "configuration.md"
SCHEMA: Final = "configuration.schema.json"

_INTRODUCTION: Final = """\
# Configuration

*Made from the models in `broker/quantummq/config/`; `make docs` writes it again.*

One TOML file, named with `--config`, else the first of `$CONFIGURATION_DIRECTORY/quantummq.toml`,
`~/.config/quantummq/quantummq.toml` and `/etc/quantummq/quantummq.toml`. Every key has a default:
without a file the broker listens on 127.0.0.1 port 1883 for this machine alone.
`quantummq check` reads the same sources and reports every error with its key and the way out.

A variable `QUANTUMMQ_TABLE__KEY` in the environment stands above the file:
`QUANTUMMQ_LOG__LEVEL=debug`, `QUANTUMMQ_LISTENER__0__ADDRESS=tcp://127.0.0.1:1884`. Lists and
tables are written as in TOML. Options of the command line stand above both.

Editors check the file by [configuration.schema.json](configuration.schema.json).

```toml
[broker]
data_dir = "/var/lib/quantummq"

[[listener]]
address = "tls://[::]:8883"
tls = { certificate = "/etc/quantummq/server.pem", key = "/etc/quantummq/server.key" }

[authentication]
password_file = "/etc/quantummq/passwords"
```
"""


def render_markdown() -> str:
    """The reference page: a section per table, a row per key."""
    sections = [_INTRODUCTION]
    for heading, table in _tables(Config, "", listed=False):
        rows = [row for name, field in table.model_fields.items() if (row := _row(name, field))]
        if not rows:
            continue
        doc = " ".join((table.__doc__ or "").split())
        header = "| key | values | default | meaning |\n|---|---|---|---|"
        sections.append(f"\n## `{heading}`\n\n{doc}\n\n{header}\n" + "\n".join(rows) + "\n")
    return "".join(sections)


def json_schema() -> str:
    """The JSON Schema of the file, as text."""
    schema = Config.model_json_schema(by_alias=True, mode="validation")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "QuantumMQ configuration",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _tables(
    table: type[BaseModel], prefix: str, *, listed: bool
) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table below `table` with its heading, in the order of the models."""
    if prefix:
        yield (f"[[{prefix}]]" if listed else f"[{prefix}]"), table
    for name, field in table.model_fields.items():
        inner = table_of(field.annotation)
        if inner is not None:
            key = key_of(name, field)
            dotted = f"{prefix}.{key}" if prefix else key
            yield from _tables(inner, dotted, listed=is_list(field.annotation))


def _row(name: str, field: FieldInfo) -> str:
    """One key; nothing for a table, which has a section of its own."""
    if table_of(field.annotation) is not None:
        return ""
    meaning = (field.description or "").replace("|", "\\|")
    cells = (f"`{key_of(name, field)}`", _values(name, field), _default(name, field), meaning)
    return "| " + " | ".join(cells) + " |"


def _values(name: str, field: FieldInfo) -> str:
    """Type and range: `1 … 65535`, or the values to choose from."""
    if name == "unix_mode":
        return "three octal digits"
    annotation = field.annotation
    options = [argument for argument in get_args(annotation) if argument is not type(None)]
    if type(None) in get_args(annotation) and len(options) == 1:
        annotation = options[0]
    if get_origin(annotation) is Literal:
        return " \\| ".join(f"`{_toml(option)}`" for option in get_args(annotation))
    if annotation is bool:
        return "`true` \\| `false`"
    kind = {
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        Address: "address",
    }.get(annotation if isinstance(annotation, type) else str)
    if get_origin(annotation) is tuple:
        kind = "list of text"
    return _range(field) or kind or "text"


def _range(field: FieldInfo) -> str:
    bounds: dict[str, Any] = {}
    for part in field.metadata:
        for bound in ("ge", "gt", "le"):
            value = getattr(part, bound, None)
            if value is not None:
                bounds[bound] = value
    if "le" not in bounds:
        return ""
    low = f"above {bounds['gt']}" if "gt" in bounds else f"{bounds['ge']}"
    return f"{low} … {bounds['le']}"


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if name == "unix_mode":
        return f'`"{field.default:o}"`'
    if field.default is PydanticUndefined or field.default is None:
        return "not set"
    return f"`{_toml(field.default)}`"


def _toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple):
        return "[]"
    if isinstance(value, Address):
        return json.dumps(str(value))
    return json.dumps(value)


def write(folder: Path) -> None:
    """Writes both files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(render_markdown(), encoding="utf-8")
    (folder / SCHEMA).write_text(json_schema(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
