"""MQTT 3.1 and 3.1.1: packets that are wrong close the connection, without a word."""

import pytest

from tests.packets import (
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    data,
    packet,
    text,
)
from tests.peer import Clients

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])

WRONG = {
    "PUBLISH at QoS 3 [MQTT3-3.3.1-4]": packet(PUBLISH, 0x06, text("a") + b"\0\x01"),
    "PUBLISH at QoS 1 with identifier 0 [MQTT3-2.3.1-1]": packet(
        PUBLISH, 0x02, text("a") + b"\0\0x"
    ),
    "PUBLISH at QoS 2 with identifier 0 [MQTT3-2.3.1-1]": packet(
        PUBLISH, 0x04, text("a") + b"\0\0x"
    ),
    "PUBLISH at QoS 1 without identifier [MQTT3-2.3.1-1]": packet(PUBLISH, 0x02, text("a")),
    "PUBLISH without topic [MQTT3-3.3.2-1]": packet(PUBLISH, 0, b""),
    "PUBLISH with an empty topic [MQTT3-4.7.3-1]": packet(PUBLISH, 0, text("") + b"x"),
    "PUBLISH with a topic beyond its end [MQTT3-3.3.2-1]": packet(PUBLISH, 0, b"\xff\xffab"),
    "PUBLISH to + [MQTT3-3.3.2-2] [MQTT3-4.7.1-1]": packet(PUBLISH, 0, text("a/+/b")),
    "PUBLISH to # [MQTT3-3.3.2-2] [MQTT3-4.7.1-1]": packet(PUBLISH, 0, text("#")),
    "PUBLISH to a topic that is not UTF-8 [MQTT3-3.3.2-1] [MQTT3-1.5.3-1]": packet(
        PUBLISH, 0, data(b"a\xff")
    ),
    "PUBLISH to a topic with a surrogate [MQTT3-1.5.3-1]": packet(
        PUBLISH, 0, data(b"a\xed\xa0\x80")
    ),
    "PUBLISH to a topic with NUL [MQTT3-4.7.3-2] [MQTT3-1.5.3-2]": packet(
        PUBLISH, 0, data(b"a\0b")
    ),
    "SUBSCRIBE with flags 0 [MQTT3-3.8.1-1]": packet(SUBSCRIBE, 0, b"\0\x01" + text("a") + b"\0"),
    "SUBSCRIBE with flags 3 [MQTT3-3.8.1-1]": packet(SUBSCRIBE, 3, b"\0\x01" + text("a") + b"\0"),
    "SUBSCRIBE with identifier 0 [MQTT3-2.3.1-1]": packet(
        SUBSCRIBE, 2, b"\0\0" + text("a") + b"\0"
    ),
    "SUBSCRIBE without filter [MQTT3-3.8.3-3]": packet(SUBSCRIBE, 2, b"\0\x01"),
    "SUBSCRIBE without QoS [MQTT3-3.8.3-3]": packet(SUBSCRIBE, 2, b"\0\x01" + text("a")),
    "SUBSCRIBE at QoS 3 [MQTT3-3.8.3-4]": packet(SUBSCRIBE, 2, b"\0\x01" + text("a") + b"\x03"),
    "SUBSCRIBE with reserved bits [MQTT3-3.8.3-4]": packet(
        SUBSCRIBE, 2, b"\0\x01" + text("a") + b"\x04"
    ),
    "SUBSCRIBE to what is not UTF-8 [MQTT3-3.8.3-1] [MQTT3-1.5.3-1]": packet(
        SUBSCRIBE, 2, b"\0\x01" + data(b"\xc0\x80") + b"\0"
    ),
    "SUBSCRIBE with NUL [MQTT3-4.7.3-2]": packet(SUBSCRIBE, 2, b"\0\x01" + data(b"a\0") + b"\0"),
    "SUBSCRIBE whose second filter is wrong [MQTT3-3.8.3-4]": packet(
        SUBSCRIBE, 2, b"\0\x01" + text("a") + b"\0" + text("b") + b"\x80"
    ),
    "UNSUBSCRIBE with flags 0 [MQTT3-3.10.1-1]": packet(UNSUBSCRIBE, 0, b"\0\x01" + text("a")),
    "UNSUBSCRIBE with identifier 0 [MQTT3-2.3.1-1]": packet(UNSUBSCRIBE, 2, b"\0\0" + text("a")),
    "UNSUBSCRIBE without filter [MQTT3-3.10.3-2]": packet(UNSUBSCRIBE, 2, b"\0\x01"),
    "UNSUBSCRIBE from what is not UTF-8 [MQTT3-3.10.3-1]": packet(
        UNSUBSCRIBE, 2, b"\0\x01" + data(b"\xfe")
    ),
    "PUBREL with flags 0 [MQTT3-3.6.1-1]": packet(PUBREL, 0, b"\0\x01"),
    "PUBACK with flags 2 [MQTT3-2.2.2-2]": packet(PUBACK, 2, b"\0\x01"),
    "PUBREC with flags 1 [MQTT3-2.2.2-2]": packet(PUBREC, 1, b"\0\x01"),
    "PUBCOMP with flags 4 [MQTT3-2.2.2-2]": packet(PUBCOMP, 4, b"\0\x01"),
    "PUBACK that is too long [MQTT3-4.8.0-1]": packet(PUBACK, 0, b"\0\x01\0"),
    "PUBACK that is too short [MQTT3-4.8.0-1]": packet(PUBACK, 0, b"\0"),
    "PINGREQ with flags [MQTT3-2.2.2-2]": packet(PINGREQ, 1, b""),
    "PINGREQ with a body [MQTT3-4.8.0-1]": packet(PINGREQ, 0, b"x"),
    "DISCONNECT with a reason of MQTT 5 [MQTT3-4.8.0-1]": packet(DISCONNECT, 0, b"\0"),
    "a Remaining Length of five bytes [MQTT3-4.8.0-1]": b"\xc0\x80\x80\x80\x80\x01",
}


