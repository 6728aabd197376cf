"""Maximum Packet Size, of the client and of the broker (MQTT 5 §3.1.2.11.4, §3.2.2.3.6)."""

import pytest

from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import (
    CONNACK,
    DISCONNECT,
    SUBACK,
    UNSUBSCRIBE,
    Connect,
    Packet,
    Publish,
    Will,
    connect_bytes,
    packet,
    text,
)
from tests.peer import Clients, Filter, Peer

TOO_LARGE = 0x95
PLAIN, SMALL = range(2)
"""Listeners: with the default, and one that takes 1,024 bytes and says much in CONNACK."""


@pytest.fixture
def config() -> Config:
    """Two listeners, see above."""
    address = "tcp://127.0.0.1:0"
    small = {"name": "small", "address": address, "maximum_packet_size": 1_024}
    listeners = [{"name": "plain", "address": address}, small]
    return Config.model_validate({**CONFIG, "listener": listeners})


async def limited(clients: Clients, limit: int, client_id: str = "small") -> Peer:
    """A client that takes packets of at most `limit` bytes."""
    return await clients.connect(client_id, properties=(("maximum_packet_size", limit),))


def publish_of(size: int, topic: str = "a", qos: int = 0) -> bytes:
    """A payload that makes a PUBLISH of `size` bytes, all together."""
    head = len(Publish(topic, b"", qos, packet_id=1).encode(5))
    for more in range(4):
        payload = b"x" * (size - head - more)
        if len(Publish(topic, payload, qos, packet_id=1).encode(5)) == size:
            return payload
    raise AssertionError(f"no PUBLISH has {size} bytes")


@pytest.mark.parametrize("limit", [100, 200, 20_000])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_too_large_for_a_client_is_left_out(
    clients: Clients, limit: int, qos: int
) -> None:
    """To the byte; what comes behind arrives: [MQTT-3.1.2-24] [MQTT-3.1.2-25]."""
    peer = await limited(clients, limit)
    await peer.subscribe("a", qos=qos)
    publisher = await clients.connect("publisher")
    fitting, too_large = publish_of(limit, qos=qos), publish_of(limit + 1, qos=qos)
    for payload in (too_large, fitting, too_large, b"end"):
        await publisher.publish("a", payload, qos)

    assert (await peer.message()).payload == fitting
    assert (await peer.message()).payload == b"end"


async def test_a_message_left_out_uses_no_credit(clients: Clients) -> None:
    """As if it had been acknowledged: [MQTT-3.1.2-25]."""
    properties = (("maximum_packet_size", 100), ("receive_maximum", 1))
    peer = await clients.connect("small", properties=properties)
    await peer.subscribe("a", qos=2)
    publisher = await clients.connect("publisher")
    for _ in range(5):
        await publisher.publish("a", b"x" * 100, qos=1)
        await publisher.publish("a", b"x" * 100, qos=2)
    await publisher.publish("a", b"end", qos=2)

    assert (await peer.message()).payload == b"end"


async def test_properties_and_topic_count(clients: Clients) -> None:
    """The whole packet is measured: [MQTT-3.1.2-24]."""
    peer = await limited(clients, 100)
    await peer.subscribe(Filter("#"), identifier=268_435_455)
    publisher = await clients.connect("publisher")
    await publisher.publish("t" * 98)
    await publisher.publish("a", properties=[("user_property", ("n" * 45, "v" * 45))])
    await publisher.publish("a", publish_of(100))
    await publisher.publish("a", b"end")

    assert (await peer.message()).payload == b"end"


@pytest.mark.parametrize("kept", ["retained", "queued"])
async def test_what_was_kept_is_left_out_too(clients: Clients, kept: str) -> None:
    """Retained, or waiting in the session: [MQTT-3.1.2-24] [MQTT-3.1.2-25]."""
    publisher = await clients.connect("publisher")
    if kept == "queued":
        peer = await clients.connect("small", clean=False, expiry=100)
        await peer.subscribe("a/#", qos=1)
        await peer.disconnect()
    for topic, size in (("a/1", 200), ("a/2", 10), ("a/3", 200)):
        await publisher.publish(topic, b"x" * size, qos=1, retain=kept == "retained")
    limit = ("maximum_packet_size", 100)
    peer = await clients.connect("small", clean=False, expiry=100, properties=(limit,))
    if kept == "retained":
        await peer.subscribe("a/#", qos=1)

    assert (await peer.message()).topic == "a/2"
    await clients.silent(peer)


