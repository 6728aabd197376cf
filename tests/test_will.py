"""Wills: stored with CONNECT, published when the connection ends otherwise (MQTT 5 §3.1.2.5)."""

import pytest

from tests.packets import Properties, Publish, Will
from tests.peer import Clients, Filter, Peer

ALL_PROPERTIES: Properties = [
    ("payload_format_indicator", 1),
    ("content_type", "text/plain; charset=utf-8"),
    ("response_topic", "answers/here"),
    ("correlation_data", bytes(range(256))),
    ("user_property", ("b", "1")),
    ("user_property", ("a", "2")),
    ("user_property", ("b", "")),
    ("user_property", ("", "3")),
    ("user_property", ("b", "1")),
]


async def watching(clients: Clients, *filters: str | Filter, qos: int = 2) -> Peer:
    """A client that sees the wills."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe(*[f if isinstance(f, Filter) else Filter(f, qos) for f in filters])
    return watcher


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_will_is_published_when_the_network_fails(clients: Clients, qos: int) -> None:
    """As it was given: [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-12]."""
    watcher = await watching(clients, "w")
    peer = await clients.connect("c", will=Will("w", b"\0payload\xff", qos))
    await clients.silent(watcher)
    await peer.close()
    will = await watcher.message()

    assert (will.topic, will.payload, will.qos) == ("w", b"\0payload\xff", qos)
    assert not will.dup


async def test_a_will_is_published_once(clients: Clients) -> None:
    """It is gone from the session then: [MQTT-3.1.2-10]."""
    watcher = await watching(clients, "w")
    for clean in (False, False, True):
        await (await clients.connect("c", clean=clean, expiry=100)).close()
    peer = await clients.connect("c", clean=False, expiry=100, will=Will("w"))
    await peer.close()
    assert (await watcher.message()).topic == "w"
    await (await clients.connect("c", clean=False, expiry=100)).close()
    await clients.clock.advance(1_000)

    await clients.silent(watcher)


async def test_a_normal_disconnection_forgets_the_will(clients: Clients) -> None:
    """Reason Code 0, said or left out: [MQTT-3.1.2-10] [MQTT-3.1.2-8]."""
    watcher = await watching(clients, "w")
    for goodbye in (b"\xe0\0", b"\xe0\1\0", b"\xe0\2\0\0"):
        peer = await clients.connect("c", expiry=100, will=Will("w"))
        await peer.send(goodbye)
        assert await peer.rest() == []
    await clients.clock.advance(1_000)

    await clients.silent(watcher)


@pytest.mark.parametrize("reason", [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x97, 0x98, 0x99])
async def test_a_disconnection_with_another_reason_publishes_the_will(
    clients: Clients, reason: int
) -> None:
    """[MQTT-3.1.2-8]: only Reason Code 0 deletes it."""
    watcher = await watching(clients, "w")
    peer = await clients.connect("c", will=Will("w"))
    await peer.disconnect(reason)

    assert (await watcher.message()).topic == "w"


async def test_a_violation_publishes_the_will(clients: Clients) -> None:
    """The broker closes, the client did not say goodbye: [MQTT-3.1.2-8]."""
    watcher = await watching(clients, "w")
    peer = await clients.connect("c", will=Will("w"))
    await peer.send(b"\x00\x00")

    assert await peer.refused() == 0x81
    assert (await watcher.message()).topic == "w"


async def test_silence_past_the_keep_alive_publishes_the_will(clients: Clients) -> None:
    """[MQTT-3.1.2-8] [MQTT-3.1.2-22]."""
    watcher = await watching(clients, "w")
    await clients.connect("c", keep_alive=10, will=Will("w"))
    await clients.clock.advance(15)

    assert (await watcher.message()).topic == "w"


async def test_a_will_with_retain_is_retained(clients: Clients) -> None:
    """[MQTT-3.1.2-15]; live subscribers see RETAIN if they asked for it as published."""
    watcher = await watching(clients, Filter("w", 1, retain_as_published=True))
    peer = await clients.connect("c", will=Will("w", b"kept", 1, retain=True))
    await peer.close()
    assert (await watcher.message()).retain
    late = await clients.connect("late")
    await late.subscribe("w", qos=1)
    will = await late.message()

    assert (will.payload, will.qos, will.retain) == (b"kept", 1, True)


async def test_a_will_without_retain_is_not_retained(clients: Clients) -> None:
    """[MQTT-3.1.2-14]: nor does it touch what is retained."""
    watcher = await watching(clients, Filter("w", 1, retain_as_published=True))
    await watcher.publish("w", b"before", qos=1, retain=True)
    await watcher.message()
    peer = await clients.connect("c", will=Will("w", b"will", 1))
    await peer.close()
    assert not (await watcher.message()).retain
    late = await clients.connect("late")
    await late.subscribe("w")

    assert (await late.message()).payload == b"before"
    await clients.silent(late)


async def test_an_empty_will_with_retain_removes_what_is_retained(clients: Clients) -> None:
    """A Will Payload of no bytes is one: [MQTT-3.1.2-9] [MQTT-3.1.2-15]."""
    watcher = await watching(clients, "w")
    await watcher.publish("w", b"before", qos=1, retain=True)
    await watcher.message()
    peer = await clients.connect("c", will=Will("w", b"", retain=True))
    await peer.close()

    assert (await watcher.message()).payload == b""
    assert await clients.broker.retained("#") == []


async def test_all_properties_of_a_will_are_published(clients: Clients) -> None:
    """User Properties in their order, repeated ones too: [MQTT-3.1.3-10] [MQTT-3.1.2-7]."""
    watcher = await watching(clients, "w")
    will = Will("w", "text ✓".encode(), 1, properties=tuple(ALL_PROPERTIES))
    await (await clients.connect("c", will=will)).close()
    published = await watcher.message()

    assert sorted(map(repr, published.properties)) == sorted(map(repr, ALL_PROPERTIES))
    pairs = [value for name, value in ALL_PROPERTIES if name == "user_property"]
    assert published.all("user_property") == pairs


async def test_user_properties_of_a_will_keep_their_order_in_any_number(
    clients: Clients,
) -> None:
    """[MQTT-3.1.3-10]."""
    watcher = await watching(clients, "w")
    pairs = [(f"{n * 7919 % 501}", f"{n}") for n in range(500)]
    will = Will("w", properties=tuple(("user_property", pair) for pair in pairs))
    await (await clients.connect("c", will=will)).close()

    assert (await watcher.message()).all("user_property") == pairs


async def test_the_expiry_of_a_will_begins_with_its_publication(clients: Clients) -> None:
    """Not with CONNECT (MQTT 5 §3.1.3.2.4): [MQTT-3.1.2-7]."""
    watcher = await watching(clients, "w")
    away = await clients.connect("away", clean=False, expiry=1_000)
    await away.subscribe("w", qos=1)
    await away.disconnect()
    will = Will("w", qos=1, properties=(("message_expiry_interval", 60),))
    peer = await clients.connect("c", will=will)
    await clients.clock.advance(500)
    await peer.close()
    assert (await watcher.message()).get("message_expiry_interval") == 60
    await clients.clock.advance(50)
    back = await clients.connect("away", clean=False)

    assert (await back.message()).get("message_expiry_interval") == 10


async def test_a_will_waits_for_who_is_away(clients: Clients) -> None:
    """It is a message like any other: [MQTT-3.1.2-8]."""
    away = await clients.connect("away", clean=False, expiry=1_000)
    await away.subscribe("w", qos=2)
    await away.disconnect()
    await (await clients.connect("c", will=Will("w", b"for later", 2))).close()
    await clients.settle()
    back = await clients.connect("away", clean=False)
    will = await back.message()

    assert (will.payload, will.qos) == (b"for later", 2)


@pytest.mark.parametrize("version", [3, 4])
async def test_a_will_goes_to_clients_of_every_version(clients: Clients, version: int) -> None:
    """Its properties stay behind where they are not known: [MQTT-3.1.2-8]."""
    old = await clients.connect("old", version=version)
    await old.subscribe("w", qos=1)
    will = Will("w", b"x", 1, properties=tuple(ALL_PROPERTIES))
    await (await clients.connect("c", will=will)).close()
    received = await old.message()

    assert received == Publish("w", b"x", 1, packet_id=received.packet_id)


async def test_the_largest_will_is_taken(clients: Clients) -> None:
    """Topic, payload and every property at 65,535 bytes: [MQTT-3.1.2-7]."""
    watcher = await watching(clients, "#")
    longest = "x" * 65_535
    will = Will(
        "w/" + "t" * 65_533,
        b"\xfe" * 65_535,
        properties=(
            ("content_type", longest),
            ("response_topic", longest),
            ("correlation_data", longest.encode()),
            ("user_property", (longest, longest)),
        ),
    )
    peer = await clients.connect(longest, will=will, username=longest, password=b"p" * 65_535)
    await peer.close()
    published = await watcher.message()

    assert (published.topic, published.payload) == (will.topic, will.payload)
    assert set(published.properties) == set(will.properties)


async def test_who_subscribed_for_itself_does_not_get_its_own_will(clients: Clients) -> None:
    """A session that goes on gets it, but for No Local: [MQTT-3.1.2-8]."""
    peer = await clients.connect("c", expiry=100, will=Will("w/1", b"x", 1))
    await peer.subscribe(Filter("w/+", 1, no_local=True))
    await peer.close()
    await clients.settle()
    again = await clients.connect("c", clean=False, expiry=100, will=Will("w/2", b"y", 1))
    await clients.silent(again)
    await again.subscribe(Filter("w/+", 1))
    await again.close()
    await clients.settle()
    again = await clients.connect("c", clean=False)

    assert (await again.message()).payload == b"y"
