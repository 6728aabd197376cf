"""Malformed packets and protocol errors on an open connection: their code, and a closed connection.

CONNECT has tests of its own; so have AUTH exchanges, Receive Maximum and Topic Alias.
"""

import pytest

from tests.packets import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Connect,
    Properties,
    Publish,
    packet,
    property_block,
    text,
)
from tests.peer import Clients, Filter

MALFORMED, ERROR, ALIAS = 0x81, 0x82, 0x94
ID = b"\x00\x07"
A = text("a")


def twice(name: str, value: int | str | bytes) -> bytes:
    """A property section with one property two times."""
    return property_block([(name, value), (name, value)])


def subscribe(options: int, properties: bytes = b"\0", names: str = "a") -> bytes:
    """A SUBSCRIBE of one filter."""
    return packet(SUBSCRIBE, 2, ID + properties + text(names) + bytes([options]))


def acknowledgement(kind: int, rest: bytes, flags: int | None = None) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""
    right = 2 if kind == PUBREL else 0
    return packet(kind, right if flags is None else flags, rest)


PUBLISHES: dict[str, tuple[bytes, int]] = {
    "QoS 3 [MQTT-3.3.1-4]": (packet(PUBLISH, 6, A + ID + b"\0"), MALFORMED),
    "DUP at QoS 0 [MQTT-3.3.1-2]": (packet(PUBLISH, 8, A + b"\0"), MALFORMED),
    "no topic": (packet(PUBLISH, 0, b""), MALFORMED),
    "a topic cut short": (packet(PUBLISH, 0, b"\x00\x05abc"), MALFORMED),
    "no Packet Identifier": (packet(PUBLISH, 2, A + b"\x07"), MALFORMED),
    "Packet Identifier 0 [MQTT-2.2.1-3]": (packet(PUBLISH, 2, A + b"\0\0\0"), ERROR),
    "no Property Length [MQTT-2.2.2-1]": (packet(PUBLISH, 0, A), MALFORMED),
    "a Property Length past the end": (packet(PUBLISH, 0, A + b"\x05\x01\x01"), MALFORMED),
    "a Property Length of five bytes": (packet(PUBLISH, 0, A + b"\x80" * 4 + b"\1"), MALFORMED),
    "a Property Length longer than needed [MQTT-1.5.5-1]": (
        packet(PUBLISH, 0, A + b"\x82\x00\x01\x01"),
        MALFORMED,
    ),
    "a property of CONNECT": (
        packet(PUBLISH, 0, A + property_block([("receive_maximum", 5)])),
        MALFORMED,
    ),
    "a property nobody knows": (packet(PUBLISH, 0, A + b"\x02\x7f\x00"), MALFORMED),
    "a property of CONNACK": (
        packet(PUBLISH, 0, A + property_block([("server_keep_alive", 5)])),
        MALFORMED,
    ),
    "a Reason String": (
        packet(PUBLISH, 0, A + property_block([("reason_string", "x")])),
        MALFORMED,
    ),
    "Payload Format Indicator 2": (
        packet(PUBLISH, 0, A + property_block([("payload_format_indicator", 2)])),
        ERROR,
    ),
    "a Response Topic with a wildcard [MQTT-3.3.2-14]": (
        packet(PUBLISH, 0, A + property_block([("response_topic", "a/+")])),
        ERROR,
    ),
    "Topic Alias 0 [MQTT-3.3.2-8]": (
        packet(PUBLISH, 0, A + property_block([("topic_alias", 0)])),
        ALIAS,
    ),
    "a Subscription Identifier [MQTT-3.3.4-6]": (
        packet(PUBLISH, 0, A + property_block([("subscription_identifier", 1)])),
        ERROR,
    ),
    "a Content Type that is not UTF-8 [MQTT-3.3.2-19]": (
        packet(PUBLISH, 0, A + b"\x04\x03\x00\x01\xff"),
        MALFORMED,
    ),
    "a User Property without its value [MQTT-1.5.7-1]": (
        packet(PUBLISH, 0, A + b"\x04\x26\x00\x01a"),
        MALFORMED,
    ),
} | {
    f"{name} twice": (packet(PUBLISH, 0, A + twice(name, value)), ERROR)
    for name, value in [
        ("payload_format_indicator", 1),
        ("message_expiry_interval", 1),
        ("topic_alias", 1),
        ("response_topic", "a"),
        ("correlation_data", b"x"),
        ("content_type", "x"),
    ]
}

