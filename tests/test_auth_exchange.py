"""Enhanced authentication over the wire: CONNECT, AUTH, CONNACK, and again (MQTT 5 §4.12)."""

from pathlib import Path

import pytest

from quantummq.auth.scram import ScramKeys
from quantummq.auth.user_file import write_users
from quantummq.config import Config
from tests.packets import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    Connect,
    Packet,
    Properties,
    Publish,
    Will,
    packet,
)
from tests.peer import Clients, Filter, Peer
from tests.scram import METHOD, ScramClient

CONTINUE, REAUTHENTICATE = 0x18, 0x19
SECURED, OPEN = 0, 1
NAMES = ["spring", "summer", "autumn", "winter", ""]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A listener that asks who is there, and one that does not."""
    path = tmp_path / "scram"
    keys = {user: str(ScramKeys.derive(f"{user}'s", iterations=4_096)) for user in ("ann", "bob")}
    write_users(path, keys)
    address = "tcp://127.0.0.1:0"
    listeners: list[dict[str, str | bool]] = [
        {"name": "secured", "address": address},
        {"name": "open", "address": address, "anonymous": True},
    ]
    return Config.model_validate(
        {
            "broker": {"shards": 2, "seed": 7},
            "authentication": {"scram_file": str(path)},
            "listener": listeners,
        }
    )


def connect(client_id: str, method: str, data: bytes, expiry: int = 0) -> Connect:
    """A CONNECT that begins an exchange."""
    properties: Properties = [("authentication_method", method), ("authentication_data", data)]
    properties.append(("session_expiry_interval", expiry))
    return Connect(client_id, clean=expiry == 0, properties=tuple(properties))


def step(data: bytes, method: str = METHOD) -> Properties:
    """What an AUTH packet carries."""
    return [("authentication_method", method), ("authentication_data", data)]


async def begun(clients: Clients, client: ScramClient, client_id: str = "client") -> Peer:
    """A connection on which CONNECT was sent."""
    peer = await clients.open(SECURED)
    await peer.send(connect(client_id, METHOD, client.first).encode())
    return peer


async def challenge(peer: Peer) -> bytes:
    """The data of the AUTH that comes, which is one that continues."""
    auth = await peer.packet(AUTH)
    assert auth.reasons == (CONTINUE,)
    assert auth.get("authentication_method") == METHOD
    data = auth.get("authentication_data")
    assert isinstance(data, bytes)
    return data


async def signed_in(
    clients: Clients, client_id: str = "client", user: str = "ann", expiry: int = 0
) -> Peer:
    """A client that has proved who it is."""
    client = ScramClient(user, f"{user}'s")
    peer = await clients.open(SECURED)
    await peer.send(connect(client_id, METHOD, client.first, expiry).encode())
    await peer.auth(CONTINUE, step(client.final(await challenge(peer))))
    peer.connack = await peer.packet(CONNACK)
    assert peer.connack.reason == 0
    assert client.trusts(peer.connack.get("authentication_data"))
    return peer


async def ended(peer: Peer, kind: int) -> int:
    """The Reason Code of the one packet that comes before the broker closes."""
    received = await peer.rest()
    assert len(received) == 1, received
    last = received[0]
    assert isinstance(last, Packet)
    assert last.kind == kind
    return last.reason


@pytest.mark.parametrize("client_id", NAMES)
async def test_a_client_that_proves_itself_is_let_in(clients: Clients, client_id: str) -> None:
    """[MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]."""
    peer = await signed_in(clients, client_id)

    assert peer.connack is not None
    assert peer.connack.get("authentication_method") == METHOD
    assert bool(peer.connack.get("assigned_client_identifier")) == (client_id == "")
    await peer.subscribe("a", qos=1)
    assert await peer.publish("a", b"x", qos=1) == 0
    assert (await peer.message()).payload == b"x"


async def test_a_client_without_first_data_is_asked_for_it(clients: Clients) -> None:
    """[MQTT-4.12.0-2] [MQTT-4.12.0-3]."""
    client = ScramClient("ann", "ann's")
    peer = await clients.open(SECURED)
    method = (("authentication_method", METHOD),)
    await peer.send(Connect("client", properties=method).encode())

    assert await challenge(peer) == b""
    await peer.auth(CONTINUE, step(client.first))
    await peer.auth(CONTINUE, step(client.final(await challenge(peer))))

    connack = await peer.packet(CONNACK)
    assert connack.reason == 0
    assert client.trusts(connack.get("authentication_data"))


@pytest.mark.parametrize("client_id", NAMES)
@pytest.mark.parametrize(("user", "password"), [("ann", "bob's"), ("eve", "eve's"), ("ann", "")])
async def test_a_client_that_cannot_is_refused(
    clients: Clients, client_id: str, user: str, password: str
) -> None:
    """Whether the user exists does not show. [MQTT-4.12.0-4] [MQTT-4.13.2-1]."""
    client = ScramClient(user, password)
    peer = await begun(clients, client, client_id)

    await peer.auth(CONTINUE, step(client.final(await challenge(peer))))

    assert await ended(peer, CONNACK) == 0x87


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"n,,n=ann", b"p=tls,,n=ann,r=12345678", b"x" * 9_000]
)
async def test_what_is_not_scram_is_refused(clients: Clients, data: bytes) -> None:
    """[MQTT-4.12.0-4]."""
    client = ScramClient("ann", "ann's")
    peer = await begun(clients, client)
    await challenge(peer)

    await peer.auth(CONTINUE, step(data))

    assert await ended(peer, CONNACK) == 0x87


@pytest.mark.parametrize("method", ["SCRAM-SHA-1", "scram-sha-256", "PLAIN", "", "GS2-KRB5"])
async def test_a_method_the_broker_does_not_have_is_refused(clients: Clients, method: str) -> None:
    """[MQTT-4.12.0-1]."""
    peer = await clients.open(SECURED)

    await peer.send(connect("client", method, b"x").encode())

    assert await ended(peer, CONNACK) == 0x8C


@pytest.mark.parametrize(
    "sent",
    [
        Publish("a", b"early").encode(5),
        packet(PINGREQ, 0, b""),
        Connect("client").encode(),
        packet(AUTH, 0, b""),
        packet(AUTH, 0, b"\x18\x00"),
    ],
)
async def test_only_auth_and_disconnect_may_come_before_connack(
    clients: Clients, sent: bytes
) -> None:
    """[MQTT-3.1.2-30] [MQTT-3.1.0-2] [MQTT-4.13.1-1]."""
    reader = await clients.connect("reader", listener=OPEN)
    await reader.subscribe("a")
    peer = await begun(clients, ScramClient("ann", "ann's"))
    await challenge(peer)

    await peer.send(sent)

    assert await ended(peer, CONNACK) == 0x82
    await clients.silent(reader)


@pytest.mark.parametrize("reason", [0x00, REAUTHENTICATE, 0x01, 0x87])
async def test_an_answer_with_another_reason_is_refused(clients: Clients, reason: int) -> None:
    """[MQTT-4.12.0-3] [MQTT-3.15.2-1]."""
    client = ScramClient("ann", "ann's")
    peer = await begun(clients, client)

    await peer.auth(reason, step(client.final(await challenge(peer))))

    assert await ended(peer, CONNACK) == 0x82


async def test_an_answer_with_another_method_is_refused(clients: Clients) -> None:
    """[MQTT-4.12.0-5]."""
    client = ScramClient("ann", "ann's")
    peer = await begun(clients, client)

    await peer.auth(CONTINUE, step(client.final(await challenge(peer)), "SCRAM-SHA-512"))

    assert await ended(peer, CONNACK) in (0x82, 0x8C)


async def test_a_client_may_leave_in_the_middle(clients: Clients) -> None:
    """MQTT 5 §4.12: with or without DISCONNECT; nothing is left of it."""
    for goodbye in (packet(DISCONNECT, 0, b""), b""):
        client = ScramClient("ann", "ann's")
        peer = await begun(clients, client)
        await challenge(peer)
        if goodbye:
            await peer.send(goodbye)
            assert await peer.rest() == []
        else:
            await peer.close()

    await signed_in(clients)


async def test_an_exchange_that_stops_ends_at_the_connect_timeout(clients: Clients) -> None:
    """[MQTT-4.12.0-4]."""
    peer = await begun(clients, ScramClient("ann", "ann's"))
    await challenge(peer)

    await clients.clock.advance(11)

    received = await peer.rest()
    assert all(isinstance(each, Packet) and each.kind == CONNACK for each in received)


async def test_without_a_method_there_is_no_auth(clients: Clients) -> None:
    """[MQTT-4.12.0-6]."""
    peer = await clients.connect("client", listener=OPEN)
    refused = await clients.open(SECURED)

    connack = await refused.connect(Connect("other", username="ann", password=b"ann's"))

    assert peer.connack is not None
    assert peer.connack.get("authentication_method") is None
    assert connack.reason >= 0x80
    assert connack.get("authentication_method") is None
    await clients.silent(peer)


@pytest.mark.parametrize("reason", [CONTINUE, REAUTHENTICATE])
async def test_a_client_without_a_method_does_not_send_auth(clients: Clients, reason: int) -> None:
    """[MQTT-4.12.0-7] [MQTT-4.12.0-6] [MQTT-4.13.1-1]."""
    peer = await clients.connect("client", listener=OPEN)

    await peer.auth(reason, step(ScramClient("ann", "ann's").first))

    assert await ended(peer, DISCONNECT) == 0x82


@pytest.mark.parametrize("client_id", NAMES)
async def test_a_client_may_prove_itself_again(clients: Clients, client_id: str) -> None:
    """[MQTT-4.12.0-5] [MQTT-4.12.1-1] [MQTT-4.12.0-2]: messages go on meanwhile."""
    peer = await signed_in(clients, client_id)
    await peer.subscribe("a", qos=1)

    for _ in range(3):
        client = ScramClient("ann", "ann's")
        await peer.auth(REAUTHENTICATE, step(client.first))
        data = await challenge(peer)
        assert await peer.publish("a", b"meanwhile", qos=1) == 0
        assert (await peer.message()).payload == b"meanwhile"
        await peer.auth(CONTINUE, step(client.final(data)))
        done = await peer.packet(AUTH)
        assert done.reason == 0
        assert done.get("authentication_method") == METHOD
        assert client.trusts(done.get("authentication_data"))

    await clients.silent(peer)


@pytest.mark.parametrize(
    ("user", "password"),
    [("ann", "wrong"), ("bob", "bob's"), ("eve", "eve's")],
)
async def test_a_client_that_fails_to_is_disconnected(
    clients: Clients, user: str, password: str
) -> None:
    """Another user's proof does not do either. [MQTT-4.12.1-2] [MQTT-4.13.2-1]."""
    peer = await signed_in(clients)
    client = ScramClient(user, password)
    await peer.auth(REAUTHENTICATE, step(client.first))

    await peer.auth(CONTINUE, step(client.final(await challenge(peer))))

    assert await ended(peer, DISCONNECT) == 0x87


