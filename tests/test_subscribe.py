"""SUBSCRIBE and SUBACK: what is granted, replaced, and asked for in one packet (MQTT 5 §3.8)."""

import asyncio

import pytest

from tests.packets import PUBACK, SUBACK, Publish
from tests.peer import Clients, Filter

NAMES = ["spring", "summer", "autumn", "winter"]


@pytest.mark.parametrize("packet_id", [1, 256, 65_535])
async def test_suback_carries_the_identifier_of_its_subscribe(
    clients: Clients, packet_id: int
) -> None:
    """[MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-2.2.1-6]."""
    peer = await clients.connect("peer")

    await peer.send(peer.subscribe_bytes(packet_id, [Filter("a")]))

    suback = await peer.packet(SUBACK)
    assert (suback.packet_id, suback.reasons) == (packet_id, (0,))


async def test_each_filter_has_its_reason_in_its_place(clients: Clients) -> None:
    """[MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-3.8.4-5]."""
    peer = await clients.connect("peer")

    suback = await peer.subscribe(
        Filter("a", 2), Filter("b/#/c", 1), Filter("c", 1), Filter("", 1), Filter("d+"), Filter("e")
    )

    assert suback.reasons == (2, 0x8F, 1, 0x8F, 0x8F, 0)


async def test_many_filters_in_one_packet_are_as_many_subscriptions(clients: Clients) -> None:
    """[MQTT-3.8.4-5] [MQTT-3.8.4-6]."""
    peer = await clients.connect("peer")
    filters = [Filter(f"topic/{number}", number % 3) for number in range(300)]

    suback = await peer.subscribe(*filters)

    assert suback.reasons == tuple(each.qos for each in filters)
    sender = await clients.connect("sender")
    for each in filters:
        await sender.publish(each.name, qos=2)
    received = await peer.messages(300)
    assert [(message.topic, message.qos) for message in received] == [
        (each.name, each.qos) for each in filters
    ]


async def test_one_filter_twice_in_one_packet_is_replaced(clients: Clients) -> None:
    """[MQTT-3.8.4-5] [MQTT-3.8.4-3]."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"kept", qos=1, retain=True)
    peer = await clients.connect("peer")

    suback = await peer.subscribe(Filter("a", 0), Filter("a", 1))

    assert suback.reasons == (0, 1)
    assert [message.qos for message in await peer.messages(2)] == [0, 1]
    await sender.publish("a", b"live", qos=1)
    assert (await peer.message()).qos == 1
    await clients.silent(peer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
async def test_a_message_comes_with_the_lower_of_both_qos(
    clients: Clients, name: str, granted: int, published: int
) -> None:
    """[MQTT-3.8.4-8]."""
    receiver = await clients.connect(name)
    assert (await receiver.subscribe("a", qos=granted)).reasons == (granted,)
    sender = await clients.connect("sender")

    await sender.publish("a", qos=published)

    assert (await receiver.message()).qos == min(granted, published)
    await clients.silent(receiver)


@pytest.mark.parametrize("name", NAMES)
async def test_the_same_filter_again_replaces_its_subscription(clients: Clients, name: str) -> None:
    """[MQTT-3.8.4-3]: one copy, on the new terms."""
    receiver = await clients.connect(name)
    await receiver.subscribe(Filter("a", 2, no_local=True, retain_as_published=True))

    await receiver.subscribe(Filter("a", 1))

    sender = await clients.connect("sender")
    await sender.publish("a", b"1", qos=2, retain=True)
    message = await receiver.message()
    assert (message.qos, message.retain) == (1, False)
    await receiver.publish("a", b"own", qos=2)
    assert (await receiver.message()).payload == b"own"
    await clients.silent(receiver)


async def test_no_message_is_lost_while_a_subscription_is_replaced(clients: Clients) -> None:
    """[MQTT-3.8.4-4]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe(Filter("a", 1))
    sender = await clients.connect("sender")

    async def publish() -> None:
        for number in range(400):
            await sender.publish("a", b"%d" % number, qos=1)

    async with asyncio.TaskGroup() as group:
        group.create_task(publish())
        for number in range(100):
            await receiver.subscribe(Filter("a", 1 + number % 2))

    received = await receiver.messages(400)
    assert [int(message.payload) for message in received] == list(range(400))
    await clients.silent(receiver)


async def test_what_waits_is_not_lost_when_a_subscription_is_replaced(clients: Clients) -> None:
    """[MQTT-3.8.4-4]."""
    receiver = await clients.connect("receiver", properties=(("receive_maximum", 1),))
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    for number in range(5):
        await sender.publish("a", b"%d" % number, qos=1)

    await receiver.subscribe("a", qos=0)

    received = await receiver.messages(5)
    assert [int(message.payload) for message in received] == list(range(5))


