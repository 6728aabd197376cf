"""Where a command's configuration comes from: the options that `run` and `check` share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Sources:
    """What the command line says about the configuration.

    Attributes:
        config: The file named, or None to look for one.
        listen: Addresses that replace the configured listeners.
        data: The data folder, or None.
        lan: Whether to listen everywhere with generated credentials.
    """

    config: Path | None
    listen: tuple[str, ...]
    data: Path | None
    lan: bool


def source_options(function: Function) -> Function:
    """Adds the options of `Sources` to a command."""
    options = (
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="TOML file. Without it: $QUANTUMMQ_CONFIG, then quantummq.toml in "
            "~/.config/quantummq and /etc/quantummq, then the defaults.",
        ),
        click.option(
            "--listen",
            multiple=True,
            metavar="[SCHEME://]ADDRESS",
            help="Listen here in place of the configured listeners: tcp://, tls://, ws:// or "
            "wss:// with IP:PORT, or unix:PATH. A bare IP:PORT is tcp. May be repeated.",
        ),
        click.option(
            "--data",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for what the broker keeps.",
        ),
        click.option(
            "--lan",
            is_flag=True,
            help="Listen on every interface, with a user and password made on the first start "
            "and printed once.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function