async def test_what_was_sent_is_not_sent_again_to_a_client_that_takes_less(
    clients: Clients,
) -> None:
    """A resumed session may have another limit: [MQTT-3.1.2-24]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.subscribe("a", qos=1)
    publisher = await clients.connect("publisher")
    for payload in (b"x" * 200, b"small"):
        await publisher.publish("a", payload, qos=1)
        await peer.publication()
    await peer.close()
    limit = ("maximum_packet_size", 100)
    again = await clients.connect("c", clean=False, expiry=100, properties=(limit,))
    resent = await again.message()

    assert (resent.payload, resent.dup) == (b"small", True)
    await clients.silent(again)


async def test_a_topic_alias_is_not_lost_with_a_message_left_out(clients: Clients) -> None:
    """An alias counts once it was sent: [MQTT-3.1.2-24] [MQTT-3.1.2-26]."""
    properties = (("maximum_packet_size", 100), ("topic_alias_maximum", 5))
    peer = await clients.connect("small", properties=properties)
    await peer.subscribe("topic/+")
    publisher = await clients.connect("publisher")
    for size in (101, 100, 99, 98, 97, 20, 20):
        payload = b"x" if size == 20 else publish_of(size, "topic/1")
        await publisher.publish("topic/1", payload)
    aliases: dict[object, str] = {}
    for _ in range(6):
        received = await peer.message()
        alias = received.get("topic_alias")
        if received.topic and alias:
            aliases[alias] = received.topic

        assert received.topic or aliases[alias] == "topic/1"


async def connack_of(clients: Clients, listener: int, **fields: int) -> tuple[Packet, int]:
    """CONNACK of a CONNECT with these properties, and its size."""
    peer = await clients.open(listener)
    properties = tuple(fields.items())
    await peer.send(Connect("c", properties=properties).encode())
    received = await peer.next()
    assert isinstance(received, Packet)
    assert received.kind == CONNACK
    return received, 2 + len(received.body)


async def test_response_information_is_left_out_of_a_connack_that_is_too_large(
    clients: Clients,
) -> None:
    """The client can do without: [MQTT-3.1.2-24]."""
    asked, size = await connack_of(clients, PLAIN, request_response_information=1)
    assert asked.get("response_information") is not None
    limit = size - 1
    less, left = await connack_of(
        clients, PLAIN, request_response_information=1, maximum_packet_size=limit
    )

    assert (less.reason, less.get("response_information")) == (0, None)
    assert left < size


async def test_a_connack_that_cannot_be_made_smaller_is_a_refusal(clients: Clients) -> None:
    """What the client must know does not fit: 0x95, or no word: [MQTT-3.1.2-24]."""
    _, size = await connack_of(clients, SMALL)
    for limit in range(1, size + 1):
        peer = await clients.open(SMALL)
        await peer.send(Connect("c", properties=(("maximum_packet_size", limit),)).encode())
        if limit == size:
            assert (await peer.packet(CONNACK)).reason == 0
        elif limit >= 5:
            assert await peer.refused() == TOO_LARGE
        else:
            assert await peer.rest() == []
    names = [each.client_id for each in await clients.broker.sessions()]

    assert names == ["c"]


@pytest.mark.parametrize("limit", [4, 5, 30, 1_000])
async def test_a_reason_string_is_left_out_of_a_refusal_that_is_too_large(
    clients: Clients, limit: int
) -> None:
    """[MQTT-3.2.2-19] [MQTT-3.1.2-24]: then the Reason Code has to do."""
    peer = await clients.open()
    will = Will("a/#")
    size = ("maximum_packet_size", limit)
    await peer.send(Connect("c", will=will, properties=(size,)).encode())
    received = await peer.rest()

    if limit < 5:
        assert received == []
        return
    (connack,) = received
    assert isinstance(connack, Packet)
    assert (connack.kind, connack.reason) == (CONNACK, 0x90)
    assert (connack.get("reason_string") is not None) == (limit == 1_000)
    assert 2 + len(connack.body) <= limit


async def test_an_answer_that_is_too_large_ends_the_connection(clients: Clients) -> None:
    """A SUBACK or UNSUBACK has one code a filter, and cannot leave one out: [MQTT-3.1.2-24]."""
    filters = [Filter(f"a/{n}") for n in range(40)]
    fitting = await limited(clients, 45)
    assert len((await fitting.subscribe(*filters)).reasons) == 40
    peer = await limited(clients, 44, "smaller")
    await peer.send(peer.subscribe_bytes(1, filters))
    assert await peer.refused() == TOO_LARGE
    peer = await limited(clients, 44, "another")
    body = b"\0\1\0" + b"".join(text(each.name) for each in filters)
    await peer.send(packet(UNSUBSCRIBE, 2, body) + Publish("a").encode(5))

    assert await peer.refused() == TOO_LARGE


async def test_reason_strings_of_other_packets_are_left_out_too(clients: Clients) -> None:
    """SUBACK and DISCONNECT: [MQTT-3.1.2-24]."""
    peer = await limited(clients, 20)
    await peer.send(peer.subscribe_bytes(1, [Filter("a/#/b")]))
    suback = await peer.packet(SUBACK)
    assert (suback.reasons, suback.properties) == ((0x8F,), ())
    await peer.send(b"\xc0\1\0")
    disconnect = await peer.packet(DISCONNECT)

    assert (disconnect.reason, disconnect.properties) == (0x81, ())


async def test_a_packet_larger_than_the_broker_takes_ends_the_connection(
    clients: Clients,
) -> None:
    """0x95, as CONNACK had said, once its length is known: [MQTT-3.2.2-15]."""
    peer = await clients.connect("c", listener=SMALL)
    assert peer.connack is not None
    assert peer.connack.get("maximum_packet_size") == 1_024
    await peer.publish("a", publish_of(1_024))
    await peer.ping()
    await peer.send(Publish("a", publish_of(1_025)).encode(5)[:3])

    assert await peer.refused() == TOO_LARGE


async def test_a_packet_of_the_largest_size_passes(clients: Clients) -> None:
    """16 MiB, the default, to the byte: [MQTT-3.2.2-15]."""
    peer = await clients.connect("c")
    assert peer.connack is not None
    largest = peer.connack.get("maximum_packet_size")
    assert largest == 16 * 1_024 * 1_024
    await peer.subscribe("a")
    payload = publish_of(16 * 1_024 * 1_024)
    await peer.publish("a", payload)

    assert (await peer.message()).payload == payload


async def test_a_large_connect_is_taken(clients: Clients) -> None:
    """Every field at its largest, in a packet that a listener takes: [MQTT-3.1.4-5]."""
    longest = text("x" * 65_535)
    will = b"\0" + longest * 2
    peer = await clients.open()
    await peer.send(connect_bytes(longest + will + longest * 2, flags=0xC6))

    assert (await peer.packet(CONNACK)).reason == 0
