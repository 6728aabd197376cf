"""Client Identifiers: which are taken, which are given, and what they name (MQTT 5 §3.1.3.1)."""

import pytest

from quantummq.auth import AuthenticationRequest, Identity, Refusal
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.packets import Connect
from tests.peer import Clients

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

LONGEST = "é" + "x" * 65_533
"""65,535 bytes."""

TAKEN = [
    *(ALPHABET[start : start + 23] for start in (0, 23, 39)),
    *ALPHABET[:3],
    "with space",
    "$SYS",
    "a/+/#",
    "ключ 鍵 🔑",
    "\ufeffbom",
    "\U0010ffff",
    LONGEST,
]


@pytest.mark.parametrize("client_id", TAKEN, ids=lambda name: f"{name[:12]}-{len(name)}")
async def test_a_client_identifier_names_its_session(clients: Clients, client_id: str) -> None:
    """1 to 23 letters and digits must be taken, others are: [MQTT-3.1.3-5] [MQTT-3.1.3-2]."""
    first = await clients.connect(client_id, clean=False, expiry=100)
    assert first.connack is not None
    assert first.connack.get("assigned_client_identifier") is None
    assert [each.client_id for each in await clients.broker.sessions()] == [client_id]
    await first.disconnect()
    again = await clients.connect(client_id, clean=False)

    assert again.connack is not None
    assert again.connack.session_present


async def test_identifiers_are_told_apart_to_the_last_byte(clients: Clients) -> None:
    """Case, accents in one or two code points, and spaces count: [MQTT-3.1.3-2]."""
    names = ["a", "A", "a ", " a", "é", "e\u0301", "\ufeffa", LONGEST, LONGEST[:-1] + "y"]
    for name in names:
        peer = await clients.connect(name, clean=False, expiry=100)
        assert peer.connack is not None
        assert not peer.connack.session_present

    assert {each.client_id for each in await clients.broker.sessions()} == set(names)


@pytest.mark.parametrize("clean", [True, False])
async def test_an_empty_identifier_gets_one_of_its_own(clients: Clients, clean: bool) -> None:
    """[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]: each a new one, told in CONNACK."""
    given: set[object] = set()
    for _ in range(20):
        peer = await clients.connect("", clean=clean)
        assert peer.connack is not None
        assert not peer.connack.session_present
        given.add(peer.connack.get("assigned_client_identifier"))

    assert len(given) == 20
    assert given == {each.client_id for each in await clients.broker.sessions()}


async def test_an_assigned_identifier_is_as_good_as_any(clients: Clients) -> None:
    """Its session is resumed by whoever brings it: [MQTT-3.1.3-7]."""
    peer = await clients.connect("", clean=False, expiry=100)
    assert peer.connack is not None
    given = peer.connack.get("assigned_client_identifier")
    assert isinstance(given, str)
    await peer.subscribe("a", qos=1)
    await peer.disconnect()
    publisher = await clients.connect("publisher")
    await publisher.publish("a", b"kept", qos=1)
    again = await clients.connect(given, clean=False)

    assert again.connack is not None
    assert again.connack.session_present
    assert (await again.message()).payload == b"kept"


async def test_an_assigned_identifier_is_none_that_is_in_use(clients: Clients) -> None:
    """Not even by a session that waits for its client: [MQTT-3.2.2-16]."""
    kept: list[str] = []
    for _ in range(5):
        peer = await clients.connect("", expiry=1_000)
        assert peer.connack is not None
        kept.append(str(peer.connack.get("assigned_client_identifier")))
        await peer.close()
    for _ in range(50):
        peer = await clients.connect("")
        assert peer.connack is not None
        assert peer.connack.get("assigned_client_identifier") not in kept


class ByName:
    """Lets everybody in as the User Name says, and names the session after it too."""

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """The identity is the User Name."""
        return Identity(request.username or "", client_id=f"of-{request.username}")


async def test_an_identifier_of_another_user_is_not_valid(config: Config) -> None:
    """0x85, and the session and its connection stay: [MQTT-3.1.3-8] [MQTT-3.1.4-2]."""
    clock = ManualClock()
    async with Broker(config, clock=clock, authenticators=ByName()) as broker:
        clients = Clients(broker, clock)
        owner = await clients.connect("shared", username="ann", clean=False, expiry=100)
        other = await clients.open()
        await other.send(Connect("shared", username="bob").encode())

        assert await other.refused() == 0x85
        await clients.silent(owner)
        await clients.close()


async def test_an_authenticator_may_give_the_identifier(config: Config) -> None:
    """CONNACK tells which: [MQTT-3.1.3-7]."""
    clock = ManualClock()
    async with Broker(config, clock=clock, authenticators=ByName()) as broker:
        clients = Clients(broker, clock)
        for user in ("ann", "bob", "eve", "joe"):
            peer = await clients.connect("", username=user)
            assert peer.connack is not None
            assert peer.connack.get("assigned_client_identifier") == f"of-{user}"
        await clients.close()
