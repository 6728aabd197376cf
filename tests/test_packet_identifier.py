"""Packet Identifiers: not 0, not in use, and the same in every answer (MQTT 5 §2.2.1)."""

import pytest

from tests.packets import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Packet,
    Publish,
    packet,
    text,
)
from tests.peer import Clients, Filter

MALFORMED = 0x81
IDENTIFIERS = [1, 2, 255, 256, 32_768, 65_534, 65_535]


def unsubscribe_bytes(packet_id: int) -> bytes:
    """UNSUBSCRIBE from `a`."""
    return packet(UNSUBSCRIBE, 2, packet_id.to_bytes(2, "big") + b"\0" + text("a"))


@pytest.mark.parametrize("packet_id", IDENTIFIERS)
async def test_every_answer_has_the_identifier_of_what_it_answers(
    clients: Clients, packet_id: int
) -> None:
    """PUBACK, PUBREC and PUBCOMP: [MQTT-2.2.1-5]. SUBACK and UNSUBACK: [MQTT-2.2.1-6]."""
    peer = await clients.connect("c")
    await peer.send(Publish("b", qos=1, packet_id=packet_id).encode(5))
    assert (await peer.packet(PUBACK)).packet_id == packet_id
    await peer.send(Publish("b", qos=2, packet_id=packet_id).encode(5))
    assert (await peer.packet(PUBREC)).packet_id == packet_id
    await peer.answer(PUBREL, packet_id)
    assert (await peer.packet(PUBCOMP)).packet_id == packet_id
    await peer.send(peer.subscribe_bytes(packet_id, [Filter("a")]))
    assert (await peer.packet(SUBACK)).packet_id == packet_id
    await peer.send(unsubscribe_bytes(packet_id))

    assert (await peer.packet(UNSUBACK)).packet_id == packet_id


async def test_the_broker_keeps_the_identifier_of_its_own_message(clients: Clients) -> None:
    """PUBREL has that of the PUBLISH: [MQTT-2.2.1-5]."""
    peer = await clients.connect("c")
    await peer.subscribe("a", qos=2)
    publisher = await clients.connect("publisher")
    for _ in range(3):
        await publisher.publish("a", qos=2)
    received = [await peer.publication() for _ in range(3)]
    for publish in reversed(received):
        await peer.answer(PUBREC, publish.packet_id)
        assert (await peer.packet(PUBREL)).packet_id == publish.packet_id
        await peer.answer(PUBCOMP, publish.packet_id)


ZERO = {
    "PUBLISH at QoS 1": Publish("a", qos=1, packet_id=0).encode(5),
    "PUBLISH at QoS 2": Publish("a", qos=2, packet_id=0).encode(5),
    "SUBSCRIBE": packet(SUBSCRIBE, 2, b"\0\0\0" + text("a") + b"\0"),
    "UNSUBSCRIBE": unsubscribe_bytes(0),
}


@pytest.mark.parametrize("sent", ZERO.values(), ids=ZERO)
async def test_identifier_0_ends_the_connection(clients: Clients, sent: bytes) -> None:
    """And what has it is not processed: [MQTT-2.2.1-3]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("a")
    peer = await clients.connect("c")
    await peer.send(sent)

    assert await peer.refused() in (MALFORMED, 0x82)
    await clients.silent(watcher)


async def test_a_message_at_qos_0_has_no_identifier(clients: Clients) -> None:
    """Neither sent nor read: its payload begins at once: [MQTT-2.2.1-2]."""
    peer = await clients.connect("c")
    await peer.subscribe("a", qos=2)
    await peer.send(bytes.fromhex("30060001610000ff"))

    assert await peer.reader.readexactly(8) == bytes.fromhex("30060001610000ff")


@pytest.mark.parametrize("qos", [1, 2])
async def test_the_broker_uses_identifiers_that_are_free(clients: Clients, qos: int) -> None:
    """Never 0, never one that waits for its acknowledgement: [MQTT-2.2.1-4]."""
    peer = await clients.connect("c")
    await peer.subscribe("a", qos=qos)
    publisher = await clients.connect("publisher")
    kept: dict[int, bytes] = {}
    for n in range(400):
        await publisher.publish("a", str(n).encode(), qos=1)
        received = await peer.publication()
        if qos == 2:
            assert received.qos == 1
        assert 0 < received.packet_id < 65_536
        assert received.packet_id not in kept
        kept[received.packet_id] = received.payload
        if n % 3:
            await peer.answer(PUBACK, received.packet_id)
            del kept[received.packet_id]


async def test_identifiers_come_round_and_pass_by_what_is_in_use(clients: Clients) -> None:
    """More messages than there are identifiers, one of them never acknowledged: [MQTT-2.2.1-4]."""
    peer = await clients.connect("c")
    await peer.subscribe("a", qos=1)
    publisher = await clients.connect("publisher")
    await publisher.publish("a", b"held", qos=1)
    held = await peer.publication()
    seen: set[int] = set()
    for _ in range(140):
        sent = b"".join(
            Publish("a", qos=1, packet_id=packet_id).encode(5) for packet_id in range(1, 501)
        )
        await publisher.send(sent)
        answers = b""
        for _ in range(500):
            received = await peer.publication()
            assert received.packet_id not in (0, held.packet_id)
            seen.add(received.packet_id)
            answers += packet(PUBACK, 0, received.packet_id.to_bytes(2, "big"))
        await peer.send(answers)
        for _ in range(500):
            await publisher.packet(PUBACK)

    await peer.answer(PUBACK, held.packet_id)
    assert len(seen) == 65_534


async def test_both_sides_number_for_themselves(clients: Clients) -> None:
    """The same identifier may be under way in both directions (MQTT 5 §2.2.1): [MQTT-2.2.1-4]."""
    peer = await clients.connect("c")
    await peer.subscribe("a", qos=2)
    await peer.publish("a", b"first", qos=1)
    first = await peer.publication()
    await peer.send(Publish("b", b"own", qos=2, packet_id=first.packet_id).encode(5))
    assert (await peer.packet(PUBREC)).packet_id == first.packet_id
    await peer.answer(PUBACK, first.packet_id)
    await peer.answer(PUBREL, first.packet_id)

    assert (await peer.packet(PUBCOMP)).reason == 0


async def test_an_identifier_in_use_is_not_a_new_message(clients: Clients) -> None:
    """Until PUBREL a QoS 2 PUBLISH with it is the same one again: [MQTT-2.2.1-3]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("a")
    peer = await clients.connect("c")
    for dup in (False, True, True):
        await peer.send(Publish("a", b"once", qos=2, dup=dup, packet_id=5).encode(5))
        answer = await peer.next()
        assert isinstance(answer, Packet)
        assert (answer.kind, answer.packet_id) == (PUBREC, 5)
    assert (await watcher.message()).payload == b"once"
    await clients.silent(watcher)
    await peer.answer(PUBREL, 5)
    await peer.packet(PUBCOMP)
    await peer.send(Publish("a", b"again", qos=2, packet_id=5).encode(5))

    assert (await watcher.message()).payload == b"again"
