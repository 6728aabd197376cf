"""MQTT 3.1 and 3.1.1: PUBLISH and its acknowledgements, identifiers, order."""

import pytest

from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish
from tests.peer import Clients

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])


@versions
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_a_message_arrives_once_with_the_lower_qos(
    clients: Clients, version: int, published: int, granted: int
) -> None:
    """[MQTT3-4.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-2.3.1-5] [MQTT3-3.8.4-6]."""
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a", qos=granted)
    writer = await clients.connect("writer", version=version)

    await writer.publish("a", b"payload", qos=published)

    message = await reader.message()
    assert message == Publish(
        "a", b"payload", qos=min(published, granted), packet_id=message.packet_id
    )
    assert (message.packet_id == 0) == (message.qos == 0)
    await clients.silent(reader)


@versions
async def test_each_qos_is_answered_as_the_table_says(clients: Clients, version: int) -> None:
    """[MQTT3-3.3.4-1] [MQTT3-4.3.2-2] [MQTT3-4.3.3-2] [MQTT3-2.3.1-6]."""
    peer = await clients.connect("p", version=version)
    await peer.send(Publish("a", b"0").encode(version))
    await peer.send(Publish("a", b"1", qos=1, packet_id=65_535).encode(version))
    assert await peer.next() == Packet(PUBACK, 0, 65_535, body=b"\xff\xff")

    await peer.send(Publish("a", b"2", qos=2, packet_id=258).encode(version))
    assert await peer.next() == Packet(PUBREC, 0, 258, body=b"\x01\x02")
    await peer.answer(PUBREL, 258)
    assert await peer.next() == Packet(PUBCOMP, 0, 258, body=b"\x01\x02")


@versions
async def test_qos_2_is_delivered_once_however_often_it_is_sent(
    clients: Clients, version: int
) -> None:
    """[MQTT3-4.3.3-2]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a", qos=0)
    for dup in (False, True, True):
        await peer.send(Publish("a", b"x", qos=2, dup=dup, packet_id=5).encode(version))
    received = [await peer.next() for _ in range(4)]
    pubrecs = [each for each in received if isinstance(each, Packet)]
    assert [(each.kind, each.packet_id) for each in pubrecs] == [(PUBREC, 5)] * 3
    assert sum(isinstance(each, Publish) for each in received) == 1

    await peer.answer(PUBREL, 5)
    assert (await peer.packet(PUBCOMP)).packet_id == 5
    await peer.send(Publish("a", b"new", qos=2, packet_id=5).encode(version))
    received = [await peer.next(), await peer.next()]

    assert [each.payload for each in received if isinstance(each, Publish)] == [b"new"]


@versions
async def test_a_pubrel_for_an_unknown_identifier_is_completed(
    clients: Clients, version: int
) -> None:
    """Its PUBCOMP may have been lost; 3.1.1 has no code to say that it is unknown."""
    peer = await clients.connect("p", version=version)

    await peer.answer(PUBREL, 77)

    assert await peer.next() == Packet(PUBCOMP, 0, 77, body=b"\0\x4d")


@versions
async def test_pubrec_is_answered_with_pubrel_of_the_same_identifier(
    clients: Clients, version: int
) -> None:
    """[MQTT3-4.3.3-1] [MQTT3-2.3.1-6]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a", qos=2)
    await peer.publish("a", b"x", qos=2)
    message = await peer.publication()

    await peer.answer(PUBREC, message.packet_id)

    pubrel = await peer.packet(PUBREL)
    assert (pubrel.flags, pubrel.body) == (2, message.packet_id.to_bytes(2, "big"))
    await peer.answer(PUBCOMP, message.packet_id)
    await clients.silent(peer)


@versions
async def test_messages_under_way_have_identifiers_of_their_own(
    clients: Clients, version: int
) -> None:
    """[MQTT3-2.3.1-4]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a", qos=2)
    for number in range(100):
        await peer.publish("a", b"", qos=1 + number % 2)

    sent = [await peer.publication() for _ in range(100)]

    identifiers = {each.packet_id for each in sent}
    assert len(identifiers) == 100
    assert 0 not in identifiers


@versions
@pytest.mark.parametrize("qos", [1, 2])
async def test_dup_is_not_passed_on(clients: Clients, version: int, qos: int) -> None:
    """[MQTT3-3.3.1-3]."""
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a", qos=qos)
    peer = await clients.connect("p", version=version)

    await peer.send(Publish("a", b"x", qos=qos, dup=True, packet_id=1).encode(version))

    assert not (await reader.message()).dup


@versions
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_messages_of_one_client_stay_in_order(
    clients: Clients, version: int, qos: int
) -> None:
    """On any shard, and acknowledgements likewise. [MQTT3-4.6.0-5] [MQTT3-4.6.0-6]."""
    readers = [await clients.connect(f"r{number}", version=version) for number in range(4)]
    for reader in readers:
        await reader.subscribe("a/+", qos=qos)
    writer = await clients.connect("writer", version=version)
    count = 200
    burst = [
        Publish(f"a/{number % 3}", b"%d" % number, qos=qos, packet_id=number + 1)
        for number in range(count)
    ]

    await writer.send(b"".join(each.encode(version) for each in burst))

    if qos:
        answers = [await writer.packet(PUBACK if qos == 1 else PUBREC) for _ in range(count)]
        assert [each.packet_id for each in answers] == list(range(1, count + 1))
    for reader in readers:
        received = [int((await reader.publication()).payload) for _ in range(count)]
        assert received == list(range(count))


@versions
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_that_is_not_allowed_is_acknowledged_and_goes_nowhere(
    clients: Clients, version: int, qos: int
) -> None:
    """3.1.1 has no way to refuse it [MQTT3-3.3.5-2]."""
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("$SYS/#")
    peer = await clients.connect("p", version=version)

    await peer.publish("$SYS/faked", b"x", qos=qos, retain=True)

    await peer.ping()
    await clients.silent(reader)
    assert await clients.broker.retained("$SYS/#") == []


@versions
async def test_payloads_of_any_size_pass_unchanged(clients: Clients, version: int) -> None:
    """The sizes lie around the steps of the Remaining Length."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a", qos=1)
    for size in (0, 1, 124, 125, 16_379, 16_380, 2_097_147, 2_097_148):
        payload = bytes(number % 251 for number in range(1_000)) * (size // 1_000 + 1)
        await peer.publish("a", payload[:size], qos=1)

        assert (await peer.message()).payload == payload[:size]
