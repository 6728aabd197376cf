"""A CONNECT that is malformed or breaks a rule: the standard's Reason Code, then the end.

MQTT 5 §3.1.4 asks to close, and lets the broker say why in a CONNACK first.
"""

import pytest

from tests.packets import CONNACK, Connect, Packet, connect_bytes, data, text
from tests.peer import Clients

MALFORMED, PROTOCOL_ERROR, UNSUPPORTED = 0x81, 0x82, 0x84
WILL = b"\0" + text("w") + data(b"p")
"""Will Properties, Will Topic and Will Payload."""


def section(*properties: bytes) -> bytes:
    """Property Length and properties given as bytes."""
    block = b"".join(properties)
    assert len(block) < 128
    return bytes([len(block)]) + block


def with_properties(*properties: bytes) -> bytes:
    """A CONNECT with these properties."""
    return connect_bytes(properties=section(*properties))


def with_will_properties(*properties: bytes) -> bytes:
    """A CONNECT with a will with these properties."""
    return connect_bytes(
        text("c") + section(*properties) + text("w") + data(b"p"),
        flags=0x06,
    )


FORMAT = {
    "[MQTT-3.1.2-3] reserved flag": (connect_bytes(flags=0x03), MALFORMED),
    "[MQTT-3.1.2-11] Will QoS 1 without will": (connect_bytes(flags=0x0A), MALFORMED),
    "[MQTT-3.1.2-11] Will QoS 2 without will": (connect_bytes(flags=0x12), MALFORMED),
    "[MQTT-3.1.2-12] Will QoS 3": (connect_bytes(text("c") + WILL, flags=0x1E), MALFORMED),
    "[MQTT-3.1.2-13] Will Retain without will": (connect_bytes(flags=0x22), MALFORMED),
    "[MQTT-3.1.2-9] will flagged, absent": (connect_bytes(flags=0x06), MALFORMED),
    "[MQTT-3.1.2-9] Will Payload absent": (
        connect_bytes(text("c") + b"\0" + text("w"), flags=0x06),
        MALFORMED,
    ),
    "[MQTT-3.1.2-9] Will Properties absent": (
        connect_bytes(text("c") + text("w") + data(b"p"), flags=0x06),
        MALFORMED,
    ),
    "will not flagged, present": (connect_bytes(text("c") + WILL), MALFORMED),
    "[MQTT-3.1.2-16] User Name not flagged": (connect_bytes(text("c") + text("u")), MALFORMED),
    "[MQTT-3.1.2-17] User Name absent": (connect_bytes(flags=0x82), MALFORMED),
    "[MQTT-3.1.2-18] Password not flagged": (
        connect_bytes(text("c") + text("u") + data(b"p"), flags=0x82),
        MALFORMED,
    ),
    "[MQTT-3.1.2-19] Password absent": (
        connect_bytes(text("c") + text("u"), flags=0xC2),
        MALFORMED,
    ),
    "[MQTT-3.1.3-3] Client Identifier absent": (connect_bytes(b""), MALFORMED),
    "[MQTT-3.1.3-1] Client Identifier behind the will": (
        connect_bytes(WILL + text("c"), flags=0x06),
        MALFORMED,
    ),
    "[MQTT-3.1.3-4] Client Identifier not UTF-8": (
        connect_bytes(data(b"\xc3\x28")),
        MALFORMED,
    ),
    "[MQTT-3.1.3-11] Will Topic not UTF-8": (
        connect_bytes(text("c") + b"\0" + data(b"\xff") + data(b"p"), flags=0x06),
        MALFORMED,
    ),
    "[MQTT-3.1.3-12] User Name not UTF-8": (
        connect_bytes(text("c") + data(b"\xed\xa0\x80"), flags=0x82),
        MALFORMED,
    ),
    "Client Identifier longer than the packet": (connect_bytes(b"\0\5abc"), MALFORMED),
    "Property Length beyond the packet": (connect_bytes(properties=b"\x7f"), MALFORMED),
    "[MQTT-1.5.5-1] Property Length of five bytes": (
        connect_bytes(properties=b"\x80\x80\x80\x80\x01"),
        MALFORMED,
    ),
    "[MQTT-1.5.5-1] Property Length longer than needed": (
        connect_bytes(properties=b"\x80\x00"),
        MALFORMED,
    ),
    "[MQTT-2.2.2-1] Property Length absent": (connect_bytes(properties=b""), MALFORMED),
}
"""By what is wrong: the packet and the Reason Code of CONNACK."""

