"""Storms: resets, takeovers, half-closed sockets, floods of CONNECT; a good client beside."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from tests.hostile import Bystander, bystander
from tests.packets import PUBREC, Connect, Publish, Will
from tests.peer import TIMEOUT_S, Clients, Filter, Peer

ROUNDS = 250


@pytest.fixture
async def beside(clients: Clients) -> AsyncIterator[Bystander]:
    """A second client's round trips, checked at the end."""
    async with bystander(clients.broker.addresses[0]) as watching:
        yield watching


def reset(clients: Clients, sent: bytes) -> None:
    """Connects, sends, and resets the connection at once."""
    where = urlsplit(clients.broker.addresses[0])
    with socket.create_connection((where.hostname, where.port), timeout=TIMEOUT_S) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.sendall(sent)


async def nothing_is_left(clients: Clients) -> None:
    """But for the bystander."""
    await clients.settle()
    counters = clients.broker.counters()
    names = ["connections", "clients_connected", "sessions", "subscriptions", "queued_bytes"]
    assert [counters[name] for name in names] == [2, 2, 2, 1, 0]


@pytest.mark.parametrize("what", ["nothing", "half a CONNECT", "CONNECT", "a life"])
async def test_connections_that_are_reset_leave_nothing(
    clients: Clients, beside: Bystander, what: str
) -> None:
    """At once after what they sent, answers unread."""
    peer = Peer(*await asyncio.open_connection(*_place(clients)))
    subscribe = peer.subscribe_bytes(1, [Filter("storm/#", 1)])
    publish = Publish("storm/1", bytes(500), qos=1, packet_id=1).encode(5)
    await peer.close()
    for number in range(ROUNDS):
        connect = Connect(f"reset{number % 7}").encode()
        sent = {
            "nothing": b"",
            "half a CONNECT": connect[:9],
            "CONNECT": connect,
            "a life": connect + subscribe + publish * 5,
        }[what]
        reset(clients, sent)
    await beside.trip()
    await clients.clock.advance(60)
    await nothing_is_left(clients)


async def test_wills_of_a_storm_are_all_published(clients: Clients, beside: Bystander) -> None:
    """One for each connection that is lost or taken over."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("will", qos=1)
    taken = asyncio.create_task(watcher.messages(100))
    for number in range(100):
        will = Will("will", b"%d" % number, 1)
        peer = await clients.connect(f"mortal{number % 3}", will=will)
        peer.writer.transport.abort()

    payloads = sorted(int(message.payload) for message in await taken)

    assert payloads == list(range(100))
    await watcher.disconnect()
    await nothing_is_left(clients)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_storm_of_takeovers_ends_with_one_connection(
    clients: Clients, beside: Bystander, clean: bool
) -> None:
    """All with the same identifier, from all sides at once; each that lost is told 0x8E."""
    addresses = clients.broker.addresses[0]

    async def join() -> Peer:
        peer = await Peer.open(addresses)
        await peer.connect(Connect("same", clean=clean))
        return peer

    async def lose(peer: Peer) -> int:
        reason = await peer.refused()
        await peer.close()
        return reason

    # All have been in before the winner comes, or one of them would be the last.
    losers = await asyncio.gather(*(join() for _ in range(100)))
    await beside.trip()
    winner = await clients.connect("same", clean=clean)
    reasons = await asyncio.gather(*map(lose, losers))

    assert reasons == [0x8E] * 100
    await winner.ping()
    await winner.disconnect()
    await nothing_is_left(clients)


async def test_a_storm_of_connect_and_disconnect_leaves_nothing(
    clients: Clients, beside: Bystander
) -> None:
    """Each with a session, subscriptions and a will."""

    async def live(number: int) -> None:
        for turn in range(10):
            peer = await Peer.open(clients.broker.addresses[0])
            await peer.connect(Connect(f"c{number}", will=Will("w", b"x")))
            await peer.subscribe(f"c/{number}/{turn}", f"c/{number}/+")
            await peer.disconnect()

    await asyncio.gather(*(live(number) for number in range(30)))
    await beside.trip()
    await nothing_is_left(clients)


async def test_half_closed_sockets_are_closed(clients: Clients, beside: Bystander) -> None:
    """Who will send no more is gone, as if the connection was lost: before and after CONNECT."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("will")
    for sent in (b"", Connect("half").encode()[:5], Connect("half", will=Will("will")).encode()):
        peer = await Peer.open(clients.broker.addresses[0])
        await peer.send(sent)
        peer.writer.write_eof()
        async with asyncio.timeout(TIMEOUT_S):
            await peer.reader.read()
        await peer.close()

    assert (await watcher.message()).topic == "will"
    await watcher.disconnect()
    await nothing_is_left(clients)


async def test_what_came_before_a_half_close_is_done(clients: Clients, beside: Bystander) -> None:
    """A message that was sent whole is not lost with its connection."""
    reader = await clients.connect("reader")
    await reader.subscribe("last", qos=2)
    peer = await Peer.open(clients.broker.addresses[0])
    await peer.send(
        Connect("half").encode() + Publish("last", b"words", qos=2, packet_id=1).encode(5)
    )
    peer.writer.write_eof()

    assert (await reader.message()).payload == b"words"
    received = await peer.rest()
    assert [getattr(each, "kind", None) for each in received][-1:] in ([PUBREC], [2])
    await peer.close()


def _place(clients: Clients) -> tuple[str | None, int | None]:
    where = urlsplit(clients.broker.addresses[0])
    return where.hostname, where.port
