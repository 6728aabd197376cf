"""The client that `bench` loads brokers with: sockets, and the few packets that it takes.

It answers acknowledgements itself and only counts; paho would be slower than any broker.
"""

import socket
import struct
from dataclasses import dataclass, field
from typing import Final

from quantummq.errors import QuantumMQError

# Longer than any broker needs for one answer.
ANSWER_S: Final = 5.0
_READ_BYTES: Final = 1 << 18
_CONNACK: Final = 2
_PUBLISH: Final = 3
_PUBACK: Final = 4
_PUBREC: Final = 5
_PUBREL: Final = 6
_PUBCOMP: Final = 7
_SUBACK: Final = 9
_DISCONNECT: Final = 14
# Sizes of CONNACK's properties with a fixed one (MQTT 5 §3.2.2.3); the others are strings.
_FIXED_SIZES: Final = {
    0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1
}  # fmt: skip
_RECEIVE_MAXIMUM: Final = 0x21
_MAXIMUM_QOS: Final = 0x24
_USER_PROPERTY: Final = 0x26


class BenchError(QuantumMQError):
    """The broker cannot be measured; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """The broker that is measured.

    Attributes:
        host: A loopback address.
        port: Its TCP port.
        level: Protocol level: 5, or 4 for MQTT 3.1.1.
        username, password: What CONNECT says.
    """

    host: str
    port: int
    level: int
    username: str | None
    password: str | None


@dataclass(slots=True)
class Client:
    """One connection: what it received and what was acknowledged, as numbers.

    Attributes:
        target: Where it is connected.
        sock: Its socket.
        receive_maximum: Publishes the broker takes unacknowledged.
        maximum_qos: What the broker offers.
        delivered: PUBLISH packets received; a QoS 2 one counts when it is released.
        completed: Own publishes at QoS 1 and 2 that are acknowledged in full.
    """

    target: Target
    sock: socket.socket
    receive_maximum: int = 65_535
    maximum_qos: int = 2
    delivered: int = 0
    completed: int = 0
    _rest: bytes = b""
    _subscribed: bool = False
    _out: list[bytes] = field(default_factory=list[bytes])

    @classmethod
    def connect(cls, target: Target) -> "Client":
        """Connects and waits for CONNACK.

        Raises:
            BenchError: nobody listens, or the broker refuses.
        """
        try:
            sock = socket.create_connection((target.host, target.port), timeout=ANSWER_S)
        except OSError as error:
            why = f"no broker on {target.host} port {target.port} ({error.strerror or error})"
            raise BenchError(f'{why}: start one with "quantummq run", or give --port') from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = cls(target, sock)
        client.greet()
        return client

    def greet(self) -> None:
        """Sends CONNECT, waits for CONNACK and takes the broker's limits from it.

        Raises:
            BenchError: the broker refuses, or is none.
        """
        try:
            self.write(_connect(self.target))
            kind, body = self._first_packet()
            if kind != _CONNACK:
                raise BenchError(f"the answer to CONNECT is a packet of type {kind}: not a broker?")
            self._read_connack(body)
        except BenchError:
            self.close()
            raise

    def close(self) -> None:
        """Says goodbye and closes."""
        try:
            self.sock.sendall(b"\xe0\x00")
        except OSError:
            # The broker is gone already.
            pass
        finally:
            self.sock.close()

    def write(self, packets: bytes) -> None:
        """Writes all of `packets`.

        Raises:
            BenchError: the broker is gone or takes nothing.
        """
        try:
            self.sock.sendall(packets)
        except OSError as error:
            raise BenchError(f"the broker went away while written to ({error})") from None

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribes and waits for SUBACK.

        Raises:
            BenchError: the broker refuses.
        """
        body = b"\x00\x01" + b"\x00" * (self.target.level == 5)
        self.write(packet(0x82, body + text(topic_filter) + bytes([qos])))
        while not self._subscribed:
            self.receive()

    def receive(self) -> None:
        """Reads once, counts what came and answers it.

        Raises:
            BenchError: the broker is gone, says nothing, or ends the connection.
        """
        at = 0
        buffer = self._read()
        while (frame := _frame(buffer, at)) is not None:
            header, start, end = frame
            self._take(header, buffer, start, end)
            at = end
        self._rest = buffer[at:]
        if self._out:
            self.write(b"".join(self._out))
            self._out.clear()

    def _first_packet(self) -> tuple[int, bytes]:
        """Reads one packet: its type and body."""
        while True:
            buffer = self._read()
            frame = _frame(buffer, 0)
            if frame is not None:
                header, start, end = frame
                self._rest = buffer[end:]
                return header >> 4, buffer[start:end]
            self._rest = buffer

    def _read_connack(self, body: bytes) -> None:
        """Takes limits from CONNACK.

        Raises:
            BenchError: it refuses.
        """
        if len(body) < 2 or body[1] != 0:
            reason = body[1] if len(body) > 1 else 0
            raise BenchError(
                f"the broker refuses CONNECT with 0x{reason:02x}: give --username and --pw, "
                "or -V 311 for a broker without MQTT 5"
            )
        if self.target.level == 5:
            found = _connack_properties(body)
            self.receive_maximum = found.get(_RECEIVE_MAXIMUM, self.receive_maximum)
            self.maximum_qos = found.get(_MAXIMUM_QOS, self.maximum_qos)

    def _read(self) -> bytes:
        try:
            chunk = self.sock.recv(_READ_BYTES)
        except TimeoutError:
            raise BenchError(f"the broker has said nothing for {ANSWER_S:g} s") from None
        except OSError as error:
            raise BenchError(f"the connection failed ({error})") from None
        if not chunk:
            raise BenchError("the broker closed the connection")
        return self._rest + chunk if self._rest else chunk

    def _take(self, header: int, buffer: bytes, start: int, end: int) -> None:
        """Counts one packet and answers it."""
        kind = header >> 4
        if kind == _PUBLISH:
            qos = header >> 1 & 3
            if qos == 0:
                self.delivered += 1
                return
            at = start + 2 + (buffer[start] << 8 | buffer[start + 1])
            identifier = buffer[at : at + 2]
            if qos == 1:
                self.delivered += 1
                self._out.append(b"\x40\x02" + identifier)
            else:
                self._out.append(b"\x50\x02" + identifier)
        elif kind == _PUBREC:
            self._out.append(b"\x62\x02" + buffer[start : start + 2])
        elif kind == _PUBREL:
            self.delivered += 1
            self._out.append(b"\x70\x02" + buffer[start : start + 2])
        elif kind in (_PUBACK, _PUBCOMP):
            self.completed += 1
        elif kind == _SUBACK:
            if buffer[end - 1] >= 0x80:
                raise BenchError(f"the broker refuses to subscribe with 0x{buffer[end - 1]:02x}")
            self._subscribed = True
        elif kind == _DISCONNECT:
            reason = buffer[start] if end > start else 0
            raise BenchError(f"the broker sent DISCONNECT with 0x{reason:02x}")


