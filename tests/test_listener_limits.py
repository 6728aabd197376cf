"""Each listener has limits of its own: connections, packets, flow, keep alive, connect timeout."""

import asyncio

import pytest

from quantummq.config import Config
from tests.packets import CONNECT, PUBACK, Connect, Will, packet
from tests.peer import TIMEOUT_S, Clients, Peer

WIDE, NARROW = 0, 1


@pytest.fixture
def config() -> Config:
    """A listener with the defaults, and one with small limits."""
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "limits": {"connections": 8},
            "listener": [
                {"address": "tcp://127.0.0.1:0", "name": "wide"},
                {
                    "address": "tcp://127.0.0.1:0",
                    "name": "narrow",
                    "max_connections": 2,
                    "maximum_packet_size": 1024,
                    "receive_maximum": 3,
                    "inflight_maximum": 2,
                    "topic_alias_maximum": 5,
                    "topic_alias_maximum_out": 0,
                    "maximum_qos": 1,
                    "keep_alive_max_s": 30,
                    "session_expiry_max_s": 60,
                    "connect_timeout_s": 3,
                },
            ],
        }
    )


async def is_closed(peer: Peer) -> bool:
    """Waits until the broker has closed; whether it did so without a word."""
    async with asyncio.timeout(TIMEOUT_S):
        try:
            return await peer.reader.read() == b""
        except ConnectionError:
            return True


async def test_connack_tells_the_limits_of_the_listener(clients: Clients) -> None:
    """[MQTT-3.2.2-21]."""
    wide = await clients.connect("wide")
    narrow = await clients.connect("narrow", listener=NARROW, keep_alive=600, expiry=3600)
    assert wide.connack is not None
    assert narrow.connack is not None
    names = ["maximum_packet_size", "receive_maximum", "topic_alias_maximum", "maximum_qos"]
    names += ["server_keep_alive", "session_expiry_interval"]

    told = [narrow.connack.get(name) for name in names]

    assert told == [1024, 3, 5, 1, 30, 60]
    # Receive Maximum and Maximum QoS are left out where they are what the standard assumes.
    assert [wide.connack.get(name) for name in names] == [16 * 1024 * 1024, None, 32, *[None] * 3]


async def test_one_connection_too_many_is_closed_at_once(clients: Clients) -> None:
    first = await clients.connect("first", listener=NARROW)
    await clients.connect("second", listener=NARROW)

    third = await clients.open(NARROW)

    assert await is_closed(third)
    await clients.connect("elsewhere", listener=WIDE)
    await first.disconnect()
    await clients.settle()
    await clients.connect("fourth", listener=NARROW)


async def test_connections_that_send_nothing_count(clients: Clients) -> None:
    await clients.open(NARROW)
    await clients.open(NARROW)

    assert await is_closed(await clients.open(NARROW))


async def test_the_broker_has_a_limit_for_all_listeners(clients: Clients) -> None:
    for _ in range(8):
        await clients.connect("", listener=WIDE)

    assert await is_closed(await clients.open(WIDE))
    assert await is_closed(await clients.open(NARROW))


async def test_refused_connections_are_told_in_an_event(clients: Clients) -> None:
    async with clients.broker.events() as events:
        for _ in range(3):
            await clients.open(NARROW)
        await clients.settle()
        async with asyncio.timeout(TIMEOUT_S):
            batch = await anext(aiter(events))

    refused = [event for event in batch if event.kind == "refused"]
    assert [(event.listener, event.detail) for event in refused] == [
        ("narrow", "the limit of connections is reached")
    ]


async def test_a_packet_larger_than_the_listeners_limit_ends_the_connection(
    clients: Clients,
) -> None:
    """[MQTT-3.2.2-15] names it for clients; §4.13.1 has the answer, 0x95."""
    narrow = await clients.connect("narrow", listener=NARROW)
    wide = await clients.connect("wide", listener=WIDE)
    await wide.publish("large", b"x" * 2000, qos=1)

    await narrow.publish("large", b"x" * 2000, qos=0)

    assert await narrow.refused() == 0x95


