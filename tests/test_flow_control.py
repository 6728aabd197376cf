"""Receive Maximum in both directions (MQTT 5 §4.9)."""

import pytest

from quantummq.config import Config
from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Publish
from tests.peer import Clients, Peer

WINDOW = 3


@pytest.fixture
def config() -> Config:
    """A broker that lets clients have three messages under way."""
    listener = {"address": "tcp://127.0.0.1:0", "receive_maximum": WINDOW}
    return Config.model_validate({"broker": {"shards": 2, "seed": 7}, "listener": [listener]})


async def narrow(clients: Clients, window: int, name: str = "receiver") -> Peer:
    """A subscriber that takes so many at a time."""
    peer = await clients.connect(name, expiry=600, properties=(("receive_maximum", window),))
    await peer.subscribe("a/#", qos=2)
    return peer


async def published(clients: Clients, *levels: int) -> None:
    """Publishes messages of these QoS, numbered."""
    sender = await clients.connect("sender")
    for number, qos in enumerate(levels):
        await sender.publish(f"a/{number}", b"%d" % number, qos=qos)


@pytest.mark.parametrize("name", ["north", "south", "east", "west"])
@pytest.mark.parametrize("qos", [1, 2])
async def test_the_broker_sends_no_more_than_the_client_takes(
    clients: Clients, name: str, qos: int
) -> None:
    """[MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]."""
    receiver = await narrow(clients, 2, name)

    await published(clients, *[qos] * 5)

    first = [await receiver.publication() for _ in range(2)]
    await clients.silent(receiver)
    assert [message.payload for message in first] == [b"0", b"1"]


async def test_each_puback_lets_one_more_go(clients: Clients) -> None:
    """[MQTT-4.9.0-2]."""
    receiver = await narrow(clients, 1)
    await published(clients, *[1] * 5)

    for number in range(5):
        message = await receiver.publication()
        assert message.payload == b"%d" % number
        await clients.silent(receiver)
        await receiver.answer(PUBACK, message.packet_id)


async def test_qos_2_holds_its_place_until_pubcomp(clients: Clients) -> None:
    """[MQTT-4.9.0-2] [MQTT-4.9.0-3]: PUBREC does not give it back; PUBREL needs none."""
    receiver = await narrow(clients, 1)
    await published(clients, 2, 1)
    message = await receiver.publication()

    await receiver.answer(PUBREC, message.packet_id)
    await receiver.packet(PUBREL)
    await clients.silent(receiver)
    await receiver.answer(PUBCOMP, message.packet_id)

    assert (await receiver.publication()).payload == b"1"


@pytest.mark.parametrize("kind", [PUBACK, PUBREC])
async def test_a_refusal_gives_its_place_back(clients: Clients, kind: int) -> None:
    """MQTT 5 §4.9: PUBACK, and PUBREC with 0x80 and more, increment the quota."""
    receiver = await narrow(clients, 1)
    await published(clients, 1 if kind == PUBACK else 2, 1)
    message = await receiver.publication()

    await receiver.answer(kind, message.packet_id, 0x97)

    assert (await receiver.publication()).payload == b"1"


async def test_acknowledgements_of_nothing_do_not_widen_the_window(clients: Clients) -> None:
    """MQTT 5 §4.9: the quota does not pass its initial value. [MQTT-4.9.0-1] [MQTT-3.3.4-9]."""
    receiver = await narrow(clients, 1)
    for packet_id in range(100, 110):
        await receiver.answer(PUBACK, packet_id)
        await receiver.answer(PUBCOMP, packet_id)

    await published(clients, 1, 1, 1)

    await receiver.publication()
    await clients.silent(receiver)


