"""Will Delay Interval: a will that waits, and what makes it not come (MQTT 5 §3.1.3.2.2)."""

import pytest

from tests.packets import Properties, Will
from tests.peer import Clients, Peer

NEVER = 0xFFFF_FFFF


def delayed(seconds: int, payload: bytes = b"will", *, retain: bool = False) -> Will:
    """A will with that delay."""
    return Will("w", payload, 1, retain, (("will_delay_interval", seconds),))


@pytest.fixture
async def watcher(clients: Clients) -> Peer:
    """Who sees the wills."""
    peer = await clients.connect("watcher")
    await peer.subscribe("w", qos=1)
    return peer


async def lose(clients: Clients, peer: Peer) -> None:
    """The network of a client fails, and the broker has noticed."""
    await peer.close()
    await clients.settle()


async def test_a_will_waits_for_its_delay(clients: Clients, watcher: Peer) -> None:
    """[MQTT-3.1.2-8] [MQTT-3.1.3-9]: until the very second, from the end of the connection."""
    peer = await clients.connect("c", expiry=1_000, will=delayed(100))
    await clients.clock.advance(500)
    await lose(clients, peer)
    await clients.clock.advance(99.999)
    await clients.silent(watcher)
    await clients.clock.advance(0.001)

    assert (await watcher.message()).payload == b"will"


@pytest.mark.parametrize("session", [0, 10, 99])
async def test_a_session_that_ends_first_publishes_the_will(
    clients: Clients, watcher: Peer, session: int
) -> None:
    """Whichever is first: [MQTT-3.1.3-9] [MQTT-3.1.2-8]."""
    await lose(clients, await clients.connect("c", expiry=session, will=delayed(100)))
    if session:
        await clients.clock.advance(session - 0.001)
        await clients.silent(watcher)
        await clients.clock.advance(0.001)
    assert (await watcher.message()).payload == b"will"
    await clients.clock.advance(1_000)

    await clients.silent(watcher)


async def test_delay_and_session_that_end_together_publish_once(
    clients: Clients, watcher: Peer
) -> None:
    """[MQTT-3.1.2-10]."""
    await lose(clients, await clients.connect("c", expiry=50, will=delayed(50)))
    await clients.clock.advance(1_000)

    assert (await watcher.message()).payload == b"will"
    await clients.silent(watcher)


async def test_a_client_that_is_back_in_time_has_no_will(clients: Clients, watcher: Peer) -> None:
    """[MQTT-3.1.3-9]: neither then nor when that connection ends."""
    await lose(clients, await clients.connect("c", expiry=1_000, will=delayed(100)))
    await clients.clock.advance(99)
    again = await clients.connect("c", clean=False, expiry=1_000)
    await clients.clock.advance(1_000)
    await clients.silent(watcher)
    await lose(clients, again)
    await clients.clock.advance(2_000)

    await clients.silent(watcher)


async def test_a_client_that_begins_anew_ends_the_session_of_the_will(
    clients: Clients, watcher: Peer
) -> None:
    """With Clean Start 1 the session ends, so the will is published: [MQTT-3.1.2-8]."""
    await lose(clients, await clients.connect("c", expiry=1_000, will=delayed(100)))
    await clients.connect("c", clean=True)

    assert (await watcher.message()).payload == b"will"


async def test_a_client_that_is_back_has_its_new_will(clients: Clients, watcher: Peer) -> None:
    """The old one is replaced: [MQTT-3.1.2-7] [MQTT-3.1.3-9]."""
    await lose(clients, await clients.connect("c", expiry=1_000, will=delayed(100, b"old")))
    again = await clients.connect("c", clean=False, expiry=1_000, will=delayed(10, b"new"))
    await lose(clients, again)
    await clients.clock.advance(500)

    assert (await watcher.message()).payload == b"new"
    await clients.silent(watcher)


