"""MQTT 3.1 and 3.1.1: wills."""

import pytest

from tests.packets import PINGREQ, Will, packet
from tests.peer import Clients

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])


@versions
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_will_is_published_when_the_connection_is_lost(
    clients: Clients, version: int, qos: int
) -> None:
    """At its QoS, not retained [MQTT3-3.1.2-8] [MQTT3-3.1.2-16]."""
    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("will/#", qos=2)
    peer = await clients.connect("p", version=version, will=Will("will/p", b"gone", qos))

    await peer.close()

    message = await watcher.message()
    assert (message.topic, message.payload, message.qos, message.retain) == (
        "will/p",
        b"gone",
        qos,
        False,
    )
    assert await clients.broker.retained("#") == []


@versions
async def test_a_will_with_retain_is_retained(clients: Clients, version: int) -> None:
    """[MQTT3-3.1.2-17]."""
    peer = await clients.connect("p", version=version, will=Will("w", b"gone", 1, retain=True))
    await peer.close()
    await clients.settle()

    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("w", qos=1)

    message = await watcher.message()
    assert (message.payload, message.qos, message.retain) == (b"gone", 1, True)


@versions
@pytest.mark.parametrize("clean", [True, False])
async def test_disconnect_deletes_the_will(clients: Clients, version: int, clean: bool) -> None:
    """[MQTT3-3.14.4-3] [MQTT3-3.1.2-10]."""
    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("w")
    peer = await clients.connect("p", version=version, clean=clean, will=Will("w", b"gone"))

    await peer.disconnect()

    await clients.clock.advance(3_600)
    await clients.silent(watcher)
    peer = await clients.connect("p", version=version, clean=clean)
    await peer.close()
    await clients.silent(watcher)


@versions
async def test_a_will_is_published_once(clients: Clients, version: int) -> None:
    """Then it is no more in the session [MQTT3-3.1.2-10]."""
    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("w")
    peer = await clients.connect("p", version=version, clean=False, will=Will("w", b"gone"))
    await peer.close()
    assert (await watcher.message()).payload == b"gone"

    peer = await clients.connect("p", version=version, clean=False)
    await peer.close()

    await clients.silent(watcher)


@versions
async def test_without_will_flag_nothing_is_published(clients: Clients, version: int) -> None:
    """[MQTT3-3.1.2-12]."""
    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("#")
    peer = await clients.connect("p", version=version)

    await peer.close()

    await clients.silent(watcher)


@versions
@pytest.mark.parametrize("cause", ["keep alive", "violation", "takeover"])
async def test_a_will_is_published_when_the_broker_closes(
    clients: Clients, version: int, cause: str
) -> None:
    """[MQTT3-3.1.2-8]."""
    watcher = await clients.connect("watcher", version=version)
    await watcher.subscribe("w")
    peer = await clients.connect("p", version=version, keep_alive=10, will=Will("w", b"gone"))

    if cause == "keep alive":
        await clients.clock.advance(15)
    elif cause == "violation":
        await peer.send(packet(PINGREQ, 1, b""))
    else:
        await clients.connect("p", version=version)

    assert (await watcher.message()).payload == b"gone"
    assert await peer.refused() == -1
    await clients.silent(watcher)


@versions
async def test_an_empty_will_with_retain_removes_what_was_retained(
    clients: Clients, version: int
) -> None:
    """A will may be of zero bytes (section 3.1.3.3) [MQTT3-3.3.1-10]."""
    peer = await clients.connect("p", version=version, will=Will("w", b"", retain=True))
    await peer.publish("w", b"online", qos=1, retain=True)

    await peer.close()

    await clients.settle()
    assert await clients.broker.retained("w") == []
