"""Bytes that are no MQTT: random ones, flipped bits, lengths that lie; a good client beside."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tests.hostile import Bystander, bystander
from tests.packets import (
    DISCONNECT,
    PINGREQ,
    PUBLISH,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Connect,
    Packet,
    Publish,
    Will,
    data,
    packet,
    property_block,
    text,
)
from tests.peer import Clients, Filter, Peer

SEED = 20_250_301
every_version = pytest.mark.parametrize("version", [3, 4, 5], ids=["3.1", "3.1.1", "5"])


@pytest.fixture
async def beside(clients: Clients) -> AsyncIterator[Bystander]:
    """A second client's round trips, checked at the end."""
    async with bystander(clients.broker.addresses[0]) as watching:
        yield watching


def seeded(seed: int) -> random.Random:
    """Chance that repeats itself."""
    return random.Random(seed)


async def drain(peer: Peer) -> bytes:
    """All that comes until the broker closes."""
    received = bytearray()
    while True:
        try:
            part = await peer.reader.read(1 << 16)
        except ConnectionError:
            return bytes(received)
        if not part:
            return bytes(received)
        received += part


async def send_all(peer: Peer, sent: bytes) -> None:
    """Sends, and ends our side; the broker may have closed before."""
    try:
        await peer.send(sent)
        peer.writer.write_eof()
    except (ConnectionError, OSError):
        return


async def only_the_bystander_is_left(clients: Clients) -> None:
    """No connection is left behind."""
    await clients.settle()
    assert clients.broker.counters()["connections"] == 2


async def test_random_bytes_are_closed(clients: Clients, beside: Bystander) -> None:
    """Without an answer, but for those that begin like HTTP."""
    chance = seeded(SEED)
    for _ in range(300):
        peer = await Peer.open(clients.broker.addresses[0])
        await send_all(peer, chance.randbytes(chance.choice([1, 2, 7, 40, 3_000])))

        received = await drain(peer)
        assert received == b"" or received.startswith(b"HTTP/1.1 400 ")
        await peer.close()
    await beside.trip()
    await only_the_bystander_is_left(clients)


@every_version
async def test_random_bytes_behind_connect_are_closed(
    clients: Clients, beside: Bystander, version: int
) -> None:
    """Whatever comes until then is a packet of that version."""
    chance = seeded(SEED + version)
    for number in range(150):
        peer = await clients.connect(f"random{number}", version=version)
        # Packet types that exist, so that not all end at the first byte.
        first = bytes([chance.choice([0x30, 0x32, 0x34, 0x82, 0xA2, 0x62, 0x40, 0x50, 0xF0])])
        body = chance.randbytes(chance.choice([0, 1, 5, 60, 120]))
        await send_all(peer, first + bytes([len(body)]) + body + chance.randbytes(100))

        await peer.rest()
        await peer.close()
    await beside.trip()
    await only_the_bystander_is_left(clients)


def sequence(version: int) -> bytes:
    """What a client sends in a short life, CONNECT left out."""
    properties = property_block([("user_property", ("k", "v"))]) if version == 5 else b""
    parts = [
        packet(SUBSCRIBE, 2, b"\0\1" + properties + text("flip/+") + b"\2" + text("#") + b"\0"),
        Publish("flip/0", b"zero").encode(version),
        Publish("flip/1", b"one", qos=1, packet_id=1, retain=True).encode(version),
        Publish(
            "flip/2",
            b"two",
            qos=2,
            packet_id=2,
            properties=(("topic_alias", 1), ("content_type", "t"), ("user_property", ("a", "b"))),
        ).encode(version),
        packet(PUBREL, 2, b"\0\2"),
        packet(UNSUBSCRIBE, 2, b"\0\3" + (b"\0" if version == 5 else b"") + text("flip/+")),
        packet(PINGREQ, 0, b""),
        packet(DISCONNECT, 0, b""),
    ]
    return b"".join(parts)


def flipped(sent: bytes, chance: random.Random) -> bytes:
    """The same with one to three bits flipped."""
    changed = bytearray(sent)
    for _ in range(chance.randint(1, 3)):
        bit = chance.randrange(len(changed) * 8)
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@every_version
async def test_flipped_bits_are_answered_in_the_version_of_the_client(
    clients: Clients, beside: Bystander, version: int
) -> None:
    """Each decodes; clients of MQTT 5 are told why, others are closed [MQTT3-4.8.0-1]."""
    chance = seeded(SEED + version)
    sent = sequence(version)
    told = 0
    for number in range(250):
        peer = await clients.connect(f"flip{number}", version=version)
        await send_all(peer, flipped(sent, chance))

        received = await peer.rest()
        last = received[-1] if received else None
        if isinstance(last, Packet) and last.kind == DISCONNECT:
            assert version == 5
            assert last.reason >= 0x80
            told += 1
        await peer.close()
    await beside.trip()
    await only_the_bystander_is_left(clients)
    assert clients.broker.counters()["violations"] >= 50
    assert told >= 50 or version != 5


