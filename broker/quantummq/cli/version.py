"""`quantummq version`."""

import json
import platform

import click

from quantummq import __version__

_EPILOG = """\b
Examples:
  quantummq version
  quantummq version --json    with the version of Python and the machine
"""


@click.command("version", epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(*, as_json: bool) -> None:
    """Print the version."""
    if as_json:
        facts = {
            "version": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        click.echo(json.dumps(facts))
    else:
        click.echo(f"quantummq {__version__}")
