"""The command line: one module per command, loaded when it is asked for."""

import errno
import os
import sys

import click

from quantummq.cli.lazy import LazyGroup
from quantummq.errors import ConfigError, QuantumMQError

_COMMANDS = {
    "run": ("quantummq.cli.run", "Start the broker, in the foreground."),
    "check": ("quantummq.cli.check", "Say what is wrong with a configuration."),
    "pub": ("quantummq.cli.pub", "Publish messages."),
    "sub": ("quantummq.cli.sub", "Subscribe to topics and print what comes."),
    "passwd": ("quantummq.cli.passwd", "Add and remove users of a password file."),
    "bench": ("quantummq.cli.bench", "Measure a broker on this machine."),
    "completion": ("quantummq.cli.completion", "Print the completion script of a shell."),
    "version": ("quantummq.cli.version", "Print the version."),
}

_EPILOG = """\b
Examples:
  quantummq run                            a broker for this machine alone
  quantummq sub -t 'lab/#' -v              print what is published under lab/
  quantummq pub -t lab/temp -m 21          publish a message
  quantummq run --lan                      one for the network, with password
  quantummq check --config quantummq.toml  look for mistakes before starting
"""


@click.group(
    cls=LazyGroup,
    commands_by_name=_COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
)
def cli() -> None:
    """An MQTT broker on a queue engine."""


# What a full disk and a broken terminal answer to those who write.
_OUTPUT_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """Runs the command line; the way in of the installed program."""
    _open_standard_streams()
    try:
        cli(prog_name="quantummq")
    except ConfigError as error:
        for each in error.all:
            click.echo(f"quantummq: {each}", err=True)
        sys.exit(1)
    except QuantumMQError as error:
        click.echo(f"quantummq: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OUTPUT_FAULTS:
            raise
        click.echo(f"quantummq: the output cannot be written: {error.strerror}", err=True)
        sys.exit(1)


def _open_standard_streams() -> None:
    """Puts /dev/null where the caller left a standard stream closed.

    The first sockets would take their numbers otherwise, and get what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python has no object for a stream that was closed.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
