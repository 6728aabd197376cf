"""Runs scenarios in alternation and keeps what came out: medians, ratios, whether targets hold."""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantummq.cli.bench_client import BenchError
from tests.bench.brokers import FLOOR, MOSQUITTO, ONE_SHARD, TWO_SHARDS, Broker
from tests.bench.scenarios import Bench, Figures, Row, Scenario

# Two shards beside one, with the generator on the same two cores.
TWO_SHARDS_RATIO_MAX = 1.25
# A run that fails is made again, for a machine that others use stands still at times, with either
# broker. The page says so: it may be a fault of ours.
ATTEMPTS = 3


@dataclass(frozen=True)
class Results:
    """What was measured.

    Attributes:
        runs: By scenario and broker, in the order they were made.
        repeats: Runs that failed, and why.
    """

    runs: Mapping[tuple[str, str], Sequence[Figures]]
    repeats: Sequence[str]

    def median(self, scenario: str, broker: str, figure: str) -> float | None:
        """The median of a figure; None if that broker was not measured."""
        found = [run[figure] for run in self.runs.get((scenario, broker), ())]
        return statistics.median(found) if found else None


@dataclass(frozen=True)
class Line:
    """A row with its figures.

    Attributes:
        scenario: Its scenario's name.
        row: What it says.
        reference: What ours is compared with: mosquitto's figure, or another one of ours.
        ours: Ours.
        target: In words; empty where there is none.
        holds: Whether it holds; None where there is none.
    """

    scenario: str
    row: Row
    reference: float | None
    ours: float
    target: str
    holds: bool | None

    @property
    def ratio(self) -> float | None:
        """Ours to the reference."""
        return self.ours / self.reference if self.reference else None


def run(bench: Bench, scenarios: Sequence[Scenario], rounds: int) -> Results:
    """Measures: each round goes through all brokers of each scenario, each started anew."""
    runs: dict[tuple[str, str], list[Figures]] = {}
    repeats: list[str] = []
    began = time.monotonic()
    total = rounds * sum(len(scenario.brokers) for scenario in scenarios)
    done = 0
    for round_number in range(rounds):
        for scenario in scenarios:
            for broker in scenario.brokers:
                done += 1
                print(
                    f"{time.monotonic() - began:4.0f} s  {done}/{total}  "
                    f"round {round_number + 1}: {scenario.name}, {broker.name}",
                    file=sys.stderr,
                    flush=True,
                )
                figures = _one(bench, scenario, broker, repeats)
                runs.setdefault((scenario.name, broker.name), []).append(figures)
                for row in scenario.rows:
                    print(
                        f"            {row.what}: {figures[row.figure]:.{row.digits}f} {row.unit}",
                        file=sys.stderr,
                    )
    return Results(runs, repeats)


def _one(bench: Bench, scenario: Scenario, broker: Broker, repeats: list[str]) -> Figures:
    """One run; one that failed is noted, and made again."""
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            with broker.started(bench.machine, tls=scenario.tls) as running:
                return scenario.run(bench, running)
        except (RuntimeError, BenchError) as error:
            if attempts_left == 0:
                raise
            repeats.append(f"{scenario.name} with {broker.name}: {error}")
            print(f"            AGAIN: {repeats[-1]}", file=sys.stderr)
    raise AssertionError("the last attempt returns or raises")


def lines(results: Results, scenarios: Sequence[Scenario]) -> list[Line]:
    """This broker beside mosquitto."""
    found: list[Line] = []
    for scenario in scenarios:
        for row in scenario.rows:
            ours = results.median(scenario.name, ONE_SHARD.name, row.figure)
            reference = results.median(scenario.name, MOSQUITTO.name, row.figure)
            if ours is not None and row.reference is None:
                found.append(_line(scenario.name, row, reference, ours))
    return found


def above_floor(results: Results, scenarios: Sequence[Scenario]) -> list[Line]:
    """This broker beside a program that only forwards: what is left is the kernel's."""
    found: list[Line] = []
    for scenario in scenarios:
        for row in scenario.rows:
            floor = results.median(scenario.name, FLOOR.name, row.figure)
            ours = results.median(scenario.name, ONE_SHARD.name, row.figure)
            if floor is not None and ours is not None:
                compared = Row(row.what, row.unit, row.figure, digits=row.digits)
                found.append(_line(scenario.name, compared, floor, ours))
    return found


def beside_churn(results: Results, scenarios: Sequence[Scenario]) -> list[Line]:
    """This broker under churn beside itself without."""
    found: list[Line] = []
    for scenario in scenarios:
        for row in scenario.rows:
            ours = results.median(scenario.name, ONE_SHARD.name, row.figure)
            if ours is not None and row.reference is not None:
                reference = results.median(row.reference, ONE_SHARD.name, row.figure)
                found.append(_line(scenario.name, row, reference, ours))
    return found


def two_shards(results: Results, scenarios: Sequence[Scenario]) -> list[Line]:
    """Two shards beside one: CPU time for each message or handshake."""
    found: list[Line] = []
    for scenario in scenarios:
        for row in scenario.rows:
            one = results.median(scenario.name, ONE_SHARD.name, row.figure)
            two = results.median(scenario.name, TWO_SHARDS.name, row.figure)
            if one is not None and two is not None and "CPU" in row.unit:
                compared = Row(
                    row.what, row.unit, row.figure, TWO_SHARDS_RATIO_MAX, digits=row.digits
                )
                found.append(_line(scenario.name, compared, one, two))
    return found


def _line(scenario: str, row: Row, reference: float | None, ours: float) -> Line:
    """A row with its figures and what it is to be."""
    if row.value_max is not None:
        target = f"≤ {row.value_max:,.0f}"
        return Line(scenario, row, reference, ours, target, ours <= row.value_max)
    if row.ratio_max is None or not reference:
        return Line(scenario, row, reference, ours, "", None)
    holds = ours / reference <= row.ratio_max
    return Line(scenario, row, reference, ours, f"≤ {ratio_text(row.ratio_max)}", holds)


def ratio_text(ratio: float) -> str:
    """A ratio as people say it: 0.75x, or 1/20 where it is small."""
    if ratio >= 0.3:
        return f"{ratio:.2f}x"
    return f"1/{1 / ratio:.1f}".removesuffix(".0")
