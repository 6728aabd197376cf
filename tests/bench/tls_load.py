"""Load over TLS, which mqttload does not speak: handshakes, and messages in batches.

One Python thread for either broker: it may be the slower side, so what counts is the broker's CPU
time. TLS 1.3, full handshakes (no session is resumed), the authority's certificate is checked.
"""

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from quantummq.cli.bench_client import Client, Target, publish
from tests.bench.brokers import Running
from tests.bench.process import cpu_s, running_on

PAIRS = 10
BATCH = 32
PAYLOAD_BYTES = 64
# Connections and messages before the clock starts.
WARM_UP_S = 0.5


@dataclass(frozen=True)
class Load:
    """What came out.

    Attributes:
        rate: Handshakes, or messages into and out of the broker, a second.
        cpu_us: The broker's CPU time for each, in microseconds.
    """

    rate: float
    cpu_us: float


class _Meter:
    """Counts within an interval, after a warm-up."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._warm_at = time.perf_counter() + WARM_UP_S
        self._end = self._warm_at + seconds
        self._began: tuple[float, float] | None = None
        self._count = 0

    def add(self, count: int) -> bool:
        """Counts what was done; whether to go on."""
        now = time.perf_counter()
        if self._began is not None:
            self._count += count
        elif now >= self._warm_at:
            self._began = (now, cpu_s(self._pid))
        return now < self._end

    def result(self) -> Load:
        """Rate and CPU time for each."""
        assert self._began is not None
        began, cpu = self._began
        elapsed = time.perf_counter() - began
        return Load(self._count / elapsed, (cpu_s(self._pid) - cpu) / self._count * 1e6)


def _context(authority: Path) -> ssl.SSLContext:
    """TLS 1.3 towards a broker with a certificate of `authority`."""
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _connect(broker: Running, context: ssl.SSLContext) -> Client:
    """An MQTT client over TLS, up to CONNACK."""
    plain = socket.create_connection(("127.0.0.1", broker.tls_port), timeout=5)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = context.wrap_socket(plain, server_hostname="localhost")
    client = Client(Target("127.0.0.1", broker.tls_port, 5, None, None), stream)
    client.greet()
    return client


def handshakes(broker: Running, authority: Path, seconds: float) -> Load:
    """Connects with TLS and MQTT and leaves, one client after the other."""
    context = _context(authority)
    with running_on(set(broker.generator_cpus)):
        meter = _Meter(broker.pid, seconds)
        going = True
        while going:
            _connect(broker, context).close()
            going = meter.add(1)
        return meter.result()


def messages(broker: Running, authority: Path, seconds: float) -> Load:
    """QoS 0 over ten pairs: a batch each is sent, then received by all."""
    context = _context(authority)
    with running_on(set(broker.generator_cpus)):
        pairs = [
            (_connect(broker, context), _connect(broker, context), f"bench/tls/{number}")
            for number in range(PAIRS)
        ]
        batches: list[bytes] = []
        for publisher, subscriber, topic in pairs:
            subscriber.subscribe(topic, 0)
            batches.append(publish(publisher.target, topic, bytes(PAYLOAD_BYTES), 0, 0) * BATCH)
        meter = _Meter(broker.pid, seconds)
        going = True
        while going:
            for (publisher, _, _), batch in zip(pairs, batches, strict=True):
                publisher.write(batch)
            for _, subscriber, _ in pairs:
                wanted = subscriber.delivered + BATCH
                while subscriber.delivered < wanted:
                    subscriber.receive()
            going = meter.add(PAIRS * BATCH * 2)
        load = meter.result()
        for publisher, subscriber, _ in pairs:
            publisher.close()
            subscriber.close()
        return load