def packet(header: int, body: bytes) -> bytes:
    """A packet: first byte, Remaining Length (MQTT 5 §2.1.4), the rest."""
    length = len(body)
    encoded = bytearray([header])
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | 0x80 * (length > 0))
        if length == 0:
            return bytes(encoded) + body


def text(value: str) -> bytes:
    """A UTF-8 string with its length (MQTT 5 §1.5.4)."""
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def publish(target: Target, topic: str, payload: bytes, qos: int, packet_id: int) -> bytes:
    """A PUBLISH packet; the identifier counts above QoS 0."""
    identifier = struct.pack(">H", packet_id) if qos else b""
    properties = b"\x00" * (target.level == 5)
    return packet(0x30 | qos << 1, text(topic) + identifier + properties + payload)


def _connect(target: Target) -> bytes:
    """CONNECT of a new session, Client Identifier from the broker, without keep alive."""
    flags = 0x02
    login = b""
    if target.username is not None:
        flags |= 0x80
        login += text(target.username)
    if target.password is not None:
        flags |= 0x40
        login += text(target.password)
    properties = b"\x00" * (target.level == 5)
    head = text("MQTT") + bytes([target.level, flags]) + b"\x00\x00" + properties
    return packet(0x10, head + text("") + login)


def _frame(buffer: bytes, at: int) -> tuple[int, int, int] | None:
    """First byte, begin and end of the body of the packet at `at`; None if it is incomplete."""
    length, shift, start = 0, 0, at + 1
    while start < len(buffer):
        digit = buffer[start]
        length |= (digit & 0x7F) << shift
        shift += 7
        start += 1
        if digit < 0x80:
            end = start + length
            return (buffer[at], start, end) if end <= len(buffer) else None
    return None


def _connack_properties(body: bytes) -> dict[int, int]:
    """CONNACK's numbers by property; reading ends at what it does not know."""
    found: dict[int, int] = {}
    # Behind flags, reason code and the length, which is one byte below 128 and else two.
    at = 3 if len(body) > 2 and body[2] < 0x80 else 4
    while at < len(body):
        name = body[at]
        at += 1
        size = _FIXED_SIZES.get(name)
        if size is None:
            for _ in range(2 if name == _USER_PROPERTY else 1):
                at += 2 + int.from_bytes(body[at : at + 2], "big")
            continue
        found[name] = int.from_bytes(body[at : at + size], "big")
        at += size
    return found