async def test_the_limit_of_packets_is_exact(clients: Clients) -> None:
    """A byte is the packet's last one, its header counts. [MQTT-3.2.2-15]."""
    peer = await clients.connect("exact", listener=NARROW)
    # Fixed header 3, topic 2 + 1, Packet Identifier 2, properties 1.
    fits = 1024 - 9

    assert await peer.publish("t", b"x" * fits, qos=1) in (0, 0x10)

    await peer.publish("t", b"x" * (fits + 3), qos=0)
    assert await peer.refused() == 0x95


async def test_connect_is_bound_by_the_limit_of_packets_too(clients: Clients) -> None:
    peer = await clients.open(NARROW)

    await peer.send(packet(CONNECT, 0, b"\0\4MQTT\5\2\0\0\0" + b"x" * 2000))

    assert await peer.refused() in (0x95, -1)


async def test_a_client_may_not_exceed_the_listeners_receive_maximum(clients: Clients) -> None:
    """[MQTT-3.3.4-7], §4.13.1: 0x93. QoS 2 is not allowed here, so nothing waits at QoS 1."""
    peer = await clients.connect("sender", listener=NARROW)

    for _ in range(10):
        assert await peer.publish("t", qos=1) in (0, 0x10)


async def test_the_broker_keeps_to_the_listeners_inflight_maximum(clients: Clients) -> None:
    """Two at a time, though the client would take 65,535."""
    receiver = await clients.connect("receiver", listener=NARROW)
    await receiver.subscribe("t", qos=1)
    sender = await clients.connect("sender", listener=WIDE)
    for number in range(5):
        await sender.publish("t", b"%d" % number, qos=1)

    held = [await receiver.publication(), await receiver.publication()]

    await clients.silent(receiver)
    await receiver.answer(PUBACK, held[0].packet_id)
    assert (await receiver.publication()).payload == b"2"
    await clients.silent(receiver)


async def test_a_keep_alive_above_the_bound_is_cut_to_it(clients: Clients) -> None:
    """[MQTT-3.1.2-21] [MQTT-3.1.2-22]: one and a half times Server Keep Alive."""
    peers = [
        await clients.connect("asked", listener=NARROW, keep_alive=3600),
        await clients.connect("never", listener=NARROW, keep_alive=0),
    ]

    await clients.clock.advance(44)
    await clients.silent(*peers)
    await clients.clock.advance(46)

    assert [await peer.refused() for peer in peers] == [0x8D, 0x8D]


async def test_a_keep_alive_below_the_bound_stays(clients: Clients) -> None:
    peer = await clients.connect("brisk", listener=NARROW, keep_alive=10)
    assert peer.connack is not None

    assert peer.connack.get("server_keep_alive") is None
    await clients.clock.advance(16)
    assert await peer.refused() == 0x8D


async def test_a_client_before_version_5_is_held_to_the_bound_it_asked_for(
    clients: Clients,
) -> None:
    """It cannot be told another one, so its own stays in force. [MQTT3-3.1.2-24]."""
    peer = await clients.connect("old", listener=NARROW, version=4, keep_alive=20)

    await clients.clock.advance(31)

    assert await peer.rest() == []


@pytest.mark.parametrize(
    ("listener", "timeout_s"), [(WIDE, 10), (NARROW, 3)], ids=["wide", "narrow"]
)
@pytest.mark.parametrize("sent", [b"", Connect("half").encode()[:-2], b"\x10\x64\x00\x04MQTT"])
async def test_a_connect_that_does_not_come_in_time_ends_the_connection(
    clients: Clients, listener: int, timeout_s: int, sent: bytes
) -> None:
    """[MQTT-3.14.0-1] leaves nothing to be said before CONNECT."""
    peer = await clients.open(listener)
    await peer.send(sent)
    await clients.clock.advance(timeout_s - 1)
    assert clients.broker.counters()["connections"] == 1

    await clients.clock.advance(1)

    assert await is_closed(peer)
    await clients.settle()
    assert clients.broker.counters()["connections"] == 0


async def test_a_will_above_the_listeners_maximum_qos_is_refused(clients: Clients) -> None:
    """[MQTT-3.2.2-12]."""
    peer = await clients.open(NARROW)

    connack = await peer.connect(Connect("will", will=Will("t", qos=2)))

    assert connack.reason == 0x9B


async def test_a_client_that_connected_has_no_connect_timeout(clients: Clients) -> None:
    peer = await clients.connect("patient", listener=NARROW, keep_alive=30)

    await clients.clock.advance(20)

    await clients.silent(peer)
