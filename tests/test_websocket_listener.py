"""WebSocket (RFC 6455): which requests are let in, and how frames are read and ended."""

import asyncio
import struct
from collections.abc import Mapping

import pytest

from quantummq.config import Config
from tests.packets import CONNACK, PINGREQ, Connect, Packet, Will, packet
from tests.peer import TIMEOUT_S, Clients
from tests.transports import (
    BINARY,
    CLOSE,
    MASK,
    OFFER,
    PING,
    PONG,
    TEXT,
    WebSocketPeer,
    frame,
    request,
)

PAGE = "https://app.example"
NORMAL, PROTOCOL_ERROR, UNSUPPORTED, TOO_BIG = 1000, 1002, 1003, 1009
PLAIN, STRICT, OPEN_TO_ALL, LISTED = range(4)


@pytest.fixture
def config() -> Config:
    """Listeners that differ in what requests they let in, in the order of their names above."""
    tables: list[dict[str, dict[str, object]]] = [
        {"ws": {}},
        {"ws": {"path": "/mqtt", "allowed_origins": []}},
        {"ws": {"allowed_origins": ["*"]}},
        {"ws": {"allowed_origins": [PAGE, "http://localhost:8080"]}},
        {"ws": {"enabled": False}},
    ]
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "listener": [
                {"address": "tcp://127.0.0.1:0", "name": f"{index}", **table}
                for index, table in enumerate(tables)
            ],
        }
    )


async def open_websocket(
    clients: Clients,
    listener: int = PLAIN,
    headers: Mapping[str, str] | None = None,
    path: str = "/mqtt",
) -> WebSocketPeer:
    """A WebSocket that is open, nothing of MQTT sent."""
    address = clients.broker.addresses[listener]
    peer = await WebSocketPeer.open(address, headers=headers, path=path)
    clients.peers.append(peer)
    return peer


async def answer_to(clients: Clients, sent: bytes, listener: int = PLAIN) -> str:
    """All that the broker says to a request before it closes."""
    peer = await clients.open(listener)
    await peer.send(sent)
    async with asyncio.timeout(TIMEOUT_S):
        return (await peer.reader.read()).decode()


# --- who is let in ---------------------------------------------------------------------------


async def test_a_program_without_an_origin_is_let_in(clients: Clients) -> None:
    peer = await open_websocket(clients)

    assert (await peer.connect(Connect("program"))).reason == 0


@pytest.mark.parametrize("origin", [PAGE, "http://127.0.0.1", "null", "file://", "https://"])
@pytest.mark.parametrize("listener", [PLAIN, STRICT])
async def test_a_page_is_refused_unless_its_origin_is_listed(
    clients: Clients, listener: int, origin: str
) -> None:
    """The default lists none: no page that a user visits may speak to the user's own broker."""
    answer = await answer_to(clients, request(headers={**OFFER, "Origin": origin}), listener)

    assert answer.startswith("HTTP/1.1 403 ")


@pytest.mark.parametrize("origin", [PAGE, "HTTPS://APP.example", "http://localhost:8080"])
async def test_a_page_is_let_in_if_its_origin_is_listed(clients: Clients, origin: str) -> None:
    peer = await open_websocket(clients, LISTED, {**OFFER, "Origin": origin})

    assert (await peer.connect(Connect("page"))).reason == 0


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example",  # Another scheme.
        "https://app.example:8443",  # Another port.
        "https://app.example.evil.test",
        "https://evil.test/https://app.example",
        "https://sub.app.example",
        "http://localhost",
        "*",
    ],
)
async def test_an_origin_is_compared_as_a_whole(clients: Clients, origin: str) -> None:
    answer = await answer_to(clients, request(headers={**OFFER, "Origin": origin}), LISTED)

    assert answer.startswith("HTTP/1.1 403 ")


async def test_of_two_origins_both_must_be_listed(clients: Clients) -> None:
    twice = request(headers={**OFFER, "Origin": PAGE})
    twice = twice.replace(b"\r\n\r\n", b"\r\nOrigin: https://evil.test\r\n\r\n")

    assert (await answer_to(clients, twice, LISTED)).startswith("HTTP/1.1 403 ")


