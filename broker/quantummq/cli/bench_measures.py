"""What `bench` measures, each within its seconds: connecting, messages, the way there and back."""

import os
import selectors
import time
from dataclasses import dataclass
from typing import Final

from quantummq.cli.bench_client import ANSWER_S, BenchError, Client, Target, publish

# Messages of one pair under way: enough to keep any broker busy, too few to make one drop.
_WINDOW: Final = 64
# MQTT 3.1.1 brokers do not say theirs; 20 is mosquitto's.
_WINDOW_311: Final = 20
# Each connection leaves a port in TIME_WAIT: well below the 28,000 that a machine has.
_CONNECTIONS_MAX: Final = 5_000
# Samples of the latency: enough for its 99th percentile.
_SAMPLES_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What all measurements share.

    Attributes:
        target: The broker.
        seconds: How long each measurement takes.
        pairs: Publishers with a subscriber each.
        payload_bytes: Of each message.
        pid: The broker's process, to tell its CPU time.
    """

    target: Target
    seconds: float
    pairs: int
    payload_bytes: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One result.

    Attributes:
        name: What was measured.
        count: How many connections or messages.
        rate: Of them a second.
        p50_us, p99_us: Percentiles of the time one takes, in microseconds.
        broker_cpu_us: CPU time of the broker for each, in microseconds.
        note: Why there is none.
    """

    name: str
    count: int = 0
    rate: float = 0.0
    p50_us: float | None = None
    p99_us: float | None = None
    broker_cpu_us: float | None = None
    note: str | None = None


def measure(name: str, plan: Plan) -> Measurement:
    """Runs a measurement by its name.

    Raises:
        BenchError: the broker cannot be measured.
    """
    if name == "connect":
        return _connect(plan)
    if name == "latency":
        return _latency(plan)
    return _messages(name, int(name.removeprefix("qos")), plan)


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, with all its threads.

    Raises:
        BenchError: there is no such process.
    """
    try:
        # The clock of another process: its number, complemented, before the kind (2: scheduler).
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        raise BenchError(f"--pid {pid}: no such process") from None


class _Meter:
    """Time and the broker's CPU time since it was made."""

    def __init__(self, plan: Plan) -> None:
        """Starts."""
        self._pid = plan.pid
        self._cpu_s = cpu_s(plan.pid) if plan.pid is not None else 0.0
        self._began = time.perf_counter()
        self.end = self._began + plan.seconds

    @property
    def is_over(self) -> bool:
        """Whether the seconds are used up."""
        return time.perf_counter() >= self.end

    def result(self, name: str, count: int, samples: list[float] | None = None) -> Measurement:
        """What came out; `samples` are seconds."""
        elapsed = time.perf_counter() - self._began
        cpu = None
        if self._pid is not None and count:
            cpu = (cpu_s(self._pid) - self._cpu_s) / count * 1e6
        ordered = sorted(samples or ())
        p50, p99 = (percentile(ordered, share) for share in (0.5, 0.99))
        return Measurement(name, count, count / elapsed, p50, p99, cpu)


def percentile(ordered: list[float], share: float) -> float | None:
    """The value in microseconds below which `share` of the ordered seconds lie."""
    if not ordered:
        return None
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e6


def _connect(plan: Plan) -> Measurement:
    """Clients that connect and leave, one after the other."""
    samples: list[float] = []
    meter = _Meter(plan)
    while len(samples) < _CONNECTIONS_MAX and not meter.is_over:
        began = time.perf_counter()
        client = Client.connect(plan.target)
        samples.append(time.perf_counter() - began)
        client.close()
    return meter.result("connect", len(samples), samples)


