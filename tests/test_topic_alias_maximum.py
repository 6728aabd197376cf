"""Topic Alias Maximum, of the client and of the broker (MQTT 5 §3.1.2.11.5, §3.2.2.3.8)."""

import pytest

from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import Publish
from tests.peer import Clients, Peer

INVALID = 0x94
PLAIN, WIDE, NONE, FEW = range(4)
"""Listeners: the default of 32; many from the broker; none either way; two either way."""


@pytest.fixture
def config() -> Config:
    """Four listeners, see above."""
    bounds: list[dict[str, int]] = [
        {},
        {"topic_alias_maximum_out": 65_535, "topic_alias_maximum": 65_535},
        {"topic_alias_maximum_out": 0, "topic_alias_maximum": 0},
        {"topic_alias_maximum_out": 2, "topic_alias_maximum": 2},
    ]
    address = "tcp://127.0.0.1:0"
    listeners = [{"name": f"{n}", "address": address, **each} for n, each in enumerate(bounds)]
    return Config.model_validate({**CONFIG, "listener": listeners})


async def aliases_seen(
    clients: Clients, listener: int, maximum: int | None, topics: int
) -> dict[int, str]:
    """Aliases in what a client gets of so many topics, three times each; all must make sense."""
    asked = () if maximum is None else (("topic_alias_maximum", maximum),)
    peer = await clients.connect("c", listener=listener, properties=asked)
    await peer.subscribe("topic/#")
    publisher = await clients.connect("publisher")
    names = [f"topic/{n}" for n in range(topics)] * 3
    await publisher.send(b"".join(Publish(name, name.encode()).encode(5) for name in names))
    meanings: dict[int, str] = {}
    for name in names:
        received = await peer.message()
        alias = received.get("topic_alias")
        if alias is not None:
            assert isinstance(alias, int)
            if received.topic:
                meanings[alias] = received.topic
            assert meanings[alias] == name
        else:
            assert received.topic == name
        assert received.payload == name.encode()
    return meanings


@pytest.mark.parametrize("maximum", [1, 3, 32])
async def test_the_broker_uses_no_alias_above_the_clients_maximum(
    clients: Clients, maximum: int
) -> None:
    """It uses those there are, from 1: [MQTT-3.1.2-26]."""
    seen = await aliases_seen(clients, WIDE, maximum, 40)

    assert set(seen) == set(range(1, maximum + 1))


async def test_the_largest_maximum_is_kept(clients: Clients) -> None:
    """[MQTT-3.1.2-26]."""
    seen = await aliases_seen(clients, WIDE, 65_535, 300)

    assert set(seen) == set(range(1, 301))


@pytest.mark.parametrize("maximum", [None, 0])
@pytest.mark.parametrize("listener", [PLAIN, WIDE])
async def test_a_client_that_takes_no_aliases_gets_none(
    clients: Clients, listener: int, maximum: int | None
) -> None:
    """Absent is 0: [MQTT-3.1.2-27]."""
    assert await aliases_seen(clients, listener, maximum, 5) == {}


async def test_a_client_of_an_older_version_gets_no_aliases(clients: Clients) -> None:
    """There is no property to hold one: [MQTT-3.1.2-27]."""
    peer = await clients.connect("c", version=4)
    await peer.subscribe("topic")
    for _ in range(3):
        await peer.publish("topic")
        assert (await peer.message()).topic == "topic"


@pytest.mark.parametrize(("listener", "used"), [(NONE, 0), (FEW, 2)])
async def test_the_listener_may_use_fewer(clients: Clients, listener: int, used: int) -> None:
    """The smaller of both counts: [MQTT-3.1.2-26]."""
    assert len(await aliases_seen(clients, listener, 10, 5)) == used


async def test_an_alias_belongs_to_one_connection(clients: Clients) -> None:
    """A resumed session begins without any: [MQTT-3.1.2-26] [MQTT-3.1.2-27]."""
    peer = await clients.connect(
        "c", clean=False, expiry=100, properties=(("topic_alias_maximum", 5),)
    )
    await peer.subscribe("topic", qos=1)
    publisher = await clients.connect("publisher")
    for _ in range(2):
        await publisher.publish("topic", qos=1)
    assert [(await peer.publication()).topic for _ in range(2)] == ["topic", ""]
    await peer.close()
    again = await clients.connect("c", clean=False)
    resent = await again.messages(2)

    assert [each.topic for each in resent] == ["topic", "topic"]
    assert [each.get("topic_alias") for each in resent] == [None, None]


def aliased(alias: int, topic: str = "topic") -> bytes:
    """A PUBLISH with that alias."""
    return Publish(topic, b"x", properties=(("topic_alias", alias),)).encode(5)


def maximum_of(peer: Peer) -> object:
    """Topic Alias Maximum, as CONNACK said."""
    assert peer.connack is not None
    return peer.connack.get("topic_alias_maximum")


@pytest.mark.parametrize(("listener", "maximum"), [(PLAIN, 32), (WIDE, 65_535), (FEW, 2)])
async def test_a_client_may_use_aliases_up_to_the_brokers_maximum(
    clients: Clients, listener: int, maximum: int
) -> None:
    """The highest is taken, and stays inside the broker: [MQTT-3.2.2-17]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("topic")
    peer = await clients.connect("c", listener=listener)
    assert maximum_of(peer) == maximum
    await peer.send(aliased(maximum) + aliased(maximum, ""))

    for _ in range(2):
        assert await watcher.message() == Publish("topic", b"x")


@pytest.mark.parametrize(("listener", "alias"), [(PLAIN, 33), (PLAIN, 65_535), (FEW, 3)])
async def test_an_alias_above_the_brokers_maximum_ends_the_connection(
    clients: Clients, listener: int, alias: int
) -> None:
    """0x94, and the message goes to nobody: [MQTT-3.2.2-17]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("topic")
    peer = await clients.connect("c", listener=listener)
    await peer.send(aliased(alias))

    assert await peer.refused() == INVALID
    await clients.silent(watcher)


@pytest.mark.parametrize("alias", [1, 65_535])
async def test_where_there_are_no_aliases_one_ends_the_connection(
    clients: Clients, alias: int
) -> None:
    """CONNACK leaves the maximum out: [MQTT-3.2.2-18]."""
    peer = await clients.connect("c", listener=NONE)
    assert maximum_of(peer) is None
    await peer.send(aliased(alias))

    assert await peer.refused() == INVALID
