"""Clients that do not read: what waits for them is bounded and counted, and nobody else waits."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from quantummq.config import Config
from tests.hostile import MIB, Bystander, bystander, read_again, stop_reading
from tests.packets import PINGREQ, packet
from tests.peer import TIMEOUT_S, Clients, Filter, Peer

every_version = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])
QUEUE = 500
PAYLOAD = bytes(10_000)


@pytest.fixture
def config() -> Config:
    """Small limits, so that the kernel's buffers are filled many times over."""
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "listener": [{"address": "tcp://127.0.0.1:0"}],
            "limits": {
                "session_queue_messages": QUEUE,
                "session_queue_bytes": 4 * MIB,
                "output_bytes": MIB,
            },
        }
    )


@pytest.fixture
async def beside(clients: Clients) -> AsyncIterator[Bystander]:
    """A second client's round trips, checked at the end."""
    async with bystander(clients.broker.addresses[0]) as watching:
        yield watching


async def deaf(clients: Clients, client_id: str, version: int, qos: int) -> Peer:
    """A subscriber whose socket nobody reads any more."""
    peer = await clients.connect(client_id, version=version)
    await peer.subscribe("flood", qos=qos)
    stop_reading(peer)
    return peer


async def dropped_events(clients: Clients, client_id: str, flood: asyncio.Task[None]) -> None:
    """Waits until an event says that messages for that client were dropped."""
    async with clients.broker.events() as events, asyncio.timeout(TIMEOUT_S):
        async for batch in events:
            if any(event.kind == "dropped" and event.client_id == client_id for event in batch):
                break
    await flood


async def flood(writer: Peer, qos: int, count: int) -> None:
    """Publishes, each answered before the next if there is an answer."""
    for _ in range(count):
        await writer.publish("flood", PAYLOAD, qos=qos)
    await writer.ping()


@every_version
async def test_qos_0_for_a_client_that_never_reads_is_dropped_and_counted(
    clients: Clients, beside: Bystander, version: int
) -> None:
    """At output_bytes; the publisher does not wait, and who reads gets everything."""
    await deaf(clients, "deaf", version, 0)
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("flood")
    writer = await clients.connect("writer")

    async def pace() -> None:
        for _ in range(40):
            await flood(writer, 0, 40)
            assert len(await reader.messages(40)) == 40

    await dropped_events(clients, "deaf", asyncio.create_task(pace()))

    await clients.settle()
    assert clients.broker.counters()["dropped_output_full"] > 100
    sessions = {session.client_id: session for session in await clients.broker.sessions()}
    assert sessions["deaf"].dropped == clients.broker.counters()["dropped_output_full"]
    assert sessions["deaf"].queued_messages == 0
    await beside.trip()


@every_version
@pytest.mark.parametrize("qos", [1, 2])
async def test_the_queue_of_a_client_that_never_reads_is_bounded_and_drops_the_oldest(
    clients: Clients, beside: Bystander, version: int, qos: int
) -> None:
    """At session_queue_bytes; each drop is counted, for the session too."""
    peer = await deaf(clients, "deaf", version, qos)
    writer = await clients.connect("writer")

    await dropped_events(clients, "deaf", asyncio.create_task(flood(writer, qos, 1_500)))

    sessions = {session.client_id: session for session in await clients.broker.sessions()}
    session = sessions["deaf"]
    assert 300 < session.queued_messages <= QUEUE
    assert session.queued_bytes <= 4 * MIB
    assert session.dropped == clients.broker.counters()["dropped_queue_full"] > 100
    await writer.publish("flood", b"last", qos=qos)
    read_again(peer)
    while (await peer.message()).payload != b"last":
        pass
    await beside.trip()


async def test_the_number_of_messages_in_a_queue_is_bounded(
    clients: Clients, beside: Bystander
) -> None:
    """At session_queue_messages, for a client that is away."""
    away = await clients.connect("away", expiry=100)
    await away.subscribe("few", qos=1)
    await away.disconnect()
    writer = await clients.connect("writer")
    for number in range(QUEUE + 7):
        await writer.publish("few", b"%d" % number, qos=1)
    await clients.settle()
    assert clients.broker.counters()["dropped_queue_full"] == 7

    away = await clients.connect("away", clean=False, expiry=100)

    messages = await away.messages(QUEUE)
    assert [int(message.payload) for message in messages] == list(range(7, QUEUE + 7))
    await beside.trip()


@every_version
async def test_a_client_that_does_not_read_its_answers_is_not_read_from(
    clients: Clients, beside: Bystander, version: int
) -> None:
    """Its sending comes to a halt, and its Keep Alive ends it."""
    peer = await clients.connect("deaf", version=version, keep_alive=10)
    stop_reading(peer)
    burst = packet(PINGREQ, 0, b"") * 100_000
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(1_000):
            await peer.send(burst)
            sent += 1

    sending = asyncio.create_task(send())
    before = -1
    while before != sent:
        before = sent
        for _ in range(20):
            await beside.trip()
    assert 0 < sent < 1_000
    assert clients.broker.counters()["connections"] == 3
    await clients.clock.advance(15)
    await clients.clock.advance(3)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await sending
    await beside.trip()
    assert clients.broker.counters()["connections"] == 2


async def test_a_group_goes_on_without_the_member_that_never_reads(
    clients: Clients, beside: Bystander
) -> None:
    """What it cannot take goes to the other (MQTT 5 section 4.8.2)."""
    stuck = await clients.connect("stuck", properties=(("receive_maximum", 1),))
    await stuck.subscribe("$share/g/flood", qos=1)
    reader = await clients.connect("reader")
    await reader.subscribe("$share/g/flood", qos=1)
    writer = await clients.connect("writer")
    taken = asyncio.create_task(reader.messages(49))

    await flood(writer, 1, 50)

    assert len(await taken) == 49
    await beside.trip()


async def test_retained_messages_wait_for_a_client_that_never_reads(
    clients: Clients, beside: Bystander
) -> None:
    """They stay in the store until it reads."""
    writer = await clients.connect("writer")
    for number in range(300):
        await writer.publish(f"kept/{number}", PAYLOAD * 5, qos=1, retain=True)
    peer = await clients.connect("deaf")
    stop_reading(peer)
    await peer.send(peer.subscribe_bytes(1, [Filter("kept/+", 1)]))
    await beside.trip()
    assert clients.broker.counters()["queued_messages"] < 10

    read_again(peer)

    await peer.next()
    assert len({message.topic for message in await peer.messages(300)}) == 300
