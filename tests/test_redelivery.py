"""What is sent again after a reconnect, and what is not (MQTT 5 §4.4)."""

import pytest

from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Publish
from tests.peer import Clients, Peer

NAMES = ["alpha", "beta", "gamma", "delta"]


async def left_behind(clients: Clients, name: str, qos: int, count: int) -> list[Publish]:
    """Messages that a client saw, and acknowledged none of, before its connection was lost."""
    receiver = await clients.connect(name, expiry=600)
    await receiver.subscribe(f"{name}/#", qos=2)
    sender = await clients.connect("sender")
    for number in range(count):
        await sender.publish(f"{name}/{number}", b"%d" % number, qos=qos)
    seen = [await receiver.publication() for _ in range(count)]
    await receiver.close()
    return seen


async def back(clients: Clients, name: str) -> Peer:
    """The same client again, with its session."""
    peer = await clients.connect(name, expiry=600, clean=False)
    assert peer.connack is not None
    assert peer.connack.session_present
    return peer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("qos", [1, 2])
async def test_what_was_not_acknowledged_comes_again_as_it_was(
    clients: Clients, name: str, qos: int
) -> None:
    """Same identifiers, same order, DUP set.

    [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.6.0-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.1.0-1].
    """
    seen = await left_behind(clients, name, qos, 20)
    receiver = await back(clients, name)

    again = await receiver.messages(20)

    assert all(message.dup for message in again)
    assert [(each.packet_id, each.topic, each.payload, each.qos) for each in again] == [
        (each.packet_id, each.topic, each.payload, qos) for each in seen
    ]
    await clients.silent(receiver)


async def test_it_comes_on_every_connection_until_it_is_acknowledged(clients: Clients) -> None:
    """[MQTT-4.4.0-1] [MQTT-4.3.2-3]."""
    seen = await left_behind(clients, "alpha", 1, 1)

    for _ in range(5):
        receiver = await back(clients, "alpha")
        assert (await receiver.publication()).packet_id == seen[0].packet_id
        await receiver.close()
    receiver = await back(clients, "alpha")
    await receiver.message()
    await receiver.disconnect()

    await clients.silent(await back(clients, "alpha"))


async def test_it_comes_again_after_a_takeover_too(clients: Clients) -> None:
    """[MQTT-4.4.0-1]."""
    receiver = await clients.connect("alpha", expiry=600)
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)
    first = await receiver.publication()

    second = await (await back(clients, "alpha")).message()

    assert (first.dup, second.dup) == (False, True)
    assert (first.packet_id, first.payload) == (second.packet_id, second.payload)


async def test_only_what_is_open_comes_again_each_at_its_stage(clients: Clients) -> None:
    """[MQTT-4.4.0-1] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.6.0-1]."""
    receiver = await clients.connect("alpha", expiry=600)
    await receiver.subscribe("a/#", qos=2)
    sender = await clients.connect("sender")
    for number, qos in enumerate([1, 2, 1, 2, 2, 1]):
        await sender.publish(f"a/{number}", qos=qos)
    seen = [await receiver.publication() for _ in range(6)]
    await receiver.answer(PUBACK, seen[2].packet_id)
    await receiver.answer(PUBREC, seen[3].packet_id)
    await receiver.packet(PUBREL)
    await receiver.answer(PUBREC, seen[4].packet_id)
    await receiver.packet(PUBREL)
    await receiver.answer(PUBCOMP, seen[4].packet_id)
    await receiver.ping()
    await receiver.close()

    receiver = await back(clients, "alpha")
    again = [await receiver.next() for _ in range(4)]
    await clients.silent(receiver)

    kinds = [each.kind if isinstance(each, Packet) else each.topic for each in again]
    assert kinds == ["a/0", "a/1", PUBREL, "a/5"]
    assert [each.packet_id for each in again] == [seen[at].packet_id for at in (0, 1, 3, 5)]


