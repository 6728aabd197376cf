"""MQTT 3.1 and 3.1.1: Clean Session, what a session keeps, redelivery in order."""

import pytest

from tests.packets import PUBACK, PUBREC, PUBREL, Packet, Publish
from tests.peer import Clients

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])


@versions
async def test_clean_session_0_keeps_subscriptions_and_queues_qos_1_and_2(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.2-4] [MQTT3-3.1.2-5] [MQTT3-4.1.0-1] [MQTT3-3.1.4-3] [MQTT3-4.5.0-1]."""
    peer = await clients.connect("kept", version=version, clean=False)
    await peer.subscribe("a", qos=2)
    await peer.close()
    await clients.settle()
    other = await clients.connect("other", version=version)
    for qos in (1, 2):
        await other.publish("a", b"%d" % qos, qos=qos)
    await clients.clock.advance(365 * 24 * 3_600)

    peer = await clients.connect("kept", version=version, clean=False)

    messages = await peer.messages(2)
    assert [(each.payload, each.qos, each.dup) for each in messages] == [
        (b"1", 1, False),
        (b"2", 2, False),
    ]


async def test_session_present_says_whether_there_was_a_session(clients: Clients) -> None:
    """[MQTT3-3.2.2-1] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3]."""
    seen: list[bool] = []
    for clean in (False, False, True, False, False):
        peer = await clients.connect("c", version=4, clean=clean)
        assert peer.connack is not None
        seen.append(peer.connack.session_present)
        await peer.disconnect()

    assert seen == [False, True, False, False, True]


async def test_31_knows_no_session_present(clients: Clients) -> None:
    """MQTT 3.1, section 3.2: the byte is reserved."""
    for _ in range(2):
        peer = await clients.connect("c", version=3, clean=False)
        assert peer.connack is not None
        assert peer.connack.body == b"\0\0"
        await peer.disconnect()


@versions
async def test_clean_session_1_discards_what_was_and_ends_with_the_connection(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.2-6] [MQTT3-3.1.4-3]."""
    first = await clients.connect("c", version=version, clean=False)
    await first.subscribe("a", qos=1)
    await first.close()
    await clients.settle()
    other = await clients.connect("other", version=version)
    await other.publish("a", b"old", qos=1)

    second = await clients.connect("c", version=version, clean=True)
    await other.publish("a", b"new", qos=1)
    await clients.silent(second)
    await second.subscribe("a", qos=1)
    await second.close()
    await clients.settle()
    await other.publish("a", b"between", qos=1)
    third = await clients.connect("c", version=version, clean=False)

    await clients.silent(third)
    assert third.connack is not None
    assert not third.connack.session_present


@versions
async def test_a_session_lasts_as_long_as_its_connection(clients: Clients, version: int) -> None:
    """[MQTT3-4.1.0-2]."""
    peer = await clients.connect("c", version=version, clean=True)
    await peer.subscribe("a")

    await clients.clock.advance(365 * 24 * 3_600)
    await peer.publish("a", b"1")

    assert (await peer.message()).payload == b"1"


@versions
async def test_retained_messages_are_no_part_of_a_session(clients: Clients, version: int) -> None:
    """[MQTT3-3.1.2-7]."""
    peer = await clients.connect("c", version=version, clean=False)
    await peer.publish("a", b"kept", qos=1, retain=True)
    await peer.disconnect()

    peer = await clients.connect("c", version=version, clean=True)
    await peer.disconnect()
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a")

    assert (await reader.message()).payload == b"kept"


@versions
async def test_a_client_identifier_names_the_same_session_whatever_the_version(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.3-2]."""
    peer = await clients.connect("c", version=version, clean=False)
    await peer.subscribe("a", qos=1)
    await peer.disconnect()
    await (await clients.connect("other", version=5)).publish("a", b"1", qos=1)

    peer = await clients.connect("c", version=7 - version, clean=False)

    assert (await peer.message()).payload == b"1"
    names = [session.client_id for session in await clients.broker.sessions()]
    assert sorted(names) == ["c", "other"]


@versions
async def test_what_was_not_acknowledged_is_sent_again_in_order_with_dup(
    clients: Clients, version: int
) -> None:
    """[MQTT3-4.4.0-1] [MQTT3-3.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-4.6.0-6]."""
    peer = await clients.connect("c", version=version, clean=False)
    await peer.subscribe("a", qos=2)
    other = await clients.connect("other", version=version)
    for number in range(6):
        await other.publish("a", b"%d" % number, qos=1 + number % 2)
    sent = [await peer.publication() for _ in range(6)]
    assert not any(each.dup for each in sent)
    await peer.answer(PUBACK, sent[0].packet_id)
    await peer.answer(PUBREC, sent[1].packet_id)
    assert (await peer.packet(PUBREL)).packet_id == sent[1].packet_id
    await peer.close()
    await clients.settle()
    await other.publish("a", b"later", qos=1)

    peer = await clients.connect("c", version=version, clean=False)

    pubrel = await peer.packet(PUBREL)
    again = [await peer.publication() for _ in range(4)]
    assert (pubrel.packet_id, pubrel.flags) == (sent[1].packet_id, 2)
    assert [each.packet_id for each in again] == [each.packet_id for each in sent[2:]]
    assert [each.payload for each in again] == [b"2", b"3", b"4", b"5"]
    assert all(each.dup for each in again)
    later = await peer.publication()
    assert (later.payload, later.dup) == (b"later", False)
    assert later.packet_id not in {each.packet_id for each in sent[1:]}


@versions
async def test_qos_2_state_of_the_publisher_outlives_the_connection(
    clients: Clients, version: int
) -> None:
    """A PUBLISH that comes again after a reconnect is not delivered twice [MQTT3-4.3.3-2]."""
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a", qos=2)
    publish = Publish("a", b"once", qos=2, packet_id=9)
    peer = await clients.connect("c", version=version, clean=False)
    await peer.send(publish.encode(version))
    assert (await peer.packet(PUBREC)).packet_id == 9
    await peer.close()
    await clients.settle()

    peer = await clients.connect("c", version=version, clean=False)
    await peer.send(Publish("a", b"once", qos=2, dup=True, packet_id=9).encode(version))
    assert (await peer.packet(PUBREC)).packet_id == 9
    await peer.answer(PUBREL, 9)
    completed = await peer.next()

    assert isinstance(completed, Packet)
    assert completed.packet_id == 9
    assert (await reader.message()).payload == b"once"
    await clients.silent(reader)


@versions
async def test_qos_0_is_not_kept_for_who_is_away(clients: Clients, version: int) -> None:
    """Section 3.1.2.4: QoS 0 messages may be stored; this broker does not."""
    peer = await clients.connect("c", version=version, clean=False)
    await peer.subscribe("a", qos=2)
    await peer.close()
    await clients.settle()
    other = await clients.connect("other", version=version)
    await other.publish("a", b"0", qos=0)
    await other.publish("a", b"1", qos=1)

    peer = await clients.connect("c", version=version, clean=False)

    assert (await peer.message()).payload == b"1"
    await clients.silent(peer)