@every_version
async def test_flipped_bits_in_connect_do_no_harm(
    clients: Clients, beside: Bystander, version: int
) -> None:
    """The client may end up in another version, so its answers are not read."""
    chance = seeded(SEED + version)
    connect = Connect(
        "flip", version, username="u", password=b"p", will=Will("will", b"x" * 20, 1)
    ).encode()
    for _ in range(250):
        peer = await Peer.open(clients.broker.addresses[0])
        await send_all(peer, flipped(connect, chance) + sequence(version))
        await drain(peer)
        await peer.close()
    await beside.trip()
    await only_the_bystander_is_left(clients)


@every_version
async def test_packets_cut_anywhere_wait_for_their_rest(
    clients: Clients, beside: Bystander, version: int
) -> None:
    """And are taken when it comes; without it they leave nothing behind."""
    sent = sequence(version)
    for cut in range(1, len(sent), 3):
        peer = await clients.connect("cut", version=version)
        await peer.send(sent[:cut])
        await peer.send(sent[cut:])
        assert await peer.rest()
        await peer.close()
        half = await clients.connect("cut", version=version)
        await send_all(half, sent[:cut])
        await half.rest()
        await half.close()
    await beside.trip()
    await only_the_bystander_is_left(clients)


LIES = {
    "a topic longer than its packet": packet(PUBLISH, 0, b"\x7f\xff" + b"abc"),
    "a topic as long as all that follows": packet(PUBLISH, 2, b"\0\x05" + b"abcde"),
    "a filter longer than its packet": packet(SUBSCRIBE, 2, b"\0\1\0" + b"\xff\xff" + b"a\0"),
    "a packet shorter than its fields": packet(SUBSCRIBE, 2, b"\0\1"),
    "a packet longer than its fields": packet(PINGREQ, 0, b"more"),
    "properties longer than their packet": packet(PUBLISH, 0, text("a") + b"\xff\x7f"),
    "a property longer than its section": packet(PUBLISH, 0, text("a") + b"\x03\x03\0\x09"),
    "a Remaining Length without end": b"\x30\xff\xff\xff\xff\x01",
    "a user property without value": packet(PUBLISH, 0, text("a") + b"\x04\x26\0\1k"),
    "Binary Data longer than its section": packet(
        PUBLISH, 0, text("a") + b"\x04\x09" + data(b"")[:1] + b"\xff"
    ),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_length_that_lies_is_malformed(
    clients: Clients, beside: Bystander, lie: str
) -> None:
    """MQTT 5 section 4.13.1: 0x81."""
    peer = await clients.connect("liar")
    await peer.send(LIES[lie])

    # A SUBSCRIBE that lacks even its properties is too short as well.
    assert await peer.refused() == 0x81
    await beside.trip()


async def test_a_length_that_lies_in_connect_gets_no_more_than_a_connack(
    clients: Clients, beside: Bystander
) -> None:
    """Fields beyond the end, and more behind the fields."""
    good = Connect("liar", username="user").encode()
    for lie in (good[:1] + bytes([good[1] - 3]) + good[2:-3], good[:1] + b"\x50" + good[2:]):
        peer = await Peer.open(clients.broker.addresses[0])
        await send_all(peer, lie)
        received = await drain(peer)
        assert received == b"" or received[0] == 0x20
        assert received == b"" or received[3] == 0x81
        await peer.close()
    await beside.trip()


async def test_bytes_that_come_one_at_a_time_from_many_make_no_difference(
    clients: Clients, beside: Bystander
) -> None:
    """Thirty clients drip their whole life, byte by byte."""

    async def drip(number: int) -> None:
        peer = await Peer.open(clients.broker.addresses[0])
        for byte in Connect(f"drip{number}").encode() + sequence(5):
            await peer.send(bytes([byte]))
        received = await peer.rest()
        # CONNACK, SUBACK, PUBACK, PUBREC, PUBCOMP, UNSUBACK, PINGRESP, and messages.
        assert sum(isinstance(each, Packet) for each in received) == 7
        await peer.close()

    await asyncio.gather(*(drip(number) for number in range(30)))
    await beside.trip()
    await only_the_bystander_is_left(clients)


async def test_subscriptions_of_the_flipped_leave_with_them(
    clients: Clients, beside: Bystander
) -> None:
    """Sessions, subscriptions and queues of clients that end in a violation are gone."""
    for number in range(50):
        peer = await clients.connect(f"gone{number}")
        await peer.subscribe(*(Filter(f"gone/{number}/{each}/+") for each in range(20)))
        await peer.send(packet(PINGREQ, 1, b""))
        assert await peer.refused() == 0x81
    await clients.settle()

    counters = clients.broker.counters()
    assert counters["sessions"] == 2
    assert counters["subscriptions"] == 1
    await beside.trip()
