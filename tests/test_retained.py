"""Retained messages: kept, replaced, removed, and given to new subscriptions (MQTT 5 §3.3.1.3)."""

import pytest

from tests.packets import Publish
from tests.peer import Clients, Filter, Peer

NAMES = ["spring", "summer", "autumn", "winter"]


async def held(clients: Clients, name: str, names: str = "#") -> list[tuple[str, bytes]]:
    """Topics and payloads that a new subscription gets, in order of topics."""
    reader = await clients.connect(name)
    await reader.subscribe(names, qos=2)
    await clients.settle()
    await reader.ping()
    found: list[tuple[str, bytes]] = []
    while (message := await next_or_none(reader)) is not None:
        assert message.retain
        found.append((message.topic, message.payload))
    await reader.disconnect()
    return sorted(found)


async def next_or_none(reader: Peer) -> Publish | None:
    """The next message if one has come before the answer to a ping."""
    received = reader.held()
    return await reader.message() if received else None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_retained_message_reaches_a_later_subscriber(
    clients: Clients, name: str, qos: int
) -> None:
    """[MQTT-3.3.1-5] [MQTT-3.3.1-9]."""
    sender = await clients.connect("sender")
    await sender.publish("lab/temp", b"21", qos=qos, retain=True)
    await sender.ping()

    late = await clients.connect(name)
    await late.subscribe("lab/+", qos=2)

    message = await late.message()
    assert (message.topic, message.payload, message.qos) == ("lab/temp", b"21", qos)
    assert (message.retain, message.dup) == (True, False)
    await clients.silent(late)


async def test_it_outlives_the_client_that_published_it(clients: Clients) -> None:
    """MQTT 5 §3.3.1.3: retained messages are not part of a session."""
    sender = await clients.connect("sender")
    await sender.publish("lab/temp", b"21", qos=1, retain=True)
    await sender.disconnect()
    await clients.connect("sender", clean=True)

    await clients.clock.advance(1_000_000)

    assert await held(clients, "late") == [("lab/temp", b"21")]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_last_one_replaces_the_one_before(clients: Clients, qos: int) -> None:
    """[MQTT-3.3.1-5]."""
    first = await clients.connect("first")
    second = await clients.connect("second")
    await first.publish("lab/temp", b"20", qos=1, retain=True)

    await second.publish("lab/temp", b"21", qos=qos, retain=True)
    await second.ping()

    assert await held(clients, "late") == [("lab/temp", b"21")]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_an_empty_payload_removes_it(clients: Clients, qos: int) -> None:
    """[MQTT-3.3.1-6] [MQTT-3.3.1-7]."""
    sender = await clients.connect("sender")
    await sender.publish("lab/temp", b"21", qos=1, retain=True)
    await sender.publish("lab/other", b"1", qos=1, retain=True)

    await sender.publish("lab/temp", b"", qos=qos, retain=True)
    await sender.publish("lab/never", b"", qos=qos, retain=True)
    await sender.ping()

    assert await held(clients, "late") == [("lab/other", b"1")]


async def test_an_empty_payload_is_delivered_like_any_other(clients: Clients) -> None:
    """[MQTT-3.3.1-6]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe(Filter("lab", 1, retain_as_published=True))
    sender = await clients.connect("sender")

    await sender.publish("lab", b"", qos=1, retain=True)

    message = await receiver.message()
    assert (message.topic, message.payload, message.retain) == ("lab", b"", True)


@pytest.mark.parametrize("payload", [b"", b"22"])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_without_retain_changes_nothing(
    clients: Clients, qos: int, payload: bytes
) -> None:
    """[MQTT-3.3.1-8]."""
    sender = await clients.connect("sender")
    await sender.publish("lab/temp", b"21", qos=1, retain=True)

    await sender.publish("lab/temp", payload, qos=qos)
    await sender.publish("lab/new", b"1", qos=qos)
    await sender.ping()

    assert await held(clients, "late") == [("lab/temp", b"21")]


@pytest.mark.parametrize("asked", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
async def test_it_comes_with_the_lower_qos(clients: Clients, asked: int, published: int) -> None:
    """[MQTT-3.8.4-8]."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=published, retain=True)
    await sender.ping()
    receiver = await clients.connect("receiver")

    await receiver.subscribe("a", qos=asked)

    assert (await receiver.message()).qos == min(asked, published)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("a", ["a"]),
        ("a/#", ["a", "a/", "a/b", "a/b/c", "a/c"]),
        ("a/+", ["a/", "a/b", "a/c"]),
        ("+/b", ["/b", "a/b"]),
        ("+", ["a", "z"]),
        ("/+", ["/b"]),
        ("+/+/c", ["a/b/c"]),
        ("a/b/#", ["a/b", "a/b/c"]),
        ("#", ["/b", "a", "a/", "a/b", "a/b/c", "a/c", "z"]),
        ("$other/#", ["$other/x"]),
        ("+/x", []),
        ("$other/+", ["$other/x"]),
        ("b", []),
    ],
)
async def test_a_filter_gets_what_it_matches(
    clients: Clients, names: str, found: list[str]
) -> None:
    """[MQTT-3.3.1-9] [MQTT-3.3.2-3] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.2-1]."""
    sender = await clients.connect("sender")
    for topic in ("z", "a/b/c", "a/c", "a", "a/", "/b", "a/b", "$other/x"):
        await sender.publish(topic, b"x", qos=1, retain=True)

    received = await held(clients, "late", names)

    assert [topic for topic, _ in received] == found