async def test_a_full_window_holds_up_nothing_but_qos_1_and_2(clients: Clients) -> None:
    """[MQTT-3.3.4-10] [MQTT-4.9.0-3]."""
    receiver = await narrow(clients, 1)
    await published(clients, 1, 1)
    held = await receiver.publication()

    await receiver.ping()
    assert (await receiver.subscribe("b", qos=1)).reasons == (1,)
    assert (await receiver.unsubscribe("b")).reasons == (0,)
    assert await receiver.publish("a/own", b"qos 0") == 0
    assert await receiver.publish("c", qos=1) == 0x10
    assert await receiver.publish("c", qos=2) == 0x10

    assert (await receiver.publication()).payload == b"qos 0"
    await clients.silent(receiver)
    await receiver.answer(PUBACK, held.packet_id)
    assert (await receiver.publication()).payload == b"1"


async def test_the_window_begins_anew_with_each_connection(clients: Clients) -> None:
    """[MQTT-4.9.0-1]."""
    receiver = await narrow(clients, 2)
    await published(clients, *[1] * 6)
    for _ in range(2):
        await receiver.publication()
    await receiver.close()

    wide = await clients.connect("receiver", expiry=600, clean=False)

    assert len([await wide.publication() for _ in range(6)]) == 6


async def test_the_broker_says_how_many_it_takes(clients: Clients) -> None:
    """MQTT 5 §3.2.2.3.3."""
    peer = await clients.connect("sender")

    assert peer.connack is not None
    assert peer.connack.get("receive_maximum") == WINDOW


async def test_a_client_may_fill_the_window_of_the_broker(clients: Clients) -> None:
    """[MQTT-3.3.4-7]: that many may be without PUBREL, and each PUBCOMP frees a place."""
    sender = await clients.connect("sender")

    for packet_id in range(1, WINDOW + 1):
        await sender.send(Publish("a", b"", 2, packet_id=packet_id).encode(5))
        await sender.packet(PUBREC)
    for packet_id in range(1, 20):
        await sender.answer(PUBREL, packet_id)
        assert (await sender.packet(PUBCOMP)).reason == 0
        await sender.send(Publish("a", b"", 2, packet_id=packet_id + WINDOW).encode(5))
        await sender.packet(PUBREC)

    await clients.silent(sender)


async def test_a_client_that_sends_more_is_disconnected(clients: Clients) -> None:
    """[MQTT-3.3.4-7] [MQTT-4.13.1-1]: 0x93."""
    sender = await clients.connect("sender")

    for packet_id in range(1, WINDOW + 1):
        await sender.send(Publish("a", b"", 2, packet_id=packet_id).encode(5))
        await sender.packet(PUBREC)
    await sender.send(Publish("a", b"", 2, packet_id=99).encode(5))

    assert await sender.refused() == 0x93


async def test_qos_1_counts_until_it_is_acknowledged_and_no_longer(clients: Clients) -> None:
    """[MQTT-3.3.4-7]."""
    sender = await clients.connect("sender")

    await sender.send(
        b"".join(Publish("a", b"", 1, packet_id=each).encode(5) for each in range(1, 101))
    )

    assert [(await sender.packet(PUBACK)).packet_id for _ in range(100)] == list(range(1, 101))


async def test_what_an_earlier_connection_left_open_does_not_count(clients: Clients) -> None:
    """MQTT 5 §4.9: quotas are not kept across connections. [MQTT-4.9.0-1]."""
    sender = await clients.connect("sender", expiry=600)
    for packet_id in range(1, WINDOW + 1):
        await sender.send(Publish("a", b"", 2, packet_id=packet_id).encode(5))
        await sender.packet(PUBREC)
    await sender.close()

    sender = await clients.connect("sender", expiry=600, clean=False)
    for packet_id in range(11, WINDOW + 11):
        await sender.send(Publish("a", b"", 2, packet_id=packet_id).encode(5))
        assert (await sender.packet(PUBREC)).packet_id == packet_id
    for packet_id in [*range(1, WINDOW + 1), *range(11, WINDOW + 11)]:
        await sender.answer(PUBREL, packet_id)
        assert (await sender.packet(PUBCOMP)).reason == 0

    await clients.silent(sender)
