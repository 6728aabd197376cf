"""PUBLISH on its way through the broker: what is sent on, to whom, and what its sender is told."""

import pytest

from tests.packets import PINGREQ, PUBACK, PUBREC, Properties, Publish, packet
from tests.peer import Clients

# Client Identifiers decide on which shard a session lives; these are spread over both.
NAMES = ["spring", "summer", "autumn", "winter"]

FORWARDED: Properties = [
    ("user_property", ("b", "1")),
    ("payload_format_indicator", 1),
    ("user_property", ("a", "2")),
    ("content_type", "text/plain; charset=utf-8"),
    ("response_topic", "answers/here"),
    ("user_property", ("b", "")),
    ("correlation_data", b"\x00\xff\x00"),
    ("user_property", ("", "1")),
    ("user_property", ("b", "1")),
]


@pytest.mark.parametrize("publisher", NAMES)
async def test_a_qos_0_message_reaches_every_subscriber_once(
    clients: Clients, publisher: str
) -> None:
    """[MQTT-4.3.1-1] [MQTT-3.3.1-2] [MQTT-3.3.2-3] [MQTT-4.5.0-1]."""
    receivers = [await clients.connect(f"{name}-in") for name in NAMES]
    for receiver in receivers:
        await receiver.subscribe("lab/+", qos=2)
    sender = await clients.connect(publisher)

    await sender.publish("lab/temp", b"21")

    for receiver in receivers:
        assert await receiver.message() == Publish("lab/temp", b"21")
    await clients.silent(*receivers, sender)


@pytest.mark.parametrize("qos", [1, 2])
async def test_every_session_with_a_subscription_gets_it_connected_or_not(
    clients: Clients, qos: int
) -> None:
    """[MQTT-4.5.0-1]."""
    for name in NAMES:
        receiver = await clients.connect(name, expiry=60)
        await receiver.subscribe("lab/#", qos=2)
        if name != "summer":
            await receiver.disconnect()
    sender = await clients.connect("sender")

    await sender.publish("lab/temp", b"21", qos=qos)

    for name in NAMES:
        receiver = await clients.connect(name, expiry=60, clean=False)
        message = await receiver.message()
        assert (message.topic, message.payload, message.qos) == ("lab/temp", b"21", qos)
        await clients.silent(receiver)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_properties_are_sent_on_unchanged_and_in_order(clients: Clients, qos: int) -> None:
    """[MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17].

    [MQTT-3.3.2-18] [MQTT-3.3.2-20].
    """
    receivers = [await clients.connect(name) for name in NAMES]
    for receiver in receivers:
        await receiver.subscribe("ask", qos=2)
    sender = await clients.connect("sender")

    await sender.publish("ask", "grüße".encode(), qos=qos, properties=FORWARDED)

    for receiver in receivers:
        message = await receiver.message()
        assert list(message.properties) == FORWARDED
        assert message.payload == "grüße".encode()


async def test_properties_outlive_the_wait_in_a_queue_and_in_the_retained_store(
    clients: Clients,
) -> None:
    """[MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17].

    [MQTT-3.3.2-18] [MQTT-3.3.2-20].
    """
    away = await clients.connect("away", expiry=60)
    await away.subscribe("ask", qos=1)
    await away.disconnect()
    sender = await clients.connect("sender")

    await sender.publish("ask", b"?", qos=1, retain=True, properties=FORWARDED)

    back = await clients.connect("away", expiry=60, clean=False)
    assert list((await back.message()).properties) == FORWARDED
    late = await clients.connect("late")
    await late.subscribe("ask")
    assert list((await late.message()).properties) == FORWARDED


async def test_what_a_receiver_of_3_1_1_gets_has_no_properties(clients: Clients) -> None:
    receiver = await clients.connect("old", version=4)
    await receiver.subscribe("ask", qos=1)
    sender = await clients.connect("sender")

    await sender.publish("ask", b"?", qos=1, properties=FORWARDED)

    message = await receiver.message()
    assert (message.topic, message.payload, message.qos) == ("ask", b"?", 1)