async def test_its_session_is_kept_and_its_will_published(clients: Clients) -> None:
    """[MQTT-4.12.1-2] [MQTT-3.1.2-8]."""
    reader = await clients.connect("reader", listener=OPEN)
    await reader.subscribe("wills")
    client = ScramClient("ann", "ann's")
    peer = await clients.open(SECURED)
    properties = (*connect("client", METHOD, client.first, expiry=60).properties,)
    await peer.send(Connect("client", will=Will("wills", b"x"), properties=properties).encode())
    await peer.auth(CONTINUE, step(client.final(await challenge(peer))))
    await peer.packet(CONNACK)

    await peer.auth(REAUTHENTICATE, step(b"not a message of SCRAM"))

    assert await ended(peer, DISCONNECT) == 0x87
    assert (await reader.message()).payload == b"x"
    again = await signed_in(clients, expiry=60)
    assert again.connack is not None
    assert again.connack.session_present


@pytest.mark.parametrize("reason", [CONTINUE, 0x00])
async def test_an_auth_that_belongs_to_nothing_is_refused(clients: Clients, reason: int) -> None:
    """[MQTT-4.12.0-3] [MQTT-3.15.2-1] [MQTT-4.13.1-1]."""
    peer = await signed_in(clients)

    await peer.auth(reason, step(b"x"))

    assert await ended(peer, DISCONNECT) == 0x82