async def test_what_was_never_sent_follows_without_dup(clients: Clients) -> None:
    """[MQTT-3.3.1-1] [MQTT-4.6.0-6]."""
    await left_behind(clients, "alpha", 1, 2)
    sender = await clients.connect("sender-2")
    await sender.publish("alpha/2", b"2", qos=1)
    await sender.publish("alpha/3", b"3", qos=2)

    receiver = await back(clients, "alpha")

    received = await receiver.messages(4)
    assert [message.payload for message in received] == [b"0", b"1", b"2", b"3"]
    assert [message.dup for message in received] == [True, True, False, False]
    assert len({message.packet_id for message in received}) == 4


async def test_what_is_sent_again_keeps_its_properties(clients: Clients) -> None:
    """[MQTT-4.4.0-1] [MQTT-3.3.4-3]."""
    receiver = await clients.connect("alpha", expiry=600)
    await receiver.subscribe("a", qos=1, identifier=99)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1, properties=[("content_type", "text/plain")])
    await receiver.publication()
    await receiver.close()

    again = await (await back(clients, "alpha")).message()

    assert set(again.properties) == {
        ("subscription_identifier", 99),
        ("content_type", "text/plain"),
    }


async def test_a_clean_start_leaves_nothing_to_send_again(clients: Clients) -> None:
    """[MQTT-3.1.2-4]."""
    await left_behind(clients, "alpha", 2, 3)

    fresh = await clients.connect("alpha", expiry=600, clean=True)

    assert fresh.connack is not None
    assert not fresh.connack.session_present
    await clients.silent(fresh)


async def test_qos_0_is_not_sent_again(clients: Clients) -> None:
    """[MQTT-4.3.1-1]."""
    await left_behind(clients, "alpha", 0, 3)

    await clients.silent(await back(clients, "alpha"))


async def test_a_smaller_window_holds_for_what_is_sent_again(clients: Clients) -> None:
    """[MQTT-3.3.4-9] [MQTT-4.4.0-1]."""
    seen = await left_behind(clients, "alpha", 1, 5)
    receiver = await clients.connect(
        "alpha", expiry=600, clean=False, properties=(("receive_maximum", 2),)
    )

    first = [await receiver.publication() for _ in range(2)]
    await clients.silent(receiver)
    await receiver.answer(PUBACK, first[0].packet_id)
    third = await receiver.publication()
    await clients.silent(receiver)

    assert [each.packet_id for each in [*first, third]] == [each.packet_id for each in seen[:3]]
    assert third.dup


async def test_an_expired_message_that_was_sent_is_sent_again(clients: Clients) -> None:
    """[MQTT-4.3.3-7], and the same for QoS 1."""
    receiver = await clients.connect("alpha", expiry=600)
    await receiver.subscribe("a", qos=2)
    sender = await clients.connect("sender")
    for qos in (1, 2):
        await sender.publish("a", qos=qos, properties=[("message_expiry_interval", 5)])
        await receiver.publication()
    await receiver.close()

    await clients.clock.advance(100)

    receiver = await back(clients, "alpha")
    again = await receiver.messages(2)
    assert [(message.qos, message.dup) for message in again] == [(1, True), (2, True)]
    assert [message.get("message_expiry_interval") for message in again] == [0, 0]


async def test_a_message_too_large_for_the_new_connection_is_given_up(clients: Clients) -> None:
    """[MQTT-3.1.2-24] [MQTT-3.1.2-25]: as if it had been sent; those behind it follow."""
    receiver = await clients.connect("alpha", expiry=600)
    await receiver.subscribe("a", qos=1)
    sender = await clients.connect("sender")
    await sender.publish("a", b"x" * 200, qos=1)
    await sender.publish("a", b"small", qos=1)
    await receiver.publication()
    await receiver.publication()
    await receiver.close()

    receiver = await clients.connect(
        "alpha", expiry=600, clean=False, properties=(("maximum_packet_size", 100),)
    )

    assert (await receiver.message()).payload == b"small"
    await clients.silent(receiver)
