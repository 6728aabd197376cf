"""The PROXY protocol, versions 1 and 2: believed from trusted proxies, and demanded of them.

Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt.
"""

import asyncio
import contextlib
import ipaddress
import struct
from pathlib import Path

import pytest

from quantummq.config import Config
from quantummq.config.check import check_config
from tests.certificates import Certificates, write_certificates
from tests.packets import CONNACK, Connect
from tests.peer import TIMEOUT_S, Clients, Peer
from tests.transports import request, trusting

PLAIN, DISTRUSTING, SECURE, IPV6, WEBSOCKET = range(5)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPECIFIED, TCP4, TCP6, UNIX = 0x00, 0x11, 0x21, 0x31
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that the clients trust, and the broker's certificate."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def config(certificates: Certificates) -> Config:
    """Listeners behind a proxy on this machine, and one whose proxy is elsewhere."""
    trusted = {"trusted": ["127.0.0.0/8", "::1"]}
    tables: list[dict[str, object]] = [
        {"address": "tcp://127.0.0.1:0", "proxy": trusted},
        {"address": "tcp://127.0.0.1:0", "proxy": {"trusted": ["10.0.0.0/24", "::1"]}},
        {"address": "tls://127.0.0.1:0", "proxy": trusted},
        {"address": "tcp://[::1]:0", "proxy": trusted},
        {"address": "ws://127.0.0.1:0", "proxy": trusted},
    ]
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "tls": {"certificate": certificates.server, "key": certificates.server_key},
            "listener": [{**table, "name": f"{index}"} for index, table in enumerate(tables)],
        }
    )


def v2(
    source: str = "203.0.113.7",
    *,
    command: int = PROXY,
    family: int = TCP4,
    extension: bytes = b"",
    length: int | None = None,
) -> bytes:
    """A header of version 2 from `source` port 4711."""
    address = ipaddress.ip_address(source).packed
    body = b"" if family in (UNSPECIFIED, UNIX) else address + address + b"\x12\x67\x07\x5b"
    body += extension
    declared = len(body) if length is None else length
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", declared) + body


async def peer_of(clients: Clients, client_id: str) -> str:
    """The address that the broker takes a client to be at."""
    sessions = await clients.broker.sessions()
    return next(session.peer or "" for session in sessions if session.client_id == client_id)


async def is_closed(peer: Peer) -> bool:
    """Waits until the broker closes; whether it did so without a word."""
    async with asyncio.timeout(TIMEOUT_S):
        try:
            return await peer.reader.read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        (V1, "203.0.113.7:4711"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n", "[2001:db8::7]:4711"),
        (v2(), "203.0.113.7:4711"),
        (v2("2001:db8::7", family=TCP6), "[2001:db8::7]:4711"),
        # Extensions, such as an authority's name, are skipped.
        (v2(extension=b"\x02\0\x06broker\x20\0\x05\1\2\3\4\5"), "203.0.113.7:4711"),
    ],
)
async def test_the_client_is_where_a_trusted_proxy_says(
    clients: Clients, header: bytes, seen: str
) -> None:
    peer = await clients.open(PLAIN)

    await peer.send(header)
    connack = await peer.connect(Connect("proxied"))

    assert connack.reason == 0
    assert await peer_of(clients, "proxied") == seen


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
        v2(command=LOCAL),
        v2(command=LOCAL, family=UNSPECIFIED),
        v2(family=UNSPECIFIED),
        v2(family=UNIX, extension=b"x" * 216),
    ],
)
async def test_a_client_without_an_address_is_at_the_proxys(
    clients: Clients, header: bytes
) -> None:
    """Health checks, and clients whose address the proxy does not know."""
    peer = await clients.open(PLAIN)

    await peer.send(header + Connect("unknown").encode())

    assert (await peer.packet(CONNACK)).reason == 0
    assert (await peer_of(clients, "unknown")).startswith("127.0.0.1:")


@pytest.mark.parametrize("header", [V1, v2()])
async def test_a_header_may_come_byte_by_byte(clients: Clients, header: bytes) -> None:
    peer = await clients.open(PLAIN)

    for byte in header + Connect("dripped").encode():
        await peer.send(bytes([byte]))
        await clients.settle()

    assert (await peer.packet(CONNACK)).reason == 0
    assert await peer_of(clients, "dripped") == "203.0.113.7:4711"


@pytest.mark.parametrize("header", [V1, v2()])
async def test_a_header_comes_before_tls(
    clients: Clients, certificates: Certificates, header: bytes
) -> None:
    peer = await clients.open(SECURE)

    await peer.send(header)
    await peer.writer.start_tls(trusting(certificates), server_hostname="localhost")
    connack = await peer.connect(Connect("secure"))

    assert connack.reason == 0
    assert await peer_of(clients, "secure") == "203.0.113.7:4711"


