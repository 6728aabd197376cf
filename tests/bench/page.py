"""docs/reference/performance.md, and the same tables for a terminal."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.brokers import mosquitto_version
from tests.bench.results import Line, ratio_text

HEAD = """\
# Performance

What the broker costs, beside mosquitto on the same machine at the same time. This page is
written by `make bench`; run it on your machine for numbers of your own (ten minutes;
it needs mosquitto and two cores that nothing else uses).

Read ratios, not rates: CPU time for a message says how many messages a core has time for,
whatever the generator can make. Another machine has other microseconds and similar ratios.
Targets are the project's own; a line that misses one says so.

"""

HOW = """
## How it is measured

- The load comes from `tests/bench/mqttload`: one thread, one event loop, packets encoded
  beforehand, 64 bytes of payload. It keeps 500 messages under way, or one, or sends at a fixed
  rate, and checks that none is lost, repeated or out of order; a run where one was does not
  count.
- The broker runs on one core, the generator on another (`--cpu 1 --quickack --seconds 3`, after
  one second of warm-up). For two shards the broker and the generator share both cores.
- Each run has a freshly started broker. Scenarios alternate between the brokers; the figures are
  medians of {rounds}.
- CPU time is what the kernel counts for the broker's process, all threads. A message into the
  broker and a message out of it count as one each. Memory is resident memory (RSS): its growth
  divided by the number of connections or subscriptions.
- QuantumMQ runs with its defaults. mosquitto runs with `max_queued_messages 0`,
  `max_inflight_messages 0` and `set_tcp_nodelay true`, without which it would drop messages or
  wait for acknowledgements of TCP.
- The floor is `tests/bench/mqttload/src/bin/floor.rs`, which reads, forwards and writes, and does
  nothing else a broker does. Where one message is under way, and where clients come and go, the
  kernel's work is nearly all there is, and no broker's ratio to mosquitto can be below the floor's.
- Beside 50,000 subscriptions, `tests/bench/churn.py` makes 1,000 pairs of SUBSCRIBE and
  UNSUBSCRIBE a second with 5,000 other wildcard filters, half of which begin with a wildcard.
  What they cost is in the figure; it is compared with that of our broker without them.
- With TLS the load comes from `tests/bench/tls_load.py`, one Python thread for both: TLS 1.3,
  one ECDSA P-256 certificate, full handshakes. Handshakes a second are limited by that client;
  those that one core has time for are a million over the microseconds.

To measure a running broker in a few seconds, see
[`quantummq bench`](command-line.md#quantummq-bench).
"""


@dataclass(frozen=True)
class Comparison:
    """A table.

    Attributes:
        title: Its heading.
        names: What the two columns of figures are about.
        lines: Its lines.
    """

    title: str
    names: tuple[str, str]
    lines: Sequence[Line]


def markdown(comparisons: Sequence[Comparison], rounds: int, repeats: Sequence[str]) -> str:
    """The page."""
    text = HEAD + f"Measured on {_machine()}, beside mosquitto {mosquitto_version()}.\n"
    for comparison in comparisons:
        text += f"\n## {comparison.title}\n\n" + _table(comparison)
    if repeats:
        text += "\nRuns that failed and were made again:\n\n"
        text += "".join(f"- {repeat}\n" for repeat in repeats)
    return text + HOW.format(rounds=rounds)


def terminal(comparison: Comparison) -> str:
    """A table for a terminal."""
    names = comparison.names
    lines = comparison.lines
    cells = [["", "", *names, "ratio", "target", ""], *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(7)]
    out = [comparison.title]
    for row in cells:
        columns = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
        columns[:2] = [text.ljust(width) for text, width in zip(row[:2], widths, strict=False)]
        out.append("  ".join(columns).rstrip())
    return "\n".join(out)


def _table(comparison: Comparison) -> str:
    """A table in Markdown."""
    reference, ours = comparison.names
    out = [f"| | | {reference} | {ours} | ratio | target | |", "|---|---|---:|---:|---:|---:|---|"]
    out += ["| " + " | ".join(_cells(line)) + " |" for line in comparison.lines]
    return "\n".join(out) + "\n"


def _cells(line: Line) -> list[str]:
    """What, its unit, mosquitto's, ours, ratio, target, verdict."""
    digits = line.row.digits
    reference = "" if line.reference is None else f"{line.reference:,.{digits}f}"
    ratio = "" if line.ratio is None else ratio_text(line.ratio)
    verdict = {True: "holds", False: "missed", None: ""}[line.holds]
    return [
        line.row.what,
        line.row.unit,
        reference,
        f"{line.ours:,.{digits}f}",
        ratio,
        line.target,
        verdict,
    ]


def _machine() -> str:
    """The processor and the kernel."""
    model = platform.machine()
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            model = text.partition(":")[2].strip()
            break
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"{model}, {os.cpu_count()} cores, Linux {release}"
