"""Kit for tests of bad input: a broker as a process, its memory, and a client that must not notice.

The broker is measured from outside, as its users would: resident memory from /proc, and round
trips of a second client that go on all the time.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic

from tests.packets import Connect
from tests.peer import Peer
from tests.product import Started, started

MIB = 1 << 20
ROUND_TRIP_MAX_S = 2.0
"""What a second client waits for its message at most, whatever others do."""


class Target:
    """A broker's process under attack."""

    def __init__(self, process: Started) -> None:
        self.process = process
        self.address = process.address
        self.peers: list[Peer] = []

    async def open(self) -> Peer:
        """A connection that has sent nothing."""
        peer = await Peer.open(self.address)
        self.peers.append(peer)
        return peer

    async def connect(self, connect: Connect) -> Peer:
        """A client that is connected."""
        peer = await self.open()
        connack = await peer.connect(connect)
        assert connack.reason == 0, connack
        return peer

    async def close(self) -> None:
        """Ends all connections, at once and without goodbye."""
        for peer in self.peers:
            peer.writer.transport.abort()
        for peer in self.peers:
            with contextlib.suppress(ConnectionError):
                await peer.writer.wait_closed()
        self.peers.clear()

    def resident(self) -> int:
        """Bytes of memory that the process holds now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """The most it held since `reset_peak`."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        """Starts another measurement of the peak."""
        Path(f"/proc/{self.process.process.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.process.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024


def stop_reading(peer: Peer) -> None:
    """From here on nobody reads from the client's socket."""
    transport = peer.writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()


def read_again(peer: Peer) -> None:
    """The client reads on."""
    transport = peer.writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.resume_reading()


@contextmanager
def broker_process(folder: Path, configuration: str = "") -> Generator[Target]:
    """`quantummq run` with two shards; `configuration` is TOML that stands before the listener."""
    file = folder / "quantummq.toml"
    file.write_text(
        f'[broker]\nshards = 2\n{configuration}\n[[listener]]\naddress = "tcp://127.0.0.1:0"\n'
    )
    command = [str(Path(sys.executable).with_name("quantummq")), "run", "--config", str(file)]
    with started(command, {"HOME": str(folder)}) as process:
        yield Target(process)


class Bystander:
    """A client whose messages go on coming back to another while others misbehave."""

    def __init__(self, writer: Peer, reader: Peer) -> None:
        self.writer = writer
        self.reader = reader
        self.worst_s = 0.0
        self.trips = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._task = asyncio.create_task(self._run())

    async def trip(self) -> None:
        """Waits for a round trip that begins from here on."""
        for _ in range(2):
            done = asyncio.get_running_loop().create_future()
            self._waiting.append(done)
            await asyncio.wait({done, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                self._task.result()

    async def end(self) -> None:
        """Ends it, after a last round trip; none took longer than the bound."""
        await self.trip()
        await self.cancel()
        assert self.worst_s < ROUND_TRIP_MAX_S

    async def cancel(self) -> None:
        """Ends it at once."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            start = monotonic()
            payload = b"%d" % self.trips
            await self.writer.publish("bystander", payload, qos=1)
            assert (await self.reader.message()).payload == payload
            self.worst_s = max(self.worst_s, monotonic() - start)
            self.trips += 1
            waiting, self._waiting = self._waiting, []
            for done in waiting:
                done.set_result(None)


@asynccontextmanager
async def bystander(address: str) -> AsyncGenerator[Bystander]:
    """Round trips at QoS 1 all the time, each below the bound."""
    writer, reader = await Peer.open(address), await Peer.open(address)
    await writer.connect(Connect("bystander-writer"))
    await reader.connect(Connect("bystander-reader"))
    await reader.subscribe("bystander", qos=1)
    watching = Bystander(writer, reader)
    try:
        yield watching
        await watching.end()
    finally:
        await watching.cancel()
        await writer.close()
        await reader.close()
