"""mqttload, the load generator: one run, and the figures of its report."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from tests.bench.brokers import Running
from tests.bench.process import running_on

# A run that takes longer has failed; mqttload ends itself before.
RUN_S = 90


def run(program: Path, broker: Running, arguments: Sequence[str]) -> Mapping[str, float]:
    """Loads a broker; figures by their path, such as `latency_us.p99` or `steps.1.lost`.

    Args:
        program: mqttload.
        broker: The broker.
        arguments: Scenario and its options.

    Raises:
        RuntimeError: a message was lost, repeated or out of order, or the run failed.
    """
    command = [
        str(program),
        "--port",
        str(broker.port),
        "--broker-pid",
        str(broker.pid),
        "--quickack",
        *arguments,
    ]
    with running_on(set(broker.generator_cpus)):
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    lines = done.stdout.splitlines()
    report: object = json.loads(lines[-1]) if lines else {}
    figures = dict(_figures(report, ""))
    if done.returncode != 0 or figures.get("ok") != 1:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return figures


def _figures(value: object, path: str) -> Iterator[tuple[str, float]]:
    """All numbers and truths of a JSON value by their path."""
    if isinstance(value, dict):
        for key, inner in cast(dict[str, object], value).items():
            yield from _figures(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(cast(list[object], value)):
            yield from _figures(inner, f"{path}.{index}")
    elif isinstance(value, int | float):
        yield path, float(value)
