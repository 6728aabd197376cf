"""MQTT 3.1 and 3.1.1: SUBSCRIBE, UNSUBSCRIBE and how filters match."""

import pytest

from tests.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, UNSUBACK, Packet
from tests.peer import Clients, Filter

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])


@versions
async def test_suback_has_the_identifier_and_a_code_for_each_filter_in_order(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT3-2.3.1-7]."""
    peer = await clients.connect("p", version=version)
    filters = [Filter("a", 2), Filter("b", 0), Filter("c", 1), Filter("a/+", 2)]

    await peer.send(peer.subscribe_bytes(0xFFFE, filters))

    assert await peer.next() == Packet(
        SUBACK, 0, 0xFFFE, reasons=(2, 0, 1, 2), body=b"\xff\xfe\x02\x00\x01\x02"
    )


WRONG_FILTERS = {
    "": "[MQTT3-4.7.3-1]",
    "a/#/b": "[MQTT3-4.7.1-2]",
    "a#": "[MQTT3-4.7.1-2]",
    "#/": "[MQTT3-4.7.1-2]",
    "##": "[MQTT3-4.7.1-2]",
    "a+": "[MQTT3-4.7.1-3]",
    "+a/b": "[MQTT3-4.7.1-3]",
    "a/b+/c": "[MQTT3-4.7.1-3]",
    "++": "[MQTT3-4.7.1-3]",
    "$share/g": "",
    "$share//a": "",
    "$queue/a": "",
}


@versions
async def test_a_filter_that_is_wrong_gets_0x80_and_the_others_are_granted(
    clients: Clients, version: int
) -> None:
    """Codes of MQTT 5 are never sent; WRONG_FILTERS [MQTT3-3.9.3-2] [MQTT3-3.8.4-4]."""
    peer = await clients.connect("p", version=version)
    names = [*WRONG_FILTERS, "good"]

    suback = await peer.subscribe(*names, qos=1)

    assert suback.reasons == (0x80,) * len(WRONG_FILTERS) + (1,)
    await peer.publish("good", b"1", qos=1)
    assert (await peer.message()).payload == b"1"


MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "any/topic", True),
    ("#", "/", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("+/tennis/#", "sport/tennis/x/y", True),
    ("sport/+/player1", "sport/tennis/player1", True),
    ("#", "$app/x", False),
    ("+/x", "$app/x", False),
    ("$app/#", "$app/x", True),
    ("$app/+", "$app/x", True),
    ("ACCOUNTS", "Accounts", False),
    ("a", "/a", False),
    ("a/", "a", False),
    ("a//b", "a/b", False),
    ("a//b", "a//b", True),
    ("a b", "a b", True),
    ("caf\u00e9", "cafe\u0301", False),
]


@versions
async def test_filters_match_as_the_examples_of_the_standard_say(
    clients: Clients, version: int
) -> None:
    """And nothing is normalised: MATCHES.

    [MQTT3-4.7.1-1] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.2-1] [MQTT3-4.7.3-4]
    [MQTT3-3.3.2-3] [MQTT3-4.5.0-1]
    """
    writer = await clients.connect("writer", version=version)
    for number, (topic_filter, topic, matches) in enumerate(MATCHES):
        reader = await clients.connect(f"reader{number}", version=version)
        await reader.subscribe(topic_filter, "end")

        await writer.publish(topic, b"x", qos=1)
        await writer.publish("end", b"end", qos=1)

        expected = [topic, "end"] if matches else ["end"]
        if topic_filter == "#" and matches:
            expected = [topic, "end"]
        received = [(await reader.message()).topic for _ in expected]
        assert received == expected, topic_filter
        await reader.disconnect()


@versions
async def test_a_filter_subscribed_again_takes_the_place_of_the_old_one(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.8.4-3]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a/+", qos=2)
    await peer.subscribe("a/+", qos=0)

    await peer.publish("a/b", b"x", qos=2)

    assert (await peer.message()).qos == 0
    await clients.silent(peer)
    assert clients.broker.counters()["subscriptions"] == 1


@versions
async def test_one_subscribe_with_many_filters_is_like_many(clients: Clients, version: int) -> None:
    """The last of two with the same filter counts [MQTT3-3.8.4-4]."""
    peer = await clients.connect("p", version=version)

    suback = await peer.subscribe(Filter("a", 0), Filter("b", 1), Filter("a", 2))

    assert suback.reasons == (0, 1, 2)
    await peer.publish("a", b"x", qos=2)
    await peer.publish("b", b"y", qos=2)
    assert [each.qos for each in await peer.messages(2)] == [2, 1]


@versions
async def test_overlapping_subscriptions_deliver_at_the_highest_qos(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.3.5-1]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe(Filter("a/#", 0), Filter("a/+", 2), Filter("a/b", 1))

    await peer.publish("a/b", b"x", qos=2)

    assert (await peer.message()).qos == 2


@versions
async def test_unsubscribe_ends_the_subscriptions_with_exactly_these_filters(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.10.4-1] [MQTT3-3.10.4-2] [MQTT3-3.10.4-4] [MQTT3-3.10.4-6]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a/+", "a/b", "c", "d")

    unsuback = await peer.unsubscribe("a/b", "c", "+")

    assert (unsuback.kind, unsuback.flags) == (UNSUBACK, 0)
    assert unsuback.body == unsuback.packet_id.to_bytes(2, "big")
    for topic in ("c", "a/b", "d"):
        await peer.publish(topic, b"x")
    assert [each.topic for each in await peer.messages(2)] == ["a/b", "d"]
    await clients.silent(peer)


@versions
async def test_unsuback_comes_even_where_nothing_was_subscribed(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.10.4-5] [MQTT3-2.3.1-7]."""
    peer = await clients.connect("p", version=version)

    unsuback = await peer.unsubscribe("never", "a#b")

    assert unsuback.body == unsuback.packet_id.to_bytes(2, "big")


@versions
async def test_what_was_being_delivered_is_completed_after_unsubscribe(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.10.4-3]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("a", qos=2)
    await peer.publish("a", b"1", qos=1)
    await peer.publish("a", b"2", qos=2)
    first, second = await peer.publication(), await peer.publication()

    await peer.unsubscribe("a")

    await peer.answer(PUBACK, first.packet_id)
    await peer.answer(PUBREC, second.packet_id)
    assert (await peer.packet(PUBREL)).packet_id == second.packet_id
    await peer.answer(PUBCOMP, second.packet_id)
    await peer.publish("a", b"3", qos=1)
    await clients.silent(peer)
    sessions = await clients.broker.sessions()
    assert [session.inflight for session in sessions] == [0]


@versions
async def test_what_was_sent_and_not_acknowledged_comes_again_after_unsubscribe(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.10.4-3] [MQTT3-4.4.0-1]."""
    peer = await clients.connect("p", version=version, clean=False)
    await peer.subscribe("a", qos=1)
    await peer.publish("a", b"1", qos=1)
    sent = await peer.publication()
    await peer.unsubscribe("a")
    await peer.close()
    await clients.settle()

    peer = await clients.connect("p", version=version, clean=False)

    again = await peer.publication()
    assert (again.packet_id, again.dup, again.payload) == (sent.packet_id, True, b"1")
