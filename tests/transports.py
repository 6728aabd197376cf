"""Ways to a broker besides plain TCP, for tests: TLS and WebSocket, byte by byte."""

import asyncio
import base64
import contextlib
import ssl
import struct
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from tests.certificates import Certificates
from tests.peer import TIMEOUT_S, Peer

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x37\xfa\x21\x3d"
KEY = base64.b64encode(b"the sample nonce").decode()
OFFER: Mapping[str, str] = {"Sec-WebSocket-Protocol": "mqtt"}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def trusting(certificates: Certificates, *, show: bool = False) -> ssl.SSLContext:
    """What a client trusts: the authority; with `show` it has a certificate of its own."""
    context = ssl.create_default_context(cafile=certificates.ca)
    if show:
        context.load_cert_chain(certificates.client, certificates.client_key)
    return context


async def dial(address: str, tls: ssl.SSLContext | None = None) -> Streams:
    """A stream to any of a broker's addresses; TLS if a context is given."""
    name = "localhost" if tls is not None else None
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        return await asyncio.open_unix_connection(path, ssl=tls, server_hostname=name)
    where = urlsplit(address)
    return await asyncio.open_connection(where.hostname, where.port, ssl=tls, server_hostname=name)


async def open_tls(address: str, tls: ssl.SSLContext) -> Peer:
    """A connection with TLS; nothing of MQTT is sent yet."""
    return Peer(*await dial(address, tls))


def request(path: str = "/mqtt", headers: Mapping[str, str] | None = None) -> bytes:
    """The HTTP request that opens a WebSocket; a header of `headers` replaces the usual one."""
    usual = {
        "Host": "broker",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    lines = [f"GET {path} HTTP/1.1"]
    chosen = {**usual, **(OFFER if headers is None else headers)}
    lines += [f"{name}: {value}" for name, value in chosen.items() if value]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(payload: bytes, opcode: int = BINARY, *, fin: bool = True, masked: bool = True) -> bytes:
    """A frame as clients send it, RFC 6455 §5.2."""
    length = len(payload)
    if length < 126:
        head = bytes([fin << 7 | opcode, masked << 7 | length])
    elif length < 1 << 16:
        head = bytes([fin << 7 | opcode, masked << 7 | 126]) + struct.pack(">H", length)
    else:
        head = bytes([fin << 7 | opcode, masked << 7 | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    mask = (MASK * (length // 4 + 1))[:length]
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return head + MASK + hidden.to_bytes(length, "big")


class WebSocketPeer(Peer):
    """MQTT in WebSocket frames: one binary frame per `send`.

    Attributes:
        response: The head of the HTTP response.
        controls: Control frames that came, opcode and payload.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, response: str
    ) -> None:
        super().__init__(asyncio.StreamReader(), writer)
        self.response = response
        self.controls: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._wire = reader
        self._unframing = asyncio.create_task(self._unframe())

    @classmethod
    async def open(
        cls,
        address: str,
        *,
        tls: ssl.SSLContext | None = None,
        path: str = "/mqtt",
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """A WebSocket that is open.

        Raises:
            ConnectionRefusedError: the answer was not 101; it holds the status line.
        """
        reader, writer = await dial(address, tls)
        writer.write(request(path, headers))
        async with asyncio.timeout(TIMEOUT_S):
            response = (await reader.readuntil(b"\r\n\r\n")).decode()
        if not response.startswith("HTTP/1.1 101 "):
            writer.close()
            raise ConnectionRefusedError(response.splitlines()[0])
        return cls(reader, writer, response)

    async def send(self, data_out: bytes) -> None:
        """Sends bytes in a binary frame."""
        await self.send_raw(frame(data_out))

    async def send_raw(self, frames: bytes) -> None:
        """Sends bytes as they are: frames, right or wrong."""
        await super().send(frames)

    async def control(self) -> tuple[int, bytes]:
        """The next control frame."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.controls.get()

    async def close(self) -> None:
        """Ends the connection without a close frame."""
        self._unframing.cancel()
        await asyncio.wait([self._unframing])
        # The broker's close frame may cross the end of our TLS stream.
        with contextlib.suppress(ssl.SSLError):
            await super().close()

    async def _unframe(self) -> None:
        """Gives the payloads of binary frames to `reader`."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first, length = await self._wire.readexactly(2)
                assert length < 0x80, "the broker masked a frame"
                if length == 126:
                    (length,) = struct.unpack(">H", await self._wire.readexactly(2))
                elif length == 127:
                    (length,) = struct.unpack(">Q", await self._wire.readexactly(8))
                payload = await self._wire.readexactly(length)
                if first & 0x0F >= CLOSE:
                    self.controls.put_nowait((first & 0x0F, payload))
                    continue
                # [MQTT-6.0.0-1]
                assert first & 0x0F in (0, BINARY), "the broker sent a frame that is not binary"
                self.reader.feed_data(payload)
        self.reader.feed_eof()