async def test_the_payload_is_not_touched(clients: Clients) -> None:
    """The Payload Format Indicator is the sender's word, checking it is not asked of brokers."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("bytes", qos=1)
    sender = await clients.connect("sender")
    payloads = [b"", b"\0", bytes(range(256)), b"\xff" * 8_192, b"x" * 300_000]

    for payload in payloads:
        await sender.publish("bytes", payload, qos=1, properties=[("payload_format_indicator", 1)])

    assert [message.payload for message in await receiver.messages(len(payloads))] == payloads


async def test_qos_0_is_not_answered(clients: Clients) -> None:
    """[MQTT-3.3.4-1]."""
    sender = await clients.connect("sender")

    await sender.publish("nobody", b"0")

    await clients.silent(sender)


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
async def test_each_qos_has_its_answer(clients: Clients, qos: int, kind: int) -> None:
    """[MQTT-3.3.4-1]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("somebody")
    sender = await clients.connect("sender")

    await sender.send(Publish("somebody", b"1", qos, packet_id=65_535).encode(5))

    answer = await sender.packet(kind)
    assert (answer.packet_id, answer.reason) == (65_535, 0)


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
async def test_a_publisher_learns_that_nobody_subscribes(
    clients: Clients, qos: int, kind: int
) -> None:
    """MQTT 5 §3.4.2.1: 0x10 instead of Success."""
    sender = await clients.connect("sender")

    await sender.send(Publish("nobody", b"1", qos, packet_id=7).encode(5))

    answer = await sender.packet(kind)
    assert (answer.packet_id, answer.reason) == (7, 0x10)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_dup_is_not_passed_on(clients: Clients, qos: int) -> None:
    """[MQTT-3.3.1-3] [MQTT-4.3.2-2] [MQTT-4.3.3-2]."""
    receivers = [await clients.connect(name) for name in NAMES]
    for receiver in receivers:
        await receiver.subscribe("lab", qos=qos)
    sender = await clients.connect("sender")

    await sender.send(Publish("lab", b"again", 2, dup=True, packet_id=3).encode(5))
    await sender.packet(PUBREC)

    for receiver in receivers:
        message = await receiver.message()
        assert (message.payload, message.qos, message.dup) == (b"again", qos, False)


@pytest.mark.parametrize(
    "topic", ["$SYS/broker/load", "$share/group/a", "$queue/jobs", "$delayed/1"]
)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_the_brokers_own_topics_are_not_for_clients(
    clients: Clients, topic: str, qos: int
) -> None:
    """MQTT 5 §4.7.2: servers may keep topics that begin with $ for themselves."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("$SYS/#", "#")
    sender = await clients.connect("sender")

    reason = await sender.publish(topic, b"mine", qos=qos)

    assert reason == (0x90 if qos else 0)
    await clients.silent(receiver, sender)


async def test_many_packets_in_one_write_are_all_handled(clients: Clients) -> None:
    receiver = await clients.connect("receiver")
    await receiver.subscribe("lab/#", qos=0)
    sender = await clients.connect("sender")
    messages = [Publish(f"lab/{number}", b"x" * number) for number in range(200)]

    await sender.send(b"".join(message.encode(5) for message in messages) + packet(PINGREQ, 0, b""))

    assert await receiver.messages(200) == messages


async def test_a_packet_may_come_byte_by_byte(clients: Clients) -> None:
    receiver = await clients.connect("receiver")
    await receiver.subscribe("lab/#")
    sender = await clients.connect("sender")

    for byte in Publish("lab/slow", b"21", properties=(("content_type", "x"),)).encode(5):
        await sender.send(bytes([byte]))
        await clients.settle()

    assert await receiver.message() == Publish(
        "lab/slow", b"21", properties=(("content_type", "x"),)
    )


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
@pytest.mark.parametrize("topic", ["nobody", "$SYS/mine", "somebody"])
async def test_an_acknowledgement_is_never_larger_than_the_client_takes(
    clients: Clients, qos: int, kind: int, topic: str
) -> None:
    """[MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.1.2-24]."""
    receiver = await clients.connect("receiver")
    await receiver.subscribe("somebody")
    sender = await clients.connect("sender", properties=(("maximum_packet_size", 20),))

    await sender.send(Publish(topic, b"x" * 100, qos, packet_id=65_535).encode(5))

    assert 2 + len((await sender.packet(kind)).body) <= 20
