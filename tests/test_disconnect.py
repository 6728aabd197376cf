"""DISCONNECT from either side, and what it does to will and session (MQTT 5 §3.14)."""

import pytest

from tests.packets import DISCONNECT, PINGREQ, PINGRESP, Connect, Properties, Publish, Will, packet
from tests.peer import Clients, Peer

WITH_WILL = [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]


async def watcher(clients: Clients) -> Peer:
    """Who gets wills."""
    peer = await clients.connect("watcher")
    await peer.subscribe("wills/#", qos=1)
    return peer


async def mortal(clients: Clients, expiry: int | None = None) -> Peer:
    """A client with a will."""
    return await clients.connect("mortal", expiry=expiry, will=Will("wills/mortal", b"gone", 1))


async def is_kept(clients: Clients) -> bool:
    """Whether there is a session of `mortal`."""
    peer = await clients.connect("mortal", expiry=600, clean=False)
    assert peer.connack is not None
    return peer.connack.session_present


async def test_normal_disconnection_discards_the_will(clients: Clients) -> None:
    """[MQTT-3.14.4-3] [MQTT-3.1.2-8]."""
    reader = await watcher(clients)
    for body in (b"", b"\x00", b"\x00\x00"):
        peer = await mortal(clients)
        await peer.send(packet(DISCONNECT, 0, body))
        assert await peer.rest() == []

    await clients.clock.advance(100)

    await clients.silent(reader)


async def test_a_discarded_will_does_not_come_when_its_session_ends(clients: Clients) -> None:
    """[MQTT-3.14.4-3]."""
    reader = await watcher(clients)
    peer = await mortal(clients, expiry=60)
    await peer.disconnect()

    await clients.clock.advance(61)

    await clients.silent(reader)


@pytest.mark.parametrize("reason", WITH_WILL)
async def test_any_other_reason_publishes_the_will(clients: Clients, reason: int) -> None:
    """[MQTT-3.14.2-1] [MQTT-4.13.2-1]."""
    reader = await watcher(clients)
    peer = await mortal(clients)

    await peer.disconnect(reason, [("reason_string", "why"), ("user_property", ("a", "b"))])

    assert (await reader.message()).payload == b"gone"
    await clients.silent(reader)


@pytest.mark.parametrize("reason", [0x01, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x9B, 0x9C, 0xA2, 0xFF])
async def test_a_reason_that_clients_do_not_have_is_refused(clients: Clients, reason: int) -> None:
    """[MQTT-3.14.2-1] [MQTT-4.13.1-1]."""
    peer = await clients.connect("peer")

    await peer.send(packet(DISCONNECT, 0, bytes([reason])))

    assert await peer.refused() in (0x81, 0x82)


async def test_what_follows_disconnect_is_not_read(clients: Clients) -> None:
    """[MQTT-3.14.4-1] [MQTT-3.14.4-2]: and nothing is answered."""
    reader = await clients.connect("reader")
    await reader.subscribe("a")
    peer = await clients.connect("peer")

    await peer.send(
        packet(DISCONNECT, 0, b"") + Publish("a", b"late").encode(5) + packet(PINGREQ, 0, b"")
    )

    assert await peer.rest() == []
    await clients.silent(reader)


@pytest.mark.parametrize(
    ("connected", "disconnected", "after", "kept"),
    [
        (100, 200, 150, True),
        (100, 200, 201, False),
        (100, 50, 60, False),
        (100, 0, 0, False),
        (100, None, 99, True),
        (100, None, 101, False),
        (100, 2**32 - 1, 1_000_000, True),
        (0, 0, 0, False),
        (2**32 - 1, None, 1_000_000, True),
    ],
)
async def test_it_may_change_how_long_the_session_is_kept(
    clients: Clients, connected: int, disconnected: int | None, after: int, kept: bool
) -> None:
    """MQTT 5 §3.14.2.2.2. [MQTT-4.1.0-2] [MQTT-4.1.0-1]."""
    peer = await mortal(clients, expiry=connected)
    properties: Properties = []
    if disconnected is not None:
        properties.append(("session_expiry_interval", disconnected))

    await peer.disconnect(0, properties)
    await clients.clock.advance(after)

    assert await is_kept(clients) == kept


