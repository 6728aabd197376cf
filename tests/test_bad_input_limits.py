"""Every limit that clients can run into: its Reason Code, its counter, and its end."""

import asyncio

import pytest

from quantummq.config import Config
from tests.packets import Connect, Will
from tests.peer import TIMEOUT_S, Clients, Filter, Peer

every_version = pytest.mark.parametrize("version", [3, 4, 5], ids=["3.1", "3.1.1", "5"])


@pytest.fixture
def config() -> Config:
    """All limits small."""
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "listener": [{"address": "tcp://127.0.0.1:0"}],
            "limits": {
                "connections": 12,
                "sessions": 5,
                "subscriptions_per_session": 4,
                "subscriptions": 9,
                "subscription_bytes_per_session": 3_000,
                "retained_messages": 3,
                "retained_bytes": 3_000,
                "queued_messages": 10,
                "queued_bytes": 20_000,
            },
        }
    )


async def is_closed(peer: Peer) -> bool:
    """Whether the broker closed without a word."""
    async with asyncio.timeout(TIMEOUT_S):
        try:
            return await peer.reader.read() == b""
        except ConnectionError:
            return True


async def counter(clients: Clients, name: str) -> int:
    """A counter, when everything that was sent is handled."""
    await clients.settle()
    return clients.broker.counters()[name]


async def test_one_connection_too_many_is_closed_and_counted(clients: Clients) -> None:
    """Until another goes."""
    peers = [await clients.open() for _ in range(12)]
    await clients.settle()

    assert await is_closed(await clients.open())
    assert await counter(clients, "connections_refused") == 1
    assert await counter(clients, "connections") == 12
    await peers[0].close()
    await clients.settle()
    await clients.connect("fits")


@every_version
async def test_one_session_too_many_is_refused_with_quota_exceeded(
    clients: Clients, version: int
) -> None:
    """0x97, and 3, Server unavailable, below MQTT 5. [MQTT3-3.2.2-5]."""
    peers = [await clients.connect(f"s{number}") for number in range(5)]
    peer = await clients.open()

    connack = await peer.connect(Connect("sixth", version))

    assert connack.reason == (0x97 if version == 5 else 3)
    assert await peer.rest() == []
    assert await counter(clients, "connects_refused") == 1
    assert await counter(clients, "sessions") == 5
    await peers[0].disconnect()
    await clients.settle()
    await clients.connect("sixth", version=version)


@every_version
async def test_subscriptions_are_limited_for_each_session_and_in_all(
    clients: Clients, version: int
) -> None:
    """0x97 for each filter, and 0x80 below MQTT 5; one that is there may be changed."""
    refused = 0x97 if version == 5 else 0x80
    first = await clients.connect("first", version=version)
    suback = await first.subscribe("a", "b", "c", "d", "e")
    assert suback.reasons == (0, 0, 0, 0, refused)
    assert (await first.subscribe("d", qos=1)).reasons == (1,)
    second = await clients.connect("second", version=version)
    assert (await second.subscribe("a", "b", "c", "d")).reasons == (0, 0, 0, 0)
    third = await clients.connect("third", version=version)

    assert (await third.subscribe("a", "b")).reasons == (0, refused)

    assert await counter(clients, "subscriptions") == 9
    await first.disconnect()
    await clients.settle()
    assert (await third.subscribe("b", "c")).reasons == (0, 0)


async def test_bytes_of_filters_are_limited(clients: Clients) -> None:
    """Deep filters with wildcards count for what they take."""
    peer = await clients.connect("p")

    suback = await peer.subscribe("x" * 2_000, "y" * 2_000, "/" * 60 + "+", "+")

    assert suback.reasons == (0, 0x97, 0x97, 0)
    await peer.unsubscribe("x" * 2_000)
    assert (await peer.subscribe("y" * 2_000)).reasons == (0,)


