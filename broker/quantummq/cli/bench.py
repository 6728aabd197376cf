"""`quantummq bench`: the options and the table; what is measured is in `bench_measures`."""

import ipaddress
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from quantummq.cli.bench_measures import Measurement, Plan

_EPILOG = """\b
Examples:
  quantummq bench                             the broker on 127.0.0.1:1883
  quantummq bench -p 1884 --pid 4711          another one, with its CPU time
  quantummq bench -m latency -m qos1          two of the measurements
  quantummq bench --json > before.json        to compare with later

\b
Measurements:
  connect   CONNECT to CONNACK, one client after the other
  qos0..2   messages from publisher to subscriber, each pair on a topic of its
            own; as many as the pairs take, none is dropped
  latency   one QoS 1 message at a time, from a client through the broker and
            back to it

\b
The load is made by one Python thread: where it is the slower side, the rate
is its own, not the broker's. CPU time a message (--pid) then still is the
broker's. Brokers are compared on one machine, one after the other, more than
once; docs/reference/performance.md does that with a faster generator.
"""

NAMES: Final = ("connect", "qos0", "qos1", "qos2", "latency")
_HEADINGS: Final = ("measurement", "count", "a second", "p50", "p99", "broker CPU each")


@click.command("bench", epilog=_EPILOG)
@click.option("-h", "--host", default="127.0.0.1", help="Address of this machine.  [127.0.0.1]")
@click.option("-p", "--port", default=1883, type=click.IntRange(1, 65535), help="Port.  [1883]")
@click.option("-u", "--username", help="User Name.")
@click.option("-P", "--pw", "password", help="Password.")
@click.option(
    "-V",
    "--protocol-version",
    "protocol",
    default="5",
    type=click.Choice(["5", "311"]),
    help="MQTT version.  [5]",
)
@click.option(
    "-m",
    "--measure",
    "names",
    multiple=True,
    type=click.Choice(NAMES),
    help="What to measure, once or more.  [all]",
)
@click.option(
    "--seconds",
    default=2.0,
    type=click.FloatRange(0.05, 60),
    help="How long each measurement takes.  [2]",
)
@click.option("--pairs", default=10, type=click.IntRange(1, 500), help="Pairs of clients.  [10]")
@click.option(
    "--payload", default=64, type=click.IntRange(0, 1 << 20), help="Bytes of payload.  [64]"
)
@click.option("--pid", type=click.IntRange(1), help="The broker's process: its CPU time is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    *,
    host: str,
    port: int,
    username: str | None,
    password: str | None,
    protocol: str,
    names: tuple[str, ...],
    seconds: float,
    pairs: int,
    payload: int,
    pid: int | None,
    as_json: bool,
) -> None:
    """Measure a broker on this machine, this one or any other.

    Only loopback addresses are accepted: nobody loads a foreign machine by mistake.
    """
    from quantummq.cli.bench_client import Target
    from quantummq.cli.bench_measures import Plan, measure

    login = (username, password)
    target = Target(loopback(host), port, 5 if protocol == "5" else 4, *login)
    plan = Plan(target=target, seconds=seconds, pairs=pairs, payload_bytes=payload, pid=pid)
    asked = [name for name in NAMES if name in names or not names]
    found: list[Measurement] = []
    for name in asked:
        _show(f"{name} …")
        found.append(measure(name, plan))
    _show("")
    if as_json:
        click.echo(json.dumps(_facts(plan, found), indent=2))
    else:
        click.echo("\n".join(_table(plan, found)))


def loopback(host: str) -> str:
    """An address of this machine.

    Raises:
        click.UsageError: it is a name, or the address of another machine.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        why = f"{host} is not an address: give 127.0.0.1, ::1 or localhost"
        raise click.UsageError(why) from None
    if not address.is_loopback:
        raise click.UsageError(
            f"{host} is not a loopback address: bench only loads the machine it runs on. "
            "Run it there."
        )
    return str(address)


def _show(what: str) -> None:
    """Tells a person at a terminal what is going on; it leaves no trace."""
    if sys.stderr.isatty():
        click.echo(f"\r{what:<12}\r", err=True, nl=False)


def _facts(plan: "Plan", found: "Sequence[Measurement]") -> dict[str, object]:
    """What `--json` prints."""
    return {
        "host": plan.target.host,
        "port": plan.target.port,
        "protocol": plan.target.level,
        "pairs": plan.pairs,
        "payload_bytes": plan.payload_bytes,
        "seconds": plan.seconds,
        "measurements": [asdict(each) for each in found],
    }


def _table(plan: "Plan", found: "Sequence[Measurement]") -> list[str]:
    """What people read: at most 80 columns."""
    rows = [list(_HEADINGS), *(_row(each) for each in found)]
    if plan.pid is None:
        rows = [row[:-1] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    title = (
        f"{plan.target.host} port {plan.target.port}, MQTT "
        f"{'5' if plan.target.level == 5 else '3.1.1'}: {plan.pairs} pairs, "
        f"{plan.payload_bytes} bytes of payload, {plan.seconds:g} s each"
    )
    lines = [title, ""]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _row(measurement: "Measurement") -> list[str]:
    """A measurement as cells."""
    if measurement.note is not None:
        return [measurement.name, measurement.note, "", "", "", ""]
    return [
        measurement.name,
        f"{measurement.count:,}",
        f"{measurement.rate:,.0f}",
        _duration(measurement.p50_us),
        _duration(measurement.p99_us),
        _duration(measurement.broker_cpu_us),
    ]


def _duration(microseconds: float | None) -> str:
    """A time with three digits and the unit that suits it."""
    if microseconds is None:
        return "-"
    if microseconds >= 1_000:
        return f"{microseconds / 1_000:.3g} ms"
    return f"{microseconds:.3g} µs"
