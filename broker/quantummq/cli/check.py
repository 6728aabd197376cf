"""`quantummq check`."""

import json
import sys
from pathlib import Path

import click

from quantummq.cli.sources import Sources, source_options
from quantummq.config.store import PROFILES
from quantummq.errors import ConfigError, CredentialsError

_EPILOG = """\b
Examples:
  quantummq check                          what `run` alone would use
  quantummq check --config quantummq.toml
  quantummq check --json                   for programs
"""


@click.command("check", epilog=_EPILOG)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    *, config: Path | None, listen: tuple[str, ...], data: Path | None, lan: bool, as_json: bool
) -> None:
    """Say what is wrong with a configuration.

    Reads what `run` would read, starts nothing and changes nothing. Every mistake is named with its
    key, the reason and the way out; the exit code is 1 if there is one.
    """
    sources = Sources(config, listen, data, lan)
    source, profile, errors = _look(sources)
    if as_json:
        faults = [{"where": error.where, "why": error.why} for error in errors]
        told = {"ok": not errors, "source": source, "store": profile, "errors": faults}
        click.echo(json.dumps(told))
    elif errors:
        for error in errors:
            click.echo(str(error), err=True)
    else:
        click.echo(f"{source}: ok")
        click.echo(f"store: {profile}: {PROFILES[profile]}")
    sys.exit(1 if errors else 0)


def _look(sources: Sources) -> tuple[str, str, list[ConfigError]]:
    """The source in words, the store's profile, and everything wrong with it."""
    from quantummq.cli.settings import check_settings, read_settings

    try:
        settings = read_settings(sources)
    except ConfigError as error:
        return str(sources.config or "configuration"), "", list(error.all)
    profile = settings.config.store.profile
    try:
        # `run --lan` makes the credentials that are missing here.
        check_settings(settings.config, authenticated=sources.lan)
    except ConfigError as error:
        return settings.source, profile, list(error.all)
    except CredentialsError as error:
        return settings.source, profile, [ConfigError("authentication", str(error))]
    return settings.source, profile, []
