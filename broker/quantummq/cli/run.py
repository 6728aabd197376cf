"""`quantummq run`: from the command line to a broker that serves, and to its end."""

import sys
from pathlib import Path

import click

from quantummq.cli.sources import Sources, source_options

_EPILOG = """\b
Examples:
  quantummq run
      a broker for this machine alone, without a password, on 127.0.0.1:1883
  quantummq run --lan
      a broker for the local network; the first start prints a password
  quantummq run --listen 127.0.0.1:1884 --listen unix:/tmp/q.sock
      other addresses; MQTT and WebSocket share a port
  QUANTUMMQ_LIMITS__CONNECTIONS=50000 quantummq run
      any key of the configuration may come from the environment
  quantummq run --config /etc/quantummq/quantummq.toml

SIGTERM and SIGINT stop it gracefully, SIGHUP loads certificates again.
"""


@click.command("run", epilog=_EPILOG)
@source_options
def command(*, config: Path | None, listen: tuple[str, ...], data: Path | None, lan: bool) -> None:
    """Start the broker, in the foreground.

    One line says "ready" with the addresses when every listener accepts. Without authentication it
    listens only where no other machine can reach it, unless anonymous = true says otherwise.
    """
    # What a broker needs is imported here, so that --help stays quick.
    from quantummq.cli.serve import serve

    sys.exit(serve(Sources(config, listen, data, lan)))
