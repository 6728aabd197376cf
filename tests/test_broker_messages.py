"""The broker as an object: publish, subscribe, retained messages, sessions, counters."""

import asyncio
from contextlib import aclosing
from typing import Unpack

import pytest

from quantummq.broker import Broker, Properties
from quantummq.config import Config
from quantummq.engine import Message, RefusedError
from tests.conftest import CONFIG
from tests.peer import TIMEOUT_S, Clients, Filter

EVERYTHING: Properties = {
    "message_expiry_s": 60,
    "payload_is_utf8": True,
    "content_type": "text/plain",
    "response_topic": "answer/here",
    "correlation_data": b"\x00\xff",
    "user_properties": [("b", "1"), ("a", "2"), ("b", "1")],
}


def fields(message: Message) -> Properties:
    """The properties of a message."""
    return {
        "message_expiry_s": message.message_expiry_s or 0,
        "payload_is_utf8": message.payload_is_utf8,
        "content_type": message.content_type or "",
        "response_topic": message.response_topic or "",
        "correlation_data": message.correlation_data or b"",
        "user_properties": list(message.user_properties),
    }


async def test_a_client_gets_what_the_program_publishes_with_every_property(
    clients: Clients,
) -> None:
    peer = await clients.connect("c")
    await peer.subscribe("lab/#", qos=2)

    await clients.broker.publish("lab/temp", "21 °C", qos=1, **EVERYTHING)
    got = await peer.message()

    assert (got.topic, got.payload, got.qos, got.retain) == ("lab/temp", "21 °C".encode(), 1, False)
    assert got.properties == (
        ("message_expiry_interval", 60),
        ("payload_format_indicator", 1),
        ("content_type", "text/plain"),
        ("response_topic", "answer/here"),
        ("correlation_data", b"\x00\xff"),
        ("user_property", ("b", "1")),
        ("user_property", ("a", "2")),
        ("user_property", ("b", "1")),
    )


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_program_gets_what_a_client_publishes_with_every_property(
    clients: Clients, qos: int
) -> None:
    """A host subscription takes any QoS, and sees RETAIN as it was published."""
    peer = await clients.connect("c")
    async with clients.broker.subscribe("lab/+") as messages:
        reason = await peer.publish(
            "lab/temp",
            b"21",
            qos,
            retain=True,
            properties=[
                ("payload_format_indicator", 1),
                ("message_expiry_interval", 60),
                ("content_type", "text/plain"),
                ("response_topic", "answer/here"),
                ("correlation_data", b"\x00\xff"),
                ("user_property", ("b", "1")),
                ("user_property", ("a", "2")),
                ("user_property", ("b", "1")),
            ],
        )
        got = await anext(messages)

    assert reason == 0
    assert (got.topic, got.payload, got.qos, got.retain) == ("lab/temp", b"21", qos, True)
    assert fields(got) == EVERYTHING


async def test_messages_of_one_publisher_arrive_in_order_at_any_qos(clients: Clients) -> None:
    peer = await clients.connect("c")
    await peer.subscribe("n", qos=2)
    async with clients.broker.subscribe("n") as messages:
        await clients.broker.publish_batch(
            Message(topic="n", payload=b"%d" % number, qos=1 + number % 2) for number in range(500)
        )
        mine = [(await anext(messages)).payload for _ in range(500)]

    assert mine == [b"%d" % number for number in range(500)]
    theirs = [message.payload for message in await peer.messages(500)]
    assert theirs == mine


async def test_batches_hold_all_that_waits_and_nothing_twice(clients: Clients) -> None:
    """What was read one by one before is not in them, and what is left of it comes first."""
    count = 5_000
    async with clients.broker.subscribe("n/#") as messages:
        await clients.broker.publish_batch(
            Message(topic=f"n/{number % 7}", payload=b"%d" % number) for number in range(count)
        )
        got = [(await anext(messages)).payload]
        batches = 0
        async with aclosing(messages.batches()) as lists:
            async for batch in lists:
                assert batch
                batches += 1
                got += [message.payload for message in batch]
                if len(got) >= count:
                    break

    assert got == [b"%d" % number for number in range(count)]
    assert batches < count / 100
    assert messages.dropped == 0


async def test_a_loop_that_is_left_unsubscribes(clients: Clients) -> None:
    broker = clients.broker

    async def first() -> bytes:
        async for message in broker.subscribe("a"):
            return message.payload
        raise AssertionError("it ended by itself")

    reading = asyncio.create_task(first())
    while broker.counters()["subscriptions"] == 0:
        await clients.settle()
    await broker.publish("a", b"1")

    assert await reading == b"1"
    await clients.settle()
    assert broker.counters()["subscriptions"] == 0