async def test_a_header_comes_before_websocket(clients: Clients) -> None:
    peer = await clients.open(WEBSOCKET)

    await peer.send(V1 + request())

    async with asyncio.timeout(TIMEOUT_S):
        assert (await peer.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_an_ipv6_proxy_may_be_trusted(clients: Clients) -> None:
    peer = await clients.open(IPV6)

    await peer.send(v2())
    await peer.connect(Connect("six"))

    assert await peer_of(clients, "six") == "203.0.113.7:4711"


@pytest.mark.parametrize("header", [b"", V1, v2()])
async def test_nobody_but_a_trusted_proxy_is_let_in(clients: Clients, header: bytes) -> None:
    """Whoever could forge a header could be at any address; without one it is no better."""
    async with clients.broker.events() as events:
        peer = await clients.open(DISTRUSTING)
        with contextlib.suppress(ConnectionError):
            await peer.send(header + Connect("stranger").encode())

        assert await is_closed(peer)
        await clients.settle()
        async with asyncio.timeout(TIMEOUT_S):
            batch = await anext(aiter(events))

    assert [(event.kind, event.detail) for event in batch] == [
        ("refused", "the peer is not in proxy.trusted")
    ]
    assert await clients.broker.sessions() == []


async def test_a_connection_without_a_header_is_closed(clients: Clients) -> None:
    async with clients.broker.events() as events:
        peer = await clients.open(PLAIN)
        await peer.send(Connect("direct").encode())

        assert await is_closed(peer)
        async with asyncio.timeout(TIMEOUT_S):
            batch = await anext(aiter(events))

    assert batch[0].detail == "the connection does not begin with a PROXY header"


@pytest.mark.parametrize(
    "header",
    [
        # Version 1: other words, addresses that are none or of the other family, ports that are
        # none, too few and too many words, a line that is too long or never ends.
        b"PROXY TCP5 203.0.113.7 192.0.2.1 4711 1883\r\n",
        b"PROXY tcp4 203.0.113.7 192.0.2.1 4711 1883\r\n",
        b"proxy TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n",
        b"PROXY TCP4 2001:db8::7 192.0.2.1 4711 1883\r\n",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 4711 1883\r\n",
        b"PROXY TCP4 203.0.113.256 192.0.2.1 4711 1883\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 1883\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 1883\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 1883\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 04711 1883\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 1883 7\r\n",
        b"PROXY  TCP4 203.0.113.7 192.0.2.1 4711 1883\r\n",
        b"PROXY\r\n",
        b"PROXY " + b"x" * 102,
        b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
        # Version 2: another version, command or family, too short for its addresses, too long.
        SIGNATURE + b"\x11\x11\0\x0c" + b"x" * 12,
        v2(command=0x22),
        v2(family=0x41),
        v2(family=0x12),
        v2(family=TCP6),
        SIGNATURE + b"\x21\x11\0\x04" + b"x" * 4,
        v2(length=65_535),
        v2(length=4_097),
        b"\r\n\r\n\0\r\nQUIT\r",
    ],
)
async def test_a_wrong_header_closes_the_connection(clients: Clients, header: bytes) -> None:
    peer = await clients.open(PLAIN)

    await peer.send(header + Connect("wrong").encode())

    assert await is_closed(peer)
    assert await clients.broker.sessions() == []


@pytest.mark.parametrize("header", [b"", V1[:-2], v2()[:11], v2()[:-1], v2(length=4_096)])
async def test_a_header_that_does_not_end_is_closed_at_the_connect_timeout(
    clients: Clients, header: bytes
) -> None:
    peer = await clients.open(PLAIN)
    await peer.send(header)
    await clients.settle()
    assert clients.broker.counters()["connections"] == 1

    await clients.clock.advance(10)

    assert await is_closed(peer)


async def test_a_second_header_is_not_read(clients: Clients) -> None:
    """What follows the first is the client's own: a client cannot add a header to the proxy's."""
    peer = await clients.open(PLAIN)

    second = b"PROXY TCP4 192.0.2.66 192.0.2.1 1 1\r\n"
    await peer.send(V1 + second + Connect("two").encode() + b"\0" * 100)

    assert await is_closed(peer)
    assert await clients.broker.sessions() == []


def test_trusted_has_no_default() -> None:
    with pytest.raises(ValueError, match="trusted"):
        Config.model_validate({"listener": [{"proxy": {}}]})
    with pytest.raises(ValueError, match="trusted"):
        Config.model_validate({"listener": [{"proxy": {"trusted": []}}]})


def test_a_unix_socket_has_no_peers_to_trust(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "broker": {"data_dir": tmp_path},
            "listener": [
                {"address": f"unix:{tmp_path}/q.sock", "proxy": {"trusted": ["127.0.0.1"]}}
            ],
        }
    )

    (error,) = check_config(config)

    assert error.where == "listener[0].proxy"
