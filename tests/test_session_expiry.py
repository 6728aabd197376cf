"""Session Expiry Interval: how long a session outlives its connection (MQTT 5 §3.1.2.11.2)."""

import pytest

from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import Properties, Will
from tests.peer import Clients, Peer

NEVER = 0xFFFF_FFFF
PLAIN, BOUNDED, NONE = range(3)
"""Listeners: without a bound, with one of 60 s, and one that keeps no session."""


@pytest.fixture
def config() -> Config:
    """Listeners with different bounds of the interval."""
    address = "tcp://127.0.0.1:0"
    listeners = [
        {"name": "plain", "address": address},
        {"name": "bounded", "address": address, "session_expiry_max_s": 60},
        {"name": "none", "address": address, "session_expiry_max_s": 0},
    ]
    return Config.model_validate({**CONFIG, "listener": listeners})


def expiry(interval: int) -> Properties:
    """The property alone."""
    return [("session_expiry_interval", interval)]


async def is_kept(clients: Clients) -> bool:
    """Whether the session of `c` is there."""
    await clients.settle()
    return any(each.client_id == "c" for each in await clients.broker.sessions())


async def lose(clients: Clients, peer: Peer) -> None:
    """The network of a client fails, and the broker has noticed."""
    await peer.close()
    await clients.settle()


@pytest.mark.parametrize("ending", ["disconnect", "lost"])
async def test_a_session_is_kept_for_its_interval(clients: Clients, ending: str) -> None:
    """[MQTT-3.1.2-23]: until the very second, counted from the end of the connection."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await clients.clock.advance(1_000)
    await (peer.disconnect() if ending == "disconnect" else lose(clients, peer))
    await clients.clock.advance(99.999)
    assert await is_kept(clients)
    await clients.clock.advance(0.001)

    assert not await is_kept(clients)


@pytest.mark.parametrize("interval", [None, 0])
async def test_without_interval_a_session_ends_with_its_connection(
    clients: Clients, interval: int | None
) -> None:
    """Absent is 0: [MQTT-3.1.2-23] asks for no more."""
    peer = await clients.connect("c", clean=False, expiry=interval)
    assert await is_kept(clients)
    await lose(clients, peer)

    assert not await is_kept(clients)


async def test_the_largest_interval_never_ends(clients: Clients) -> None:
    """0xFFFFFFFF is not 136 years: [MQTT-3.1.2-23]."""
    peer = await clients.connect("c", clean=False, expiry=NEVER)
    await lose(clients, peer)
    await clients.clock.advance(200 * 365 * 24 * 3_600)

    assert await is_kept(clients)


async def test_the_largest_interval_that_ends_does_end(clients: Clients) -> None:
    """0xFFFFFFFE seconds are counted: [MQTT-3.1.2-23]."""
    peer = await clients.connect("c", clean=False, expiry=NEVER - 1)
    await lose(clients, peer)
    await clients.clock.advance(NEVER - 2)
    assert await is_kept(clients)
    await clients.clock.advance(1)

    assert not await is_kept(clients)


async def test_each_connection_sets_the_interval_anew(clients: Clients) -> None:
    """The last CONNECT counts, and a time that ran does not go on: [MQTT-3.1.2-23]."""
    await lose(clients, await clients.connect("c", clean=False, expiry=100))
    await clients.clock.advance(90)
    again = await clients.connect("c", clean=False, expiry=50)
    assert again.connack is not None
    assert again.connack.session_present
    await clients.clock.advance(90)
    await lose(clients, again)
    await clients.clock.advance(49)
    assert await is_kept(clients)
    await clients.clock.advance(1)

    assert not await is_kept(clients)


async def test_a_connection_without_interval_ends_a_session_that_was_kept(
    clients: Clients,
) -> None:
    """It is resumed, and ends with this connection: [MQTT-3.1.2-5]."""
    await lose(clients, await clients.connect("c", clean=False, expiry=100))
    again = await clients.connect("c", clean=False)
    assert again.connack is not None
    assert again.connack.session_present
    await lose(clients, again)

    assert not await is_kept(clients)


@pytest.mark.parametrize("interval", [10, 1_000, NEVER])
async def test_disconnect_changes_the_interval(clients: Clients, interval: int) -> None:
    """Shorter, longer or for ever (MQTT 5 §3.14.2.2.2): [MQTT-3.1.2-23]."""
    peer = await clients.connect("c", clean=False, expiry=100)
    await peer.disconnect(properties=expiry(interval))
    await clients.clock.advance(9)
    assert await is_kept(clients)
    await clients.clock.advance(91)
    assert await is_kept(clients) == (interval > 10)
    await clients.clock.advance(1_000)

    assert await is_kept(clients) == (interval == NEVER)


async def test_disconnect_ends_the_session_with_interval_0(clients: Clients) -> None:
    """At once (MQTT 5 §3.14.2.2.2), and its delayed will is published then: [MQTT-3.1.3-9]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("w")
    will = Will("w", b"gone", properties=(("will_delay_interval", 50),))
    peer = await clients.connect("c", clean=False, expiry=100, will=will)
    await peer.disconnect(0x04, expiry(0))

    assert not await is_kept(clients)
    assert (await watcher.message()).payload == b"gone"


