"""MQTT 3.1.1 over WebSocket (section 6); frames are made and read here, by hand."""

import asyncio
import os
from urllib.parse import urlsplit

import pytest

from tests.packets import PINGREQ, Connect, Publish, packet
from tests.peer import TIMEOUT_S, Clients, Filter

BINARY, TEXT, CLOSE = 0x2, 0x1, 0x8
REQUEST = (
    "GET /mqtt HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Stream:
    """The client's end of one WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.mqtt = b""

    async def open(self, protocols: str | None) -> str:
        """Sends the request; the head of the response."""
        offer = f"Sec-WebSocket-Protocol: {protocols}\r\n" if protocols else ""
        self.writer.write(f"{REQUEST}{offer}\r\n".encode())
        async with asyncio.timeout(TIMEOUT_S):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Sends one frame, masked."""
        mask = os.urandom(4)
        length = len(payload)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        else:
            head += bytes([0x80 | 126]) + length.to_bytes(2, "big")
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.writer.write(head + mask + masked)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and payload."""
        async with asyncio.timeout(TIMEOUT_S):
            head = await self.reader.readexactly(2)
            assert head[0] & 0x80, "the broker has no reason to send fragments"
            length = head[1]
            assert length < 0x80, "a server does not mask"
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            return head[0] & 0x0F, await self.reader.readexactly(length)

    async def take(self, length: int) -> bytes:
        """The next bytes of MQTT, whatever frames they came in."""
        while len(self.mqtt) < length:
            opcode, payload = await self.frame()
            assert opcode == BINARY
            self.mqtt += payload
        taken, self.mqtt = self.mqtt[:length], self.mqtt[length:]
        return taken


@pytest.fixture
async def stream(clients: Clients) -> Stream:
    """A connection to the broker's only port, nothing sent yet."""
    where = urlsplit(clients.broker.addresses[0])
    return Stream(*await asyncio.open_connection(where.hostname, where.port))


@pytest.mark.parametrize("offer", ["mqtt", "chat, mqtt", "mqtt, mqttv3.1"])
async def test_the_sub_protocol_chosen_is_mqtt(stream: Stream, offer: str) -> None:
    """[MQTT3-6.0.0-4]."""
    response = await stream.open(offer)

    assert response.startswith("http/1.1 101 ")
    assert "sec-websocket-protocol: mqtt\r\n" in response
    stream.writer.close()


@pytest.mark.parametrize("offer", [None, "chat", "mqtt5"])
async def test_a_client_that_does_not_offer_mqtt_is_refused(
    stream: Stream, offer: str | None
) -> None:
    """[MQTT3-6.0.0-3]."""
    response = await stream.open(offer)

    assert response.startswith("http/1.1 400 ")
    assert await stream.reader.read() == b""
    stream.writer.close()


async def test_packets_are_binary_frames_and_need_not_end_where_frames_do(
    stream: Stream, clients: Clients
) -> None:
    """[MQTT3-6.0.0-1] [MQTT3-6.0.0-2]."""
    await stream.open("mqtt")
    peer = await clients.connect("maker", version=4)
    subscribe = peer.subscribe_bytes(1, [Filter("a")])
    publish = Publish("a", b"x" * 200).encode(4)
    sent = Connect("ws", 4).encode() + subscribe + publish + packet(PINGREQ, 0, b"")

    for start in range(0, len(sent), 7):
        stream.send(sent[start : start + 7])

    assert await stream.take(4) == b"\x20\x02\x00\x00"
    assert await stream.take(5) == b"\x90\x03\x00\x01\x00"
    assert await stream.take(len(publish)) == publish
    assert await stream.take(2) == b"\xd0\x00"
    stream.send(publish + packet(PINGREQ, 0, b""))
    assert await stream.take(len(publish) + 2) == publish + b"\xd0\x00"
    stream.writer.close()


async def test_a_text_frame_closes_the_connection(stream: Stream) -> None:
    """[MQTT3-6.0.0-1]."""
    await stream.open("mqtt")
    stream.send(Connect("ws", 4).encode())
    assert await stream.take(4) == b"\x20\x02\x00\x00"

    stream.send(b"hello", TEXT)

    opcode, _ = await stream.frame()
    assert opcode == CLOSE
    assert await stream.reader.read() == b""
    stream.writer.close()