async def test_own_messages_come_back_unless_no_local_is_set(clients: Clients) -> None:
    """[MQTT-3.8.3-3]."""
    for name in NAMES:
        peer = await clients.connect(name)
        await peer.subscribe(Filter("with", 1), Filter("without", 1, no_local=True))
        await peer.publish("without", qos=1)
        await peer.publish("with", qos=1)

        assert (await peer.message()).topic == "with"
        await clients.silent(peer)
        await peer.disconnect()


async def test_no_local_keeps_away_own_messages_alone(clients: Clients) -> None:
    """[MQTT-3.8.3-3]."""
    peers = [await clients.connect(name) for name in NAMES]
    for peer in peers:
        await peer.subscribe(Filter("chat", 1, no_local=True))

    for peer, name in zip(peers, NAMES, strict=True):
        await peer.publish("chat", name.encode(), qos=1)

    for peer, name in zip(peers, NAMES, strict=True):
        said = {message.payload.decode() for message in await peer.messages(3)}
        assert said == set(NAMES) - {name}
    await clients.silent(*peers)


async def test_no_local_goes_by_the_client_identifier(clients: Clients) -> None:
    """A message sent on an earlier connection is still its own. [MQTT-3.8.3-3]."""
    peer = await clients.connect("peer", expiry=60)
    await peer.subscribe(Filter("a", 1, no_local=True))
    await peer.disconnect()
    peer = await clients.connect("peer", expiry=60, clean=False)

    await peer.publish("a", qos=1)

    await clients.silent(peer)


async def test_no_local_on_one_of_two_filters_leaves_the_other(clients: Clients) -> None:
    """[MQTT-3.8.3-3] [MQTT-3.3.4-2]."""
    peer = await clients.connect("peer")
    await peer.subscribe(Filter("a/#", 2, no_local=True))
    await peer.subscribe(Filter("a/+", 1), identifier=7)

    await peer.publish("a/b", qos=2)

    message = await peer.message()
    assert (message.qos, message.all("subscription_identifier")) == (1, [7])
    await clients.silent(peer)


@pytest.mark.parametrize("kept", [0, 1])
async def test_a_reason_string_is_sent_to_those_who_want_it(clients: Clients, kept: int) -> None:
    """[MQTT-3.1.2-29]."""
    problem = ("request_problem_information", kept)
    peer = await clients.connect("peer", properties=(problem,))

    suback = await peer.subscribe("a/#/b")

    assert suback.reasons == (0x8F,)
    assert bool(suback.get("reason_string")) == bool(kept)


@pytest.mark.parametrize("maximum", [20, 40, 1_000])
async def test_a_reason_string_never_makes_suback_too_large(clients: Clients, maximum: int) -> None:
    """[MQTT-3.9.2-1] [MQTT-3.1.2-24]."""
    peer = await clients.connect("peer", properties=(("maximum_packet_size", maximum),))

    suback = await peer.subscribe("a/#/b")

    assert suback.reasons == (0x8F,)
    assert 2 + len(suback.body) <= maximum
    assert bool(suback.get("reason_string")) == (maximum == 1_000)


async def test_a_suback_the_client_would_not_take_is_not_sent(clients: Clients) -> None:
    """[MQTT-3.1.2-24]: nothing is subscribed, and 0x95 says why."""
    peer = await clients.connect("peer", expiry=60, properties=(("maximum_packet_size", 20),))
    filters = [Filter(f"a/{number}", 1) for number in range(16)]
    assert len((await peer.subscribe(*filters[:15])).reasons) == 15

    await peer.send(peer.subscribe_bytes(9, filters))

    assert await peer.refused() == 0x95


async def test_a_subscription_is_there_when_suback_says_so(clients: Clients) -> None:
    """On every shard. [MQTT-3.8.4-1]."""
    senders = [await clients.connect(f"{name}-sender") for name in NAMES]
    for name in NAMES:
        receiver = await clients.connect(name)
        await receiver.subscribe("a", qos=1)
        for sender in senders:
            assert await sender.publish("a", name.encode(), qos=1) == 0
        assert {message.payload for message in await receiver.messages(4)} == {name.encode()}
        await receiver.disconnect()


async def test_messages_may_come_before_suback_but_none_from_before_subscribe(
    clients: Clients,
) -> None:
    """MQTT 5 §3.8.4."""
    sender = await clients.connect("sender")
    assert await sender.publish("a", b"before", qos=1) == 0x10
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a", qos=1)

    await sender.send(Publish("a", b"after", 1, packet_id=5).encode(5))
    await sender.packet(PUBACK)

    assert (await receiver.message()).payload == b"after"
    await clients.silent(receiver)