async def test_retain_handling_0_sends_it_with_every_subscribe(clients: Clients) -> None:
    """[MQTT-3.3.1-9] [MQTT-3.8.4-4]."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1, retain=True)
    receiver = await clients.connect("receiver")

    for qos in (1, 1, 0):
        await receiver.subscribe(Filter("a", qos, retain_handling=0))
        message = await receiver.message()
        assert (message.payload, message.retain, message.qos) == (b"x", True, qos)
    await clients.silent(receiver)


async def test_retain_handling_1_sends_it_to_subscriptions_that_are_new(
    clients: Clients,
) -> None:
    """[MQTT-3.3.1-10]."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1, retain=True)
    receiver = await clients.connect("receiver", expiry=60)
    await receiver.subscribe(Filter("a", retain_handling=1))
    assert (await receiver.message()).payload == b"x"

    await receiver.subscribe(Filter("a", 1, retain_handling=1))
    await clients.silent(receiver)
    await receiver.disconnect()
    receiver = await clients.connect("receiver", expiry=60, clean=False)
    await receiver.subscribe(Filter("a", retain_handling=1))
    await clients.silent(receiver)
    await receiver.subscribe(Filter("+", retain_handling=1))
    assert (await receiver.message()).payload == b"x"
    await receiver.unsubscribe("a")
    await receiver.subscribe(Filter("a", retain_handling=1))

    assert (await receiver.message()).payload == b"x"
    await clients.silent(receiver)


async def test_retain_handling_2_never_sends_it(clients: Clients) -> None:
    """[MQTT-3.3.1-11]."""
    sender = await clients.connect("sender")
    await sender.publish("a", b"x", qos=1, retain=True)
    receiver = await clients.connect("receiver")

    await receiver.subscribe(Filter("a", retain_handling=2))
    await receiver.subscribe(Filter("a", retain_handling=2))

    await clients.silent(receiver)
    await sender.publish("a", b"new", qos=1)
    assert (await receiver.message()).payload == b"new"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_retain_is_cleared_for_those_who_are_subscribed(
    clients: Clients, name: str, qos: int
) -> None:
    """[MQTT-3.3.1-12]."""
    receiver = await clients.connect(name)
    await receiver.subscribe("a", qos=2)
    sender = await clients.connect("sender")

    await sender.publish("a", b"1", qos=qos, retain=True)
    await sender.publish("a", b"2", qos=qos)

    assert [message.retain for message in await receiver.messages(2)] == [False, False]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_retain_is_kept_where_retain_as_published_asks_for_it(
    clients: Clients, name: str, qos: int
) -> None:
    """[MQTT-3.3.1-13]."""
    receiver = await clients.connect(name, expiry=60)
    await receiver.subscribe(Filter("a", 2, retain_as_published=True))
    sender = await clients.connect("sender")

    await sender.publish("a", b"1", qos=qos, retain=True)
    await sender.publish("a", b"2", qos=qos)

    assert [message.retain for message in await receiver.messages(2)] == [True, False]


async def test_retain_as_published_holds_for_what_waits_and_comes_again(
    clients: Clients,
) -> None:
    """[MQTT-3.3.1-13] [MQTT-3.3.1-12]."""
    for name, keeps in (("keeps", True), ("clears", False)):
        receiver = await clients.connect(name, expiry=60)
        await receiver.subscribe(Filter("a", 1, retain_as_published=keeps))
        await receiver.disconnect()
    sender = await clients.connect("sender")
    await sender.publish("a", b"1", qos=1, retain=True)
    await sender.publish("a", b"2", qos=1)

    for name, expected in (("keeps", [True, False]), ("clears", [False, False])):
        receiver = await clients.connect(name, expiry=60, clean=False)
        first = [(await receiver.publication()).retain for _ in range(2)]
        await receiver.close()
        receiver = await clients.connect(name, expiry=60, clean=False)
        assert first == expected
        assert [message.retain for message in await receiver.messages(2)] == expected


async def test_a_thousand_of_them_come_to_a_client_that_takes_three_at_a_time(
    clients: Clients,
) -> None:
    """[MQTT-3.3.1-9] [MQTT-3.3.4-9]."""
    sender = await clients.connect("sender")
    await sender.send(
        b"".join(
            Publish(f"a/{number:04}", b"%d" % number, retain=True).encode(5)
            for number in range(500)
        )
    )
    for number in range(500, 1_000):
        await sender.publish(f"a/{number:04}", b"%d" % number, qos=1, retain=True)
    receiver = await clients.connect("receiver", properties=(("receive_maximum", 3),))

    await receiver.subscribe("a/+", qos=1)

    received = await receiver.messages(1_000)
    assert [message.topic for message in received] == [f"a/{n:04}" for n in range(1_000)]
    await clients.silent(receiver)


async def test_a_subscription_that_ended_gets_no_more_of_them(clients: Clients) -> None:
    """[MQTT-3.10.4-2]: those that waited for credit are not sent, what else waited is."""
    sender = await clients.connect("sender")
    for number in range(10):
        await sender.publish(f"a/{number}", b"x", qos=1, retain=True)
    receiver = await clients.connect("receiver", properties=(("receive_maximum", 1),))
    await receiver.subscribe("b", qos=0)
    await receiver.subscribe("a/+", qos=1)
    await receiver.publication()
    await sender.publish("b", b"live")
    await sender.ping()

    await receiver.unsubscribe("a/+")

    assert (await receiver.publication()).payload == b"live"
    await clients.silent(receiver)