async def test_a_session_that_was_to_end_cannot_be_kept_by_disconnect(clients: Clients) -> None:
    """A Protocol Error, 0x82 (MQTT 5 §3.14.2.2.2); the will is published: [MQTT-3.1.2-8]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("w")
    peer = await clients.connect("c", clean=False, will=Will("w"))
    await peer.send(b"\xe0\x07\0\x05\x11\0\0\0\x0a")

    assert await peer.refused() == 0x82
    assert not await is_kept(clients)
    assert (await watcher.message()).topic == "w"


@pytest.mark.parametrize(("asked", "granted"), [(59, None), (60, None), (61, 60), (NEVER, 60)])
async def test_connack_says_an_interval_other_than_asked(
    clients: Clients, asked: int, granted: int | None
) -> None:
    """And only then (MQTT 5 §3.2.2.3.2); it is the one that is used: [MQTT-3.1.2-23]."""
    peer = await clients.connect("c", listener=BOUNDED, clean=False, expiry=asked)
    assert peer.connack is not None
    assert peer.connack.get("session_expiry_interval") == granted
    await lose(clients, peer)
    await clients.clock.advance(min(asked, 60) - 1)
    assert await is_kept(clients)
    await clients.clock.advance(1)

    assert not await is_kept(clients)


async def test_disconnect_cannot_pass_the_bound(clients: Clients) -> None:
    """The listener's longest interval counts for it too: [MQTT-3.1.2-23]."""
    peer = await clients.connect("c", listener=BOUNDED, clean=False, expiry=10)
    await peer.disconnect(properties=expiry(NEVER))
    await clients.clock.advance(59)
    assert await is_kept(clients)
    await clients.clock.advance(1)

    assert not await is_kept(clients)


async def test_a_listener_may_keep_no_sessions(clients: Clients) -> None:
    """CONNACK says 0. Who asked for more may say so again in DISCONNECT (§3.14.2.2.2)."""
    peer = await clients.connect("c", listener=NONE, clean=False, expiry=10)
    assert peer.connack is not None
    assert peer.connack.get("session_expiry_interval") == 0
    await peer.disconnect(properties=expiry(20))

    assert not await is_kept(clients)


async def test_sessions_end_in_order_when_time_leaps(clients: Clients) -> None:
    """A leap over several ends meets them all: [MQTT-3.1.2-23]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("w/#", qos=1)
    for interval in (30, 10, 20):
        delay = ("will_delay_interval", NEVER)
        will = Will(f"w/{interval}", qos=1, properties=(delay,))
        await lose(clients, await clients.connect(f"c{interval}", expiry=interval, will=will))
    await clients.clock.advance(1_000)

    # Those of one shard come in order; the shards do not wait for each other.
    assert {each.topic for each in await watcher.messages(3)} == {"w/10", "w/20", "w/30"}
    assert [each.client_id for each in await clients.broker.sessions()] == ["watcher"]