async def test_a_shared_subscription_of_the_program_takes_turns_with_clients(
    clients: Clients,
) -> None:
    """[MQTT-4.8.2-4]: each message goes to one member."""
    peer = await clients.connect("c")
    await peer.subscribe("$share/group/job")
    async with clients.broker.subscribe("$share/group/job") as messages:
        await clients.broker.publish_batch(
            Message(topic="job", payload=b"%d" % number) for number in range(20)
        )
        await clients.settle()
        await clients.broker.publish("job", b"end")
        await clients.settle()
        messages.close()
        mine = [message.payload async for message in messages]
    await peer.unsubscribe("$share/group/job")
    await peer.ping()

    theirs: list[bytes] = []
    await clients.broker.publish("still/there", b"x", retain=True)
    await peer.subscribe("still/there")
    while (message := await peer.message()).topic == "job":
        theirs.append(message.payload)
    assert len(mine) > 0
    assert len(theirs) > 0
    assert sorted([*mine, *theirs]) == sorted([b"end", *(b"%d" % n for n in range(20))])


async def test_several_tasks_may_read_one_subscription(clients: Clients) -> None:
    """It subscribes once, and each message goes to one of them."""
    messages = clients.broker.subscribe("a")
    readers = [asyncio.create_task(anext(messages)) for _ in range(3)]
    while clients.broker.counters()["subscriptions"] == 0:
        await clients.settle()

    await clients.broker.publish_batch(
        Message(topic="a", payload=b"%d" % number) for number in range(3)
    )
    got = [message.payload for message in await asyncio.gather(*readers)]

    assert sorted(got) == [b"0", b"1", b"2"]
    assert clients.broker.counters()["subscriptions"] == 1
    messages.close()


async def test_a_subscription_closed_while_it_begins_does_not_stay(clients: Clients) -> None:
    messages = clients.broker.subscribe("a")
    starting = asyncio.create_task(messages.start())
    await asyncio.sleep(0)
    messages.close()
    await starting
    await clients.settle()

    assert clients.broker.counters()["subscriptions"] == 0
    assert [message async for message in messages] == []


async def test_what_came_before_the_close_can_still_be_read(clients: Clients) -> None:
    async with clients.broker.subscribe("a") as messages:
        await clients.broker.publish("a", b"1")
        await clients.settle()

    assert [message.payload async for message in messages] == [b"1"]


@pytest.mark.parametrize(
    "topic_filter", ["", "a/#/b", "a+", "$share//a", "$share/g", "a\0b", "a" * 65_536]
)
async def test_a_filter_that_is_not_valid_is_refused(clients: Clients, topic_filter: str) -> None:
    with pytest.raises(RefusedError, match="0x8F") as subscribing:
        await clients.broker.subscribe(topic_filter).start()
    with pytest.raises(RefusedError, match="0x8F") as listing:
        await clients.broker.retained(topic_filter)

    assert subscribing.value.reason == listing.value.reason == 0x8F
    await clients.settle()
    assert clients.broker.counters()["subscriptions"] == 0


@pytest.mark.parametrize("topic", ["", "a/+", "#"])
async def test_a_topic_that_is_not_valid_is_refused(clients: Clients, topic: str) -> None:
    """[MQTT-3.3.2-2] for the host as for a client."""
    with pytest.raises(RefusedError, match="0x90") as caught:
        await clients.broker.publish(topic, b"")

    assert caught.value.reason == 0x90


async def test_a_batch_goes_on_behind_a_message_that_is_refused(clients: Clients) -> None:
    async with clients.broker.subscribe("a/#") as messages:
        batch = [Message(topic=topic, payload=b"") for topic in ("a/1", "a/+", "a/2")]
        with pytest.raises(RefusedError):
            await clients.broker.publish_batch(batch)

        assert [(await anext(messages)).topic for _ in range(2)] == ["a/1", "a/2"]


async def test_an_empty_batch_is_nothing(clients: Clients) -> None:
    await clients.broker.publish_batch([])


class Wrong(Properties, total=False):
    """A property, and what else `Message` takes."""

    qos: int


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"qos": 3}, "qos"),
        ({"content_type": "x" * 65_536}, "content_type"),
        ({"content_type": "a\0"}, "content_type"),
        ({"content_type": "\ud800"}, "surrogates"),
        ({"response_topic": "a/+"}, "response_topic"),
        ({"response_topic": ""}, "response_topic"),
        ({"correlation_data": b"x" * 65_536}, "correlation_data"),
        ({"user_properties": [("a", "\0")]}, "user_properties"),
        ({"user_properties": [("x" * 65_536, "")]}, "user_properties"),
    ],
)
async def test_what_no_packet_can_carry_is_an_error(
    clients: Clients, wrong: Wrong, what: str
) -> None:
    """[MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.3.2-14]."""

    async def publish(**properties: Unpack[Wrong]) -> None:
        await clients.broker.publish("a", b"", **properties)

    with pytest.raises(ValueError, match=what):
        await publish(**wrong)