ACKNOWLEDGEMENTS: dict[str, tuple[bytes, int]] = {
    "PUBREL without its flag [MQTT-3.6.1-1]": (packet(PUBREL, 0, ID), MALFORMED),
    "PUBACK with reason 1 [MQTT-3.4.2-1]": (packet(PUBACK, 0, ID + b"\1"), ERROR),
    "PUBREC with reason 0x92 [MQTT-3.5.2-1]": (packet(PUBREC, 0, ID + b"\x92"), ERROR),
    "PUBREL with reason 0x80 [MQTT-3.6.2-1]": (packet(PUBREL, 2, ID + b"\x80"), ERROR),
    "PUBCOMP with reason 0x10 [MQTT-3.7.2-1]": (packet(PUBCOMP, 0, ID + b"\x10"), ERROR),
} | {
    f"{name} {case}": (acknowledgement(kind, rest, flags), reason)
    for kind, name in {PUBACK: "PUBACK", PUBREC: "PUBREC", PUBREL: "PUBREL"}.items()
    for case, rest, flags, reason in [
        ("with other flags [MQTT-2.1.3-1]", ID, 5, MALFORMED),
        ("without an identifier", b"", None, MALFORMED),
        ("with half an identifier", b"\7", None, MALFORMED),
        ("with identifier 0", b"\0\0", None, ERROR),
        ("with bytes behind it", ID + b"\0\0\0", None, MALFORMED),
        ("with a Reason String twice", ID + b"\0" + twice("reason_string", "x"), None, ERROR),
        (
            "with a property of PUBLISH",
            ID + b"\0" + property_block([("content_type", "x")]),
            None,
            MALFORMED,
        ),
    ]
}

SUBSCRIBES: dict[str, tuple[bytes, int]] = {
    "flags 0 [MQTT-3.8.1-1]": (packet(SUBSCRIBE, 0, ID + b"\0" + A + b"\0"), MALFORMED),
    "flags 3 [MQTT-3.8.1-1]": (packet(SUBSCRIBE, 3, ID + b"\0" + A + b"\0"), MALFORMED),
    "no filter [MQTT-3.8.3-2]": (packet(SUBSCRIBE, 2, ID + b"\0"), ERROR),
    "identifier 0 [MQTT-2.2.1-3]": (packet(SUBSCRIBE, 2, b"\0\0\0" + A + b"\0"), ERROR),
    "no options": (packet(SUBSCRIBE, 2, ID + b"\0" + A), MALFORMED),
    "reserved option 0x40 [MQTT-3.8.3-5]": (subscribe(0x40), MALFORMED),
    "reserved option 0x80 [MQTT-3.8.3-5]": (subscribe(0x80), MALFORMED),
    "QoS 3": (subscribe(3), ERROR),
    "Retain Handling 3": (subscribe(0x30), ERROR),
    "No Local on a group [MQTT-3.8.3-4]": (subscribe(4, names="$share/g/a"), ERROR),
    "Subscription Identifier 0": (subscribe(0, b"\x02\x0b\x00"), ERROR),
    "Subscription Identifier of five bytes": (
        subscribe(0, b"\x06\x0b" + b"\xff" * 4 + b"\1"),
        MALFORMED,
    ),
    "Subscription Identifier twice": (subscribe(0, twice("subscription_identifier", 1)), ERROR),
    "a property of PUBLISH": (
        subscribe(0, property_block([("content_type", "x")])),
        MALFORMED,
    ),
    "a filter that is not UTF-8 [MQTT-3.8.3-1]": (
        packet(SUBSCRIBE, 2, ID + b"\0\x00\x01\xff\0"),
        MALFORMED,
    ),
}

UNSUBSCRIBES: dict[str, tuple[bytes, int]] = {
    "flags 0 [MQTT-3.10.1-1]": (packet(UNSUBSCRIBE, 0, ID + b"\0" + A), MALFORMED),
    "no filter [MQTT-3.10.3-2]": (packet(UNSUBSCRIBE, 2, ID + b"\0"), ERROR),
    "identifier 0 [MQTT-2.2.1-3]": (packet(UNSUBSCRIBE, 2, b"\0\0\0" + A), ERROR),
    "a filter cut short": (packet(UNSUBSCRIBE, 2, ID + b"\0\x00\x09a"), MALFORMED),
    "a filter that is not UTF-8 [MQTT-3.10.3-1]": (
        packet(UNSUBSCRIBE, 2, ID + b"\0\x00\x01\xff"),
        MALFORMED,
    ),
    "a Subscription Identifier": (
        packet(UNSUBSCRIBE, 2, ID + property_block([("subscription_identifier", 1)]) + A),
        MALFORMED,
    ),
}

OTHERS: dict[str, tuple[bytes, int]] = {
    "packet type 0": (b"\0\0", MALFORMED),
    "CONNECT again [MQTT-3.1.0-2]": (Connect("again").encode(), ERROR),
    "CONNACK": (packet(CONNACK, 0, b"\0\0\0"), ERROR),
    "SUBACK": (packet(SUBACK, 0, ID + b"\0\0"), ERROR),
    "UNSUBACK": (packet(UNSUBACK, 0, ID + b"\0\0"), ERROR),
    "PINGRESP": (packet(PINGRESP, 0, b""), ERROR),
    "PINGREQ with flags [MQTT-2.1.3-1]": (packet(PINGREQ, 1, b""), MALFORMED),
    "PINGREQ with a body": (packet(PINGREQ, 0, b"\0"), MALFORMED),
    "a Remaining Length of five bytes": (b"\xc0\x80\x80\x80\x80\x01", MALFORMED),
    "a Remaining Length longer than needed [MQTT-1.5.5-1]": (b"\xc0\x80\x00", MALFORMED),
    "DISCONNECT with flags [MQTT-3.14.1-1]": (packet(DISCONNECT, 1, b""), MALFORMED),
    "DISCONNECT with reason 1 [MQTT-3.14.2-1]": (packet(DISCONNECT, 0, b"\1"), ERROR),
    "DISCONNECT with bytes behind it": (packet(DISCONNECT, 0, b"\0\0\0"), MALFORMED),
    "DISCONNECT with an expiry twice": (
        packet(DISCONNECT, 0, b"\0" + twice("session_expiry_interval", 0)),
        ERROR,
    ),
    "DISCONNECT with a Reason String twice": (
        packet(DISCONNECT, 0, b"\0" + twice("reason_string", "x")),
        ERROR,
    ),
    "AUTH with flags [MQTT-3.15.1-1]": (packet(AUTH, 1, b""), MALFORMED),
    "AUTH that says Success [MQTT-3.15.2-1]": (packet(AUTH, 0, b""), ERROR),
    "AUTH without properties": (packet(AUTH, 0, b"\x18"), MALFORMED),
    "AUTH without a method": (packet(AUTH, 0, b"\x18\0"), ERROR),
}


