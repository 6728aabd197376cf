"""What pydantic found wrong, in our words: the dotted key, a sentence, the nearest known key."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from quantummq.config.config import Config
from quantummq.errors import ConfigError

Location = Sequence[int | str]

# Where pydantic's words are those of Python, not of TOML: by the type of the fault.
_WORDS: Final = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "model_type": "should be a table",
    "path_type": "should be a path in quotation marks",
    "string_type": "should be text in quotation marks",
}

# Values people may see again in a message; longer ones and tables say nothing.
_SHOWN_CHARACTERS_MAX: Final = 80


def explain(error: ValidationError) -> list[ConfigError]:
    """Every fault of `error`, in the order of the tables."""
    return [_explain(fault) for fault in error.errors(include_url=False) if not _is_echo(fault)]


def dotted(location: Location) -> str:
    """A location as people write it: `listener[0].tls.key`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text or "configuration"


def key_of(name: str, field: FieldInfo) -> str:
    """The key a field has in the file."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def table_of(annotation: object) -> type[BaseModel] | None:
    """The model inside `Table`, `Table | None`, `tuple[Table, ...]` or an annotated one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = table_of(argument)
        if found is not None:
            return found
    return None


def is_list(annotation: object) -> bool:
    """Whether the table is one of several: `[[name]]`."""
    return getattr(annotation, "__origin__", None) is tuple


def _is_echo(fault: ErrorDetails) -> bool:
    """Whether another fault says it already.

    An array of tables is called too short when its tables are wrong, and a default is not made
    from a value that is wrong.
    """
    too_short = fault["type"] == "too_short" and bool(fault["input"])
    return too_short or fault["type"] == "default_factory_not_called"


def _explain(fault: ErrorDetails) -> ConfigError:
    location = fault["loc"]
    where = dotted(location)
    if fault["type"] == "extra_forbidden":
        return ConfigError(where, _unknown(location))
    if fault["type"] == "missing":
        return ConfigError(where, "is needed here; see the reference page for what it means")
    cause: Any = fault.get("ctx", {}).get("error")
    if fault["type"] == "value_error" and cause is not None:
        return ConfigError(where, str(cause))
    if fault["type"] == "tuple_type":
        message = f"should be a list, {_list_like(location)}"
    else:
        message = _WORDS.get(fault["type"]) or fault["msg"].removeprefix("Input ").rstrip(".")
    return ConfigError(where, f"{message}; {_shown(fault['input'])}")


def _list_like(location: Location) -> str:
    """How a list is written at `location`."""
    if location == ("listener",):
        return "each with a [[listener]] of its own"
    return 'such as ["one", "two"]'


def _shown(value: object) -> str:
    if isinstance(value, str | int | float) and len(str(value)) <= _SHOWN_CHARACTERS_MAX:
        return f"it is {value!r}"
    if isinstance(value, dict):
        return "it is a table"
    return f"it is a {type(value).__name__}"


def _unknown(location: Location) -> str:
    """Names the nearest known key: in the same table, else anywhere."""
    key = str(location[-1])
    siblings = _keys_at(location[:-1])
    near = difflib.get_close_matches(key, siblings, n=1, cutoff=0.6)
    if near:
        return f'there is no such key; did you mean "{near[0]}"?'
    everywhere = dict(_all_keys(Config, ""))
    near = difflib.get_close_matches(key, list(everywhere), n=1, cutoff=0.8)
    if near:
        return f'there is no such key; did you mean "{everywhere[near[0]]}"?'
    return f"there is no such key; known are {', '.join(sorted(siblings))}"


def _keys_at(location: Location) -> list[str]:
    """The keys of the table at `location`."""
    table: type[BaseModel] = Config
    for part in location:
        if isinstance(part, int):
            continue
        for name, field in table.model_fields.items():
            inner = table_of(field.annotation)
            if part in (name, key_of(name, field)) and inner is not None:
                table = inner
                break
    return [key_of(name, field) for name, field in table.model_fields.items()]


def _all_keys(table: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Every key of every table with its dotted place."""
    for name, field in table.model_fields.items():
        key = key_of(name, field)
        yield key, prefix + key
        inner = table_of(field.annotation)
        if inner is not None:
            yield from _all_keys(inner, f"{prefix}{key}.")
