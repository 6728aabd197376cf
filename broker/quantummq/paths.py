"""Where files are: XDG for a person, STATE_DIRECTORY for a systemd service."""

import os
from collections.abc import Mapping
from pathlib import Path

APPLICATION = "quantummq"


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The folder for what the broker keeps, when the configuration names none.

    Under systemd it is the unit's StateDirectory= (the first of several), else
    `$XDG_DATA_HOME/quantummq`, by default `~/.local/share/quantummq`.

    Source: systemd.exec(5) STATE_DIRECTORY; XDG Base Directory Specification 0.8.
    """
    env = os.environ if environ is None else environ
    state = env.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state)
    return _xdg(env, "XDG_DATA_HOME", ".local/share") / APPLICATION


def config_files(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Where `run` and `check` look for a configuration without --config, first match wins.

    systemd's CONFIGURATION_DIRECTORY, the person's own, then the machine's.
    """
    env = os.environ if environ is None else environ
    folders: list[Path] = []
    service = env.get("CONFIGURATION_DIRECTORY", "").split(":")[0]
    if service:
        folders.append(Path(service))
    folders.append(_xdg(env, "XDG_CONFIG_HOME", ".config") / APPLICATION)
    folders.append(Path("/etc") / APPLICATION)
    return tuple(folder / "quantummq.toml" for folder in folders)


def _xdg(env: Mapping[str, str], name: str, fallback: str) -> Path:
    """An XDG base folder; relative values are to be ignored, says the specification."""
    value = env.get(name, "")
    if value and Path(value).is_absolute():
        return Path(value)
    home = env.get("HOME", "")
    return (Path(home) if home else Path.home()) / fallback
