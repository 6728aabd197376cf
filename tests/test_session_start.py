"""Clean Start and Session Present: what of a session is there again (MQTT 5 §3.1.2.4, §4.1)."""

import pytest

from tests.packets import PUBCOMP, PUBREC, PUBREL, Connect, Packet, Publish
from tests.peer import Clients, Peer


def present(peer: Peer) -> bool:
    """Session Present, as CONNACK said."""
    assert peer.connack is not None
    return peer.connack.session_present


@pytest.mark.parametrize("clean", [True, False])
async def test_without_a_session_one_is_made(clients: Clients, clean: bool) -> None:
    """[MQTT-3.1.2-6] [MQTT-3.2.2-2] [MQTT-3.2.2-3]: it is usable, and was not there before."""
    peer = await clients.connect("c", clean=clean)
    assert not present(peer)
    await peer.subscribe("a")
    await peer.publish("a", b"x")

    assert (await peer.message()).payload == b"x"


async def test_clean_start_0_goes_on_with_the_session(clients: Clients) -> None:
    """Its subscriptions and what waited for it: [MQTT-3.1.2-5] [MQTT-3.1.4-4] [MQTT-3.2.2-3]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.subscribe("a", qos=1)
    await peer.disconnect()
    publisher = await clients.connect("publisher")
    await publisher.publish("a", b"while away", qos=1)
    again = await clients.connect("c", clean=False, expiry=100)

    assert present(again)
    assert (await again.message()).payload == b"while away"
    await publisher.publish("a", b"after", qos=1)
    assert (await again.message()).payload == b"after"


async def test_clean_start_1_begins_anew(clients: Clients) -> None:
    """No subscription, no message is left: [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.subscribe("a", qos=1)
    await peer.disconnect()
    publisher = await clients.connect("publisher")
    await publisher.publish("a", b"while away", qos=1)
    again = await clients.connect("c", clean=True, expiry=100)

    assert not present(again)
    await publisher.publish("a", b"after", qos=1)
    await clients.silent(again)


async def test_what_clean_start_1_discarded_does_not_come_back(clients: Clients) -> None:
    """The old session is gone for good, the new one lasts: [MQTT-3.1.2-4]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.subscribe("old")
    await peer.disconnect()
    fresh = await clients.connect("c", clean=True, expiry=100)
    await fresh.subscribe("new")
    await fresh.disconnect()
    again = await clients.connect("c", clean=False)

    assert present(again)
    await again.publish("old")
    await again.publish("new")
    assert (await again.message()).topic == "new"
    await clients.silent(again)


async def test_clean_start_1_forgets_unfinished_exchanges(clients: Clients) -> None:
    """What was sent is not sent again, and an identifier received is new: [MQTT-3.1.2-4]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.subscribe("a", qos=2)
    await peer.send(Publish("a", b"1", qos=2, packet_id=9).encode(5))
    assert {type(await peer.next()) for _ in range(2)} == {Packet, Publish}
    await peer.close()
    again = await clients.connect("c", clean=True, expiry=100)
    await clients.silent(again)
    await again.answer(PUBREL, 9)
    pubcomp = await again.packet(PUBCOMP)

    assert (pubcomp.packet_id, pubcomp.reason) == (9, 0x92)


async def test_clean_start_0_finishes_what_was_under_way(clients: Clients) -> None:
    """Both ways: state of QoS 1 and 2 belongs to the session: [MQTT-3.1.2-5] [MQTT-3.1.2-23]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.subscribe("a", qos=1)
    await peer.send(Publish("a", b"1", qos=2, packet_id=9).encode(5))
    received = [await peer.next(), await peer.next()]
    (sent,) = [each for each in received if isinstance(each, Publish)]
    await peer.close()
    again = await clients.connect("c", clean=False, expiry=100)
    resent = await again.publication()

    assert (resent.packet_id, resent.payload, resent.dup) == (sent.packet_id, b"1", True)
    await again.send(Publish("a", b"1", qos=2, dup=True, packet_id=9).encode(5))
    assert (await again.packet(PUBREC)).reason == 0
    await again.answer(PUBREL, 9)
    assert (await again.packet(PUBCOMP)).reason == 0
    await clients.silent(again)


async def test_a_session_without_expiry_is_not_there_again(clients: Clients) -> None:
    """The broker has no state for it then: [MQTT-3.2.2-3]."""
    peer = await clients.connect("c", clean=False)
    await peer.subscribe("a")
    await peer.disconnect()

    assert not present(await clients.connect("c", clean=False))


async def test_a_refused_connect_does_not_say_that_there_is_a_session(clients: Clients) -> None:
    """[MQTT-3.2.2-6], and the session stays as it is: [MQTT-3.1.4-2]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.disconnect()
    refused = await clients.open()
    method = ("authentication_method", "unknown")
    connack = await refused.connect(Connect("c", properties=(method,)))

    assert connack.reason == 0x8C
    assert not connack.session_present
    assert present(await clients.connect("c", clean=False))


async def test_sessions_are_the_same_in_every_version(clients: Clients) -> None:
    """A client may come back with an older MQTT, or a newer one: [MQTT-3.1.2-5]."""
    old = await clients.connect("c", version=4, clean=False)
    await old.subscribe("a", qos=1)
    await old.disconnect()
    new = await clients.connect("c", clean=False, expiry=100)
    assert present(new)
    await new.disconnect()
    publisher = await clients.connect("publisher")
    await publisher.publish("a", b"kept", qos=1, properties=[("content_type", "text/plain")])
    old = await clients.connect("c", version=4, clean=False)

    assert present(old)
    assert (await old.message()).payload == b"kept"
