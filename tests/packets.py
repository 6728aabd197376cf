"""MQTT packets as bytes, for tests: made and read without anything of the product.

What a test sends may be wrong on purpose, so nothing is checked here while encoding. Properties
are pairs of a name and a value, in the order in which they stand in the packet (MQTT 5 §2.2.2.2).
"""

import struct
from dataclasses import dataclass
from typing import TypeAlias

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)

PropertyValue: TypeAlias = int | str | bytes | tuple[str, str]
Properties: TypeAlias = list[tuple[str, PropertyValue]]

# Name: (identifier, type), MQTT 5 Table 2-4.
PROPERTIES = {
    "payload_format_indicator": (0x01, "byte"),
    "message_expiry_interval": (0x02, "four"),
    "content_type": (0x03, "text"),
    "response_topic": (0x08, "text"),
    "correlation_data": (0x09, "data"),
    "subscription_identifier": (0x0B, "variable"),
    "session_expiry_interval": (0x11, "four"),
    "assigned_client_identifier": (0x12, "text"),
    "server_keep_alive": (0x13, "two"),
    "authentication_method": (0x15, "text"),
    "authentication_data": (0x16, "data"),
    "request_problem_information": (0x17, "byte"),
    "will_delay_interval": (0x18, "four"),
    "request_response_information": (0x19, "byte"),
    "response_information": (0x1A, "text"),
    "server_reference": (0x1C, "text"),
    "reason_string": (0x1F, "text"),
    "receive_maximum": (0x21, "two"),
    "topic_alias_maximum": (0x22, "two"),
    "topic_alias": (0x23, "two"),
    "maximum_qos": (0x24, "byte"),
    "retain_available": (0x25, "byte"),
    "user_property": (0x26, "pair"),
    "maximum_packet_size": (0x27, "four"),
    "wildcard_subscription_available": (0x28, "byte"),
    "subscription_identifier_available": (0x29, "byte"),
    "shared_subscription_available": (0x2A, "byte"),
}
NAMES = {identifier: (name, kind) for name, (identifier, kind) in PROPERTIES.items()}


def variable(number: int) -> bytes:
    """A Variable Byte Integer, in as few bytes as it takes."""
    encoded = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        encoded.append(low | 0x80 if number else low)
        if not number:
            return bytes(encoded)


def data(value: bytes) -> bytes:
    """Binary Data: two bytes of length, then the bytes."""
    return struct.pack(">H", len(value)) + value


def text(value: str) -> bytes:
    """A UTF-8 Encoded String."""
    return data(value.encode())


def property_bytes(name: str, value: PropertyValue) -> bytes:
    """One property with its identifier."""
    identifier, kind = PROPERTIES[name]
    if isinstance(value, tuple):
        encoded = text(value[0]) + text(value[1])
    elif isinstance(value, str):
        encoded = text(value)
    elif isinstance(value, bytes):
        encoded = data(value)
    elif kind == "variable":
        encoded = variable(value)
    else:
        encoded = value.to_bytes({"byte": 1, "two": 2, "four": 4}[kind], "big")
    return bytes([identifier]) + encoded


def property_block(properties: Properties) -> bytes:
    """Property Length and properties."""
    block = b"".join(property_bytes(name, value) for name, value in properties)
    return variable(len(block)) + block


def packet(kind: int, flags: int, body: bytes) -> bytes:
    """A whole packet: fixed header, then what follows it."""
    return bytes([kind << 4 | flags]) + variable(len(body)) + body