async def test_a_will_is_not_published_twice_when_the_client_is_back_late(
    clients: Clients, watcher: Peer
) -> None:
    """[MQTT-3.1.2-10]: published is gone."""
    await lose(clients, await clients.connect("c", expiry=1_000, will=delayed(10)))
    await clients.clock.advance(20)
    assert (await watcher.message()).payload == b"will"
    again = await clients.connect("c", clean=False, expiry=1_000)
    await lose(clients, again)
    await clients.clock.advance(2_000)

    await clients.silent(watcher)


async def test_a_refused_connect_does_not_keep_the_will_back(
    clients: Clients, watcher: Peer
) -> None:
    """No new connection to the session was made: [MQTT-3.1.3-9] [MQTT-3.1.2-8]."""
    await lose(clients, await clients.connect("c", expiry=1_000, will=delayed(100)))
    refused = await clients.open()
    await refused.send(bytes.fromhex("100e00044d5154540503000000000163"))
    assert await refused.refused() == 0x81
    await clients.clock.advance(100)

    assert (await watcher.message()).payload == b"will"


async def test_the_longest_delay_waits_for_the_session(clients: Clients, watcher: Peer) -> None:
    """A delay is a number of seconds, none of them means for ever: [MQTT-3.1.2-8]."""
    await lose(clients, await clients.connect("c", expiry=NEVER, will=delayed(NEVER)))
    await clients.clock.advance(NEVER - 1)
    await clients.silent(watcher)
    await clients.clock.advance(1)

    assert (await watcher.message()).payload == b"will"


async def test_a_disconnect_with_will_waits_for_the_delay_too(
    clients: Clients, watcher: Peer
) -> None:
    """Reason Code 0x04: [MQTT-3.1.2-8]."""
    peer = await clients.connect("c", expiry=1_000, will=delayed(100))
    await peer.disconnect(0x04)
    await clients.clock.advance(99)
    await clients.silent(watcher)
    await clients.clock.advance(1)

    assert (await watcher.message()).payload == b"will"


async def test_disconnect_may_bring_the_will_forward(clients: Clients, watcher: Peer) -> None:
    """By an interval shorter than the delay: [MQTT-3.1.3-9]."""
    peer = await clients.connect("c", expiry=1_000, will=delayed(100))
    shorter: Properties = [("session_expiry_interval", 5)]
    await peer.disconnect(0x04, shorter)
    await clients.clock.advance(5)

    assert (await watcher.message()).payload == b"will"


async def test_a_delayed_will_is_retained_when_it_is_published(
    clients: Clients, watcher: Peer
) -> None:
    """Not before: [MQTT-3.1.2-15]."""
    await lose(clients, await clients.connect("c", expiry=1_000, will=delayed(10, retain=True)))
    assert await clients.broker.retained("w") == []
    await clients.clock.advance(10)
    await watcher.message()

    (kept,) = await clients.broker.retained("w")
    assert kept.payload == b"will"


async def test_the_delay_is_no_property_of_the_message(clients: Clients, watcher: Peer) -> None:
    """It is the broker's to use: [MQTT-3.1.2-8]."""
    will = Will("w", properties=(("will_delay_interval", 1), ("content_type", "x")))
    await lose(clients, await clients.connect("c", expiry=1_000, will=will))
    await clients.clock.advance(1)

    assert (await watcher.message()).properties == (("content_type", "x"),)


async def test_the_expiry_of_a_delayed_will_begins_after_the_delay(
    clients: Clients, watcher: Peer
) -> None:
    """Its lifetime is sent as the Publication Expiry Interval (MQTT 5 §3.1.3.2.4)."""
    will = Will(
        "w", b"fresh", 1, properties=(("message_expiry_interval", 7), ("will_delay_interval", 100))
    )
    await lose(clients, await clients.connect("c", expiry=1_000, will=will))
    await clients.clock.advance(100)

    assert (await watcher.message()).get("message_expiry_interval") == 7