@versions
@pytest.mark.parametrize("what", WRONG)
async def test_a_packet_that_is_wrong_closes_the_connection(
    clients: Clients, version: int, what: str
) -> None:
    """Each row of WRONG, and nothing of it is done."""
    peer = await clients.connect("wrong", version=version)
    await peer.send(WRONG[what])

    assert await peer.refused() == -1, what
    await clients.settle()
    assert clients.broker.counters()["violations"] == 1
    assert [session.subscriptions for session in await clients.broker.sessions()] in ([], [0])


async def test_in_311_a_message_at_qos_0_must_not_say_dup(clients: Clients) -> None:
    """[MQTT3-3.3.1-2]."""
    peer = await clients.connect("p", version=4)
    await peer.send(packet(PUBLISH, 0x08, text("a") + b"x"))

    assert await peer.refused() == -1


async def test_in_31_dup_may_stand_in_packets_that_are_sent_again(clients: Clients) -> None:
    """MQTT 3.1, sections 2.1 and 3.8: SUBSCRIBE, UNSUBSCRIBE and PUBREL are retried with DUP."""
    peer = await clients.connect("p", version=3)
    await peer.subscribe("a")
    await peer.send(packet(SUBSCRIBE, 0x0A, b"\0\x07" + text("a") + b"\x01"))
    assert (await peer.next()).packet_id == 7
    await peer.send(packet(PUBREL, 0x0A, b"\0\x09"))
    assert (await peer.packet(PUBCOMP)).packet_id == 9
    await peer.send(packet(UNSUBSCRIBE, 0x0A, b"\0\x08" + text("a")))
    assert (await peer.next()).packet_id == 8


@versions
async def test_topics_and_strings_of_65535_bytes_pass(clients: Clients, version: int) -> None:
    """[MQTT3-4.7.3-3]."""
    topic = "t" * 65_535
    peer = await clients.connect("p", version=version)
    suback = await peer.subscribe(topic, qos=1)
    assert suback.reasons == (1,)

    await peer.publish(topic, b"long", qos=1)

    message = await peer.message()
    assert (message.topic, message.payload) == (topic, b"long")


@versions
async def test_a_byte_order_mark_is_kept(clients: Clients, version: int) -> None:
    """U+FEFF is a character like others, at any place [MQTT3-1.5.3-3]."""
    peer = await clients.connect("p", version=version)
    await peer.subscribe("\ufeffa/#")

    await peer.publish("\ufeffa/b\ufeff", b"1")
    await peer.publish("a/b", b"2")
    await peer.publish("\ufeffa", b"3")

    topics = [(await peer.message()).topic, (await peer.message()).topic]
    assert topics == ["\ufeffa/b\ufeff", "\ufeffa"]
