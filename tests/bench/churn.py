"""A client that subscribes and unsubscribes all the time, with filters nobody publishes to."""

import selectors
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from quantummq.cli.bench_client import Client, Target, packet, text
from tests.bench.brokers import Running
from tests.bench.process import running_on

PAIRS_PER_S = 1_000
# Each comes by again after this many pairs.
FILTERS = 5_000
# Below this share of the pairs the measurement does not count.
SHARE_MIN = 0.95


def topic_filter(number: int) -> str:
    """One of the wildcard filters: half of them begin with a wildcard."""
    return f"+/churn/k{number}" if number % 2 else f"churn/+/k{number}/#"


def pair(number: int) -> bytes:
    """SUBSCRIBE and UNSUBSCRIBE of one filter."""
    name = text(topic_filter(number % FILTERS))
    subscribe = packet(0x82, b"\x00\x01\x00" + name + b"\x00")
    return subscribe + packet(0xA2, b"\x00\x02\x00" + name)


@contextmanager
def churning(broker: Running) -> Generator[None]:
    """Meanwhile a client makes `PAIRS_PER_S` pairs a second beside the load.

    Raises:
        RuntimeError: it could not keep up.
    """
    stop = threading.Event()
    behind: list[str] = []
    cpus = set(broker.generator_cpus)
    client = Client.connect(Target("127.0.0.1", broker.port, 5, None, None))
    thread = threading.Thread(target=_churn, args=(client, cpus, stop, behind))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        client.close()
    if behind:
        raise RuntimeError(behind[0])


def _churn(client: Client, cpus: set[int], stop: threading.Event, behind: list[str]) -> None:
    """One pair each millisecond, more where it came late; answers are thrown away."""
    began = time.perf_counter()
    made = 0
    client.sock.setblocking(False)
    with running_on(cpus), selectors.DefaultSelector() as selector:
        selector.register(client.sock, selectors.EVENT_READ)
        while not stop.is_set():
            due = int((time.perf_counter() - began) * PAIRS_PER_S)
            if made < due:
                # A pair is far smaller than what the socket takes: this does not block.
                client.sock.sendall(b"".join(pair(number) for number in range(made, due)))
                made = due
            if selector.select(1 / PAIRS_PER_S):
                client.sock.recv(1 << 16)
            # The wait for a tick, ended early by the end.
            stop.wait(1 / PAIRS_PER_S)
    elapsed = time.perf_counter() - began
    if made < elapsed * PAIRS_PER_S * SHARE_MIN:
        behind.append(f"only {made / elapsed:.0f} pairs of SUBSCRIBE and UNSUBSCRIBE a second")
