"""Messages of one publisher on one topic arrive in the order they were published (MQTT 5 §4.6)."""

import asyncio

import pytest

from tests.packets import PUBACK, PUBREC, Publish
from tests.peer import Clients, Peer

NAMES = [f"client-{number}" for number in range(8)]
COUNT = 300


def numbers(messages: list[Publish]) -> list[int]:
    """What `pour` put into them."""
    return [int(message.payload) for message in messages]


async def pour(sender: Peer, topic: str, qos: int) -> None:
    """Publishes many at once, without a wait between them."""
    await sender.send(
        b"".join(
            Publish(topic, b"%d" % number, qos, packet_id=number + 1 if qos else 0).encode(5)
            for number in range(COUNT)
        )
    )
    if qos:
        kind = PUBACK if qos == 1 else PUBREC
        acknowledged = [(await sender.packet(kind)).packet_id for _ in range(COUNT)]
        assert acknowledged == [number + 1 for number in range(COUNT)]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_subscriber_on_every_shard_sees_the_order_published(
    clients: Clients, qos: int
) -> None:
    """[MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT-4.6.0-2] [MQTT-4.6.0-3]."""
    receivers = [await clients.connect(name) for name in NAMES]
    for receiver in receivers:
        await receiver.subscribe("a/#", qos=2)
    sender = await clients.connect("sender")

    await pour(sender, "a/b", qos)

    for receiver in receivers:
        assert numbers(await receiver.messages(COUNT)) == list(range(COUNT))


@pytest.mark.parametrize("qos", [1, 2])
async def test_two_publishers_are_each_in_order(clients: Clients, qos: int) -> None:
    """[MQTT-4.6.0-5]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("+", qos=qos)
    senders = [await clients.connect(f"sender-{number}") for number in range(4)]

    async with asyncio.TaskGroup() as group:
        for number, sender in enumerate(senders):
            group.create_task(pour(sender, f"t{number}", qos))

    received = await receiver.messages(COUNT * 4)
    for number in range(4):
        own = [message for message in received if message.topic == f"t{number}"]
        assert numbers(own) == list(range(COUNT))


@pytest.mark.parametrize("window", [1, 7])
async def test_a_narrow_window_does_not_change_the_order(clients: Clients, window: int) -> None:
    """[MQTT-4.6.0-6] [MQTT-4.6.0-5]."""
    receiver = await clients.connect("receiver", properties=(("receive_maximum", window),))
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")

    await pour(sender, "a", 1)

    assert numbers(await receiver.messages(COUNT)) == list(range(COUNT))


async def test_what_waited_comes_before_what_is_published_now(clients: Clients) -> None:
    """[MQTT-4.6.0-6]."""
    away = await clients.connect("receiver", expiry=600)
    await away.subscribe("a", qos=1)
    await away.close()
    sender = await clients.connect("sender")
    await pour(sender, "a", 1)

    back = await clients.connect(
        "receiver", expiry=600, clean=False, properties=(("receive_maximum", 10),)
    )
    await sender.publish("a", b"%d" % COUNT, qos=1)

    assert numbers(await back.messages(COUNT + 1)) == list(range(COUNT + 1))


async def test_a_subscription_that_changes_its_qos_keeps_the_order_of_each_qos(
    clients: Clients,
) -> None:
    """[MQTT-4.6.0-5] [MQTT-3.8.4-3]."""
    receiver = await clients.connect("receiver")
    sender = await clients.connect("sender")
    for number in range(30):
        await receiver.subscribe("a", qos=number % 3)
        await sender.publish("a", b"%d" % number, qos=2)

    received = await receiver.messages(30)

    for qos in range(3):
        own = [message for message in received if message.qos == qos]
        assert numbers(own) == list(range(qos, 30, 3))


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_retained_value_never_comes_after_a_newer_one(
    clients: Clients, qos: int, retain: bool
) -> None:
    """While they wait for credit, newer ones of their topics wait behind them.

    [MQTT-4.6.0-6] [MQTT-4.6.0-5] [MQTT-3.3.1-9].
    """
    sender = await clients.connect("sender")
    for topic in ("a", "b", "z"):
        await sender.publish(topic, b"1", qos=1, retain=True)
    await sender.publish("z", b"1", qos=qos, retain=True)
    receiver = await clients.connect("receiver", properties=(("receive_maximum", 1),))
    await receiver.subscribe("+", qos=2)
    first = await receiver.publication()

    for value in (b"2", b"3"):
        await sender.publish("z", value, qos=qos, retain=retain)
    await sender.ping()
    await receiver.answer(PUBACK, first.packet_id)

    received = await receiver.messages(4)
    assert [m.payload for m in received if m.topic == "z"] == [b"1", b"2", b"3"]
    assert received[0].topic == "b"
    await clients.silent(receiver)