@pytest.mark.parametrize("method", ["SCRAM-SHA-1", "scram-sha-256", ""])
async def test_the_method_stays_what_it_was(clients: Clients, method: str) -> None:
    """[MQTT-4.12.1-1] [MQTT-4.12.0-5]."""
    peer = await signed_in(clients)

    await peer.auth(REAUTHENTICATE, step(ScramClient("ann", "ann's").first, method))

    assert await ended(peer, DISCONNECT) in (0x82, 0x8C)


async def test_a_proof_cannot_be_used_twice(clients: Clients) -> None:
    """[MQTT-4.12.1-2]."""
    peer = await signed_in(clients)
    client = ScramClient("ann", "ann's")
    await peer.auth(REAUTHENTICATE, step(client.first))
    proof = client.final(await challenge(peer))
    await peer.auth(CONTINUE, step(proof))
    assert (await peer.packet(AUTH)).reason == 0

    await peer.auth(REAUTHENTICATE, step(client.first))
    await challenge(peer)
    await peer.auth(CONTINUE, step(proof))

    assert await ended(peer, DISCONNECT) == 0x87


async def test_nobody_is_put_out_by_one_who_fails(clients: Clients) -> None:
    """A takeover waits for the proof. [MQTT-3.1.4-3]."""
    peer = await signed_in(clients, "client", expiry=60)
    await peer.subscribe("a")
    client = ScramClient("ann", "wrong")
    other = await begun(clients, client, "client")
    await other.auth(CONTINUE, step(client.final(await challenge(other))))
    assert await ended(other, CONNACK) == 0x87

    await peer.publish("a", b"still here")

    assert (await peer.message()).payload == b"still here"


async def test_packets_behind_an_auth_are_handled_in_order(clients: Clients) -> None:
    """What comes in one write with the proof is read after the verdict. [MQTT-4.6.0-5]."""
    reader = await clients.connect("reader", listener=OPEN)
    await reader.subscribe("a")
    client = ScramClient("ann", "ann's")
    peer = await begun(clients, client)
    proof = client.final(await challenge(peer))

    await peer.auth(CONTINUE, step(proof))
    await peer.send(b"".join(Publish("a", b"%d" % number).encode(5) for number in range(50)))

    assert (await peer.packet(CONNACK)).reason == 0
    received = await reader.messages(50)
    assert [int(message.payload) for message in received] == list(range(50))
    assert (await peer.subscribe(Filter("b"))).reasons == (0,)


async def test_a_session_is_not_for_another_user(clients: Clients) -> None:
    """Whoever made it keeps it, and stays connected. [MQTT-4.12.0-4]."""
    peer = await signed_in(clients, "client", "ann", expiry=60)
    client = ScramClient("bob", "bob's")
    other = await begun(clients, client, "client")

    await other.auth(CONTINUE, step(client.final(await challenge(other))))

    assert await ended(other, CONNACK) == 0x85
    await clients.silent(peer)
