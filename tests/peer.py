"""A client for tests that sends what it is told to, right or wrong, and sees every packet."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypedDict, Unpack, overload
from urllib.parse import urlsplit

from quantummq.broker import Broker
from quantummq.clock import ManualClock
from tests.packets import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Connect,
    Packet,
    Properties,
    PropertyValue,
    Publish,
    Will,
    decode,
    packet,
    property_block,
    text,
)

TIMEOUT_S = 20
"""How long a test waits for what must come: long, since it only passes when something is wrong."""


@dataclass(frozen=True)
class Filter:
    """A Topic Filter with its Subscription Options (MQTT 5 §3.8.3.1)."""

    name: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0

    @property
    def options(self) -> int:
        """The options as the packet has them."""
        published = self.retain_as_published << 3
        return self.qos | self.no_local << 2 | published | self.retain_handling << 4


class Peer:
    """One connection. What it receives is decoded strictly: a wrong byte fails the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.version = 5
        self.connack: Packet | None = None
        self._ids = itertools.cycle(range(1, 65_536))
        self._held: list[Packet | Publish] = []

    @classmethod
    async def open(cls, address: str) -> Self:
        """A connection to `tcp://host:port` or `unix:/path`; nothing is sent yet."""
        if address.startswith("unix:"):
            return cls(*await asyncio.open_unix_connection(address.removeprefix("unix:")))
        where = urlsplit(address)
        return cls(*await asyncio.open_connection(where.hostname, where.port))

    # --- bytes and packets ---------------------------------------------------------------------

    async def send(self, data_out: bytes) -> None:
        """Sends bytes as they are."""
        self.writer.write(data_out)
        await self.writer.drain()

    async def next(self) -> Packet | Publish:
        """The next packet; EOFError (asyncio.IncompleteReadError) if the broker closes instead."""
        if self._held:
            return self._held.pop(0)
        async with asyncio.timeout(TIMEOUT_S):
            first = (await self.reader.readexactly(1))[0]
            length = 0
            for place in range(4):
                byte = (await self.reader.readexactly(1))[0]
                length |= (byte & 0x7F) << (7 * place)
                if byte < 0x80:
                    break
            return decode(first, await self.reader.readexactly(length), self.version)

    async def packet(self, kind: int) -> Packet:
        """The next packet, which is of that type."""
        received = await self.next()
        assert isinstance(received, Packet), received
        assert received.kind == kind, received
        return received

    async def publication(self) -> Publish:
        """The next packet, which is a PUBLISH; nothing is answered."""
        received = await self.next()
        assert isinstance(received, Publish), received
        return received

    async def rest(self) -> list[Packet | Publish]:
        """What comes until the broker closes the connection."""
        received: list[Packet | Publish] = []
        while True:
            try:
                received.append(await self.next())
            except (asyncio.IncompleteReadError, ConnectionError):
                return received

    async def refused(self) -> int:
        """The broker's last word, DISCONNECT or CONNACK, before it closes: its Reason Code.

        -1 if it closes without one, as it must before version 5.
        """
        received = await self.rest()
        if not received:
            return -1
        last = received[-1]
        assert len(received) == 1, received
        assert isinstance(last, Packet), last
        assert last.kind in (CONNACK, DISCONNECT), last
        return last.reason

    async def close(self) -> None:
        """Ends the connection without DISCONNECT, as a lost network does."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # The broker was first.
            await self.writer.wait_closed()

    # --- what clients do -----------------------------------------------------------------------

    async def connect(self, connect: Connect) -> Packet:
        """Sends CONNECT; its CONNACK."""
        self.version = connect.version
        await self.send(connect.encode())
        self.connack = await self.packet(CONNACK)
        return self.connack

    @overload
    async def subscribe(self, *filters: Filter, identifier: int = 0) -> Packet: ...
    @overload
    async def subscribe(self, *filters: str, qos: int = 0, identifier: int = 0) -> Packet: ...
    async def subscribe(self, *filters: Filter | str, qos: int = 0, identifier: int = 0) -> Packet:
        """Subscribes; the SUBACK, which must be the next packet that is not a PUBLISH."""
        asked = [each if isinstance(each, Filter) else Filter(each, qos) for each in filters]
        properties: Properties = [("subscription_identifier", identifier)] if identifier else []
        packet_id = next(self._ids)
        await self.send(self.subscribe_bytes(packet_id, asked, properties))
        suback = await self._skip_to(SUBACK)
        assert suback.packet_id == packet_id
        return suback

    def subscribe_bytes(
        self, packet_id: int, filters: Sequence[Filter], properties: Properties | None = None
    ) -> bytes:
        """A SUBSCRIBE packet."""
        body = packet_id.to_bytes(2, "big")
        if self.version == 5:
            body += property_block(properties or [])
        for each in filters:
            body += text(each.name) + bytes([each.options])
        return packet(SUBSCRIBE, 2, body)

    async def unsubscribe(self, *names: str) -> Packet:
        """Unsubscribes; the UNSUBACK."""
        packet_id = next(self._ids)
        body = packet_id.to_bytes(2, "big") + (b"\0" if self.version == 5 else b"")
        await self.send(packet(UNSUBSCRIBE, 2, body + b"".join(map(text, names))))
        unsuback = await self._skip_to(UNSUBACK)
        assert unsuback.packet_id == packet_id
        return unsuback

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int:
        """Publishes and goes through the whole exchange; the Reason Code of PUBACK or PUBREC.

        PUBLISH packets that come meanwhile are kept for `next`. At QoS 0 it returns at once, see
        `ping`.
        """
        packet_id = next(self._ids) if qos else 0
        publish = Publish(
            topic, payload, qos, retain, packet_id=packet_id, properties=tuple(properties or ())
        )
        await self.send(publish.encode(self.version))
        if qos == 0:
            return 0
        answer = await self._skip_to(PUBACK if qos == 1 else PUBREC)
        assert answer.packet_id == packet_id
        if qos == 2 and answer.reason < 0x80:
            await self.answer(PUBREL, packet_id)
            assert (await self._skip_to(PUBCOMP)).packet_id == packet_id
        return answer.reason

    async def answer(self, kind: int, packet_id: int, reason: int = 0) -> None:
        """Sends PUBACK, PUBREC, PUBREL or PUBCOMP."""
        body = packet_id.to_bytes(2, "big") + (bytes([reason]) if reason else b"")
        await self.send(packet(kind, 2 if kind == PUBREL else 0, body))

    async def message(self) -> Publish:
        """The next PUBLISH, acknowledged to the end."""
        publish = await self.publication()
        if publish.qos == 1:
            await self.answer(PUBACK, publish.packet_id)
        elif publish.qos == 2:
            await self.answer(PUBREC, publish.packet_id)
            assert (await self._skip_to(PUBREL)).packet_id == publish.packet_id
            await self.answer(PUBCOMP, publish.packet_id)
        return publish

    async def messages(self, count: int) -> list[Publish]:
        """The next PUBLISH packets, each acknowledged to the end."""
        return [await self.message() for _ in range(count)]

    async def ping(self) -> None:
        """PINGREQ and PINGRESP: all that was sent before has been handled by the broker."""
        await self.send(packet(PINGREQ, 0, b""))
        await self._skip_to(PINGRESP)

    async def auth(self, reason: int, properties: Properties) -> None:
        """Sends AUTH."""
        await self.send(packet(AUTH, 0, bytes([reason]) + property_block(properties)))

    async def disconnect(self, reason: int = 0, properties: Properties | None = None) -> None:
        """DISCONNECT, then waits until the broker has closed the connection."""
        body = b""
        if self.version == 5 and (reason or properties):
            body = bytes([reason]) + (property_block(properties) if properties else b"")
        await self.send(packet(DISCONNECT, 0, body))
        assert await self.rest() == []
        await self.close()

    def held(self) -> int:
        """How many packets were kept for `next` while another was waited for."""
        return len(self._held)

    async def _skip_to(self, kind: int) -> Packet:
        """The next packet of that type; PUBLISH packets before it are kept for `next`."""
        held: list[Packet | Publish] = []
        try:
            while True:
                received = await self.next()
                if isinstance(received, Packet) and received.kind == kind:
                    return received
                assert isinstance(received, Publish), f"wanted {kind}, got {received}"
                held.append(received)
        finally:
            self._held = held + self._held


class ConnectFields(TypedDict, total=False):
    """Fields of `Connect` but for the Client Identifier."""

    version: int
    clean: bool
    keep_alive: int
    will: Will | None
    username: str | None
    password: bytes | None
    properties: tuple[tuple[str, PropertyValue], ...]


class Clients:
    """Makes clients of one broker, whose clock stands still but for `advance`."""

    def __init__(self, broker: Broker, clock: ManualClock) -> None:
        self.broker = broker
        self.clock = clock
        self.peers: list[Peer] = []

    async def open(self, listener: int = 0) -> Peer:
        """A connection that has sent nothing."""
        peer = await Peer.open(self.broker.addresses[listener])
        self.peers.append(peer)
        return peer

    async def connect(
        self,
        client_id: str = "",
        *,
        listener: int = 0,
        expiry: int | None = None,
        **fields: Unpack[ConnectFields],
    ) -> Peer:
        """A client that is connected: CONNACK said 0.

        Args:
            client_id: Client Identifier.
            listener: Through which of the broker's listeners.
            expiry: Session Expiry Interval in seconds.
            fields: Those of `Connect`.
        """
        connect = Connect(client_id, **fields)
        if expiry is not None:
            interval = ("session_expiry_interval", expiry)
            connect = replace(connect, properties=(*connect.properties, interval))
        peer = await self.open(listener)
        connack = await peer.connect(connect)
        assert connack.reason == 0, connack
        return peer

    async def settle(self) -> None:
        """Everything that was sent has been handled, on every shard."""
        await self.clock.advance(0)

    async def silent(self, *peers: Peer) -> None:
        """Nothing has come to these clients, and nothing is on its way."""
        await self.settle()
        for peer in peers:
            await peer.send(packet(PINGREQ, 0, b""))
            received = await peer.next()
            assert isinstance(received, Packet), f"unexpected {received}"
            assert received.kind == PINGRESP, f"unexpected {received}"

    async def close(self) -> None:
        """Ends all connections."""
        for peer in self.peers:
            await peer.close()
