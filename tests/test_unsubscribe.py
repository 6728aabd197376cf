"""UNSUBSCRIBE and UNSUBACK (MQTT 5 §3.10)."""

import pytest

from tests.packets import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    UNSUBACK,
    UNSUBSCRIBE,
    packet,
    property_block,
    text,
)
from tests.peer import Clients

NAMES = ["spring", "summer", "autumn", "winter"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("names", ["a/b", "a/+", "a/#", "#", "+/b", "$share/group/a/b"])
async def test_no_message_follows_unsuback(clients: Clients, name: str, names: str) -> None:
    """[MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.11.3-2]."""
    receiver = await clients.connect(name)
    await receiver.subscribe(names, qos=1)
    sender = await clients.connect("sender")
    assert await sender.publish("a/b", qos=1) == 0
    await receiver.message()

    unsuback = await receiver.unsubscribe(names)

    assert unsuback.reasons == (0,)
    assert await sender.publish("a/b", qos=1) == 0x10
    await clients.silent(receiver)


@pytest.mark.parametrize("packet_id", [1, 256, 65_535])
async def test_unsuback_carries_the_identifier_of_its_unsubscribe(
    clients: Clients, packet_id: int
) -> None:
    """[MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-2.2.1-6]: whether something was subscribed or not."""
    peer = await clients.connect("peer")
    await peer.subscribe("a")

    for reason in (0x00, 0x11, 0x11):
        body = packet_id.to_bytes(2, "big") + property_block([]) + text("a")
        await peer.send(packet(UNSUBSCRIBE, 2, body))
        unsuback = await peer.packet(UNSUBACK)
        assert (unsuback.packet_id, unsuback.reasons) == (packet_id, (reason,))


async def test_each_filter_has_its_reason_in_its_place(clients: Clients) -> None:
    """[MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2]."""
    peer = await clients.connect("peer")
    await peer.subscribe("a", "b/#", "$share/g/c")

    unsuback = await peer.unsubscribe("x", "b/#", "a", "a", "c", "$share/g/c", "$share/h/c", "b/")

    assert unsuback.reasons == (0x11, 0, 0, 0x11, 0x11, 0, 0x11, 0x11)


@pytest.mark.parametrize("other", ["a/B", "a/", "/a/b", "a/#", "+/b", "A/b", "$share/g/a/b"])
async def test_filters_are_compared_letter_by_letter(clients: Clients, other: str) -> None:
    """[MQTT-3.10.4-1]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a/b", qos=1)

    assert (await receiver.unsubscribe(other)).reasons == (0x11,)

    sender = await clients.connect("sender")
    await sender.publish("a/b", b"x", qos=1)
    assert (await receiver.message()).payload == b"x"


async def test_one_of_two_overlapping_filters_leaves_the_other(clients: Clients) -> None:
    """[MQTT-3.10.4-1] [MQTT-3.10.4-2]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a/+", qos=2, identifier=1)
    await receiver.subscribe("a/#", qos=1, identifier=2)
    sender = await clients.connect("sender")

    await receiver.unsubscribe("a/+")
    await sender.publish("a/b", qos=2)

    message = await receiver.message()
    assert (message.qos, message.all("subscription_identifier")) == (1, [2])
    await clients.silent(receiver)


async def test_it_is_that_clients_subscription_alone(clients: Clients) -> None:
    """[MQTT-3.10.4-1]."""
    receivers = [await clients.connect(name) for name in NAMES]
    for receiver in receivers:
        await receiver.subscribe("a", qos=1)

    await receivers[0].unsubscribe("a")

    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)
    for receiver in receivers[1:]:
        assert (await receiver.message()).payload == b"x"
    await clients.silent(*receivers)


async def test_what_has_begun_to_be_sent_is_completed(clients: Clients) -> None:
    """[MQTT-3.10.4-3]."""
    receiver = await clients.connect("receiver", expiry=60)
    await receiver.subscribe("a", qos=2)
    sender = await clients.connect("sender")
    await sender.publish("a", b"1", qos=1)
    await sender.publish("a", b"2", qos=2)
    await sender.publish("a", b"3", qos=2)
    seen = [await receiver.publication() for _ in range(3)]
    await receiver.answer(PUBREC, seen[2].packet_id)
    await receiver.packet(PUBREL)

    await receiver.unsubscribe("a")
    await receiver.close()

    receiver = await clients.connect("receiver", expiry=60, clean=False)
    for number in range(2):
        again = await receiver.publication()
        assert (again.payload, again.dup) == (seen[number].payload, True)
    assert (await receiver.packet(PUBREL)).packet_id == seen[2].packet_id
    await receiver.answer(PUBACK, seen[0].packet_id)
    await receiver.answer(PUBREC, seen[1].packet_id)
    assert (await receiver.packet(PUBREL)).packet_id == seen[1].packet_id
    await receiver.answer(PUBCOMP, seen[1].packet_id)
    await clients.silent(receiver)


async def test_many_filters_in_one_packet_end_as_many_subscriptions(clients: Clients) -> None:
    """[MQTT-3.10.4-6]."""
    receiver = await clients.connect("receiver")
    filters = [f"a/{number}/+" for number in range(200)]
    await receiver.subscribe(*filters)

    unsuback = await receiver.unsubscribe(*filters[:199])

    assert unsuback.reasons == (0,) * 199
    sender = await clients.connect("sender")
    for number in range(200):
        await sender.publish(f"a/{number}/x", qos=0)
    assert (await receiver.message()).topic == "a/199/x"
    await clients.silent(receiver)


async def test_it_outlives_the_connection(clients: Clients) -> None:
    """[MQTT-3.10.4-2]."""
    receiver = await clients.connect("receiver", expiry=60)
    await receiver.subscribe("a", "b", qos=1)
    await receiver.unsubscribe("a")
    await receiver.disconnect()
    sender = await clients.connect("sender")
    await sender.publish("a", qos=1)
    await sender.publish("b", qos=1)

    receiver = await clients.connect("receiver", expiry=60, clean=False)

    assert (await receiver.message()).topic == "b"
    await clients.silent(receiver)


@pytest.mark.parametrize("maximum", [20, 40, 1_000])
async def test_unsuback_never_grows_past_what_the_client_takes(
    clients: Clients, maximum: int
) -> None:
    """[MQTT-3.11.2-1] [MQTT-3.1.2-24]."""
    peer = await clients.connect("peer", properties=(("maximum_packet_size", maximum),))

    unsuback = await peer.unsubscribe("a/#/b")

    assert unsuback.reasons == (0x8F,)
    assert 2 + len(unsuback.body) <= maximum


async def test_an_unsuback_the_client_would_not_take_is_not_sent(clients: Clients) -> None:
    """[MQTT-3.1.2-24]."""
    peer = await clients.connect("peer", properties=(("maximum_packet_size", 20),))
    await peer.unsubscribe(*["a"] * 15)
    body = (9).to_bytes(2, "big") + property_block([]) + text("a") * 16

    await peer.send(packet(UNSUBSCRIBE, 2, body))

    assert await peer.refused() == 0x95