async def test_an_expiry_out_of_range_is_an_error(clients: Clients) -> None:
    for expiry in (-1, 2**32):
        with pytest.raises(OverflowError):
            await clients.broker.publish("a", b"", message_expiry_s=expiry)


async def test_retained_messages_are_those_that_match_and_live(clients: Clients) -> None:
    broker = clients.broker
    await broker.publish("a/1", b"one", retain=True, qos=1, **EVERYTHING)
    await broker.publish("a/2", b"two", retain=True)
    await broker.publish("b", b"other", retain=True)
    await broker.publish("a/3", b"not kept")
    await clients.clock.advance(10)

    found = {message.topic: message for message in await broker.retained("a/+")}
    some = await broker.retained("#", maximum=2)
    await broker.publish("a/2", b"", retain=True)
    await clients.clock.advance(50)

    assert {topic: message.payload for topic, message in found.items()} == {
        "a/1": b"one",
        "a/2": b"two",
    }
    assert all(message.retain for message in found.values())
    assert fields(found["a/1"]) == {**EVERYTHING, "message_expiry_s": 50}
    assert len(some) == 2
    assert [message.topic for message in await broker.retained("#")] == ["b"]
    assert await broker.retained("#", maximum=0) == []


async def test_the_retained_store_says_no_when_it_is_full() -> None:
    config = Config.model_validate({**CONFIG, "limits": {"retained_messages": 1}})
    async with Broker(config) as broker:
        await broker.publish("a", b"1", retain=True)
        with pytest.raises(RefusedError, match="0x97"):
            await broker.publish("b", b"1", retain=True)

        assert [message.topic for message in await broker.retained("#")] == ["a"]


async def test_sessions_are_listed_with_what_they_hold(clients: Clients) -> None:
    here = await clients.connect("here", version=4, clean=False)
    await here.subscribe("a", "b/#")
    away = await clients.connect("away", expiry=100)
    await away.subscribe(Filter("a", qos=1))
    await away.disconnect()
    await clients.broker.publish("a", b"12345", qos=1)
    await clients.settle()

    sessions = {session.client_id: session for session in await clients.broker.sessions()}

    assert sorted(sessions) == ["away", "here"]
    session = sessions["here"]
    assert session.connected
    assert session.protocol_level == 4
    assert session.listener == clients.broker.config.listeners[0].name
    assert session.peer == "{}:{}".format(*here.writer.get_extra_info("sockname"))
    assert session.session_expiry_s == 0xFFFF_FFFF
    assert (session.subscriptions, session.queued_messages, session.inflight) == (2, 0, 0)
    session = sessions["away"]
    assert not session.connected
    assert (session.peer, session.listener, session.user) == ("", "", "")
    assert session.session_expiry_s == 100
    assert (session.subscriptions, session.queued_messages, session.dropped) == (1, 1, 0)
    assert session.queued_bytes >= 5


async def test_a_message_in_flight_is_counted_in_its_session(clients: Clients) -> None:
    peer = await clients.connect("c")
    await peer.subscribe("a", qos=1)
    await clients.broker.publish("a", b"", qos=1)
    await clients.settle()

    [before] = await clients.broker.sessions()
    await peer.message()
    await peer.ping()
    [after] = await clients.broker.sessions()

    assert (before.inflight, after.inflight) == (1, 0)


async def test_counters_count_what_happened(clients: Clients) -> None:
    before = clients.broker.counters()
    peer = await clients.connect("c")
    await peer.subscribe("a")
    await peer.publish("a", b"1", qos=1)
    await peer.message()
    await clients.settle()
    after = clients.broker.counters()

    assert before["connections"] == before["messages_received"] == 0
    names = ("connections", "clients_connected", "sessions", "subscriptions")
    assert [after[name] for name in names] == [1, 1, 1, 1]
    assert (after["messages_received"], after["messages_sent"]) == (1, 1)
    assert after["bytes_received"] > 0
    assert after["bytes_sent"] > 0
    assert set(before) == set(after)


async def test_requests_from_many_tasks_do_not_mix(clients: Clients) -> None:
    """Each gets its own answer, whatever the order in which they come back."""
    broker = clients.broker

    async def refused(number: int) -> bool:
        try:
            await broker.publish("bad/+" if number % 3 == 0 else f"ok/{number}", b"")
        except RefusedError:
            return True
        return False

    async with asyncio.timeout(TIMEOUT_S):
        answers = await asyncio.gather(*(refused(number) for number in range(300)))

    assert answers == [number % 3 == 0 for number in range(300)]
