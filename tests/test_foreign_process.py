"""Another process has the store's file open: it may read, and cannot make the disk overflow."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.broker import KilledBroker
from tests.packets import Connect
from tests.peer import TIMEOUT_S, Peer
from tests.product import free_port

LASTING = (("session_expiry_interval", 3_600),)
QUOTA_EXCEEDED = 0x97
WAL_BYTES_MAX = 4 * 1024 * 1024
PAYLOAD_BYTES = 50_000

PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@dataclass
class Site:
    """A broker with a small limit, its file, and a session that is owed what is acknowledged."""

    broker: KilledBroker
    file: Path
    publisher: Peer
    acknowledged: list[bytes] = field(default_factory=list[bytes])

    async def publish(self) -> int:
        """One message; what was acknowledged is noted."""
        payload = b"%d " % len(self.acknowledged)
        payload += bytes(PAYLOAD_BYTES - len(payload))
        reason = await self.publisher.publish("kept/on", payload, 1)
        if reason < 0x80:
            self.acknowledged.append(payload)
        return reason

    async def publish_until_taken(self) -> None:
        """Until the broker takes a message again."""
        async with asyncio.timeout(TIMEOUT_S):
            while await self.publish() >= 0x80:
                pass

    async def collect(self) -> list[bytes]:
        """What the session has got."""
        peer = await Peer.open(self.broker.address)
        connack = await peer.connect(Connect("away", clean=False, properties=LASTING))
        assert connack.session_present
        found = [(await peer.message()).payload for _ in self.acknowledged]
        await peer.disconnect()
        return found

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        return self.file.with_name(f"{self.file.name}-wal").stat().st_size

    @asynccontextmanager
    async def held(self, *statements: str) -> AsyncGenerator[int]:
        """Another process has done these with the file, and holds what they gave; its pid."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            str(self.file),
            *statements,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            await process.communicate(b"")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """All is well yet; `away` takes `kept/#` at QoS 1."""
    broker = KilledBroker(tmp_path, free_port())
    limit = str(WAL_BYTES_MAX)
    await broker.start(QUANTUMMQ_STORE__PROFILE="safe", QUANTUMMQ_STORE__WAL_BYTES_MAX=limit)
    away = await Peer.open(broker.address)
    await away.connect(Connect("away", clean=False, properties=LASTING))
    assert (await away.subscribe("kept/#", qos=1)).reasons == (1,)
    await away.disconnect()
    publisher = await Peer.open(broker.address)
    await publisher.connect(Connect("publisher"))
    yield Site(broker, tmp_path / "data" / "quantummq.db", publisher)
    await publisher.close()
    assert await broker.stop() == 0


async def test_a_snapshot_held_by_another_process_does_not_make_the_log_grow(site: Site) -> None:
    """Above the limit messages are refused as on a full disk; the log names who holds it."""
    assert await site.publish() == 0
    async with site.held("BEGIN", "SELECT * FROM session") as pid:
        reasons = [await site.publish() for _ in range(2 * WAL_BYTES_MAX // PAYLOAD_BYTES)]
        assert set(reasons) == {0, QUOTA_EXCEEDED}
        assert reasons == sorted(reasons)
        assert site.wal_bytes() < 2 * WAL_BYTES_MAX
        assert str(pid) in await site.broker.says("a snapshot is held open")

    await site.publish_until_taken()

    await site.broker.says("takes messages again")
    assert await site.collect() == site.acknowledged


async def test_a_shell_that_has_read_and_waits_does_no_harm(site: Site) -> None:
    """It holds no snapshot."""
    async with site.held("SELECT * FROM session"):
        for _ in range(3 * WAL_BYTES_MAX // PAYLOAD_BYTES):
            assert await site.publish() == 0

    assert site.wal_bytes() < 2 * WAL_BYTES_MAX
    assert await site.collect() == site.acknowledged


async def test_a_write_lock_held_by_another_process_is_waited_for(site: Site) -> None:
    """Nothing is acknowledged meanwhile.

    After two seconds what is new is refused, and the log says why. What waited is acknowledged
    when the lock is gone.
    """
    early = await Peer.open(site.broker.address)
    await early.connect(Connect("early"))
    async with site.held("BEGIN IMMEDIATE") as pid:
        first = asyncio.create_task(early.publish("kept/early", b"early", 1))
        assert str(pid) in await site.broker.says("locked for writing")
        assert await site.publish() == QUOTA_EXCEEDED
        assert not first.done()

    assert await first == 0

    await site.publish_until_taken()
    site.acknowledged.insert(0, b"early")
    assert await site.collect() == site.acknowledged
    await early.close()