async def refusal(clients: Clients, sent: bytes) -> int:
    """What a client that sends this is told before the broker closes; others notice nothing."""
    other = await clients.connect("other")
    await other.subscribe("a")
    peer = await clients.connect("peer")

    await peer.send(sent)

    reason = await peer.refused()
    await clients.silent(other)
    await other.publish("a", b"mine")
    assert (await other.message()).payload == b"mine"
    return reason


@pytest.mark.parametrize("case", PUBLISHES)
async def test_a_wrong_publish_ends_the_connection(clients: Clients, case: str) -> None:
    """[MQTT-4.13.1-1] [MQTT-4.13.2-1]."""
    sent, expected = PUBLISHES[case]

    assert await refusal(clients, sent) == expected


@pytest.mark.parametrize("case", ACKNOWLEDGEMENTS)
async def test_a_wrong_acknowledgement_ends_the_connection(clients: Clients, case: str) -> None:
    """[MQTT-4.13.1-1] [MQTT-4.13.2-1]."""
    sent, expected = ACKNOWLEDGEMENTS[case]

    assert await refusal(clients, sent) == expected


@pytest.mark.parametrize("case", SUBSCRIBES)
async def test_a_wrong_subscribe_ends_the_connection(clients: Clients, case: str) -> None:
    """[MQTT-4.13.1-1] [MQTT-4.13.2-1]."""
    sent, expected = SUBSCRIBES[case]

    assert await refusal(clients, sent) == expected


@pytest.mark.parametrize("case", UNSUBSCRIBES)
async def test_a_wrong_unsubscribe_ends_the_connection(clients: Clients, case: str) -> None:
    """[MQTT-4.13.1-1] [MQTT-4.13.2-1]."""
    sent, expected = UNSUBSCRIBES[case]

    assert await refusal(clients, sent) == expected


@pytest.mark.parametrize("case", OTHERS)
async def test_any_other_wrong_packet_ends_the_connection(clients: Clients, case: str) -> None:
    """[MQTT-4.13.1-1] [MQTT-4.13.2-1]."""
    sent, expected = OTHERS[case]

    assert await refusal(clients, sent) == expected


async def test_what_came_before_the_error_counts_and_what_follows_does_not(
    clients: Clients,
) -> None:
    """[MQTT-4.13.1-1]."""
    other = await clients.connect("other")
    await other.subscribe("a")
    peer = await clients.connect("peer")

    before, after = Publish("a", b"before").encode(5), Publish("a", b"after").encode(5)
    await peer.send(before + packet(PINGREQ, 1, b"") + after)

    assert await peer.refused() == MALFORMED
    assert (await other.message()).payload == b"before"
    await clients.silent(other)


async def test_a_session_outlives_the_error_of_its_client(clients: Clients) -> None:
    """[MQTT-4.13.1-1]: it is the connection that ends."""
    peer = await clients.connect("peer", expiry=60)
    await peer.subscribe(Filter("a", 1))
    await peer.send(packet(PINGREQ, 1, b""))
    assert await peer.refused() == MALFORMED
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1)

    peer = await clients.connect("peer", expiry=60, clean=False)

    assert (await peer.message()).payload == b"x"


async def test_every_property_of_an_answer_is_taken(clients: Clients) -> None:
    """What clients may send is not refused. MQTT 5 §3.4.2.2, §3.8.2.1, §3.10.2.1."""
    peer = await clients.connect("peer")
    pair: Properties = [("user_property", ("a", "b"))] * 3
    section = property_block([("reason_string", "why"), *pair])
    for kind in (PUBACK, PUBCOMP):
        await peer.send(acknowledgement(kind, ID + b"\0" + section))

    await peer.send(subscribe(0x2D, property_block([("subscription_identifier", 1), *pair])))
    assert (await peer.packet(SUBACK)).reasons == (1,)
    await peer.send(packet(UNSUBSCRIBE, 2, ID + property_block(pair) + A))
    assert (await peer.packet(UNSUBACK)).reasons == (0,)
    await clients.silent(peer)
