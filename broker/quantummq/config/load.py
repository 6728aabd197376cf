"""Reading the configuration: file, then environment, then the command line's own words.

The only place where the configuration is a dict; what leaves here is a `Config`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from quantummq import paths
from quantummq.config.config import Config
from quantummq.errors import ConfigError, raise_all

ENVIRONMENT_PREFIX: Final = "QUANTUMMQ_"
_SEPARATOR: Final = "__"
_FILE_BYTES_MAX: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says, above file and environment.

    Attributes:
        listen: Addresses that replace every configured listener; empty: leave them.
        data_dir: The data folder, or None.
    """

    listen: Sequence[str] = ()
    data_dir: Path | None = None


def load_config(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Overrides | None = None,
) -> Config:
    """The configuration from all its sources, the later above the earlier.

    Args:
        path: A TOML file; None starts from the defaults.
        environ: Variables like `QUANTUMMQ_LIMITS__SESSIONS=500`; None: the process's own.
        overrides: What the command line says.

    Raises:
        ConfigError: it cannot be used; `.all` has every error found.
    """
    raw = _read(path) if path is not None else {}
    errors = _merge_environment(raw, os.environ if environ is None else environ)
    _apply(raw, overrides or Overrides())
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        from quantummq.config.explain import explain

        raise_all([*errors, *explain(error)])
        raise AssertionError("a validation error explains itself") from error
    raise_all(errors)
    return config


def find_config(environ: Mapping[str, str] | None = None) -> Path | None:
    """The file that is used when none is named: `QUANTUMMQ_CONFIG`, else the first that exists."""
    env = os.environ if environ is None else environ
    named = env.get(f"{ENVIRONMENT_PREFIX}CONFIG", "")
    if named:
        return Path(named)
    return next((path for path in paths.config_files(env) if path.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    # Imported where TOML is read: a broker without a file keeps no parser in memory.
    import tomllib

    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        why = f"{error.strerror or error}; name a readable TOML file with --config"
        raise ConfigError(str(path), why) from None
    if len(content) > _FILE_BYTES_MAX:
        raise ConfigError(
            str(path), f"is larger than {_FILE_BYTES_MAX} bytes; is it the right file?"
        )
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not TOML: {error}; see https://toml.io") from None


def _merge_environment(raw: dict[str, Any], environ: Mapping[str, str]) -> list[ConfigError]:
    """Puts `QUANTUMMQ_TABLE__KEY=value` into `raw`; numbers between are places in a list."""
    errors: list[ConfigError] = []
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or _SEPARATOR not in name:
            continue
        keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split(_SEPARATOR)
        try:
            _put(raw, keys, _value(environ[name]))
        except LookupError:
            why = "points into something that is not a table or list; see the reference page"
            errors.append(ConfigError(name, why))
        except ValueError as error:
            errors.append(ConfigError(name, f"is not a TOML list or table: {error}"))
    return errors


def _value(text: str) -> Any:  # noqa: ANN401 - what TOML holds
    """Lists, tables and quoted text are read as TOML; anything else is left to its field."""
    if text[:1] in ("[", "{", '"', "'"):
        import tomllib

        return tomllib.loads(f"value = {text}")["value"]
    return text


def _put(container: object, keys: list[str], value: object) -> None:
    """Sets the place `keys` leads to, making tables and the next element of lists on the way.

    Raises:
        LookupError: a key does not fit what is there.
    """
    key, *rest = keys
    fresh: object = value
    if rest:
        fresh = [] if rest[0].isdigit() else {}
    if isinstance(container, dict):
        table = cast("dict[str, object]", container)
        if rest:
            _put(table.setdefault(key, fresh), rest, value)
        else:
            table[key] = value
        return
    if not isinstance(container, list) or not key.isdigit():
        raise LookupError(key)
    elements = cast("list[object]", container)
    place = int(key)
    if place == len(elements):
        elements.append(fresh)
    if rest:
        _put(elements[place], rest, value)
    else:
        elements[place] = value


def _apply(raw: dict[str, Any], overrides: Overrides) -> None:
    if overrides.listen:
        raw["listener"] = [
            {"address": address, "name": name}
            for address, name in zip(overrides.listen, _names(overrides.listen), strict=True)
        ]
    if overrides.data_dir is not None and isinstance(raw.setdefault("broker", {}), dict):
        raw["broker"]["data_dir"] = overrides.data_dir


def _names(addresses: Sequence[str]) -> list[str]:
    """A name for each; the same address may be there twice with port 0."""
    names: list[str] = []
    for address in addresses:
        repeats = sum(name.split("#")[0] == address for name in names)
        names.append(f"{address}#{repeats + 1}" if repeats else address)
    return names
