"""Receive Maximum: unacknowledged messages at a time, both ways (MQTT 5 §3.1.2.11.3, §4.9)."""

import pytest

from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Publish
from tests.peer import Clients, Peer

EXCEEDED = 0x93
PLAIN, NARROW, LITTLE = range(3)
"""Listeners: plain; 3 from a client at a time; 2 to a client at a time."""


@pytest.fixture
def config() -> Config:
    """Three listeners, see above."""
    address = "tcp://127.0.0.1:0"
    listeners = [
        {"name": "plain", "address": address},
        {"name": "narrow", "address": address, "receive_maximum": 3},
        {"name": "little", "address": address, "inflight_maximum": 2},
    ]
    return Config.model_validate({**CONFIG, "listener": listeners})


async def receiving(
    clients: Clients, maximum: int | None, *, qos: int, listener: int = PLAIN
) -> Peer:
    """A subscriber with that Receive Maximum, and more messages than that on their way to it."""
    window = () if maximum is None else (("receive_maximum", maximum),)
    peer = await clients.connect("c", listener=listener, properties=window)
    await peer.subscribe("a", qos=qos)
    publisher = await clients.connect("publisher")
    for n in range((maximum or 10) + 5):
        await publisher.publish("a", str(n).encode(), qos=2)
    return peer


@pytest.mark.parametrize("maximum", [1, 2, 10])
@pytest.mark.parametrize("qos", [1, 2])
async def test_no_more_are_sent_than_the_client_takes(
    clients: Clients, maximum: int, qos: int
) -> None:
    """Each acknowledgement makes room for one, in order (MQTT 5 §4.9)."""
    peer = await receiving(clients, maximum, qos=qos)
    waiting = [await peer.publication() for _ in range(maximum)]
    await clients.silent(peer)
    for n in range(5):
        oldest = waiting.pop(0)
        if qos == 1:
            await peer.answer(PUBACK, oldest.packet_id)
        else:
            await peer.answer(PUBREC, oldest.packet_id)
            await peer.packet(PUBREL)
            await clients.silent(peer)
            await peer.answer(PUBCOMP, oldest.packet_id)
        waiting.append(await peer.publication())
        assert waiting[-1].payload == str(maximum + n).encode()
        await clients.silent(peer)


async def test_a_pubrec_with_an_error_makes_room(clients: Clients) -> None:
    """The exchange is over then (MQTT 5 §4.9)."""
    peer = await receiving(clients, 1, qos=2)
    first = await peer.publication()
    await clients.silent(peer)
    await peer.answer(PUBREC, first.packet_id, 0x80)

    assert (await peer.publication()).payload == b"1"


async def test_without_a_word_it_is_65535(clients: Clients) -> None:
    """The default, and the most (MQTT 5 §3.1.2.11.3)."""
    peer = await receiving(clients, None, qos=1)

    assert [(await peer.publication()).payload for _ in range(15)] == [
        str(n).encode() for n in range(15)
    ]


async def test_qos_0_passes_a_window_that_is_full(clients: Clients) -> None:
    """It is not limited (MQTT 5 §4.9)."""
    peer = await receiving(clients, 1, qos=1)
    await peer.publication()
    await peer.subscribe("b")
    await peer.publish("b", b"at QoS 0")

    assert (await peer.publication()).payload == b"at QoS 0"


async def test_the_listener_may_send_less_at_a_time(clients: Clients) -> None:
    """The smaller of both counts."""
    peer = await receiving(clients, 10, qos=1, listener=LITTLE)
    assert [(await peer.publication()).payload for _ in range(2)] == [b"0", b"1"]

    await clients.silent(peer)


async def test_each_connection_has_its_own_window(clients: Clients) -> None:
    """Receive Maximum is no state of the session (MQTT 5 §3.1.2.11.3)."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.subscribe("a", qos=1)
    publisher = await clients.connect("publisher")
    for n in range(5):
        await publisher.publish("a", str(n).encode(), qos=1)
    sent = [await peer.publication() for _ in range(5)]
    await peer.close()
    window = ("receive_maximum", 2)
    again = await clients.connect("c", clean=False, expiry=100, properties=(window,))
    resent = [await again.publication() for _ in range(2)]
    assert [each.packet_id for each in resent] == [each.packet_id for each in sent[:2]]
    await clients.silent(again)
    await again.answer(PUBACK, resent[0].packet_id)

    assert (await again.publication()).packet_id == sent[2].packet_id


async def test_a_client_that_sends_more_than_the_broker_takes_is_disconnected(
    clients: Clients,
) -> None:
    """0x93, counted by PUBREL that did not come (MQTT 5 §3.3.4)."""
    peer = await clients.connect("c", listener=NARROW)
    assert peer.connack is not None
    assert peer.connack.get("receive_maximum") == 3
    for packet_id in (1, 2, 3):
        await peer.send(Publish("a", qos=2, packet_id=packet_id).encode(5))
        await peer.packet(PUBREC)
    await peer.answer(PUBREL, 2)
    await peer.packet(PUBCOMP)
    await peer.send(Publish("a", qos=2, packet_id=4).encode(5))
    await peer.packet(PUBREC)
    await peer.send(Publish("a", qos=2, packet_id=5).encode(5))

    assert await peer.refused() == EXCEEDED


async def test_a_message_sent_again_does_not_count_twice(clients: Clients) -> None:
    """Its identifier is in use already (MQTT 5 §4.3.3)."""
    peer = await clients.connect("c", listener=NARROW)
    for packet_id in (1, 2, 3, 3, 3, 1):
        await peer.send(Publish("a", qos=2, packet_id=packet_id).encode(5))
        assert (await peer.packet(PUBREC)).packet_id == packet_id

    await clients.silent(peer)
