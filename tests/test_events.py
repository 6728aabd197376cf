"""What happens, as one stream of records: every kind with its fields, bounded, counted."""

import asyncio
import socket
from dataclasses import dataclass

import pytest

from quantummq.auth import AuthenticationRequest, Identity, Refusal
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from quantummq.engine import Event
from quantummq.events import EventStream
from tests.certificates import write_certificates
from tests.conftest import CONFIG
from tests.packets import Connect, Will
from tests.peer import TIMEOUT_S, Clients, Filter, Peer


@dataclass(frozen=True)
class Told:
    """What an event says, but for time, listener and peer."""

    kind: str
    client_id: str = ""
    reason: int = 0
    detail: str = ""
    user: str = ""
    count: int = 1


def told(event: Event) -> Told:
    """An event in the shape tests compare."""
    return Told(event.kind, event.client_id, event.reason, event.detail, event.user, event.count)


async def next_events(stream: EventStream, count: int) -> list[Event]:
    """So many events, however they are batched."""
    found: list[Event] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(found) < count:
            found += await anext(stream)
    assert len(found) == count, found
    return found


def address_of(peer: Peer) -> str:
    """A client's address as the broker sees it."""
    return "{}:{}".format(*peer.writer.get_extra_info("sockname"))


# --- every kind --------------------------------------------------------------------------------


async def test_a_connection_from_its_beginning_to_its_end(clients: Clients) -> None:
    await clients.clock.advance(1.5)
    async with clients.broker.events() as stream:
        peer = await clients.connect("c")
        await peer.subscribe(Filter("a/+", qos=1), Filter("bad/#/x"), Filter("$share/g/b", qos=2))
        await peer.unsubscribe("a/+", "unknown")
        await clients.clock.advance(2)
        await peer.disconnect()
        events = await next_events(stream, 6)

    assert [told(event) for event in events] == [
        Told("connected", "c"),
        Told("subscribed", "c", 1, "a/+"),
        Told("subscribed", "c", 2, "$share/g/b"),
        Told("unsubscribed", "c", 0, "a/+"),
        Told("disconnected", "c"),
        Told("session_ended", "c"),
    ]
    listener = clients.broker.config.listeners[0].name
    assert {(event.listener, event.peer) for event in events[:-1]} == {(listener, address_of(peer))}
    assert (events[-1].listener, events[-1].peer) == ("", "")
    assert [event.time_ms for event in events] == [1_500] * 4 + [3_500] * 2


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_disconnect_says_who_ended_it_and_why(clients: Clients, version: int) -> None:
    async with clients.broker.events() as stream:
        gone = await clients.connect("gone", version=version)
        await gone.close()
        late = await clients.connect("late", version=version, keep_alive=10)
        await clients.clock.advance(15)
        await late.rest()
        wrong = await clients.connect("wrong", version=version)
        await wrong.send(b"\x00\x00")
        await wrong.rest()
        await clients.connect("twice", version=version)
        await clients.connect("twice", version=version)
        await clients.settle()
        events = [told(event) for event in await next_events(stream, 13)]

    ends = {event.client_id: event for event in events if event.kind == "disconnected"}
    assert ends["gone"] == Told("disconnected", "gone", 0x80, "connection lost")
    assert (ends["late"].reason, ends["wrong"].reason) == (0x8D, 0x81)
    assert ends["late"].detail == "nothing was heard"
    assert "MQTT" in ends["wrong"].detail
    assert ends["twice"].reason == 0x8E
    assert "another connection" in ends["twice"].detail


async def test_a_disconnect_of_the_client_brings_its_own_reason(clients: Clients) -> None:
    async with clients.broker.events() as stream:
        peer = await clients.connect("c", will=Will("w"))
        await peer.disconnect(0x04)
        events = [told(event) for event in await next_events(stream, 3)]

    assert events[1] == Told("disconnected", "c", 0x04)


async def test_a_session_ends_when_it_expires_or_is_deleted(clients: Clients) -> None:
    first = await clients.connect("kept", expiry=10)
    await first.close()
    second = await clients.connect("deleted", expiry=10)
    await second.close()
    await clients.settle()
    async with clients.broker.events() as stream:
        await clients.connect("deleted", clean=True)
        [deleted, connected] = await next_events(stream, 2)
        await clients.clock.advance(10)
        [expired] = await next_events(stream, 1)

    assert told(deleted) == Told("session_ended", "deleted")
    assert told(connected) == Told("connected", "deleted")
    assert told(expired) == Told("session_ended", "kept")


async def test_a_refused_connect_says_why(clients: Clients) -> None:
    async with clients.broker.events() as stream:
        peer = await clients.open()
        await peer.connect(Connect("c", will=Will("w/+")))
        [event] = await next_events(stream, 1)

    assert told(event) == Told("refused", "c", 0x90, "the Will Topic is not a topic to publish to")
    assert event.peer == address_of(peer)


