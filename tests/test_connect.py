"""CONNECT: the first packet, once, in its format; what comes behind it (MQTT 5 §3.1)."""

import pytest

from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import (
    CONNACK,
    PINGREQ,
    PINGRESP,
    PUBACK,
    SUBACK,
    Connect,
    Packet,
    Publish,
    Will,
    connect_bytes,
    data,
    packet,
    text,
)
from tests.peer import Clients, Filter, Peer

SUBSCRIBE_A = bytes.fromhex("820700010000016100")
"""SUBSCRIBE to `a`, before anything else."""

NOT_CONNECT = {
    "publish": Publish("a").encode(5),
    "publish at QoS 1": Publish("a", qos=1, packet_id=1).encode(5),
    "subscribe": SUBSCRIBE_A,
    "pingreq": packet(PINGREQ, 0, b""),
    "disconnect": bytes.fromhex("e000"),
    "auth": bytes.fromhex("f000"),
    "connack": bytes.fromhex("2003000000"),
}


@pytest.mark.parametrize("first", NOT_CONNECT.values(), ids=NOT_CONNECT)
async def test_a_first_packet_that_is_not_connect_ends_the_connection(
    clients: Clients, first: bytes
) -> None:
    """Nothing is answered: [MQTT-3.1.0-1] [MQTT-3.2.0-1]."""
    peer = await clients.open()
    await peer.send(first)

    assert await peer.rest() == []


async def test_what_came_before_connect_has_no_effect(clients: Clients) -> None:
    """A PUBLISH in front of the CONNECT is not processed: [MQTT-3.1.0-1]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("a")
    peer = await clients.open()
    await peer.send(Publish("a").encode(5) + Connect("c").encode())

    assert await peer.rest() == []
    await clients.silent(watcher)


async def test_a_second_connect_is_a_protocol_error(clients: Clients) -> None:
    """The connection ends, and there is no second CONNACK: [MQTT-3.1.0-2] [MQTT-3.2.0-2]."""
    peer = await clients.connect("c")
    await peer.send(Connect("c").encode())

    assert await peer.refused() == 0x82


async def test_two_connects_at_once_are_a_protocol_error(clients: Clients) -> None:
    """One CONNACK, then DISCONNECT: [MQTT-3.1.0-2] [MQTT-3.2.0-2]."""
    peer = await clients.open()
    await peer.send(Connect("c").encode() * 2)

    assert (await peer.packet(CONNACK)).reason == 0
    assert await peer.refused() == 0x82


async def test_a_second_connect_with_another_identifier_changes_no_session(
    clients: Clients,
) -> None:
    """It is not processed, whatever it asks for: [MQTT-3.1.0-2]."""
    held = await clients.connect("held", clean=False, expiry=100)
    await held.subscribe("a")
    peer = await clients.connect("c")
    await peer.send(Connect("held", clean=True).encode())

    assert await peer.refused() == 0x82
    await peer.close()
    await clients.silent(held)


async def test_connect_is_acknowledged_with_success(clients: Clients) -> None:
    """[MQTT-3.1.4-5]: Reason Code 0 and Session Present 0 in a CONNACK that comes first."""
    peer = await clients.open()
    connack = await peer.connect(Connect("c"))

    assert connack.reasons == (0,)
    assert not connack.session_present
    assert connack.flags == 0


async def test_packets_may_come_right_behind_connect(clients: Clients) -> None:
    """CONNACK is the first answer to all of them: [MQTT-3.2.0-1] [MQTT-3.1.4-5]."""
    peer = await clients.open()
    publish = Publish("a", b"early", qos=1, packet_id=7).encode(5)
    ping = packet(PINGREQ, 0, b"")
    await peer.send(Connect("c").encode() + SUBSCRIBE_A + publish + ping)
    received = [await peer.next() for _ in range(5)]

    kinds = [each.kind for each in received if isinstance(each, Packet)]
    assert kinds[0] == CONNACK
    assert sorted(kinds) == [CONNACK, PUBACK, SUBACK, PINGRESP]
    assert any(isinstance(each, Publish) and each.payload == b"early" for each in received)


async def test_what_follows_a_refused_connect_is_not_processed(clients: Clients) -> None:
    """[MQTT-3.1.4-6]: neither its messages nor its subscriptions nor its will."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("#")
    peer = await clients.open()
    refused = Connect("c", will=Will("w/+", b"will"))
    await peer.send(refused.encode() + Publish("a", retain=True).encode(5) + SUBSCRIBE_A)

    assert await peer.refused() == 0x90
    assert await clients.broker.retained("#") == []
    await clients.silent(watcher)


async def test_payload_fields_are_read_in_the_order_of_the_standard(clients: Clients) -> None:
    """Client Identifier, will, User Name, Password: [MQTT-3.1.3-1] [MQTT-3.1.3-3]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("topic")
    peer = await clients.open()
    will = b"\0" + text("topic") + data(b"payload")
    await peer.send(
        connect_bytes(text("ordered") + will + text("user") + data(b"word"), flags=0xC6)
    )
    assert (await peer.packet(CONNACK)).reason == 0
    names = {session.client_id for session in await clients.broker.sessions()}
    await peer.close()

    assert names == {"ordered", "watcher"}
    will_message = await watcher.message()
    assert (will_message.topic, will_message.payload) == ("topic", b"payload")


@pytest.mark.parametrize(
    "config",
    [
        Config.model_validate(
            {**CONFIG, "mqtt": {"server_reference": "other:1883", "redirect": redirect}}
        )
        for redirect in ("temporary", "permanent")
    ],
    ids=["temporary", "permanent"],
)
async def test_a_broker_that_sends_everyone_away_says_where_to(
    clients: Clients, config: Config
) -> None:
    """Server Reference with 0x9C or 0x9D, then the connection ends: [MQTT-3.2.2-7]."""
    peer = await clients.open()
    connack = await peer.connect(Connect("c"))

    assert connack.reason == (0x9C if config.mqtt.redirect == "temporary" else 0x9D)
    assert connack.get("server_reference") == "other:1883"
    assert await peer.rest() == []


async def test_connect_in_single_bytes_is_one_connect(clients: Clients) -> None:
    """However it comes, it is validated as a whole: [MQTT-3.1.4-1]."""
    peer = await clients.open()
    for byte in Connect("slow", username="u", password=b"p").encode():
        await peer.send(bytes([byte]))

    assert (await peer.packet(CONNACK)).reason == 0


async def test_user_properties_of_connect_are_taken_in_any_number(clients: Clients) -> None:
    """A name may stand more than once; they do not show elsewhere: [MQTT-3.1.4-5]."""
    peer = await clients.open()
    pairs = tuple(("user_property", (f"name {n % 3}", f"value {n}")) for n in range(1_000))
    connack = await peer.connect(Connect("c", properties=pairs))

    assert connack.reason == 0
    assert connack.all("user_property") == []


async def subscribed(clients: Clients, client_id: str, topic: str) -> Peer:
    """A client that is subscribed."""
    peer = await clients.connect(client_id)
    await peer.subscribe(Filter(topic))
    return peer


async def test_connections_with_different_identifiers_do_not_disturb_each_other(
    clients: Clients,
) -> None:
    """State is kept by Client Identifier: [MQTT-3.1.3-2]."""
    peers = [await subscribed(clients, f"client-{n}", f"topic/{n}") for n in range(20)]
    for n in range(20):
        await peers[-1].publish(f"topic/{n}", str(n).encode())

    for n, peer in enumerate(peers):
        assert (await peer.message()).payload == str(n).encode()
    await clients.silent(*peers)
