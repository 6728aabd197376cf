"""Takeover: a second connection with the Client Identifier of the first (MQTT 5 §3.1.4)."""

import pytest

from tests.packets import DISCONNECT, Connect, Packet, Publish, Will
from tests.peer import Clients, Peer

TAKEN_OVER = 0x8E


async def last_word(peer: Peer) -> int:
    """The reason of the DISCONNECT that ends a connection."""
    (said,) = await peer.rest()
    assert isinstance(said, Packet)
    assert said.kind == DISCONNECT
    return said.reason


@pytest.mark.parametrize("clean", [True, False])
async def test_the_first_connection_ends_with_0x8e(clients: Clients, clean: bool) -> None:
    """And the second has the session: [MQTT-3.1.4-3] [MQTT-3.1.4-4]."""
    first = await clients.connect("c", clean=False, expiry=100)
    await first.subscribe("a")
    second = await clients.connect("c", clean=clean, expiry=100)

    assert await last_word(first) == TAKEN_OVER
    assert second.connack is not None
    assert second.connack.session_present == (not clean)
    await second.publish("a", b"x")
    if not clean:
        assert (await second.message()).payload == b"x"
    await clients.silent(second)


async def test_a_session_without_expiry_ends_with_the_connection_taken_over(
    clients: Clients,
) -> None:
    """The first connection is closed before Clean Start is looked at: [MQTT-3.1.4-3]."""
    first = await clients.connect("c", clean=False)
    second = await clients.connect("c", clean=False)

    assert await last_word(first) == TAKEN_OVER
    assert second.connack is not None
    assert not second.connack.session_present


async def test_the_second_connection_gets_what_the_first_left(clients: Clients) -> None:
    """Unacknowledged messages with DUP, then those that wait: [MQTT-3.1.2-5] [MQTT-3.1.4-3]."""
    window = ("receive_maximum", 1)
    first = await clients.connect("c", clean=False, expiry=100, properties=(window,))
    await first.subscribe("a", qos=1)
    publisher = await clients.connect("publisher")
    for n in range(3):
        await publisher.publish("a", str(n).encode(), qos=1)
    unacknowledged = await first.publication()
    second = await clients.connect("c", clean=False, expiry=100)
    received = await second.messages(3)

    assert [each.payload for each in received] == [b"0", b"1", b"2"]
    assert [each.dup for each in received] == [True, False, False]
    assert received[0].packet_id == unacknowledged.packet_id


@pytest.mark.parametrize(
    ("clean", "delay", "published"),
    [(False, None, True), (True, None, True), (False, 10, False), (True, 10, True)],
)
async def test_the_will_of_the_connection_taken_over(
    clients: Clients, clean: bool, delay: int | None, published: bool
) -> None:
    """It is published, unless it is delayed and the session goes on.

    [MQTT-3.1.4-3] [MQTT-3.1.2-8] [MQTT-3.1.3-9]
    """
    watcher = await clients.connect("watcher")
    await watcher.subscribe("w")
    properties = () if delay is None else (("will_delay_interval", delay),)
    await clients.connect("c", expiry=100, will=Will("w", b"first", properties=properties))
    await clients.connect("c", clean=clean, expiry=100)
    await clients.clock.advance(1_000)

    if published:
        assert (await watcher.message()).payload == b"first"
    await clients.silent(watcher)


async def test_the_second_connection_has_its_own_will(clients: Clients) -> None:
    """The first one's is published once, and only the second's later: [MQTT-3.1.2-7]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("w")
    await clients.connect("c", expiry=100, will=Will("w", b"first"))
    second = await clients.connect("c", clean=False, expiry=100, will=Will("w", b"second"))
    assert (await watcher.message()).payload == b"first"
    await clients.silent(watcher)
    await second.close()

    assert (await watcher.message()).payload == b"second"
    await clients.silent(watcher)


async def test_what_the_first_connection_sends_too_late_is_not_processed(
    clients: Clients,
) -> None:
    """It is closed for the broker from the takeover on: [MQTT-3.1.4-3]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("a")
    first = await clients.connect("c")
    await clients.connect("c")
    await clients.settle()
    first.writer.write(Publish("a").encode(5))

    assert await last_word(first) == TAKEN_OVER
    await clients.silent(watcher)


async def test_an_old_client_is_cut_off_without_a_word(clients: Clients) -> None:
    """DISCONNECT is none of the broker's packets before version 5: [MQTT-3.1.4-3]."""
    first = await clients.connect("c", version=4)
    await clients.connect("c")

    assert await first.rest() == []


async def test_many_takeovers_at_once_leave_one_connection(clients: Clients) -> None:
    """Whoever comes last has the session: [MQTT-3.1.4-3]."""
    peers = [await clients.open() for _ in range(20)]
    for peer in peers:
        await peer.send(Connect("c", clean=False).encode())
    await clients.settle()
    ended = 0
    for session in await clients.broker.sessions():
        assert (session.client_id, session.connected) == ("c", True)
    survivors: list[Peer] = []
    for peer in peers:
        connack = await peer.next()
        assert isinstance(connack, Packet)
        assert connack.reason == 0
        await peer.send(b"\xc0\0")
        answer = await peer.next()
        assert isinstance(answer, Packet)
        if answer.kind == DISCONNECT:
            assert answer.reason == TAKEN_OVER
            ended += 1
        else:
            survivors.append(peer)

    assert (ended, len(survivors)) == (19, 1)


async def test_a_takeover_is_by_identifier_and_mount_point_alone(clients: Clients) -> None:
    """Other clients are not touched: [MQTT-3.1.3-2]."""
    other = await clients.connect("C")
    await clients.connect("c")
    await clients.connect("c")

    await clients.silent(other)
