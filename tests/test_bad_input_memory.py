"""Clients that make a broker hold things: its process stays small, and a second client is served.

Memory is what the kernel says of the process. The bounds are generous: what they are to catch grows
by hundreds of megabytes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.hostile import MIB, Target, broker_process, bystander
from tests.packets import (
    CONNECT,
    PUBLISH,
    PUBREC,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Connect,
    Publish,
    packet,
    property_bytes,
    text,
    variable,
)
from tests.peer import TIMEOUT_S, Filter, Peer

LIMITS = """
[limits]
session_queue_bytes = 8_388_608
queued_bytes = 33_554_432
retained_bytes = 33_554_432
output_bytes = 1_048_576
"""
LARGEST = 268_435_455
"""The largest Remaining Length: 256 MB."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A broker with small limits and packets up to the default of 16 MiB."""
    with broker_process(tmp_path_factory.mktemp("bad"), LIMITS) as target:
        yield target


@pytest.fixture
async def target(process: Target) -> AsyncIterator[Target]:
    """The same, with a bystander beside the whole test; the peak of memory begins here."""
    process.reset_peak()
    try:
        async with bystander(process.address):
            yield process
    finally:
        await process.close()


async def swallow(peer: Peer) -> None:
    """Reads and throws away until the connection ends."""
    try:
        while await peer.reader.read(1 << 20):
            pass
    except ConnectionError:
        return


@pytest.mark.parametrize("version", [4, 5])
async def test_256_mb_declared_are_refused_at_once(target: Target, version: int) -> None:
    """The header says enough: 0x95, or a closed connection below MQTT 5 [MQTT-3.2.2-15]."""
    peer = await target.connect(Connect("large", version))
    await peer.send(bytes([PUBLISH << 4]) + variable(LARGEST))

    assert await peer.refused() == (0x95 if version == 5 else -1)


async def test_256_mb_declared_by_a_stranger_are_refused_at_once(target: Target) -> None:
    """Without a word: it may be no MQTT at all."""
    peer = await target.open()
    await peer.send(bytes([CONNECT << 4]) + variable(LARGEST) + text("MQTT")[:4])

    assert await peer.refused() == -1


async def test_what_is_declared_and_dripped_takes_no_more_memory_than_what_came(
    target: Target,
) -> None:
    """Fifty packets of 16 MB, of which 100 kB each come."""
    before = target.resident()
    peers = [await target.connect(Connect(f"drip{number}")) for number in range(50)]
    for peer in peers:
        await peer.send(bytes([PUBLISH << 4]) + variable(16 * MIB - 100) + text("t") + b"\0")
    for _ in range(100):
        for peer in peers:
            await peer.send(bytes(1_000))
    pinger = await target.connect(Connect("pinger"))
    await pinger.ping()

    assert target.peak() - before < 40 * MIB


async def test_hundreds_of_thousands_of_user_properties_pass_in_order(target: Target) -> None:
    """They are bytes to be sent on; nothing is made of each [MQTT-3.3.2-17] [MQTT-3.3.2-18]."""
    before = target.resident()
    reader = await target.connect(Connect("reader"))
    await reader.subscribe("p")
    writer = await target.connect(Connect("writer"))
    section = b"".join(
        property_bytes("user_property", (str(number), "v")) for number in range(200_000)
    )
    sent = packet(PUBLISH, 0, text("p") + variable(len(section)) + section + b"payload")

    await writer.send(sent)

    async with asyncio.timeout(TIMEOUT_S):
        assert await reader.reader.readexactly(len(sent)) == sent
    assert target.peak() - before < 40 * MIB


async def test_user_properties_of_subscribe_and_unsubscribe_are_not_collected(
    target: Target,
) -> None:
    """16 MB of them in each."""
    before = target.resident()
    peer = await target.connect(Connect("props"))
    section = property_bytes("user_property", ("k", "v")) * (2 * MIB)
    properties = b"\0\1" + variable(len(section)) + section

    await peer.send(packet(SUBSCRIBE, 2, properties + text("a") + b"\0"))
    assert (await peer.packet(SUBACK)).reasons == (0,)
    await peer.send(packet(UNSUBSCRIBE, 2, properties + text("a")))
    assert (await peer.packet(UNSUBACK)).reasons == (0,)

    assert target.peak() - before < 80 * MIB


