"""Topic Aliases in both directions (MQTT 5 §3.3.2.3.4)."""

import pytest

from quantummq.config import Config
from tests.packets import PUBACK, PUBREC, Publish
from tests.peer import Clients

MAXIMUM = 5


@pytest.fixture
def config() -> Config:
    """A broker that takes five aliases of a client, and uses up to three itself."""
    listener = {
        "address": "tcp://127.0.0.1:0",
        "topic_alias_maximum": MAXIMUM,
        "topic_alias_maximum_out": 3,
    }
    return Config.model_validate({"broker": {"shards": 2, "seed": 7}, "listener": [listener]})


def aliased(topic: str, alias: int, payload: bytes = b"", **fields: int) -> Publish:
    """A PUBLISH with a Topic Alias."""
    qos = fields.get("qos", 0)
    packet_id = fields.get("packet_id", 0)
    properties = (("topic_alias", alias),)
    return Publish(topic, payload, qos, packet_id=packet_id, properties=properties)


async def test_the_broker_says_how_many_it_takes(clients: Clients) -> None:
    """MQTT 5 §3.2.2.3.8."""
    peer = await clients.connect("sender")

    assert peer.connack is not None
    assert peer.connack.get("topic_alias_maximum") == MAXIMUM


@pytest.mark.parametrize("alias", range(1, MAXIMUM + 1))
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_an_alias_stands_for_its_topic(clients: Clients, alias: int, qos: int) -> None:
    """[MQTT-3.3.2-12]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("lab/#", qos=2)
    sender = await clients.connect("sender")

    await sender.send(aliased("lab/temp", alias, b"1", qos=qos, packet_id=1).encode(5))
    await sender.send(aliased("", alias, b"2", qos=qos, packet_id=2).encode(5))

    received = await receiver.messages(2)
    assert [(m.topic, m.payload, m.qos) for m in received] == [
        ("lab/temp", b"1", qos),
        ("lab/temp", b"2", qos),
    ]
    assert all(message.properties == () for message in received)


async def test_an_alias_may_change_its_topic(clients: Clients) -> None:
    """MQTT 5 §3.3.2.3.4: a non-zero length Topic Name replaces the mapping."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("#")
    sender = await clients.connect("sender")

    for topic in ("one", "", "two", "", "three"):
        await sender.send(aliased(topic, 1).encode(5))
    await sender.send(Publish("four").encode(5) + aliased("", 1).encode(5))

    topics = [message.topic for message in await receiver.messages(7)]
    assert topics == ["one", "one", "two", "two", "three", "four", "three"]


async def test_aliases_are_apart_from_those_of_other_clients(clients: Clients) -> None:
    """[MQTT-3.3.2-7]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("#")
    first, second = await clients.connect("first"), await clients.connect("second")
    await first.send(aliased("one", 1).encode(5))
    await first.ping()

    await second.send(aliased("", 1).encode(5))

    assert await second.refused() == 0x82
    await first.send(aliased("", 1).encode(5))
    assert [message.topic for message in await receiver.messages(2)] == ["one", "one"]


async def test_aliases_end_with_their_connection(clients: Clients) -> None:
    """[MQTT-3.3.2-7]: the session goes on, they do not."""
    sender = await clients.connect("sender", expiry=60)
    await sender.send(aliased("one", 1).encode(5))
    await sender.disconnect()
    sender = await clients.connect("sender", expiry=60, clean=False)

    await sender.send(aliased("", 1).encode(5))

    assert await sender.refused() == 0x82


@pytest.mark.parametrize("topic", ["lab", ""])
@pytest.mark.parametrize("alias", [0, MAXIMUM + 1, 65_535])
async def test_an_alias_out_of_range_is_refused(clients: Clients, alias: int, topic: str) -> None:
    """[MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-4.13.1-1]."""
    sender = await clients.connect("sender")

    await sender.send(aliased(topic, alias).encode(5))

    assert await sender.refused() == 0x94


async def test_a_topic_is_needed_without_an_alias(clients: Clients) -> None:
    """MQTT 5 §3.3.2.1: a Protocol Error. [MQTT-4.7.3-1]."""
    sender = await clients.connect("sender")

    await sender.send(Publish("").encode(5))

    assert await sender.refused() == 0x82


async def test_an_alias_for_a_topic_with_wildcards_is_refused(clients: Clients) -> None:
    """[MQTT-3.3.2-2]."""
    sender = await clients.connect("sender")

    await sender.send(aliased("lab/+", 1).encode(5))

    assert await sender.refused() in (0x81, 0x82, 0x90)


async def test_a_message_that_comes_again_may_set_an_alias_again(clients: Clients) -> None:
    """[MQTT-4.3.3-10]: it is delivered once, and its alias counts each time."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("#", qos=1)
    sender = await clients.connect("sender")

    for dup in (False, True):
        again = Publish("two", b"x", 2, dup=dup, packet_id=1, properties=(("topic_alias", 2),))
        await sender.send(again.encode(5))
        await sender.packet(PUBREC)
    await sender.send(aliased("", 2, b"y", qos=1, packet_id=2).encode(5))
    await sender.packet(PUBACK)

    received = await receiver.messages(2)
    assert [(message.topic, message.payload) for message in received] == [
        ("two", b"x"),
        ("two", b"y"),
    ]


@pytest.mark.parametrize("maximum", [1, 2, 3, 10])
async def test_the_broker_uses_no_alias_above_what_the_client_takes(
    clients: Clients, maximum: int
) -> None:
    """[MQTT-3.3.2-11]: and none above what the listener allows."""
    receiver = await clients.connect("receiver", properties=(("topic_alias_maximum", maximum),))
    await receiver.subscribe("lab/#", qos=1)
    sender = await clients.connect("sender")
    expected = [f"lab/{number % 5}" for number in range(20)]
    for topic in expected:
        await sender.publish(topic, qos=1)

    known: dict[int, str] = {}
    topics: list[str] = []
    saved = 0
    for message in await receiver.messages(20):
        alias = message.get("topic_alias")
        if isinstance(alias, int):
            assert 1 <= alias <= min(maximum, 3)
            saved += not message.topic
            known[alias] = message.topic or known[alias]
        topics.append(message.topic or known[int(str(alias))])

    assert topics == expected
    assert saved


async def test_the_broker_uses_none_unless_the_client_asks(clients: Clients) -> None:
    """[MQTT-3.3.2-11]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("lab/#")
    sender = await clients.connect("sender")

    for _ in range(3):
        await sender.publish("lab/temp")

    assert await receiver.messages(3) == [Publish("lab/temp")] * 3


async def test_the_brokers_aliases_end_with_the_connection(clients: Clients) -> None:
    """[MQTT-3.3.2-7]."""
    sender = await clients.connect("sender")
    for _ in range(2):
        receiver = await clients.connect("receiver", properties=(("topic_alias_maximum", 3),))
        await receiver.subscribe("lab/#")
        await sender.publish("lab/temp")
        await sender.publish("lab/temp")

        first, second = await receiver.messages(2)

        assert (first.topic, second.topic) == ("lab/temp", "")
        assert first.get("topic_alias") == second.get("topic_alias")
        await receiver.disconnect()


async def test_an_alias_of_the_publisher_is_not_passed_on(clients: Clients) -> None:
    """[MQTT-3.3.2-7]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("#")
    sender = await clients.connect("sender")

    await sender.send(
        Publish(
            "lab",
            properties=(("user_property", ("a", "1")), ("topic_alias", 4), ("content_type", "x")),
        ).encode(5)
    )

    message = await receiver.message()
    assert message.properties == (("user_property", ("a", "1")), ("content_type", "x"))