@dataclass(frozen=True)
class Will:
    """What CONNECT says of a will."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    properties: tuple[tuple[str, PropertyValue], ...] = ()


@dataclass(frozen=True)
class Connect:
    """CONNECT; `clean` is Clean Start, or Clean Session before version 5."""

    client_id: str = ""
    version: int = 5
    clean: bool = True
    keep_alive: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: tuple[tuple[str, PropertyValue], ...] = ()

    def encode(self) -> bytes:
        """The packet."""
        will = self.will
        flags = self.clean << 1
        body = text(self.client_id)
        if will is not None:
            flags |= 0x04 | will.qos << 3 | will.retain << 5
            if self.version == 5:
                body += property_block(list(will.properties))
            body += text(will.topic) + data(will.payload)
        if self.username is not None:
            flags |= 0x80
            body += text(self.username)
        if self.password is not None:
            flags |= 0x40
            body += data(self.password)
        head = text("MQIsdp" if self.version == 3 else "MQTT")
        head += bytes([self.version, flags]) + struct.pack(">H", self.keep_alive)
        if self.version == 5:
            head += property_block(list(self.properties))
        return packet(CONNECT, 0, head + body)


def connect_bytes(
    payload: bytes = text("c"),
    *,
    flags: int = 0x02,
    properties: bytes = b"\0",
    protocol: bytes = text("MQTT") + b"\5",
) -> bytes:
    """A CONNECT whose parts are given as bytes, wrong ones too.

    Args:
        payload: From the Client Identifier on.
        flags: Connect Flags; by default Clean Start alone.
        properties: Property Length and properties.
        protocol: Protocol Name and Protocol Version.
    """
    return packet(CONNECT, 0, protocol + bytes([flags]) + b"\0\0" + properties + payload)


@dataclass(frozen=True)
class Publish:
    """PUBLISH, as sent or received; `packet_id` is 0 at QoS 0."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: tuple[tuple[str, PropertyValue], ...] = ()

    def encode(self, version: int) -> bytes:
        """The packet."""
        body = text(self.topic)
        if self.qos > 0:
            body += struct.pack(">H", self.packet_id)
        if version == 5:
            body += property_block(list(self.properties))
        flags = self.dup << 3 | self.qos << 1 | self.retain
        return packet(PUBLISH, flags, body + self.payload)

    def all(self, name: str) -> list[PropertyValue]:
        """Every value of a property, in order."""
        return [value for each, value in self.properties if each == name]

    def get(self, name: str) -> PropertyValue | None:
        """The first value of a property."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True)
class Packet:
    """Any packet but PUBLISH, as received.

    Attributes:
        kind: the packet type, `CONNACK` and so on.
        flags: the low half of the first byte.
        packet_id: 0 where there is none.
        reasons: Reason Codes or return codes, one a filter in SUBACK and UNSUBACK; empty if the
            packet leaves it out.
        properties: in order.
        session_present: of CONNACK.
        body: everything behind the fixed header.
    """

    kind: int
    flags: int
    packet_id: int = 0
    reasons: tuple[int, ...] = ()
    properties: tuple[tuple[str, PropertyValue], ...] = ()
    session_present: bool = False
    body: bytes = b""

    @property
    def reason(self) -> int:
        """The Reason Code; 0 where the packet leaves it out."""
        return self.reasons[0] if self.reasons else 0

    def all(self, name: str) -> list[PropertyValue]:
        """Every value of a property, in order."""
        return [value for each, value in self.properties if each == name]

    def get(self, name: str) -> PropertyValue | None:
        """The first value of a property."""
        return next(iter(self.all(name)), None)


class Reader:
    """Takes values off the front of a packet's body; asserts that they are there."""

    def __init__(self, body: bytes) -> None:
        self.rest = body

    def take(self, length: int) -> bytes:
        """The next bytes."""
        assert len(self.rest) >= length, "the broker sent a packet that is too short"
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def number(self, length: int) -> int:
        """A big-endian integer."""
        return int.from_bytes(self.take(length), "big")

    def variable(self) -> int:
        """A Variable Byte Integer; it must be as short as it can be [MQTT-1.5.5-1]."""
        value = 0
        for place in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                assert byte or not place, "the broker sent an integer longer than needed"
                return value
        raise AssertionError("the broker sent an integer of five bytes")

    def data(self) -> bytes:
        """Binary Data."""
        return self.take(self.number(2))

    def text(self) -> str:
        """A UTF-8 Encoded String, well formed and without NUL [MQTT-1.5.4-1] [MQTT-1.5.4-2]."""
        value = self.data().decode()
        assert "\0" not in value
        return value

    def properties(self) -> Properties:
        """Property Length and properties."""
        inner = Reader(self.take(self.variable()))
        found: Properties = []
        while inner.rest:
            name, kind = NAMES[inner.variable()]
            if kind == "pair":
                found.append((name, (inner.text(), inner.text())))
            elif kind == "text":
                found.append((name, inner.text()))
            elif kind == "data":
                found.append((name, inner.data()))
            elif kind == "variable":
                found.append((name, inner.variable()))
            else:
                found.append((name, inner.number({"byte": 1, "two": 2, "four": 4}[kind])))
        return found


def decode(first: int, body: bytes, version: int) -> Packet | Publish:
    """A packet from the broker: its first byte, and what follows the Remaining Length."""
    kind, flags = first >> 4, first & 0x0F
    reader = Reader(body)
    if kind == PUBLISH:
        return _publish(flags, reader, version)
    packet_id = 0
    present = False
    reasons: tuple[int, ...] = ()
    properties: Properties = []
    if kind == CONNACK:
        acknowledge = reader.number(1)
        assert acknowledge <= 1, "the broker set reserved bits of CONNACK"  # [MQTT-3.2.2-1]
        present = bool(acknowledge)
        reasons = (reader.number(1),)
        properties = reader.properties() if version == 5 else []
    elif kind in (SUBACK, UNSUBACK):
        packet_id = reader.number(2)
        properties = reader.properties() if version == 5 else []
        reasons = tuple(reader.take(len(reader.rest)))
    elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH):
        packet_id = reader.number(2) if kind < SUBSCRIBE else 0
        if version == 5 and reader.rest:
            reasons = (reader.number(1),)
            properties = reader.properties() if reader.rest else []
    assert not reader.rest, "the broker sent more than the packet holds"
    return Packet(kind, flags, packet_id, reasons, tuple(properties), present, body)


def _publish(flags: int, reader: Reader, version: int) -> Publish:
    qos = flags >> 1 & 3
    assert qos < 3, "the broker sent QoS 3"
    return Publish(
        topic=reader.text(),
        qos=qos,
        retain=bool(flags & 1),
        dup=bool(flags & 8),
        packet_id=reader.number(2) if qos else 0,
        properties=tuple(reader.properties()) if version == 5 else (),
        payload=reader.rest,
    )
