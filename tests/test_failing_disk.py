"""The disk fails: nothing that it did not take is acknowledged, and what it took is not lost."""

import asyncio
import errno
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.ledger import Ledger
from tests.crash.publisher import Publisher
from tests.crash.subscriber import Subscriber
from tests.packets import Connect
from tests.peer import TIMEOUT_S, Peer
from tests.powercut.broker import PowerCutBroker
from tests.powercut.shim import Shim, compile_shim
from tests.product import free_port

WAL_BYTES_MAX = 1024 * 1024
AFTERWARDS = 200
"""Messages that are acknowledged when all is well again."""


@dataclass
class Site:
    """A broker on a disk that may fail, a publisher, and a session that is away."""

    shim: Shim
    broker: PowerCutBroker
    ledger: Ledger
    publisher: Publisher
    away: Subscriber

    async def start(self) -> None:
        """Starts the broker; its write-ahead log is short, so that checkpoints come often."""
        limit = str(WAL_BYTES_MAX)
        profile = {"QUANTUMMQ_STORE__PROFILE": "safe", "QUANTUMMQ_STORE__WAL_BYTES_MAX": limit}
        await self.broker.start(**profile)

    async def publishes_until(self, is_enough: Callable[[], bool]) -> None:
        """The publisher works for so long, and until all it sent is answered."""
        self.publisher.is_stopping = False
        task = asyncio.create_task(self.publisher.live(self.broker.address))
        async with asyncio.timeout(TIMEOUT_S):
            while not is_enough() and not task.done():
                await asyncio.wait([task], timeout=0.01)
        self.publisher.is_stopping = True
        await task
        assert not self.publisher.unfinished

    def acknowledges(self, more: int) -> Callable[[], bool]:
        """Whether so many more messages are acknowledged than now."""
        enough = len(self.ledger.acknowledged) + more
        return lambda: len(self.ledger.acknowledged) >= enough

    async def finish(self) -> list[str]:
        """Cuts the power, starts again, and takes everything: what is wrong."""
        await self.broker.kill()
        await self.start()
        self.publisher.is_stopping = True
        await self.publisher.live(self.broker.address)
        await self.away.drain(self.broker.address, 5)
        await self.away.leave()
        return self.ledger.faults + self.ledger.check("away")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """All is well yet."""
    (tmp_path / "disk").mkdir()
    shim = Shim(compile_shim(tmp_path), tmp_path / "disk", tmp_path / "record")
    broker = PowerCutBroker(shim, free_port(), random.Random(7))
    ledger = Ledger()
    made = Site(
        shim,
        broker,
        ledger,
        Publisher("publisher", ledger, random.Random(8)),
        Subscriber("away", ledger, random.Random(9), is_away=True),
    )
    await made.start()
    await made.away.live(broker.address)
    yield made
    assert await broker.stop() == 0


FAILURES = [
    ("sync", errno.EIO, "-wal"),
    ("sync", errno.ENOSPC, "-wal"),
    ("write", errno.EIO, "-wal"),
    ("write", errno.ENOSPC, "-wal"),
    ("sync", errno.EIO, ".db"),
    ("write", errno.EIO, ".db"),
]


@pytest.mark.parametrize(("what", "number", "suffix"), FAILURES)
async def test_a_call_that_fails_once_costs_nothing_acknowledged(
    site: Site, what: str, number: int, suffix: str
) -> None:
    """Not even in a power cut afterwards: what a failed fsync left unwritten is written anew."""
    await site.publishes_until(site.acknowledges(50))

    site.shim.break_disk(what, number, suffix, once=True)
    await site.publishes_until(lambda: not site.shim.fault.exists())
    await site.publishes_until(site.acknowledges(AFTERWARDS))

    assert not await site.finish()


async def test_nothing_is_acknowledged_while_the_disk_fails(site: Site) -> None:
    """The log says so; QoS 0 goes on; all that waited is acknowledged when it is well again."""
    await site.publishes_until(site.acknowledges(50))
    reader, writer = await Peer.open(site.broker.address), await Peer.open(site.broker.address)
    await reader.connect(Connect("reader"))
    await reader.subscribe("free")
    await writer.connect(Connect("writer"))

    site.shim.break_disk("sync", errno.EIO)
    site.publisher.is_stopping = False
    work = asyncio.create_task(site.publisher.live(site.broker.address))
    await site.broker.says("cannot be written")
    before = 0
    for number in range(40):
        await writer.publish("free", b"%d" % number)
        assert (await reader.message()).payload == b"%d" % number
        if number == 20:
            # What was acknowledged earlier has been read by now.
            before = len(site.ledger.acknowledged)
    assert len(site.ledger.acknowledged) == before
    site.shim.mend_disk()
    await site.broker.says("takes messages again")
    site.publisher.is_stopping = True
    await work
    await site.publishes_until(site.acknowledges(AFTERWARDS))

    await reader.close()
    await writer.close()
    assert not await site.finish()


async def test_a_disk_that_stays_broken_does_not_hold_up_the_end(site: Site) -> None:
    """SIGTERM ends it within its deadline, and what was acknowledged is there afterwards."""
    await site.publishes_until(site.acknowledges(50))
    site.shim.break_disk("write", errno.EROFS)
    site.publisher.is_stopping = False
    work = asyncio.create_task(site.publisher.live(site.broker.address))
    await site.broker.says("cannot be written")

    await site.broker.stop()

    await asyncio.gather(work)
    site.shim.mend_disk()
    await site.start()
    assert not await site.finish()


async def test_failures_that_come_and_go_cost_nothing_acknowledged(site: Site) -> None:
    """Of every kind, one after the other, a power cut now and then."""
    chance = random.Random(11)

    for turn in range(12):
        what, number, suffix = chance.choice(FAILURES)
        site.shim.break_disk(what, number, suffix, once=True)
        await site.publishes_until(site.acknowledges(chance.randrange(100)))
        if turn % 3 == 2:
            await site.broker.kill()
            site.shim.mend_disk()
            await site.start()
    site.shim.mend_disk()

    assert not await site.finish()
