"""Connections that never come to the end of a handshake: all end at the connect timeout.

The time counts from accept on, through PROXY, TLS, WebSocket and CONNECT, whatever comes meanwhile.
"""

import asyncio
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quantummq.config import Config
from tests.certificates import write_certificates
from tests.hostile import bystander
from tests.packets import Connect
from tests.peer import TIMEOUT_S, Clients

PLAIN, SECURE, PROXIED, SECURE_PROXIED, WEB = range(5)
WAIT_S = 4
CONNECT_BYTES = Connect("never").encode()
PROXY_V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 2, 2])
REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
FRAME = b"\x82\xff" + (1_000).to_bytes(8, "big") + bytes(4)
"""The head of a WebSocket frame of 1,000 bytes."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Every kind of handshake, with four seconds for all of it."""
    certificates = write_certificates(tmp_path)
    tls = {"certificate": str(certificates.server), "key": str(certificates.server_key)}
    trusted = {"trusted": ["127.0.0.1/32"]}
    addresses = ["tcp", "tls", "tcp", "tls", "ws"]
    listeners = [
        {"address": f"{scheme}://127.0.0.1:0", "name": str(number), "connect_timeout_s": WAIT_S}
        | ({"tls": tls} if scheme == "tls" else {})
        | ({"proxy": trusted} if number in (PROXIED, SECURE_PROXIED) else {})
        for number, scheme in enumerate(addresses)
    ]
    listeners.append({"address": "tcp://127.0.0.1:0"})
    return Config.model_validate({"broker": {"shards": 2, "seed": 7}, "listener": listeners})


async def opened(
    clients: Clients, listener: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection."""
    where = urlsplit(clients.broker.addresses[listener])
    return await asyncio.open_connection(where.hostname, where.port)


def client_hello() -> bytes:
    """The first bytes of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    stream = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="broker")
    with pytest.raises(ssl.SSLWantReadError):
        stream.do_handshake()
    return outgoing.read()


STALLS = {
    "silence": (PLAIN, b""),
    "half a CONNECT": (PLAIN, CONNECT_BYTES[:-3]),
    "half a request for a WebSocket on the port of MQTT": (PLAIN, REQUEST[:-2]),
    "a WebSocket without a frame": (PLAIN, REQUEST),
    "a WebSocket with half a frame": (PLAIN, REQUEST + FRAME + CONNECT_BYTES[:5]),
    "silence before TLS": (SECURE, b""),
    "a TLS record that is cut": (SECURE, b"\x16\x03\x01\x02\x00\x01"),
    "silence before PROXY": (PROXIED, b""),
    "half of PROXY version 1": (PROXIED, PROXY_V1[:20]),
    "half of PROXY version 2": (PROXIED, PROXY_V2[:20]),
    "PROXY version 1 and silence": (PROXIED, PROXY_V1),
    "PROXY version 2 and half a CONNECT": (PROXIED, PROXY_V2 + CONNECT_BYTES[:7]),
    "half of PROXY before TLS": (SECURE_PROXIED, PROXY_V2[:14]),
    "PROXY and silence before TLS": (SECURE_PROXIED, PROXY_V2),
    "silence before WebSocket": (WEB, b""),
    "half a request": (WEB, REQUEST[:50]),
}


async def closed_at_the_timeout(
    clients: Clients, reader: asyncio.StreamReader, waited_s: float = 0
) -> None:
    """Open until the timeout, closed then; the bystander beside goes on."""
    await clients.settle()
    before = clients.broker.counters()["connections"]
    await clients.clock.advance(WAIT_S - waited_s - 0.1)
    await clients.settle()
    assert clients.broker.counters()["connections"] == before
    await clients.clock.advance(0.1)
    async with asyncio.timeout(TIMEOUT_S):
        while await reader.read(1 << 16):
            pass
    # Whoever does not close after us is given up within a second.
    await clients.clock.advance(1)
    await clients.settle()
    assert clients.broker.counters()["connections"] == before - 1


@pytest.mark.parametrize("stall", STALLS)
async def test_a_handshake_that_stalls_ends_at_the_connect_timeout(
    clients: Clients, stall: str
) -> None:
    listener, sent = STALLS[stall]
    async with bystander(clients.broker.addresses[-1]):
        reader, writer = await opened(clients, listener)
        writer.write(sent)

        await closed_at_the_timeout(clients, reader)
        writer.close()


@pytest.mark.parametrize("listener", [SECURE, SECURE_PROXIED])
@pytest.mark.parametrize("share", [0.5, 1])
async def test_a_tls_handshake_that_stalls_ends_at_the_connect_timeout(
    clients: Clients, listener: int, share: float
) -> None:
    """Half a ClientHello, and a whole one without what follows."""
    hello = client_hello()
    async with bystander(clients.broker.addresses[-1]):
        reader, writer = await opened(clients, listener)
        writer.write(
            (PROXY_V2 if listener == SECURE_PROXIED else b"") + hello[: int(len(hello) * share)]
        )

        await closed_at_the_timeout(clients, reader)
        writer.close()


async def test_a_tls_connection_without_connect_ends_at_the_connect_timeout(
    clients: Clients,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    where = urlsplit(clients.broker.addresses[SECURE])
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
    writer.write(CONNECT_BYTES[:-1])

    await closed_at_the_timeout(clients, reader)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("listener", "whole"),
    [
        (PLAIN, CONNECT_BYTES),
        (PLAIN, REQUEST),
        (PROXIED, PROXY_V1 + CONNECT_BYTES),
        (PROXIED, PROXY_V2 + REQUEST),
        (SECURE, None),
        (WEB, REQUEST + FRAME),
    ],
)
async def test_a_handshake_that_is_dripped_ends_at_the_same_time(
    clients: Clients, listener: int, whole: bytes | None
) -> None:
    """Nothing that comes gives it more time."""
    whole = client_hello() if whole is None else whole
    async with bystander(clients.broker.addresses[-1]):
        reader, writer = await opened(clients, listener)
        dripped = whole[:-1][:30]
        for byte in dripped:
            writer.write(bytes([byte]))
            await writer.drain()
            await clients.clock.advance(0.1)

        await closed_at_the_timeout(clients, reader, waited_s=len(dripped) / 10)
        writer.close()


async def test_hundreds_of_stalled_connections_end_together(clients: Clients) -> None:
    """And are told in events: 0xA0, Maximum connect time."""
    async with (
        clients.broker.events() as events,
        bystander(clients.broker.addresses[-1]) as watching,
    ):
        streams = [
            await opened(clients, listener)
            for _ in range(60)
            for listener in (PLAIN, SECURE, PROXIED, WEB)
        ]
        await clients.settle()
        assert clients.broker.counters()["connections"] == len(streams) + 2
        await clients.clock.advance(WAIT_S)
        for reader, writer in streams:
            async with asyncio.timeout(TIMEOUT_S):
                await reader.read()
            writer.close()
        await clients.clock.advance(1)
        await watching.trip()
        assert clients.broker.counters()["connections"] == 2
        aborted = 0
        async for batch in events:
            aborted += sum(event.kind == "aborted" and event.reason == 0xA0 for event in batch)
            if aborted == len(streams):
                break