async def test_a_star_lists_every_origin(clients: Clients) -> None:
    peer = await open_websocket(clients, OPEN_TO_ALL, {**OFFER, "Origin": "https://any.test"})

    assert (await peer.connect(Connect("page"))).reason == 0


async def test_only_the_path_of_the_configuration_is_answered(clients: Clients) -> None:
    assert (await answer_to(clients, request("/"), STRICT)).startswith("HTTP/1.1 404 ")
    assert (await answer_to(clients, request("/mqtt/x"), STRICT)).startswith("HTTP/1.1 404 ")
    await open_websocket(clients, STRICT, path="/mqtt?token=1")


@pytest.mark.parametrize("path", ["/", "/mqtt", "/any/thing?x=y"])
async def test_without_a_path_in_the_configuration_any_is_answered(
    clients: Clients, path: str
) -> None:
    await open_websocket(clients, path=path)


async def test_the_subprotocol_is_mqtt(clients: Clients) -> None:
    """[MQTT-6.0.0-3] [MQTT-6.0.0-4]."""
    peer = await open_websocket(clients, headers={"Sec-WebSocket-Protocol": "chat, mqtt"})

    assert "\r\nsec-websocket-protocol: mqtt\r\n" in peer.response.lower()
    assert "\r\nsec-websocket-accept: " in peer.response.lower()


@pytest.mark.parametrize("offer", ["", "chat", "mqttx"])
async def test_a_request_that_does_not_offer_mqtt_is_refused(clients: Clients, offer: str) -> None:
    """[MQTT-6.0.0-3]."""
    answer = await answer_to(clients, request(headers={"Sec-WebSocket-Protocol": offer}))

    assert answer.startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        request(headers={**OFFER, "Sec-WebSocket-Version": "8"}),
        request(headers={**OFFER, "Sec-WebSocket-Key": ""}),
        request(headers={**OFFER, "Upgrade": "h2c"}),
    ],
)
async def test_what_is_no_websocket_request_gets_400(clients: Clients, sent: bytes) -> None:
    assert (await answer_to(clients, sent)).startswith("HTTP/1.1 400 ")


async def test_a_request_that_is_too_long_is_refused(clients: Clients) -> None:
    answer = await answer_to(clients, b"GET / HTTP/1.1\r\nX: " + b"x" * 9000)

    assert answer.startswith("HTTP/1.1 431 ")


