"""MQTT 3.1 and 3.1.1: retained messages."""

import pytest

from tests.peer import Clients

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])


@versions
async def test_a_retained_message_is_stored_with_its_qos_for_later_subscribers(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.3.1-5] [MQTT3-3.3.1-6] [MQTT3-3.3.1-8]."""
    writer = await clients.connect("writer", version=version)
    for qos in (0, 1, 2):
        await writer.publish(f"a/{qos}", b"old", qos=qos, retain=True)
        await writer.publish(f"a/{qos}", b"%d" % qos, qos=qos, retain=True)
    await writer.ping()

    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a/+", qos=2)

    found = {message.topic: message for message in await reader.messages(3)}
    assert {topic: (m.payload, m.qos, m.retain) for topic, m in found.items()} == {
        f"a/{qos}": (b"%d" % qos, qos, True) for qos in (0, 1, 2)
    }
    await clients.silent(reader)


@versions
async def test_an_established_subscription_gets_messages_without_retain(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.3.1-9]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a", qos=1)

    await peer.publish("a", b"x", qos=1, retain=True)

    assert not (await peer.message()).retain


@versions
async def test_a_retained_message_at_qos_0_replaces_the_one_before(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.3.1-7]."""
    peer = await clients.connect("p", version=version)
    await peer.publish("a", b"old", qos=2, retain=True)
    await peer.publish("a", b"new", qos=0, retain=True)

    await peer.subscribe("a", qos=2)

    message = await peer.message()
    assert (message.payload, message.qos, message.retain) == (b"new", 0, True)
    await clients.silent(peer)


@versions
async def test_an_empty_payload_removes_the_retained_message_and_is_passed_on(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.3.1-10] [MQTT3-3.3.1-11]."""
    peer = await clients.connect("p", version=version)
    await peer.publish("a", b"old", qos=1, retain=True)
    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("a")
    await watcher.message()

    await peer.publish("a", b"", qos=1, retain=True)

    message = await watcher.message()
    assert (message.payload, message.retain) == (b"", False)
    await peer.subscribe("a")
    await clients.silent(peer)
    assert await clients.broker.retained("#") == []


@versions
async def test_a_message_without_retain_changes_nothing(clients: Clients, version: int) -> None:
    """[MQTT3-3.3.1-12]."""
    peer = await clients.connect("p", version=version)
    await peer.publish("a", b"kept", qos=1, retain=True)
    await peer.publish("a", b"passing", qos=1)
    await peer.publish("a", b"", qos=1)
    await peer.publish("b", b"passing", qos=1)

    await peer.subscribe("#", qos=1)

    message = await peer.message()
    assert (message.topic, message.payload) == ("a", b"kept")
    await clients.silent(peer)


@versions
async def test_subscribing_again_sends_retained_messages_again(
    clients: Clients, version: int
) -> None:
    """And messages go on coming, once, with the new QoS [MQTT3-3.8.4-3]."""
    peer = await clients.connect("p", version=version)
    await peer.publish("a", b"kept", qos=1, retain=True)
    await peer.subscribe("a", qos=0)
    assert (await peer.message()).qos == 0

    await peer.subscribe("a", qos=1)

    message = await peer.message()
    assert (message.payload, message.qos, message.retain) == (b"kept", 1, True)
    await peer.publish("a", b"live", qos=1)
    message = await peer.message()
    assert (message.payload, message.qos) == (b"live", 1)
    await clients.silent(peer)
