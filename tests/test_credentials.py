"""User Name, Password and Authentication Method of CONNECT, as who decides gets them."""

from collections.abc import AsyncIterator

import pytest

from quantummq.auth import (
    AuthenticationRequest,
    Authenticators,
    Continue,
    Exchange,
    Identity,
    Refusal,
    Step,
)
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.packets import AUTH, CONNACK, Connect, Properties, Publish, packet, property_block, text
from tests.peer import Clients

METHOD: Properties = [("authentication_method", "TWICE"), ("authentication_data", b"1")]
CHALLENGE = b"c" * 100


class Twice:
    """A mechanism of two steps; keeps what passwords and steps it was asked about."""

    name = "TWICE"

    def __init__(self) -> None:
        self.asked: list[AuthenticationRequest] = []
        self.steps: list[bytes | None] = []

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """Everyone is let in."""
        self.asked.append(request)
        return Identity("someone")

    def start(self, request: AuthenticationRequest) -> Exchange:
        """An exchange of two steps; an empty Client Identifier becomes the User Name."""
        self.asked.append(request)
        return TwoSteps(self.steps, request.username)


class TwoSteps:
    """Asks once, then lets in."""

    def __init__(self, steps: list[bytes | None], client_id: str | None) -> None:
        self.steps = steps
        self.identity = Identity("someone", data=b"done", client_id=client_id)
        self.count = 0

    async def step(self, data: bytes | None) -> Step:
        """The next step."""
        self.steps.append(data)
        self.count += 1
        return Continue(CHALLENGE) if self.count == 1 else self.identity


@pytest.fixture
def twice() -> Twice:
    """Who decides."""
    return Twice()


@pytest.fixture
async def clients(config: Config, twice: Twice) -> AsyncIterator[Clients]:
    """Clients of a broker that asks `twice`."""
    clock = ManualClock()
    authenticators = Authenticators(passwords=twice, methods={"TWICE": twice})
    async with Broker(config, clock=clock, authenticators=authenticators) as broker:
        made = Clients(broker, clock)
        yield made
        await made.close()


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("ann", None),
        (None, b"alone"),
        ("ann", b"word"),
        ("", b""),
        ("x" * 65_535, bytes(range(256)) * 255 + b"\0" * 255),
        ("ключ \ufeff", b"\0\xff"),
    ],
    ids=["user", "password", "both", "empty", "longest", "odd"],
)
async def test_credentials_are_read_as_they_are(
    clients: Clients, twice: Twice, username: str | None, password: bytes | None
) -> None:
    """Each is there if its flag is, a Password without User Name too.

    [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18] [MQTT-3.1.2-19]
    """
    await clients.connect("c", username=username, password=password)
    (request,) = twice.asked

    assert (request.username, request.password) == (username, password)
    assert (request.client_id, request.protocol_version) == ("c", 5)


async def test_authentication_goes_on_by_auth_alone(clients: Clients, twice: Twice) -> None:
    """CONNACK comes after it and is the only one: [MQTT-3.2.0-1] [MQTT-3.2.0-2]."""
    peer = await clients.open()
    await peer.send(Connect("c", properties=tuple(METHOD)).encode())
    asked = await peer.packet(AUTH)
    assert (asked.reason, asked.get("authentication_data")) == (0x18, CHALLENGE)
    await peer.auth(0x18, [("authentication_method", "TWICE"), ("authentication_data", b"2")])
    connack = await peer.packet(CONNACK)

    assert connack.reason == 0
    assert connack.get("authentication_method") == "TWICE"
    assert connack.get("authentication_data") == b"done"
    assert twice.steps == [b"1", b"2"]


async def test_an_identifier_given_last_changes_nothing_about_the_method(
    clients: Clients,
) -> None:
    """Whichever shard the session is on, CONNACK is whole: [MQTT-4.12.0-5] [MQTT-3.1.3-7]."""
    for n in range(8):
        peer = await clients.open()
        await peer.send(Connect("", username=f"user {n}", properties=tuple(METHOD)).encode())
        await peer.packet(AUTH)
        await peer.auth(0x18, [("authentication_method", "TWICE")])
        connack = await peer.packet(CONNACK)
        assert connack.reason == 0
        assert connack.get("assigned_client_identifier") == f"user {n}"
        assert connack.get("authentication_method") == "TWICE"
        await peer.auth(0x19, [("authentication_method", "TWICE")])
        assert (await peer.packet(AUTH)).reason == 0x18


EARLY = {
    "PUBLISH": Publish("a", b"early").encode(5),
    "PUBLISH with a Topic Alias of 0": packet(3, 0, text("a") + b"\3\x23\0\0"),
    "PUBLISH at QoS 1": Publish("a", b"early", qos=1, packet_id=1).encode(5),
    "SUBSCRIBE": packet(8, 2, b"\0\1\0" + text("a") + b"\0"),
    "UNSUBSCRIBE": packet(10, 2, b"\0\1\0" + text("a")),
    "PINGREQ": packet(12, 0, b""),
    "PUBACK": packet(4, 0, b"\0\1"),
    "CONNECT": Connect("c").encode(),
}


@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY)
async def test_nothing_but_auth_and_disconnect_may_come_before_connack(
    clients: Clients, early: bytes
) -> None:
    """Refused with a reason that CONNACK has: [MQTT-3.1.2-30] [MQTT-3.2.2-8] [MQTT-3.1.4-6]."""
    watcher = await clients.connect("watcher", username="w")
    await watcher.subscribe("a")
    peer = await clients.open()
    await peer.send(Connect("c", properties=tuple(METHOD)).encode())
    await peer.packet(AUTH)
    await peer.send(early)

    assert await peer.refused() in (0x80, 0x81, 0x82)
    await clients.silent(watcher)


async def test_a_client_may_give_up_before_connack(clients: Clients) -> None:
    """DISCONNECT is allowed, and ends it: [MQTT-3.1.2-30]."""
    peer = await clients.open()
    await peer.send(Connect("c", properties=tuple(METHOD)).encode())
    await peer.packet(AUTH)
    await peer.send(b"\xe0\0")

    assert await peer.rest() == []
    assert await clients.broker.sessions() == []


@pytest.mark.parametrize("limit", [50, 120])
async def test_auth_keeps_the_maximum_packet_size(clients: Clients, limit: int) -> None:
    """A challenge that is larger is not sent; the client is refused: [MQTT-3.1.2-24]."""
    size = ("maximum_packet_size", limit)
    peer = await clients.open()
    await peer.send(Connect("c", properties=(*METHOD, size)).encode())

    if limit == 50:
        assert await peer.refused() == 0x95
    else:
        assert 2 + len((await peer.packet(AUTH)).body) <= limit


@pytest.mark.parametrize("clean", [True, False])
async def test_a_refused_exchange_leaves_the_session_alone(clients: Clients, clean: bool) -> None:
    """Nothing is taken over before the client is let in: [MQTT-3.1.4-2] [MQTT-3.1.4-3]."""
    held = await clients.connect("c", username="someone", clean=False, expiry=100)
    peer = await clients.open()
    await peer.send(Connect("c", clean=clean, properties=tuple(METHOD)).encode())
    await peer.packet(AUTH)
    await clients.silent(held)
    await peer.send(packet(AUTH, 0, b"\x18" + property_block([("authentication_method", "NO")])))

    assert await peer.refused() == 0x82
    await clients.silent(held)
