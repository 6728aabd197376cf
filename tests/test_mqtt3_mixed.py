"""Clients of different versions on one broker: older ones see nothing of MQTT 5."""

import pytest

from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Properties, Will
from tests.peer import Clients, Filter

old = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])

PROPERTIES: Properties = [
    ("payload_format_indicator", 1),
    ("message_expiry_interval", 60),
    ("content_type", "text/plain"),
    ("response_topic", "answers"),
    ("correlation_data", b"\x01\x02"),
    ("user_property", ("k", "v")),
    ("user_property", ("k", "v")),
]


@pytest.mark.parametrize("sender", [3, 4, 5])
@pytest.mark.parametrize("receiver", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_version_reads_what_every_other_sends(
    clients: Clients, sender: int, receiver: int, qos: int
) -> None:
    """[MQTT3-4.5.0-1]."""
    reader = await clients.connect("reader", version=receiver)
    await reader.subscribe("a", qos=2)
    writer = await clients.connect("writer", version=sender)

    await writer.publish("a", b"payload", qos=qos)

    message = await reader.message()
    assert (message.topic, message.payload, message.qos) == ("a", b"payload", qos)
    assert message.properties == ()


@old
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
async def test_properties_are_left_out_for_older_clients(
    clients: Clients, version: int, qos: int, retain: bool
) -> None:
    """Live, retained and from the queue, with and without others who want them."""
    away = await clients.connect("away", version=version, clean=False)
    await away.subscribe("a", qos=2)
    await away.disconnect()
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a", qos=2)
    modern = await clients.connect("modern")
    await modern.subscribe("a", qos=2, identifier=7)
    writer = await clients.connect("writer")

    await writer.publish("a", b"payload", qos=qos, retain=retain, properties=PROPERTIES)

    message = await reader.message()
    assert (message.topic, message.payload, message.qos) == ("a", b"payload", qos)
    kept = (await modern.message()).properties
    assert kept != ()
    assert ("subscription_identifier", 7) in kept
    if qos:
        away = await clients.connect("away", version=version, clean=False)
        assert (await away.message()).payload == b"payload"
    if retain:
        late = await clients.connect("late", version=version)
        await late.subscribe("a", qos=2)
        late_message = await late.message()
        assert (late_message.payload, late_message.retain) == (b"payload", True)


@old
async def test_topic_aliases_are_resolved_for_older_clients(clients: Clients, version: int) -> None:
    """They get the whole Topic Name."""
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a/#")
    writer = await clients.connect("writer")
    await writer.publish("a/b", b"1", properties=[("topic_alias", 3)])
    await writer.publish("", b"2", properties=[("topic_alias", 3)])

    messages = await reader.messages(2)

    assert [(each.topic, each.payload) for each in messages] == [("a/b", b"1"), ("a/b", b"2")]


@old
async def test_messages_expire_for_older_clients_too(clients: Clients, version: int) -> None:
    """In their queue, and as retained messages."""
    away = await clients.connect("away", version=version, clean=False)
    await away.subscribe("a", qos=1)
    await away.disconnect()
    writer = await clients.connect("writer")
    await writer.publish(
        "a", b"old", qos=1, retain=True, properties=[("message_expiry_interval", 10)]
    )
    await clients.clock.advance(11)
    await writer.publish("a", b"new", qos=1)

    away = await clients.connect("away", version=version, clean=False)

    assert (await away.message()).payload == b"new"
    await away.subscribe("a", qos=1)
    await clients.silent(away)


@old
async def test_wills_cross_the_versions(clients: Clients, version: int) -> None:
    """[MQTT3-3.1.2-8]."""
    modern = await clients.connect("modern")
    elder = await clients.connect("elder", version=version)
    for watcher in (modern, elder):
        await watcher.subscribe("w/#", qos=1)
    will = Will("w/5", b"5", 1, properties=(("content_type", "x"), ("user_property", ("a", "b"))))
    first = await clients.connect("first", will=will)
    await first.close()
    second = await clients.connect("second", version=version, will=Will("w/3", b"3", 1))
    message = await elder.message()
    assert (message.topic, message.payload) == ("w/5", b"5")
    assert (await modern.message()).get("content_type") == "x"

    await second.close()

    message = await modern.message()
    assert (message.topic, message.payload, message.properties) == ("w/3", b"3", ())
    assert (await elder.message()).payload == b"3"


@old
async def test_an_older_client_may_leave_qos_1_and_2_unacknowledged_up_to_the_limit(
    clients: Clients, version: int
) -> None:
    """It has no Receive Maximum: all are sent at once, and acknowledged in any order."""
    reader = await clients.connect("reader", version=version)
    await reader.subscribe("a", qos=2)
    writer = await clients.connect("writer")
    for number in range(50):
        await writer.publish("a", b"%d" % number, qos=1 + number % 2)
    sent = [await reader.publication() for _ in range(50)]

    for message in reversed(sent):
        if message.qos == 1:
            await reader.answer(PUBACK, message.packet_id)
            continue
        await reader.answer(PUBREC, message.packet_id)
        assert (await reader.packet(PUBREL)).packet_id == message.packet_id
        await reader.answer(PUBCOMP, message.packet_id)

    await clients.silent(reader)
    assert all(session.inflight == 0 for session in await clients.broker.sessions())


@old
async def test_answers_to_older_clients_have_no_reason_codes(
    clients: Clients, version: int
) -> None:
    """PUBACK, PUBREC, UNSUBACK and SUBACK have the lengths of MQTT 3.1.1 [MQTT3-3.9.3-2]."""
    peer = await clients.connect("p", version=version)

    await peer.publish("nobody/subscribed", b"x", qos=1)
    await peer.publish("$SYS/not/allowed", b"x", qos=2)
    unsuback = await peer.unsubscribe("never")
    suback = await peer.subscribe(Filter("a#"), Filter("$share//x"))
    await peer.answer(PUBREL, 4_711)
    pubcomp = await peer.next()

    assert len(unsuback.body) == 2
    assert suback.reasons == (0x80, 0x80)
    assert isinstance(pubcomp, Packet)
    assert pubcomp.body == b"\x12\x67"


@old
async def test_shared_subscriptions_work_for_older_clients(clients: Clients, version: int) -> None:
    """As in other brokers, `$share` is read in every version."""
    members = [await clients.connect(f"m{number}", version=version) for number in range(2)]
    for member in members:
        assert (await member.subscribe("$share/g/a", qos=1)).reasons == (1,)
    writer = await clients.connect("writer")

    for _ in range(4):
        await writer.publish("a", b"x", qos=1)

    for member in members:
        assert [each.payload for each in await member.messages(2)] == [b"x", b"x"]


@old
async def test_a_session_continues_in_another_version(clients: Clients, version: int) -> None:
    """Subscription Identifiers and options of MQTT 5 stay with the subscription."""
    peer = await clients.connect("c", expiry=1_000)
    await peer.subscribe(Filter("a", 1, retain_as_published=True), identifier=9)
    await peer.disconnect()
    writer = await clients.connect("writer")
    await writer.publish("a", b"1", qos=1, properties=PROPERTIES)

    peer = await clients.connect("c", version=version, clean=False)
    assert (await peer.message()).payload == b"1"
    await peer.disconnect()
    await writer.publish("a", b"2", qos=1)
    peer = await clients.connect("c", clean=False, expiry=1_000)

    message = await peer.message()
    assert (message.payload, message.properties) == (b"2", (("subscription_identifier", 9),))