async def test_millions_of_filters_in_one_packet_are_answered_one_by_one(target: Target) -> None:
    """A session's limit is 100,000; what is beyond gets 0x97."""
    before = target.resident()
    peer = await target.connect(Connect("flood"))
    count = 4_000_000

    await peer.send(packet(SUBSCRIBE, 2, b"\0\1\0" + (text("a") + b"\1") * count))

    suback = await peer.packet(SUBACK)
    assert suback.reasons == (1,) * 100_000 + (0x97,) * (count - 100_000)
    await peer.send(packet(UNSUBSCRIBE, 2, b"\0\1\0" + text("a") * count))
    assert (await peer.packet(UNSUBACK)).reasons == (0,) + (0x11,) * (count - 1)
    assert target.peak() - before < 120 * MIB


async def test_floods_of_subscriptions_end_at_the_limit(target: Target) -> None:
    """One SUBSCRIBE each thousand, until 0x97."""
    peer = await target.connect(Connect("flood"))
    task = asyncio.create_task(swallow(await target.connect(Connect("other"))))
    sent = 0
    refused = 0
    while not refused:
        suback = await peer.subscribe(*(Filter(f"f/{sent + each}/+") for each in range(10_000)))
        sent += 10_000
        refused = suback.reasons.count(0x97)
        assert set(suback.reasons) <= {0, 0x97}

    assert (sent, refused) == (110_000, 10_000)
    assert (await peer.subscribe("f/7/+")).reasons == (0,)
    await peer.unsubscribe("f/7/+")
    assert (await peer.subscribe("another")).reasons == (0,)
    task.cancel()


async def test_deep_filters_cost_what_they_take(target: Target) -> None:
    """65,000 levels are a filter like others, but a few of them fill a session's limit."""
    before = target.resident()
    peer = await target.connect(Connect("deep"))
    answers = [
        (await peer.subscribe(f"{number}" + "/" * 65_000 + "+")).reasons[0] for number in range(50)
    ]

    assert answers[0] == 0
    assert answers[-1] == 0x97
    await peer.publish("0" + "/" * 65_000 + "x", b"deep", qos=1)
    assert (await peer.message()).payload == b"deep"
    assert target.peak() - before < 60 * MIB


async def test_deep_topics_are_matched_in_their_length(target: Target) -> None:
    """Filters of `+` in all places where the topic has `a`."""
    peer = await target.connect(Connect("plus"))
    names = [
        "/".join("+" if number >> bit & 1 else "a" for bit in range(12)) for number in range(4_096)
    ]
    suback = await peer.subscribe(*(Filter(f"{name}/x") for name in names))
    assert set(suback.reasons) == {0}
    writer = await target.connect(Connect("writer"))
    deep = "/".join(["a"] * 30_000)
    for number in range(50):
        await writer.publish(f"{deep}/{number}", b"")
        await writer.publish("/".join(["a"] * 12) + f"/{number}", b"")
    await writer.publish("/".join(["a"] * 12) + "/x", b"found", qos=1)

    assert (await peer.message()).payload == b"found"


@pytest.mark.parametrize("qos", [1, 2])
async def test_messages_that_are_never_acknowledged_are_bounded(target: Target, qos: int) -> None:
    """The client reads all and acknowledges none, in a session that lasts."""
    before = target.resident()
    lasting = (("session_expiry_interval", 60),)
    reader = await target.connect(Connect("reader", properties=lasting))
    await reader.subscribe("unacked", qos=qos)
    task = asyncio.create_task(swallow(reader))
    writer = await target.connect(Connect("writer"))
    for _ in range(150):
        await writer.publish("unacked", bytes(MIB), qos=qos)

    assert target.peak() - before < 60 * MIB
    task.cancel()