PROPERTIES = {
    "an unknown one": (with_properties(b"\x7e\0"), MALFORMED),
    "identifier 0": (with_properties(b"\0\0"), MALFORMED),
    "of PUBLISH": (with_properties(b"\x01\0"), MALFORMED),
    "of CONNACK": (with_properties(b"\x13\0\1"), MALFORMED),
    "of SUBSCRIBE": (with_properties(b"\x0b\1"), MALFORMED),
    "Will Delay Interval outside the will": (with_properties(b"\x18\0\0\0\1"), MALFORMED),
    "Session Expiry Interval cut short": (with_properties(b"\x11\0\0"), MALFORMED),
    "Session Expiry Interval twice": (
        with_properties(b"\x11\0\0\0\1", b"\x11\0\0\0\1"),
        PROTOCOL_ERROR,
    ),
    "Receive Maximum 0": (with_properties(b"\x21\0\0"), PROTOCOL_ERROR),
    "Receive Maximum twice": (with_properties(b"\x21\0\1", b"\x21\0\1"), PROTOCOL_ERROR),
    "Maximum Packet Size 0": (with_properties(b"\x27\0\0\0\0"), PROTOCOL_ERROR),
    "Maximum Packet Size twice": (
        with_properties(b"\x27\0\1\0\0", b"\x27\0\1\0\0"),
        PROTOCOL_ERROR,
    ),
    "Topic Alias Maximum twice": (with_properties(b"\x22\0\1", b"\x22\0\1"), PROTOCOL_ERROR),
    "Request Response Information 2": (with_properties(b"\x19\2"), PROTOCOL_ERROR),
    "Request Response Information twice": (with_properties(b"\x19\1", b"\x19\1"), PROTOCOL_ERROR),
    "Request Problem Information 2": (with_properties(b"\x17\2"), PROTOCOL_ERROR),
    "Request Problem Information twice": (with_properties(b"\x17\0", b"\x17\0"), PROTOCOL_ERROR),
    "Authentication Method twice": (
        with_properties(b"\x15\0\1a", b"\x15\0\1a"),
        PROTOCOL_ERROR,
    ),
    "Authentication Data without method": (with_properties(b"\x16\0\1a"), PROTOCOL_ERROR),
    "Authentication Data twice": (
        with_properties(b"\x15\0\1a", b"\x16\0\1a", b"\x16\0\1a"),
        PROTOCOL_ERROR,
    ),
    "User Property without value": (with_properties(b"\x26\0\1a"), MALFORMED),
    "[MQTT-1.5.7-1] User Property's name not UTF-8": (
        with_properties(b"\x26\0\1\xff\0\1a"),
        MALFORMED,
    ),
    "[MQTT-1.5.7-1] User Property's value with NUL": (
        with_properties(b"\x26\0\1a\0\1\0"),
        MALFORMED,
    ),
    "in the will, of CONNECT": (with_will_properties(b"\x11\0\0\0\1"), MALFORMED),
    "in the will, Topic Alias": (with_will_properties(b"\x23\0\1"), MALFORMED),
    "in the will, Subscription Identifier": (with_will_properties(b"\x0b\1"), MALFORMED),
    "Will Delay Interval twice": (
        with_will_properties(b"\x18\0\0\0\1", b"\x18\0\0\0\1"),
        PROTOCOL_ERROR,
    ),
    "Payload Format Indicator 2": (with_will_properties(b"\x01\2"), PROTOCOL_ERROR),
    "Payload Format Indicator twice": (with_will_properties(b"\x01\1", b"\x01\1"), PROTOCOL_ERROR),
    "Message Expiry Interval twice": (
        with_will_properties(b"\x02\0\0\0\1", b"\x02\0\0\0\1"),
        PROTOCOL_ERROR,
    ),
    "Content Type twice": (with_will_properties(b"\x03\0\1a", b"\x03\0\1a"), PROTOCOL_ERROR),
    "Response Topic twice": (with_will_properties(b"\x08\0\1a", b"\x08\0\1a"), PROTOCOL_ERROR),
    "Response Topic with wildcard": (with_will_properties(b"\x08\0\3a/+"), PROTOCOL_ERROR),
    "Correlation Data twice": (with_will_properties(b"\x09\0\1a", b"\x09\0\1a"), PROTOCOL_ERROR),
}
"""By what is wrong with a property: the packet and the Reason Code of CONNACK."""