async def test_a_refusal_of_an_authenticator_has_its_words_and_no_secret() -> None:
    class Strict:
        async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
            if request.password == b"right":
                return Identity("alice")
            return Refusal(0x86, "bad user name or password")

    clock = ManualClock()
    async with Broker(Config.model_validate(CONFIG), clock=clock, authenticators=Strict()) as made:
        clients = Clients(made, clock)
        stream = made.events()
        peer = await clients.open()
        await peer.connect(Connect("c", username="alice", password=b"hidden"))
        await clients.connect("c", username="alice", password=b"right")
        [refused, connected] = await next_events(stream, 2)
        await clients.close()

    assert told(refused) == Told("refused", "c", 0x86, "bad user name or password")
    assert told(connected) == Told("connected", "c", user="alice")
    assert "hidden" not in repr(refused)


@pytest.mark.parametrize(
    ("sent", "reason", "detail"),
    [
        (b"", 0x80, "the connection ended before CONNECT was complete"),
        (b"\x10\x20\x00", 0x80, "the connection ended before CONNECT was complete"),
        (b"\xc0\x00", 0x82, "the first packet is not CONNECT [MQTT-3.1.0-1]"),
        (b"\x10\x02\x00\x00", 0x84, "[MQTT-3.1.2-1]"),
    ],
)
async def test_what_ends_before_a_connect_is_aborted(
    clients: Clients, sent: bytes, reason: int, detail: str
) -> None:
    async with clients.broker.events() as stream:
        peer = await clients.open()
        await peer.send(sent)
        await peer.close()
        [event] = await next_events(stream, 1)

    assert (event.kind, event.client_id, event.reason) == ("aborted", "", reason)
    assert event.detail.endswith(detail)
    assert event.peer.startswith("127.0.0.1:")


async def test_a_connect_that_does_not_come_is_aborted(clients: Clients) -> None:
    async with clients.broker.events() as stream:
        peer = await clients.open()
        await clients.settle()
        await clients.clock.advance(clients.broker.config.listeners[0].connect_timeout_s)
        assert await peer.rest() == []
        [event] = await next_events(stream, 1)

    assert (event.kind, event.reason) == ("aborted", 0xA0)
    assert "connect timeout" in event.detail


