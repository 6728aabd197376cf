"""The disk is full: what needs it is refused or waits, the rest goes on, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.broker import KilledBroker
from tests.packets import (
    CONNACK,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Connect,
    Packet,
    Publish,
)
from tests.packets import packet as packet_bytes
from tests.peer import TIMEOUT_S, Peer
from tests.product import free_port
from tests.smalldisk import SmallDisk, small_disk

QUOTA_EXCEEDED = 0x97
IMPLEMENTATION_ERROR = 0x83
SERVER_UNAVAILABLE_3 = 3
FAILURE_3 = 0x80
LASTING = (("session_expiry_interval", 3_600),)
PAYLOAD_BYTES = 20_000
DISK_MIB = 48


@dataclass
class Site:
    """A broker on a small disk, a lasting session that is away, and what it is owed."""

    disk: SmallDisk
    broker: KilledBroker
    acknowledged: list[bytes] = field(default_factory=list[bytes])
    peers: list[Peer] = field(default_factory=list[Peer])

    async def start(self) -> None:
        """Starts the broker."""
        await self.broker.start(QUANTUMMQ_STORE__PROFILE="safe")

    async def open(self, connect: Connect) -> tuple[Peer, Packet]:
        """A connection and its CONNACK, which may refuse it."""
        peer = await Peer.open(self.broker.address)
        self.peers.append(peer)
        return peer, await peer.connect(connect)

    async def client(self, client_id: str, *, lasts: bool = False, version: int = 5) -> Peer:
        """A client that is let in, MQTT 5 by default."""
        properties = LASTING if lasts and version == 5 else ()
        connect = Connect(client_id, version, clean=not lasts, properties=properties)
        peer, connack = await self.open(connect)
        assert connack.reason == 0, connack
        return peer

    async def publish(self, peer: Peer, qos: int = 1) -> int:
        """One message for the session that is away; what was acknowledged is noted."""
        payload = b"%d " % len(self.acknowledged)
        payload += bytes(PAYLOAD_BYTES - len(payload))
        reason = await peer.publish("kept/on", payload, qos)
        if reason < 0x80:
            self.acknowledged.append(payload)
        return reason

    async def fill(self, peer: Peer) -> None:
        """Fills the disk; it is full when the first message is refused."""
        self.disk.fill()
        while (reason := await self.publish(peer)) < 0x80:
            pass
        assert reason == QUOTA_EXCEEDED

    async def recover(self, peer: Peer) -> None:
        """Frees the disk; it is well when a message is taken again."""
        self.disk.free()
        async with asyncio.timeout(TIMEOUT_S):
            while await self.publish(peer) >= 0x80:
                pass

    async def collect(self) -> list[bytes]:
        """What the session that was away has got, in order, each once."""
        peer, connack = await self.open(Connect("away", clean=False, properties=LASTING))
        assert connack.session_present
        found = [(await peer.message()).payload for _ in self.acknowledged]
        await peer.disconnect()
        return found

    async def close(self) -> None:
        """Ends all connections."""
        for peer in self.peers:
            await peer.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """All is well yet; `away` takes `kept/#` at QoS 2."""
    with small_disk(tmp_path / "disk", DISK_MIB) as disk:
        made = Site(disk, KilledBroker(disk.folder, free_port(), disk.prefix))
        await made.start()
        away = await made.client("away", lasts=True)
        assert (await away.subscribe("kept/#", qos=2)).reasons == (2,)
        await away.disconnect()
        yield made
        await made.close()
        assert await made.broker.stop() == 0, made.broker.log[-9:]


async def test_publishers_are_refused_until_there_is_room(site: Site) -> None:
    """0x97 in PUBACK and PUBREC; the log says why, and when all is well again."""
    lasting = await site.client("lasting", lasts=True)
    passing = await site.client("passing")

    await site.fill(lasting)

    assert await site.publish(lasting, 2) == QUOTA_EXCEEDED
    assert await site.publish(passing, 1) == QUOTA_EXCEEDED
    assert await site.publish(passing, 2) == QUOTA_EXCEEDED
    assert "full" in await site.broker.says("is full")
    await site.recover(lasting)
    assert await site.publish(passing, 2) == 0
    await site.broker.says("takes messages again")
    assert await site.collect() == site.acknowledged


async def test_nothing_acknowledged_is_lost_when_it_is_killed_while_full(site: Site) -> None:
    """Nor is a retained message set or cleared by a publish that was refused."""
    publisher = await site.client("publisher", lasts=True)
    assert await publisher.publish("retained", b"before", 1, retain=True) == 0
    await site.fill(publisher)

    assert await publisher.publish("retained", b"after", 1, retain=True) == QUOTA_EXCEEDED
    assert await publisher.publish("retained", b"", 1, retain=True) == QUOTA_EXCEEDED
    await site.broker.kill()
    await site.start()

    reader = await site.client("reader")
    await reader.subscribe("retained", qos=1)
    assert (await reader.message()).payload == b"before"
    assert await site.collect() == site.acknowledged


async def test_subscriptions_and_sessions_are_refused_until_there_is_room(site: Site) -> None:
    """0x97 in SUBACK and CONNACK, 0x83 in UNSUBACK; sessions that are there are resumed."""
    lasting = await site.client("lasting", lasts=True)
    assert (await lasting.subscribe("old", qos=1)).reasons == (1,)

    await site.fill(lasting)

    assert (await lasting.subscribe("new", "newer", qos=1)).reasons == (QUOTA_EXCEEDED,) * 2
    assert (await lasting.unsubscribe("old", "none")).reasons == (IMPLEMENTATION_ERROR,) * 2
    _, connack = await site.open(Connect("new", clean=False, properties=LASTING))
    assert (connack.kind, connack.reason) == (CONNACK, QUOTA_EXCEEDED)
    resumed, connack = await site.open(Connect("lasting", clean=False, properties=LASTING))
    assert (connack.reason, connack.session_present) == (0, True)
    await site.recover(resumed)
    assert (await resumed.unsubscribe("new", "old")).reasons == (0x11, 0)
    assert (await resumed.subscribe("new", qos=1)).reasons == (1,)
    _, connack = await site.open(Connect("new", clean=False, properties=LASTING))
    assert (connack.reason, connack.session_present) == (0, False)


async def test_a_session_that_is_to_begin_anew_is_kept_when_that_is_refused(site: Site) -> None:
    """A CONNECT that is refused changes nothing [MQTT-3.1.4-1]."""
    lasting = await site.client("lasting", lasts=True)
    assert (await lasting.subscribe("old", qos=1)).reasons == (1,)
    await lasting.disconnect()
    publisher = await site.client("publisher")
    await site.fill(publisher)

    _, connack = await site.open(Connect("lasting", clean=True, properties=LASTING))

    assert connack.reason == QUOTA_EXCEEDED
    await site.recover(publisher)
    _, connack = await site.open(Connect("lasting", clean=False, properties=LASTING))
    assert connack.session_present


async def test_a_client_of_3_1_1_is_refused_as_that_can_say_it(site: Site) -> None:
    """SUBACK 0x80 and CONNACK 3."""
    lasting = await site.client("lasting", lasts=True, version=4)
    publisher = await site.client("publisher")
    await site.fill(publisher)

    assert (await lasting.subscribe("new", "newer", qos=1)).reasons == (FAILURE_3,) * 2
    _, connack = await site.open(Connect("new", 4, clean=False))
    assert (connack.kind, connack.reason) == (CONNACK, SERVER_UNAVAILABLE_3)

    await site.recover(publisher)
    assert (await lasting.subscribe("new", qos=1)).reasons == (1,)


async def test_a_publisher_of_3_1_1_is_held_back(site: Site) -> None:
    """Nothing more is read from it until there is room; then all is done in order."""
    old = await site.client("old", lasts=True, version=4)
    publisher = await site.client("publisher")
    await site.fill(publisher)
    payload = bytes(PAYLOAD_BYTES)
    both = [Publish("kept/old", payload, qos, packet_id=qos) for qos in (1, 2)]

    await old.send(b"".join(each.encode(4) for each in both) + packet_bytes(PINGREQ, 0, b""))

    # Whoever is read from is answered by now.
    assert await site.publish(publisher) == QUOTA_EXCEEDED
    await publisher.ping()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await old.next()
    await site.recover(publisher)
    # PINGRESP waits for no commit.
    answers = [await old.next() for _ in range(3)]
    kinds = {each.kind: each.packet_id for each in answers if isinstance(each, Packet)}
    assert kinds == {PUBACK: 1, PUBREC: 2, PINGRESP: 0}
    site.acknowledged += [payload] * 2
    assert sorted(await site.collect()) == sorted(site.acknowledged)


async def test_delivery_goes_on_while_the_disk_is_full(site: Site) -> None:
    """QoS 0 to everyone, and what is stored at QoS 1 to whom it is for; it makes no room."""
    reader = await site.client("reader", lasts=True)
    await reader.subscribe("kept/#", "free", qos=1)
    publisher = await site.client("publisher")
    await reader.disconnect()
    await site.fill(publisher)

    reader, connack = await site.open(Connect("reader", clean=False, properties=LASTING))

    assert connack.session_present
    stored = [(await reader.message()).payload for _ in site.acknowledged]
    assert stored == site.acknowledged
    await publisher.publish("free", b"now")
    assert (await reader.message()).payload == b"now"
    await site.recover(publisher)
    assert (await reader.message()).payload == site.acknowledged[-1]


async def test_an_exchange_of_qos_2_ends_when_there_is_room(site: Site) -> None:
    """What was begun before the disk was full is neither lost nor doubled, in either direction."""
    sender = await site.client("sender", lasts=True)
    receiver = await site.client("receiver", lasts=True)
    await receiver.subscribe("exact", qos=2)
    publisher = await site.client("publisher")
    await sender.send(Publish("exact", b"once", 2, packet_id=9).encode(5))
    assert (await sender.packet(PUBREC)).reason == 0
    arrived = await receiver.publication()
    await site.fill(publisher)

    await sender.answer(PUBREL, 9)
    await receiver.answer(PUBREC, arrived.packet_id)
    await site.recover(publisher)

    assert (await sender.packet(PUBCOMP)).packet_id == 9
    assert (await receiver.packet(PUBREL)).packet_id == arrived.packet_id
    await receiver.answer(PUBCOMP, arrived.packet_id)
    await site.broker.kill()
    await site.start()
    again, connack = await site.open(Connect("receiver", clean=False, properties=LASTING))
    assert connack.session_present
    # PUBREL may come again, the message may not.
    assert not [each for each in await until_pong(again) if isinstance(each, Publish)]


async def until_pong(peer: Peer) -> list[Packet | Publish]:
    """What comes before the answer to a PINGREQ."""
    await peer.send(packet_bytes(PINGREQ, 0, b""))
    found: list[Packet | Publish] = []
    while not isinstance(received := await peer.next(), Packet) or received.kind != PINGRESP:
        found.append(received)
    return found


async def test_the_disk_may_fill_and_be_freed_again_and_again(site: Site) -> None:
    """The reserve is there each time, and each message acknowledged is kept."""
    publisher = await site.client("publisher", lasts=True)

    for _ in range(3):
        await site.fill(publisher)
        await site.recover(publisher)

    assert await site.collect() == site.acknowledged


async def test_a_broker_starts_on_a_full_disk_and_delivers(site: Site) -> None:
    """What is stored is there for those who come; nothing new is taken until there is room.

    All that a start needs is what SQLite's shared memory takes.
    """
    publisher = await site.client("publisher", lasts=True)
    await site.fill(publisher)
    assert await site.broker.stop() == 0

    site.disk.fill(leave=128 * 1024)
    await site.start()

    assert await site.collect() == site.acknowledged
    late = await site.client("late")
    assert await site.publish(late) == QUOTA_EXCEEDED
    await site.recover(late)
