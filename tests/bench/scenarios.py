"""What is measured, how, and what it is to be: section by section of the page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import generator, tls_load
from tests.bench.brokers import FLOOR, MOSQUITTO, ONE_SHARD, TWO_SHARDS, Broker, Machine, Running
from tests.bench.churn import churning
from tests.bench.process import rss_bytes

# Seconds that mqttload measures, after one of warm-up.
SECONDS: Final = 3
# A subscription's memory and a message's CPU time are taken with so many of them.
SUBSCRIPTIONS: Final = 50_000

# Who is measured, and who besides where the kernel has the largest part.
ALL: Final = (MOSQUITTO, ONE_SHARD, TWO_SHARDS)
WITH_FLOOR: Final = (MOSQUITTO, FLOOR, ONE_SHARD, TWO_SHARDS)

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Bench:
    """What a run needs.

    Attributes:
        mqttload: The program.
        machine: Who runs where.
    """

    mqttload: Path
    machine: Machine


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        what: In words.
        unit: Of the figure.
        figure: Its name in the figures of the scenario.
        ratio_max: Ours to mosquitto's is to be no more; None where that is no target.
        value_max: Ours is to be no more.
        reference: What ours is compared with, where it is not mosquitto: a scenario's name.
        digits: Behind the point.
    """

    what: str
    unit: str
    figure: str
    ratio_max: float | None = None
    value_max: float | None = None
    reference: str | None = None
    digits: int = 2


@dataclass(frozen=True)
class Scenario:
    """One way to load a broker.

    Attributes:
        name: For `--only`.
        rows: Lines of the table that it fills.
        run: Loads a broker and returns figures by name.
        brokers: Who is measured.
        tls: Whether the broker listens with TLS too.
    """

    name: str
    rows: Sequence[Row]
    run: Callable[[Bench, Running], Figures]
    brokers: Sequence[Broker] = ALL
    tls: bool = False


def _load(*arguments: str) -> Callable[[Bench, Running], Figures]:
    """Runs mqttload; its report."""

    def run(bench: Bench, broker: Running) -> Figures:
        return generator.run(bench.mqttload, broker, _pinned(bench, broker, arguments))

    return run


def _pinned(bench: Bench, broker: Running, arguments: Sequence[str]) -> list[str]:
    """The arguments, with the generator on its CPU where it has one of its own."""
    if len(broker.generator_cpus) > 1:
        return list(arguments)
    return ["--cpu", str(bench.machine.generator_cpu), *arguments]


_TIMED = ("--seconds", str(SECONDS))
_PAIRS = ("pubsub", *_TIMED, "--pattern", "one-to-one")
_TOPICS = ("topics", *_TIMED, "--subscriptions", f"1000,{SUBSCRIPTIONS}", "--clients", "50")


def _topics_beside_churn(bench: Bench, broker: Running) -> Figures:
    with churning(broker):
        return generator.run(bench.mqttload, broker, _pinned(bench, broker, _TOPICS))


def _idle(_: Bench, broker: Running) -> Figures:
    """Memory of a broker that nobody has used."""
    return {"rss_mb": rss_bytes(broker.pid) / 1e6}


def _tls(bench: Bench, broker: Running) -> Figures:
    """Both loads over TLS, one after the other."""
    authority = bench.machine.certificates.ca
    handshakes = tls_load.handshakes(broker, authority, SECONDS)
    messages = tls_load.messages(broker, authority, SECONDS)
    return {
        "handshakes_per_s": handshakes.rate,
        "handshake_cpu_us": handshakes.cpu_us,
        "handshakes_per_cpu_s": 1e6 / handshakes.cpu_us,
        "message_cpu_us": messages.cpu_us,
    }


def _messages(
    name: str,
    what: str,
    ratio_max: float,
    *arguments: str,
    brokers: Sequence[Broker] = ALL,
) -> Scenario:
    row = Row(what, "µs CPU/message", "broker_cpu_us_per_msg", ratio_max, digits=3)
    return Scenario(name, (row,), _load(*arguments), brokers)