@pytest.mark.parametrize("wrong", FORMAT | PROPERTIES)
async def test_a_wrong_connect_is_refused_with_the_reason(clients: Clients, wrong: str) -> None:
    """One CONNACK with the reason and without Session Present, then the end.

    [MQTT-3.1.4-1] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-3.2.0-2]
    """
    await clients.connect("c", clean=False, expiry=1_000)
    sent, reason = (FORMAT | PROPERTIES)[wrong]
    peer = await clients.open()
    await peer.send(sent)
    (connack,) = await peer.rest()

    assert isinstance(connack, Packet)
    assert (connack.kind, connack.reason) == (CONNACK, reason)
    assert not connack.session_present


async def test_a_wrong_connect_leaves_the_session_and_its_connection_alone(
    clients: Clients,
) -> None:
    """What is not valid takes nothing over: [MQTT-3.1.4-1]."""
    held = await clients.connect("c", clean=False, expiry=1_000)
    for sent, _ in (FORMAT | PROPERTIES).values():
        peer = await clients.open()
        await peer.send(sent)
        await peer.rest()

    await clients.silent(held)


UNKNOWN = {
    "no name": text("") + b"\5",
    "small letters": text("mqtt") + b"\5",
    "another name": text("HTTP") + b"\5",
    "name cut short": text("MQT") + b"\5",
    "name not UTF-8": data(b"MQ\xffT") + b"\5",
}


@pytest.mark.parametrize("name", UNKNOWN)
async def test_a_protocol_name_other_than_mqtt_ends_the_connection(
    clients: Clients, name: str
) -> None:
    """Without a word, since who is there may not know MQTT: [MQTT-3.1.2-1]."""
    peer = await clients.open()
    await peer.send(connect_bytes(protocol=UNKNOWN[name]))

    assert await peer.rest() == []


@pytest.mark.parametrize("level", [6, 7, 127, 255])
async def test_a_protocol_version_that_is_not_known_is_refused(
    clients: Clients, level: int
) -> None:
    """CONNACK 0x84, then the connection ends: [MQTT-3.1.2-2]."""
    peer = await clients.open()
    await peer.send(connect_bytes(protocol=text("MQTT") + bytes([level])))

    assert await peer.refused() == UNSUPPORTED


@pytest.mark.parametrize("level", [0, 1, 2, 3])
async def test_an_old_protocol_version_is_refused_in_a_packet_it_can_read(
    clients: Clients, level: int
) -> None:
    """Return code 1 in a CONNACK of 3.1.1, then the connection ends: [MQTT-3.1.2-2]."""
    peer = await clients.open()
    peer.version = 4
    await peer.send(connect_bytes(protocol=text("MQTT") + bytes([level])))

    assert await peer.refused() == 1


@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
async def test_flags_in_the_fixed_header_of_connect_end_the_connection(
    clients: Clients, flags: int
) -> None:
    """[MQTT-2.1.3-1] [MQTT-3.1.4-1]."""
    peer = await clients.open()
    sent = Connect("c").encode()
    await peer.send(bytes([sent[0] | flags]) + sent[1:])

    assert await peer.rest() == []


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a#", "$SYS/a", "$share/g/a"])
async def test_a_will_topic_that_cannot_be_published_to_is_refused(
    clients: Clients, topic: str
) -> None:
    """0x90, since the broker checks it before it accepts: [MQTT-3.1.4-2] [MQTT-3.1.2-9]."""
    peer = await clients.open()
    await peer.send(connect_bytes(text("c") + b"\0" + text(topic) + data(b"p"), flags=0x06))

    assert await peer.refused() == 0x90