@pytest.mark.parametrize("qos", [1, 2])
async def test_one_retained_message_too_many_is_refused_and_counted(
    clients: Clients, qos: int
) -> None:
    """0x97; those that are there may be replaced and removed."""
    peer = await clients.connect("p")
    for number in range(3):
        assert await peer.publish(f"r/{number}", b"1", qos=qos, retain=True) in (0, 0x10)

    assert await peer.publish("r/3", b"1", qos=qos, retain=True) == 0x97
    assert await peer.publish("r/2", b"2", qos=qos, retain=True) in (0, 0x10)
    assert await peer.publish("r/2", bytes(4_000), qos=qos, retain=True) == 0x97
    assert await counter(clients, "retained_refused") == 2
    await peer.publish("r/0", b"", qos=qos, retain=True)
    assert await peer.publish("r/3", b"1", qos=qos, retain=True) in (0, 0x10)
    held = {message.topic: message.payload for message in await clients.broker.retained("#")}
    assert held == {"r/1": b"1", "r/2": b"2", "r/3": b"1"}


async def test_a_retained_message_too_many_from_an_older_client_is_acknowledged(
    clients: Clients,
) -> None:
    """It cannot be told [MQTT3-3.3.5-2]; the counter tells."""
    peer = await clients.connect("p", version=4)
    for number in range(5):
        await peer.publish(f"r/{number}", b"1", qos=1, retain=True)

    assert await counter(clients, "retained_refused") == 2


async def test_all_queues_together_are_limited_in_messages(clients: Clients) -> None:
    """The new message is dropped and counted."""
    for number in range(2):
        away = await clients.connect(f"away{number}", expiry=100)
        await away.subscribe("q", qos=1)
        await away.disconnect()
    writer = await clients.connect("writer")
    for number in range(7):
        await writer.publish("q", b"%d" % number, qos=1)

    assert await counter(clients, "queued_messages") == 10
    assert await counter(clients, "dropped_total_full") == 4
    back = await clients.connect("away0", clean=False)
    assert [message.payload for message in await back.messages(5)] == [b"%d" % n for n in range(5)]


async def test_all_queues_together_are_limited_in_bytes(clients: Clients) -> None:
    """What lasting sessions have not acknowledged counts too, and gives way with its PUBACK."""
    reader = await clients.connect("reader", expiry=100)
    await reader.subscribe("q", qos=1)
    writer = await clients.connect("writer")
    for _ in range(6):
        await writer.publish("q", bytes(4_000), qos=1)

    assert await counter(clients, "dropped_total_full") == 1
    assert await counter(clients, "queued_bytes") >= 20_000
    assert len(await reader.messages(5)) == 5
    assert await counter(clients, "queued_bytes") == 0
    await writer.publish("q", b"again", qos=1)
    assert (await reader.message()).payload == b"again"


@every_version
async def test_a_will_that_does_not_fit_is_refused(clients: Clients, version: int) -> None:
    """Wills count among the bytes of queues: 0x97, or 3 below MQTT 5."""
    will = Will("w", bytes(12_000))
    first = await clients.connect("first", version=version, will=will)
    peer = await clients.open()

    connack = await peer.connect(Connect("second", version, will=will))

    assert connack.reason == (0x97 if version == 5 else 3)
    assert await counter(clients, "sessions") == 1
    await first.disconnect()
    assert await counter(clients, "queued_bytes") == 0
    await clients.connect("second", version=version, will=will)


async def test_a_limit_of_one_client_does_not_touch_another(clients: Clients) -> None:
    """Whoever is at its limits is served otherwise."""
    greedy = await clients.connect("greedy")
    await greedy.subscribe(*(Filter(f"f{number}") for number in range(20)))
    modest = await clients.connect("modest")

    assert (await modest.subscribe("m", qos=1)).reasons == (1,)
    await greedy.publish("m", b"x", qos=1)
    assert (await modest.message()).payload == b"x"
    await modest.publish("f0", b"y", qos=1)
    assert (await greedy.message()).payload == b"y"
