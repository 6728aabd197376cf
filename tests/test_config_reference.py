"""The reference page and the schema are those of the models."""

import json
from pathlib import Path
from typing import cast

from quantummq.config import reference

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"

# What a library may add or spell otherwise in its next version.
SPELLING = {"title", "format", "examples"}


def plain(schema: object) -> object:
    """A schema without what is only spelling."""
    if isinstance(schema, dict):
        table = cast("dict[str, object]", schema)
        tables = {key for key, value in table.items() if isinstance(value, dict)}
        kept = table.keys() - (SPELLING - tables)
        return {key: plain(table[key]) for key in kept}
    if isinstance(schema, list):
        return [plain(each) for each in cast("list[object]", schema)]
    return schema


def test_the_reference_page_is_generated_from_the_models() -> None:
    committed = (FOLDER / reference.PAGE).read_text(encoding="utf-8")

    assert committed == reference.render_markdown(), 'run "make docs"'


def test_the_schema_is_generated_from_the_models() -> None:
    committed: object = json.loads((FOLDER / reference.SCHEMA).read_text(encoding="utf-8"))

    assert plain(committed) == plain(json.loads(reference.json_schema())), 'run "make docs"'


def test_every_key_has_a_row_with_a_meaning() -> None:
    rows = [line for line in reference.render_markdown().splitlines() if line.startswith("| `")]

    assert len(rows) > 50
    assert all(len(row.split(" | ")[-1]) > 20 for row in rows)