async def test_sessions_together_leave_no_more_unacknowledged_than_all_queues_may_hold(
    target: Target,
) -> None:
    """Twelve sessions, each within its own limit."""
    before = target.resident()
    lasting = (("session_expiry_interval", 60),)
    tasks: list[asyncio.Task[None]] = []
    for number in range(12):
        reader = await target.connect(Connect(f"reader{number}", properties=lasting))
        await reader.subscribe(f"unacked/{number}", qos=1)
        tasks.append(asyncio.create_task(swallow(reader)))
    writer = await target.connect(Connect("writer"))
    for turn in range(240):
        await writer.publish(f"unacked/{turn % 12}", bytes(MIB), qos=1)

    assert target.peak() - before < 90 * MIB
    for task in tasks:
        task.cancel()


async def test_subscribing_again_and_again_to_what_is_retained_holds_one_replay(
    target: Target,
) -> None:
    """With Receive Maximum 1 and no PUBACK, what is retained waits."""
    writer = await target.connect(Connect("writer"))
    for number in range(3):
        await writer.publish(f"again/{number}", b"x", qos=1, retain=True)
    before = target.resident()
    peer = await target.connect(Connect("again", properties=(("receive_maximum", 1),)))
    task = asyncio.create_task(swallow(peer))
    request = peer.subscribe_bytes(1, [Filter("again/+", 1)])
    for _ in range(80):
        await peer.send(request * 5_000)
    await writer.ping()

    assert target.peak() - before < 25 * MIB
    task.cancel()
    for number in range(3):
        await writer.publish(f"again/{number}", b"", retain=True)


async def test_unsubscribing_tens_of_thousands_with_replays_waiting_takes_no_time(
    target: Target,
) -> None:
    """Each had to look through all that wait: five seconds for thirty thousand."""
    writer = await target.connect(Connect("writer"))
    await writer.publish("first/1", b"x", qos=1, retain=True)
    await writer.publish("first/2", b"x", qos=1, retain=True)
    peer = await target.connect(Connect("many", properties=(("receive_maximum", 1),)))
    await peer.subscribe("first/+", qos=1)
    names = [f"f/{number}" for number in range(30_000)]
    await peer.subscribe(*names, qos=1)

    unsuback = await peer.unsubscribe(*names)

    assert unsuback.reasons == (0,) * len(names)
    for number in (1, 2):
        await writer.publish(f"first/{number}", b"", retain=True)


async def test_retained_messages_that_wait_for_a_slow_reader_are_few(target: Target) -> None:
    """They are replaced in the store meanwhile, so that only the reader holds them."""
    before = target.resident()
    writer = await target.connect(Connect("writer"))
    topics = [f"slow/{number}" for number in range(16)]
    for round_number in range(12):
        for topic in topics:
            await writer.publish(topic, bytes(MIB), qos=1, retain=True)
        name = f"slow{round_number}"
        peer = await target.connect(Connect(name, properties=(("receive_maximum", 1),)))
        await peer.subscribe("slow/+", qos=1)
        assert isinstance(await peer.next(), Publish)

    # 16 MiB in the store, and for each of 12 readers one sent, one read from the store.
    assert target.peak() - before < 80 * MIB
    for topic in topics:
        await writer.publish(topic, b"", qos=1, retain=True)


async def test_identifiers_of_qos_2_that_are_never_released_are_bounded(target: Target) -> None:
    """All 65,535 of them, twice: the second time they are the same messages again."""
    before = target.resident()
    peer = await target.connect(Connect("unreleased"))
    burst = b"".join(
        Publish("nobody", b"", qos=2, packet_id=number).encode(5) for number in range(1, 65_536)
    )
    for pubrec in (packet(PUBREC, 0, b"\xff\xff\x10"), packet(PUBREC, 0, b"\xff\xff")):
        await peer.send(burst)
        async with asyncio.timeout(TIMEOUT_S):
            received = await peer.reader.readexactly(len(pubrec) * 65_535)
        assert received.endswith(pubrec)

    assert target.peak() - before < 30 * MIB