_CPU_AT_50_000 = Row(
    "50,000 subscriptions, QoS 0",
    "µs CPU/message",
    "steps.1.broker_cpu_us_per_msg",
    1 / 6,
    digits=3,
)

SCENARIOS: Final[Sequence[Scenario]] = (
    _messages(
        "qos0", "10 pairs, QoS 0", 1 / 20,
        *_PAIRS, "--publishers", "10", "--subscribers", "10", "--qos", "0",
    ),
    _messages(
        "qos1", "10 pairs, QoS 1", 1 / 20,
        *_PAIRS, "--publishers", "10", "--subscribers", "10", "--qos", "1",
    ),
    _messages(
        "qos2", "10 pairs, QoS 2", 1 / 25,
        *_PAIRS, "--publishers", "10", "--subscribers", "10", "--qos", "2",
    ),
    _messages(
        "fan-out", "1 to 100, QoS 0", 1 / 60,
        "pubsub", *_TIMED, "--pattern", "fan-out", "--publishers", "1", "--subscribers", "100",
    ),
    _messages(
        "pairs", "100 pairs, one message under way", 0.75,
        *_PAIRS, "--publishers", "100", "--subscribers", "100",
        "--outstanding", "1", "--batch", "1", "--coalesce", "1", brokers=WITH_FLOOR,
    ),
    Scenario(
        "topics",
        (
            _CPU_AT_50_000,
            Row(
                "a subscription, at 50,000", "bytes",
                "steps.1.rss_bytes_per_subscription", value_max=600, digits=0,
            ),
        ),
        _load(*_TOPICS),
    ),
    Scenario(
        "churn",
        (
            Row(
                "50,000 subscriptions, QoS 0",
                "µs CPU/message", "steps.1.broker_cpu_us_per_msg", 1.5,
                reference="topics", digits=3,
            ),
        ),
        _topics_beside_churn,
        (ONE_SHARD,),
    ),
    Scenario(
        "latency",
        (
            Row("10,000 a second, QoS 1: p50", "µs", "latency_us.p50", 1, digits=0),
            Row("10,000 a second, QoS 1: p99", "µs", "latency_us.p99", 1, digits=0),
            Row(
                "10,000 a second, QoS 1", "µs CPU/message",
                "broker_cpu_us_per_msg", digits=2,
            ),
        ),
        _load(
            "latency", *_TIMED, "--qos", "1", "--rate", "10000",
            "--publishers", "10", "--subscribers", "10",
        ),
    ),
    Scenario(
        "storm",
        (
            Row(
                "connect, subscribe, disconnect", "µs CPU/handshake",
                "broker_cpu_us_each", 0.6, digits=1,
            ),
        ),
        _load("storm"),
        WITH_FLOOR,
    ),
    Scenario(
        "connections",
        (
            Row(
                "a connection, at 5,000", "bytes",
                "rss_bytes_per_connection", value_max=1_000, digits=0,
            ),
        ),
        _load("connections", "--count", "5000", "--subscribe-each", "--hold", "0.5"),
        (MOSQUITTO, ONE_SHARD),
    ),
    Scenario(
        "idle",
        (Row("idle process", "MB", "rss_mb", value_max=40, digits=1),),
        _idle,
        (MOSQUITTO, ONE_SHARD),
    ),
    Scenario(
        "tls",
        (
            Row("TLS handshakes, one at a time", "per second",
                "handshakes_per_s", digits=0),
            Row("a TLS handshake", "µs CPU", "handshake_cpu_us", digits=0),
            Row("TLS handshakes a core has time for", "per second",
                "handshakes_per_cpu_s", digits=0),
            Row("10 pairs, QoS 0, over TLS", "µs CPU/message", "message_cpu_us", digits=3),
        ),
        _tls,
        (MOSQUITTO, ONE_SHARD),
        tls=True,
    ),
)  # fmt: skip