def _latency(plan: Plan) -> Measurement:
    """One message at a time, published by the client that subscribed to it."""
    client = Client.connect(plan.target)
    try:
        qos = min(1, client.maximum_qos)
        topic = f"bench/{os.getpid()}/latency"
        client.subscribe(topic, qos)
        message = publish(plan.target, topic, bytes(plan.payload_bytes), qos, 1)
        samples: list[float] = []
        meter = _Meter(plan)
        while len(samples) < _SAMPLES_MAX and not meter.is_over:
            began = time.perf_counter()
            wanted = len(samples) + 1
            client.write(message)
            while client.delivered < wanted:
                client.receive()
            samples.append(time.perf_counter() - began)
            while client.completed < wanted * qos:
                client.receive()
        return meter.result("latency", len(samples), samples)
    finally:
        client.close()


class _Pair:
    """A publisher and its subscriber, and the batch that is on its way."""

    def __init__(self, plan: Plan, number: int, qos: int) -> None:
        """Connects both and subscribes."""
        target = plan.target
        topic = f"bench/{os.getpid()}/{number}"
        self.publisher = Client.connect(target)
        try:
            self.subscriber = Client.connect(target)
        except BenchError:
            self.publisher.close()
            raise
        window = _WINDOW if target.level == 5 else _WINDOW_311
        self.size = min(window, self.publisher.receive_maximum) if qos else _WINDOW
        self.qos = qos
        self.sent = 0
        payload = bytes(plan.payload_bytes)
        self._topic = topic
        self._batch = b"".join(
            publish(target, topic, payload, qos, number + 1) for number in range(self.size)
        )

    def subscribe(self) -> None:
        """Subscribes to the pair's topic."""
        self.subscriber.subscribe(self._topic, self.qos)

    @property
    def is_done(self) -> bool:
        """Whether all that was published is delivered, and acknowledged."""
        acknowledged = self.qos == 0 or self.publisher.completed >= self.sent
        return acknowledged and self.subscriber.delivered >= self.sent

    def send(self) -> None:
        """Publishes the next batch."""
        self.sent += self.size
        self.publisher.write(self._batch)

    def close(self) -> None:
        """Ends both."""
        self.publisher.close()
        self.subscriber.close()


def _messages(name: str, qos: int, plan: Plan) -> Measurement:
    """Batches of all pairs, the next as soon as the last is delivered."""
    pairs: list[_Pair] = []
    try:
        for number in range(plan.pairs):
            pairs.append(_Pair(plan, number, qos))
            if pairs[0].publisher.maximum_qos < qos:
                return Measurement(name, note="not offered")
            pairs[-1].subscribe()
        with selectors.DefaultSelector() as selector:
            for pair in pairs:
                selector.register(pair.publisher.sock, selectors.EVENT_READ, pair.publisher)
                selector.register(pair.subscriber.sock, selectors.EVENT_READ, pair.subscriber)
            owners = {id(client): pair for pair in pairs for client in _clients(pair)}
            meter = _Meter(plan)
            _drive(selector, owners, pairs, meter)
        return meter.result(name, sum(pair.subscriber.delivered for pair in pairs))
    finally:
        for pair in pairs:
            pair.close()


def _clients(pair: _Pair) -> tuple[Client, Client]:
    return pair.publisher, pair.subscriber


def _drive(
    selector: selectors.BaseSelector,
    owners: dict[int, _Pair],
    pairs: list[_Pair],
    meter: _Meter,
) -> None:
    """Keeps all pairs busy until the time is over, then waits for what is under way."""
    for pair in pairs:
        pair.send()
    busy = len(pairs)
    while busy:
        ready = selector.select(ANSWER_S)
        if not ready:
            raise BenchError(f"messages were lost: none came for {ANSWER_S:g} s")
        touched: dict[int, _Pair] = {}
        for key, _ in ready:
            client = key.data
            assert isinstance(client, Client)
            client.receive()
            pair = owners[id(client)]
            touched[id(pair)] = pair
        for pair in touched.values():
            if not pair.is_done:
                continue
            if meter.is_over:
                busy -= 1
            else:
                pair.send()