async def test_a_handshake_that_fails_is_one_event(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Below MQTT: TLS, WebSocket, PROXY. Nobody connected, so nobody was refused."""
    certificates = write_certificates(tmp_path_factory.mktemp("certs"))
    tls = {"certificate": certificates.server, "key": certificates.server_key}
    listeners = [
        {"name": "tls", "address": "tls://127.0.0.1:0", "tls": tls},
        {"name": "ws", "address": "ws://127.0.0.1:0", "ws": {"enabled": True}},
        {"name": "proxied", "address": "tcp://127.0.0.1:0", "proxy": {"trusted": ["127.0.0.1"]}},
    ]
    async with Broker(Config.model_validate({**CONFIG, "listener": listeners})) as broker:
        stream = broker.events()
        for index, first in enumerate((b"\x16nonsense", b"GET / HTTP/1.1\r\n\r\n", b"\x10\x0c")):
            port = int(broker.addresses[index].rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            await reader.read()
            writer.close()
            [event] = await next_events(stream, 1)
            assert (event.kind, event.reason) == ("aborted", 0x80)
            assert event.listener == broker.config.listeners[index].name
            assert event.detail
            assert event.peer.startswith("127.0.0.1:")


async def test_connections_closed_at_the_door_are_told_together(clients: Clients) -> None:
    listener = {"name": "small", "address": "tcp://127.0.0.1:0", "max_connections": 1}
    clock = ManualClock()
    config = Config.model_validate({**CONFIG, "listener": [listener]})
    async with Broker(config, clock=clock) as broker:
        few = Clients(broker, clock)
        stream = broker.events()
        await few.connect("c")
        for _ in range(3):
            assert await (await few.open()).rest() == []
        await clock.advance(60)
        connected, *refused = [told(e) async for batch in _until_quiet(few, stream) for e in batch]
        await few.close()

    assert connected == Told("connected", "c")
    assert sum(event.count for event in refused) == 3
    assert {(event.kind, event.client_id, event.reason) for event in refused} == {
        ("refused", "", 0x97)
    }
    assert refused[0].detail == "the limit of connections is reached"


async def _until_quiet(clients: Clients, stream: EventStream):  # noqa: ANN202 - a generator of ours
    """What has happened by now."""
    await clients.settle()
    stream.close()
    async for batch in stream:
        yield batch


async def test_dropped_messages_are_told_with_their_number() -> None:
    limits = {"session_queue_messages": 10}
    clock = ManualClock()
    config = Config.model_validate({**CONFIG, "limits": limits})
    async with Broker(config, clock=clock) as broker:
        clients = Clients(broker, clock)
        peer = await clients.connect("c", expiry=100)
        await peer.subscribe("a", qos=1)
        await peer.close()
        await clients.settle()
        stream = broker.events()
        for _ in range(2_011):
            await broker.publish("a", b"x", qos=1)
        events = [told(event) async for batch in _until_quiet(clients, stream) for event in batch]
        [session] = await broker.sessions()
        assert broker.counters()["dropped_queue_full"] == 2_001
        await clients.close()

    assert session.dropped == 2_001
    assert [(event.kind, event.client_id, event.count) for event in events] == [
        ("dropped", "c", 1),
        ("dropped", "c", 1_000),
        ("dropped", "c", 1_000),
    ]
    assert events[0].reason == 0x97
    assert events[0].detail


# --- the stream --------------------------------------------------------------------------------


async def test_events_are_frozen_and_show_what_they_are(clients: Clients) -> None:
    async with clients.broker.events() as stream:
        await clients.connect("c")
        [event] = await next_events(stream, 1)

    with pytest.raises(AttributeError):
        event.kind = "other"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    shown = 'Event(kind="connected", client_id="c", reason=0x00, detail="", count=1)'
    assert repr(event) == shown


async def test_a_stream_is_bounded_and_counts_what_it_drops(clients: Clients) -> None:
    """The oldest stay, others lose nothing, and it goes on once it is read."""
    async with clients.broker.events(capacity=5) as small, clients.broker.events() as large:
        for number in range(10):
            await clients.connect(f"c{number}")
            await clients.settle()

        assert small.dropped == 5
        assert [event.client_id for event in await anext(small)] == [f"c{n}" for n in range(5)]
        await clients.connect("next")
        assert [event.client_id for event in await anext(small)] == ["next"]
        assert small.dropped == 5
        assert large.dropped == 0
        assert len(await next_events(large, 11)) == 11


async def test_what_the_engine_drops_for_want_of_room_is_counted() -> None:
    """limits.host_records: while Python does not read, what is said to it is bounded."""
    config = Config.model_validate({**CONFIG, "limits": {"host_records": 16}})
    async with Broker(config) as broker:
        stream = broker.events()
        port = int(broker.addresses[0].rpartition(":")[2])
        for number in range(100):  # Blocks the event loop: the engine goes on without it.
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
                client.sendall(Connect(f"c{number}").encode())
                assert client.recv(2)[0] == 0x20
        found = 0
        async with asyncio.timeout(TIMEOUT_S):
            while found + broker.counters()["dropped_events"] < 300:
                waiting = asyncio.ensure_future(anext(stream))
                await asyncio.wait({waiting}, timeout=0.01)
                if waiting.done():
                    found += len(await waiting)
                else:
                    waiting.cancel()

    assert 0 < found < 300


async def test_events_before_the_stream_are_not_in_it(clients: Clients) -> None:
    await clients.connect("before")
    await clients.settle()
    async with clients.broker.events() as stream:
        await clients.connect("after")

        assert [event.client_id for event in await next_events(stream, 1)] == ["after"]


async def test_a_stream_opened_before_the_start_sees_everything(config: Config) -> None:
    broker = Broker(config)
    stream = broker.events()
    for _ in range(2):
        await broker.start()
        peer = await Peer.open(broker.addresses[0])
        await peer.connect(Connect("c"))
        await broker.stop()
        await peer.close()
        events = [told(event) async for batch in stream for event in batch]
        assert [event.kind for event in events] == ["connected", "disconnected", "session_ended"]
        assert events[1].reason == 0x8B
        stream = broker.events()
    stream.close()


async def test_a_closed_stream_gives_what_it_has_and_ends(clients: Clients) -> None:
    stream = clients.broker.events()
    await clients.connect("c")
    await clients.settle()
    stream.close()
    await clients.connect("later")
    await clients.settle()

    assert [event.client_id async for batch in stream for event in batch] == ["c"]
    assert [batch async for batch in stream] == []


async def test_a_stream_that_nobody_holds_costs_nothing(clients: Clients) -> None:
    """The engine records no events then: a new stream does not find any of before."""
    stream = clients.broker.events()
    del stream
    await clients.connect("before")
    await clients.settle()
    async with clients.broker.events() as stream:
        await clients.connect("after")

        assert [event.client_id for event in await next_events(stream, 1)] == ["after"]


@pytest.mark.parametrize("capacity", [0, -1])
async def test_a_stream_holds_at_least_one_event(clients: Clients, capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity"):
        clients.broker.events(capacity=capacity)


async def test_a_cancelled_reader_loses_no_event(clients: Clients) -> None:
    async with clients.broker.events() as stream:
        for number in range(10):
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await clients.connect(f"c{number}")
            await clients.settle()

            [event] = await next_events(stream, 1)
            assert event.client_id == f"c{number}"
