"""Subscription Identifiers, and subscriptions of one client that overlap (MQTT 5 §3.3.4)."""

import pytest

from tests.packets import Publish
from tests.peer import Clients, Filter

NAMES = ["spring", "summer", "autumn", "winter"]
LARGEST = 268_435_455


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("identifier", [1, 127, 128, 16_384, 2_097_152, LARGEST])
async def test_a_message_names_the_subscription_it_came_by(
    clients: Clients, name: str, identifier: int
) -> None:
    """[MQTT-3.3.4-3] [MQTT-1.5.5-1]."""
    receiver = await clients.connect(name)
    await receiver.subscribe("a", qos=1, identifier=identifier)
    sender = await clients.connect("sender")

    await sender.publish("a", qos=1)

    assert (await receiver.message()).properties == (("subscription_identifier", identifier),)


@pytest.mark.parametrize("name", NAMES)
async def test_overlapping_subscriptions_bring_one_message_with_all_identifiers(
    clients: Clients, name: str
) -> None:
    """[MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-2]."""
    receiver = await clients.connect(name)
    await receiver.subscribe("lab/temp", qos=0, identifier=1)
    await receiver.subscribe("lab/+", qos=2, identifier=2)
    await receiver.subscribe("lab/#", qos=1)
    await receiver.subscribe("#", qos=1, identifier=3)
    await receiver.subscribe("other/#", qos=2, identifier=4)
    sender = await clients.connect("sender")

    await sender.publish("lab/temp", qos=2)

    message = await receiver.message()
    assert message.qos == 2
    assert sorted(map(str, message.all("subscription_identifier"))) == ["1", "2", "3"]
    await clients.silent(receiver)


async def test_filters_of_one_packet_share_its_identifier(clients: Clients) -> None:
    """[MQTT-3.3.4-3]: named once or once for each, as the sender likes."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a/+", "+/b", "c", identifier=9)
    sender = await clients.connect("sender")

    for topic in ("c", "a/x", "a/b"):
        await sender.publish(topic)

    received = await receiver.messages(3)
    assert [set(message.all("subscription_identifier")) for message in received] == [{9}] * 3
    await clients.silent(receiver)


async def test_no_identifier_is_sent_where_none_was_given(clients: Clients) -> None:
    """[MQTT-3.3.4-3]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a/+")
    await receiver.subscribe("+/b")
    sender = await clients.connect("sender")

    await sender.publish("a/b", b"x")

    assert await receiver.message() == Publish("a/b", b"x")
    await clients.silent(receiver)


async def test_a_new_subscribe_replaces_the_identifier(clients: Clients) -> None:
    """[MQTT-3.8.4-3]."""
    receiver = await clients.connect("receiver")
    sender = await clients.connect("sender")

    for identifier in (5, 6, 0, 7):
        await receiver.subscribe("a", identifier=identifier)
        await sender.publish("a")
        found = (await receiver.message()).all("subscription_identifier")
        assert found == ([identifier] if identifier else [])


async def test_identifiers_belong_to_the_session(clients: Clients) -> None:
    """MQTT 5 §4.1: they are kept with the subscription, and with what waits."""
    receiver = await clients.connect("receiver", expiry=60)
    await receiver.subscribe("a/+", qos=1, identifier=1)
    await receiver.subscribe("a/#", qos=1, identifier=2)
    await receiver.disconnect()
    sender = await clients.connect("sender")
    await sender.publish("a/b", b"while away", qos=1)
    receiver = await clients.connect("receiver", expiry=60, clean=False)
    await sender.publish("a/b", b"now", qos=1)

    received = await receiver.messages(2)

    assert [set(message.all("subscription_identifier")) for message in received] == [{1, 2}] * 2


async def test_identifiers_are_each_clients_own(clients: Clients) -> None:
    """[MQTT-3.3.4-3]."""
    receivers = [await clients.connect(name) for name in NAMES]
    for number, receiver in enumerate(receivers, start=1):
        await receiver.subscribe("a", qos=1, identifier=number)
    sender = await clients.connect("sender")

    await sender.publish("a", qos=1)

    for number, receiver in enumerate(receivers, start=1):
        assert (await receiver.message()).all("subscription_identifier") == [number]


async def test_a_retained_message_names_the_subscription_that_asked(clients: Clients) -> None:
    """[MQTT-3.3.4-3]."""
    sender = await clients.connect("sender")
    await sender.publish("a/b", b"x", qos=1, retain=True)
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a/+", identifier=1)
    assert (await receiver.message()).all("subscription_identifier") == [1]

    await receiver.subscribe("a/#", identifier=2)

    assert (await receiver.message()).all("subscription_identifier") == [2]
    await clients.silent(receiver)


async def test_a_shared_subscription_has_one_too(clients: Clients) -> None:
    """[MQTT-3.3.4-3], with those of subscriptions that are not shared in copies of their own."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("$share/group/a", qos=1, identifier=1)
    await receiver.subscribe("a", qos=1, identifier=2)
    sender = await clients.connect("sender")

    await sender.publish("a", qos=1)

    found = [message.all("subscription_identifier") for message in await receiver.messages(2)]
    assert sorted(map(str, found)) == ["[1]", "[2]"]


@pytest.mark.parametrize("levels", [(0, 1), (1, 0), (2, 1), (1, 2), (0, 2)])
async def test_the_highest_qos_of_overlapping_subscriptions_counts(
    clients: Clients, levels: tuple[int, int]
) -> None:
    """[MQTT-3.3.4-2]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe(Filter("a/+", levels[0]), Filter("a/#", levels[1]))
    sender = await clients.connect("sender")

    await sender.publish("a/b", qos=2)

    assert (await receiver.message()).qos == max(levels)
    await clients.silent(receiver)


async def test_retain_as_published_of_one_overlapping_subscription_is_enough(
    clients: Clients,
) -> None:
    """[MQTT-3.3.1-13]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe(Filter("a/+"), Filter("a/#", retain_as_published=True))
    sender = await clients.connect("sender")

    await sender.publish("a/b", b"x", retain=True)

    assert (await receiver.message()).retain


async def test_a_client_does_not_send_them(clients: Clients) -> None:
    """[MQTT-3.3.4-6] [MQTT-4.13.1-1]."""
    sender = await clients.connect("sender")

    await sender.publish("a", properties=[("subscription_identifier", 1)])

    assert await sender.refused() == 0x82