@pytest.mark.parametrize("expiry", [None, 0])
async def test_a_session_that_was_not_to_be_kept_cannot_be(
    clients: Clients, expiry: int | None
) -> None:
    """MQTT 5 §3.14.2.2.2: a Protocol Error; then the will is published. [MQTT-4.13.1-1]."""
    reader = await watcher(clients)
    peer = await mortal(clients, expiry=expiry)

    body = b"\x00\x05\x11" + (60).to_bytes(4, "big")
    await peer.send(packet(DISCONNECT, 0, body))

    assert await peer.refused() == 0x82
    assert (await reader.message()).payload == b"gone"
    assert not await is_kept(clients)


async def test_the_session_lives_while_the_connection_does(clients: Clients) -> None:
    """[MQTT-4.1.0-1]: its expiry counts from the end of the connection."""
    peer = await mortal(clients, expiry=10)
    await peer.subscribe("a", qos=1)

    await clients.clock.advance(1_000)

    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)
    assert (await peer.message()).payload == b"x"
    await peer.close()
    await clients.clock.advance(9)
    assert await is_kept(clients)


async def test_a_session_that_expired_is_forgotten_with_all_it_held(clients: Clients) -> None:
    """[MQTT-4.1.0-2]."""
    peer = await mortal(clients, expiry=10)
    await peer.subscribe("a", qos=1)
    await peer.send(Publish("b", b"", 2, packet_id=1).encode(5))
    await peer.next()
    await peer.disconnect()
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)

    await clients.clock.advance(11)

    assert await sender.publish("a", b"x", qos=1) == 0x10
    peer = await clients.connect("mortal", expiry=10, clean=False)
    assert peer.connack is not None
    assert not peer.connack.session_present
    reader = await clients.connect("reader")
    await reader.subscribe("b", qos=2)
    assert await peer.publish("b", b"new", qos=2) == 0
    assert (await reader.message()).payload == b"new"
    await clients.silent(peer)


async def test_the_broker_says_nothing_after_its_disconnect(clients: Clients) -> None:
    """[MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]: and closes; messages are for later."""
    peer = await clients.connect("mortal", expiry=600)
    await peer.subscribe("a/#", qos=1)
    sender = await clients.connect("sender")

    await peer.send(packet(PINGREQ, 1, b""))
    for number in range(20):
        await sender.publish(f"a/{number}", qos=1)

    received = await peer.rest()
    kinds = [each for each in received if not isinstance(each, Publish)]
    assert kinds == received[-1:]
    assert kinds[0].kind == DISCONNECT
    assert kinds[0].reason == 0x81


@pytest.mark.parametrize("sent", [packet(PINGREQ, 0, b""), packet(DISCONNECT, 0, b""), b"\x00\x00"])
async def test_it_never_comes_before_connack(clients: Clients, sent: bytes) -> None:
    """[MQTT-3.14.0-1] [MQTT-4.13.1-1]."""
    peer = await clients.open()

    await peer.send(sent)

    assert await peer.rest() == []


async def test_a_refused_connect_is_not_followed_by_it(clients: Clients) -> None:
    """[MQTT-3.14.0-1] [MQTT-4.13.2-1]."""
    peer = await clients.open()

    connack = await peer.connect(Connect("peer", properties=(("receive_maximum", 0),)))

    assert connack.reason >= 0x80
    assert await peer.rest() == []


@pytest.mark.parametrize("maximum", [30, 60, 1_000])
async def test_a_reason_string_never_makes_it_too_large(clients: Clients, maximum: int) -> None:
    """[MQTT-3.14.2-3] [MQTT-3.1.2-24]."""
    peer = await clients.connect("peer", properties=(("maximum_packet_size", maximum),))

    await peer.send(Publish("a", properties=(("subscription_identifier", 1),)).encode(5))

    received = await peer.rest()
    assert len(received) == 1
    last = received[0]
    assert not isinstance(last, Publish)
    assert (last.kind, last.reason) == (DISCONNECT, 0x82)
    assert 2 + len(last.body) <= maximum
    assert bool(last.get("reason_string")) == (maximum == 1_000)


async def test_pings_are_answered(clients: Clients) -> None:
    """[MQTT-3.12.4-1]."""
    peer = await clients.connect("peer")

    await peer.send(packet(PINGREQ, 0, b"") * 3)

    answers = [await peer.packet(PINGRESP) for _ in range(3)]
    assert [(answer.flags, answer.body) for answer in answers] == [(0, b"")] * 3
    await clients.silent(peer)
