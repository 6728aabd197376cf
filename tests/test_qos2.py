"""QoS 2: once, in both directions (MQTT 5 §4.3.3)."""

import pytest

from tests.packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Packet, Publish
from tests.peer import Clients, Peer


async def subscribed(clients: Clients, topic: str = "a") -> Peer:
    """A client that gets what is published there at QoS 2."""
    receiver = await clients.connect("receiver", expiry=60)
    await receiver.subscribe(topic, qos=2)
    return receiver


async def test_the_exchange_with_a_publisher_goes_step_by_step(clients: Clients) -> None:
    """[MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-2.2.1-5]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")

    await sender.send(Publish("a", b"x", 2, packet_id=513).encode(5))
    pubrec = await sender.packet(PUBREC)
    await sender.answer(PUBREL, 513)
    pubcomp = await sender.packet(PUBCOMP)

    assert (pubrec.packet_id, pubrec.reason) == (513, 0)
    assert (pubcomp.packet_id, pubcomp.reason) == (513, 0)
    assert (await receiver.message()).payload == b"x"


async def test_the_exchange_with_a_receiver_goes_step_by_step(clients: Clients) -> None:
    """[MQTT-4.3.3-2] [MQTT-4.3.3-4] [MQTT-3.6.1-1]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=2)

    message = await receiver.publication()
    await receiver.answer(PUBREC, message.packet_id)
    pubrel = await receiver.packet(PUBREL)
    await receiver.answer(PUBCOMP, message.packet_id)

    assert (message.qos, message.dup) == (2, False)
    assert (pubrel.packet_id, pubrel.flags, pubrel.reason) == (message.packet_id, 2, 0)
    await clients.silent(receiver)


@pytest.mark.parametrize("dup", [False, True])
async def test_a_message_that_comes_again_before_pubrel_is_delivered_once(
    clients: Clients, dup: bool
) -> None:
    """[MQTT-4.3.3-10]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")

    for again in (False, dup, dup):
        await sender.send(Publish("a", b"x", 2, dup=again, packet_id=5).encode(5))
        pubrec = await sender.packet(PUBREC)
        assert (pubrec.packet_id, pubrec.reason) == (5, 0)
    await sender.answer(PUBREL, 5)
    await sender.packet(PUBCOMP)

    assert (await receiver.message()).payload == b"x"
    await clients.silent(receiver)


async def test_a_message_that_comes_again_after_a_reconnect_is_delivered_once(
    clients: Clients,
) -> None:
    """[MQTT-4.3.3-10] [MQTT-4.1.0-1]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender", expiry=60)
    await sender.send(Publish("a", b"x", 2, packet_id=5).encode(5))
    await sender.packet(PUBREC)
    await sender.close()

    back = await clients.connect("sender", expiry=60, clean=False)
    await back.send(Publish("a", b"x", 2, dup=True, packet_id=5).encode(5))
    await back.packet(PUBREC)
    await back.answer(PUBREL, 5)
    pubcomp = await back.packet(PUBCOMP)

    assert (pubcomp.packet_id, pubcomp.reason) == (5, 0)
    assert (await receiver.message()).payload == b"x"
    await clients.silent(receiver)


async def test_an_identifier_is_free_after_pubcomp_whatever_dup_says(clients: Clients) -> None:
    """[MQTT-4.3.3-12]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")

    for payload, dup in ((b"1", False), (b"2", True), (b"3", False)):
        await sender.send(Publish("a", payload, 2, dup=dup, packet_id=5).encode(5))
        await sender.packet(PUBREC)
        await sender.answer(PUBREL, 5)
        await sender.packet(PUBCOMP)

    assert [message.payload for message in await receiver.messages(3)] == [b"1", b"2", b"3"]


async def test_an_identifier_is_free_after_pubrec_with_an_error(clients: Clients) -> None:
    """[MQTT-4.3.3-9]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")
    await sender.send(Publish("$SYS/x", b"no", 2, packet_id=5).encode(5))
    assert (await sender.packet(PUBREC)).reason == 0x90

    await sender.send(Publish("a", b"yes", 2, packet_id=5).encode(5))

    assert (await sender.packet(PUBREC)).reason == 0
    assert (await receiver.message()).payload == b"yes"


