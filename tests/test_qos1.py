"""QoS 1: acknowledged in both directions, and free to come again (MQTT 5 §4.3.2)."""

import pytest

from tests.packets import PUBACK, PUBREC, Publish
from tests.peer import Clients


async def test_every_publish_is_acknowledged_under_its_identifier(clients: Clients) -> None:
    """[MQTT-4.3.2-4] [MQTT-2.2.1-5] [MQTT-4.6.0-2]."""
    sender = await clients.connect("sender")
    identifiers = [1, 65_535, 2, 300, 299]

    await sender.send(
        b"".join(Publish("a", b"x", 1, packet_id=each).encode(5) for each in identifiers)
    )

    assert [(await sender.packet(PUBACK)).packet_id for _ in identifiers] == identifiers


@pytest.mark.parametrize("dup", [False, True])
async def test_an_identifier_is_free_after_puback_whatever_dup_says(
    clients: Clients, dup: bool
) -> None:
    """[MQTT-4.3.2-5]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.send(Publish("a", b"first", 1, packet_id=9).encode(5))
    await sender.packet(PUBACK)

    await sender.send(Publish("a", b"second", 1, dup=dup, packet_id=9).encode(5))
    await sender.packet(PUBACK)

    assert [message.payload for message in await receiver.messages(2)] == [b"first", b"second"]


async def test_messages_under_way_have_identifiers_of_their_own(clients: Clients) -> None:
    """[MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-2.2.1-4]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a", qos=2)
    sender = await clients.connect("sender")
    for number in range(100):
        await sender.publish("a", b"%d" % number, qos=1 + number % 2)

    received = [await receiver.publication() for _ in range(100)]

    assert len({message.packet_id for message in received}) == 100
    assert all(message.packet_id and not message.dup for message in received)
    assert [message.qos for message in received] == [1, 2] * 50


async def test_a_message_is_not_sent_twice_on_one_connection(clients: Clients) -> None:
    """[MQTT-4.4.0-1]: only a reconnect makes the broker send again."""
    receiver = await clients.connect("receiver", expiry=3_600)
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)
    await receiver.publication()

    await clients.clock.advance(1_800)

    await clients.silent(receiver)


@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
async def test_a_refused_message_is_done_with(clients: Clients, reason: int) -> None:
    """[MQTT-4.4.0-2]."""
    receiver = await clients.connect("receiver", expiry=60)
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)
    message = await receiver.publication()

    await receiver.answer(PUBACK, message.packet_id, reason)
    await receiver.disconnect()

    back = await clients.connect("receiver", expiry=60, clean=False)
    await clients.silent(back)


async def test_an_acknowledgement_of_nothing_changes_nothing(clients: Clients) -> None:
    """MQTT 5 §4.13: it is no error, the message may have been forgotten with a session."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a", qos=1)

    await receiver.answer(PUBACK, 77)
    await clients.silent(receiver)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)

    assert (await receiver.message()).payload == b"x"


async def test_an_acknowledgement_of_qos_2_does_not_fit(clients: Clients) -> None:
    """[MQTT-4.3.2-3] [MQTT-4.13.1-1]."""
    receiver = await clients.connect("receiver", expiry=60)
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)
    message = await receiver.publication()

    await receiver.answer(PUBREC, message.packet_id)

    assert await receiver.refused() == 0x82
    back = await clients.connect("receiver", expiry=60, clean=False)
    assert (await back.message()).payload == b"x"


async def test_an_identifier_in_use_is_passed_over(clients: Clients) -> None:
    """All 65,535 are used in turn while one stays unacknowledged. [MQTT-4.3.2-1]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.publish("a", b"held", qos=1)
    held = (await receiver.publication()).packet_id

    seen: set[int] = set()
    for _ in range(66):
        batch = [Publish("a", b"", 1, packet_id=each + 1).encode(5) for each in range(1_000)]
        await sender.send(b"".join(batch))
        for _ in range(1_000):
            message = await receiver.publication()
            seen.add(message.packet_id)
            await receiver.answer(PUBACK, message.packet_id)
            await sender.packet(PUBACK)

    assert held not in seen
    assert len(seen) > 60_000