async def test_a_request_may_come_in_pieces(clients: Clients) -> None:
    peer = await clients.open(PLAIN)
    for byte in request():
        await peer.send(bytes([byte]))

    async with asyncio.timeout(TIMEOUT_S):
        head = await peer.reader.readuntil(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 101 ")


async def test_frames_may_come_with_the_request(clients: Clients) -> None:
    peer = await clients.open(PLAIN)

    await peer.send(request() + frame(Connect("eager").encode()))

    async with asyncio.timeout(TIMEOUT_S):
        await peer.reader.readuntil(b"\r\n\r\n")
        assert (await peer.reader.readexactly(3))[2] == CONNACK << 4


async def test_a_request_that_never_ends_is_closed_at_the_connect_timeout(
    clients: Clients,
) -> None:
    peer = await clients.open(PLAIN)
    await peer.send(request()[:-4])
    await clients.settle()

    await clients.clock.advance(10)

    async with asyncio.timeout(TIMEOUT_S):
        assert await peer.reader.read() == b""


async def test_a_websocket_without_connect_is_closed_at_the_connect_timeout(
    clients: Clients,
) -> None:
    peer = await open_websocket(clients)
    await clients.settle()

    await clients.clock.advance(10)

    assert await peer.rest() == []


async def test_a_listener_can_be_without_websocket(clients: Clients) -> None:
    """Then the request is a malformed packet, and no HTTP is spoken."""
    assert await answer_to(clients, request(), 4) == ""


# --- frames ----------------------------------------------------------------------------------


async def test_packets_may_lie_across_frames(clients: Clients) -> None:
    """[MQTT-6.0.0-2]."""
    peer = await open_websocket(clients)
    ping = packet(PINGREQ, 0, b"")
    connect = Connect("across").encode()

    await peer.send_raw(frame(connect[:7]) + frame(connect[7:] + ping[:1]) + frame(ping[1:] + ping))

    kinds = [each.kind for _ in range(3) if isinstance(each := await peer.next(), Packet)]
    assert kinds == [CONNACK, 13, 13]


async def test_a_message_may_be_fragmented_with_control_frames_between(clients: Clients) -> None:
    """RFC 6455 §5.4."""
    peer = await open_websocket(clients)
    connect = Connect("fragments").encode()

    await peer.send_raw(
        frame(connect[:3], fin=False)
        + frame(b"are you there", PING)
        + frame(connect[3:9], 0, fin=False)
        + frame(b"", 0, fin=False)
        + frame(connect[9:], 0)
    )

    assert await peer.control() == (PONG, b"are you there")
    assert (await peer.packet(CONNACK)).reason == 0


async def test_a_close_frame_is_answered_and_ends_the_connection(clients: Clients) -> None:
    """RFC 6455 §5.5.1; without DISCONNECT it counts as a lost network, and the will is sent."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("will")
    peer = await open_websocket(clients)
    await peer.connect(Connect("leaver", will=Will("will", b"gone")))

    await peer.send_raw(frame(struct.pack(">H", NORMAL), CLOSE))

    assert await peer.control() == (CLOSE, struct.pack(">H", NORMAL))
    assert await peer.rest() == []
    assert (await watcher.message()).payload == b"gone"


async def test_disconnect_ends_with_a_close_frame(clients: Clients) -> None:
    peer = await open_websocket(clients)
    await peer.connect(Connect("polite"))

    await peer.send(packet(14, 0, b""))

    assert await peer.control() == (CLOSE, struct.pack(">H", NORMAL))
    assert await peer.rest() == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        # A text frame. [MQTT-6.0.0-1]
        (frame(Connect("x").encode(), TEXT), UNSUPPORTED),
        # A frame that is not masked, §5.1.
        (frame(Connect("x").encode(), masked=False), PROTOCOL_ERROR),
        # An unknown opcode, §5.2.
        (frame(b"", 0x3), PROTOCOL_ERROR),
        (frame(b"", 0xB), PROTOCOL_ERROR),
        # A reserved bit, §5.2.
        (bytes([0x40 | frame(b"")[0]]) + frame(b"")[1:], PROTOCOL_ERROR),
        # A continuation of nothing, §5.4.
        (frame(b"", 0), PROTOCOL_ERROR),
        # A new message inside another, §5.4.
        (frame(b"", fin=False) + frame(b""), PROTOCOL_ERROR),
        # A control frame that is fragmented, or too long, §5.5.
        (frame(b"", PING, fin=False), PROTOCOL_ERROR),
        (frame(b"x" * 126, PING), PROTOCOL_ERROR),
        # A frame that declares 2^62 bytes.
        (bytes([0x80 | BINARY, 0xFF]) + struct.pack(">Q", 1 << 62) + MASK, TOO_BIG),
    ],
)
async def test_a_wrong_frame_ends_the_connection_with_its_code(
    clients: Clients, sent: bytes, code: int
) -> None:
    peer = await open_websocket(clients)

    await peer.send_raw(sent)

    assert await peer.control() == (CLOSE, struct.pack(">H", code))
    assert await peer.rest() == []


async def test_a_client_that_pings_without_reading_slows_nobody(clients: Clients) -> None:
    flooding = await open_websocket(clients)
    flood = asyncio.create_task(flooding.send_raw(frame(b"x" * 125, PING) * 50_000))
    other = await clients.connect("other")
    await other.subscribe("round/trip", qos=1)

    for number in range(100):
        await other.publish("round/trip", b"%d" % number, qos=1)

        assert (await other.message()).payload == b"%d" % number
    flood.cancel()
    await asyncio.wait([flood])


async def test_a_frame_that_never_ends_is_bounded_by_the_packet_in_it(clients: Clients) -> None:
    """Frames are read as they come: a packet too large ends the connection, not the frame."""
    peer = await open_websocket(clients)
    await peer.connect(Connect("drip"))
    head = bytes([0x80 | BINARY, 0xFF]) + struct.pack(">Q", 1 << 20)

    await peer.send_raw(head + b"\0\0\0\0" + b"\x30\xff\xff\xff\x7f")

    assert await peer.refused() == 0x95