async def test_a_lost_pubrel_may_come_again(clients: Clients) -> None:
    """[MQTT-4.3.3-11]: each is answered; 0x92 says that the exchange was over."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=2)

    await sender.answer(PUBREL, 1)
    again = await sender.packet(PUBCOMP)
    await sender.answer(PUBREL, 999)
    unknown = await sender.packet(PUBCOMP)

    assert (again.packet_id, again.reason) == (1, 0x92)
    assert (unknown.packet_id, unknown.reason) == (999, 0x92)


async def test_a_pubrec_of_nothing_is_told_so(clients: Clients) -> None:
    """[MQTT-4.3.3-4], MQTT 5 §3.6.2.1: 0x92, so that the receiver can forget it."""
    receiver = await subscribed(clients)

    await receiver.answer(PUBREC, 77)

    pubrel = await receiver.packet(PUBREL)
    assert (pubrel.packet_id, pubrel.reason) == (77, 0x92)


async def test_a_pubrel_is_waited_for_after_a_lost_pubcomp(clients: Clients) -> None:
    """[MQTT-4.3.3-5] [MQTT-4.3.3-6]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=2)
    message = await receiver.publication()
    await receiver.answer(PUBREC, message.packet_id)
    await receiver.packet(PUBREL)
    await receiver.close()

    for _ in range(3):
        receiver = await clients.connect("receiver", expiry=60, clean=False)
        assert (await receiver.packet(PUBREL)).packet_id == message.packet_id
        await clients.silent(receiver)
        await receiver.close()
    receiver = await clients.connect("receiver", expiry=60, clean=False)
    await receiver.packet(PUBREL)
    await receiver.answer(PUBCOMP, message.packet_id)
    await receiver.disconnect()

    receiver = await clients.connect("receiver", expiry=60, clean=False)
    await clients.silent(receiver)


@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
async def test_a_refused_message_is_done_with(clients: Clients, reason: int) -> None:
    """[MQTT-4.3.3-4] [MQTT-4.4.0-2]: no PUBREL, and not again."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=2)
    message = await receiver.publication()

    await receiver.answer(PUBREC, message.packet_id, reason)

    await clients.silent(receiver)
    await receiver.disconnect()
    back = await clients.connect("receiver", expiry=60, clean=False)
    await clients.silent(back)


@pytest.mark.parametrize("kind", [PUBACK, PUBCOMP])
async def test_an_acknowledgement_that_skips_pubrec_does_not_count(
    clients: Clients, kind: int
) -> None:
    """[MQTT-4.3.3-3] [MQTT-4.13.1-1]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=2)
    message = await receiver.publication()

    await receiver.answer(kind, message.packet_id)

    assert await receiver.refused() == 0x82
    back = await clients.connect("receiver", expiry=60, clean=False)
    again = await back.message()
    assert (again.payload, again.dup, again.packet_id) == (b"x", True, message.packet_id)


async def test_the_order_of_exchanges_is_kept(clients: Clients) -> None:
    """[MQTT-4.6.0-3] [MQTT-4.6.0-4]: PUBRECs as the PUBLISHes, PUBRELs as the PUBRECs."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")
    identifiers = [30, 10, 20]
    await sender.send(
        b"".join(Publish("a", b"%d" % each, 2, packet_id=each).encode(5) for each in identifiers)
    )
    assert [(await sender.packet(PUBREC)).packet_id for _ in identifiers] == identifiers

    received = [await receiver.publication() for _ in identifiers]
    assert [message.payload for message in received] == [b"30", b"10", b"20"]
    backwards = [message.packet_id for message in reversed(received)]
    for packet_id in backwards:
        await receiver.answer(PUBREC, packet_id)

    assert [(await receiver.packet(PUBREL)).packet_id for _ in backwards] == backwards


async def test_message_expiry_does_not_end_an_exchange(clients: Clients) -> None:
    """[MQTT-4.3.3-7] [MQTT-4.3.3-13]."""
    receiver = await subscribed(clients)
    sender = await clients.connect("sender")
    properties = (("message_expiry_interval", 10),)
    await sender.send(Publish("a", b"x", 2, packet_id=4, properties=properties).encode(5))
    assert (await sender.packet(PUBREC)).packet_id == 4
    message = await receiver.publication()

    await clients.clock.advance(20)

    await sender.answer(PUBREL, 4)
    assert (await sender.packet(PUBCOMP)).reason == 0
    await receiver.close()
    back = await clients.connect("receiver", expiry=60, clean=False)
    again = await back.message()
    assert (again.packet_id, again.dup, again.qos) == (message.packet_id, True, 2)


async def test_publish_and_pubrel_of_one_identifier_both_ways_do_not_meet(
    clients: Clients,
) -> None:
    """Identifiers of the two directions are apart. [MQTT-2.2.1-4]."""
    peer = await clients.connect("both")
    await peer.subscribe("a", qos=2)

    await peer.send(Publish("a", b"x", 2, packet_id=1).encode(5))
    received = [await peer.next() for _ in range(2)]
    kinds = {each.kind if isinstance(each, Packet) else PUBLISH for each in received}
    assert kinds == {PUBREC, PUBLISH}
    await peer.answer(PUBREC, 1)
    assert (await peer.packet(PUBREL)).reason == 0
    await peer.answer(PUBREL, 1)
    assert (await peer.packet(PUBCOMP)).reason == 0
    await peer.answer(PUBCOMP, 1)

    await clients.silent(peer)
