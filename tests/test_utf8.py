"""UTF-8 Encoded Strings: which are malformed, and that others pass untouched (MQTT 5 §1.5.4)."""

from collections.abc import Callable

import pytest

from tests.packets import (
    PUBLISH,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Connect,
    Will,
    connect_bytes,
    data,
    packet,
    text,
)
from tests.peer import Clients

MALFORMED = 0x81

ILL_FORMED = {
    "[MQTT-1.5.4-1] the first surrogate": b"\xed\xa0\x80",
    "[MQTT-1.5.4-1] the last surrogate": b"\xed\xbf\xbf",
    "[MQTT-1.5.4-1] a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "[MQTT-1.5.4-1] two bytes for one": b"\xc1\xbf",
    "[MQTT-1.5.4-1] three bytes for two": b"\xe0\x9f\xbf",
    "[MQTT-1.5.4-1] four bytes for three": b"\xf0\x8f\xbf\xbf",
    "[MQTT-1.5.4-1] above U+10FFFF": b"\xf4\x90\x80\x80",
    "[MQTT-1.5.4-1] five bytes": b"\xf8\x88\x80\x80\x80",
    "[MQTT-1.5.4-1] a continuation alone": b"a\x80",
    "[MQTT-1.5.4-1] a continuation missing": b"\xc3a",
    "[MQTT-1.5.4-1] cut short": b"abc\xe2\x82",
    "[MQTT-1.5.4-1] a byte that never stands": b"\xff",
    "[MQTT-1.5.4-2] NUL alone": b"\0",
    "[MQTT-1.5.4-2] NUL inside": b"abcdefgh\0ijklmnop",
    "[MQTT-1.5.4-2] NUL at the end": b"abcdefghabcdefgh\0",
    "[MQTT-1.5.4-1] NUL in two bytes": b"\xc0\x80",
}
"""By what is wrong: the bytes of a string."""

PLACES: dict[str, Callable[[bytes], bytes]] = {
    "Topic Name": lambda wrong: packet(PUBLISH, 0, data(wrong) + b"\0"),
    "Content Type": lambda wrong: packet(PUBLISH, 0, text("a") + prefixed(b"\x03" + data(wrong))),
    "Response Topic": lambda wrong: packet(PUBLISH, 0, text("a") + prefixed(b"\x08" + data(wrong))),
    "User Property's name": lambda wrong: packet(
        PUBLISH, 0, text("a") + prefixed(b"\x26" + data(wrong) + text("v"))
    ),
    "User Property's value": lambda wrong: packet(
        PUBLISH, 0, text("a") + prefixed(b"\x26" + text("n") + data(wrong))
    ),
    "Topic Filter": lambda wrong: packet(SUBSCRIBE, 2, b"\0\1\0" + data(wrong) + b"\0"),
    "Topic Filter to leave": lambda wrong: packet(UNSUBSCRIBE, 2, b"\0\1\0" + data(wrong)),
    "Reason String": lambda wrong: packet(14, 0, b"\0" + prefixed(b"\x1f" + data(wrong))),
}
"""By name: a packet of an open connection with a string at that place."""

CONNECT_PLACES: dict[str, Callable[[bytes], bytes]] = {
    "Client Identifier": lambda wrong: connect_bytes(data(wrong)),
    "Will Topic": lambda wrong: connect_bytes(
        text("c") + b"\0" + data(wrong) + data(b""), flags=0x06
    ),
    "User Name": lambda wrong: connect_bytes(text("c") + data(wrong), flags=0x82),
    "Authentication Method": lambda wrong: connect_bytes(
        properties=prefixed(b"\x15" + data(wrong))
    ),
    "User Property": lambda wrong: connect_bytes(
        properties=prefixed(b"\x26" + data(wrong) + text(""))
    ),
    "Will's Content Type": lambda wrong: connect_bytes(
        text("c") + prefixed(b"\x03" + data(wrong)) + text("w") + data(b""), flags=0x06
    ),
}
"""By name: a CONNECT with a string at that place."""


def prefixed(block: bytes) -> bytes:
    """Property Length and properties."""
    assert len(block) < 128
    return bytes([len(block)]) + block


@pytest.mark.parametrize("place", PLACES)
async def test_an_ill_formed_string_is_a_malformed_packet(clients: Clients, place: str) -> None:
    """DISCONNECT 0x81 wherever it stands: [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("#")
    for what, wrong in ILL_FORMED.items():
        peer = await clients.connect("c")
        await peer.send(PLACES[place](wrong))
        assert await peer.refused() == MALFORMED, what
    await clients.silent(watcher)


@pytest.mark.parametrize("place", CONNECT_PLACES)
async def test_an_ill_formed_string_in_connect_is_refused(clients: Clients, place: str) -> None:
    """CONNACK 0x81 wherever it stands.

    [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12]
    """
    for what, wrong in ILL_FORMED.items():
        peer = await clients.open()
        await peer.send(CONNECT_PLACES[place](wrong))
        assert await peer.refused() == MALFORMED, what


WELL_FORMED = {
    "last of one byte": "\x7f",
    "first of two bytes": "\x80",
    "last of two bytes": "\u07ff",
    "first of three bytes": "\u0800",
    "below the surrogates": "\ud7ff",
    "above the surrogates": "\ue000",
    "a noncharacter": "\uffff",
    "first of four bytes": "\U00010000",
    "the last there is": "\U0010ffff",
    "byte order mark": "\ufeff",
    "byte order mark inside": "a\ufeffb",
    "control characters": "\x01\t\r\n\x1f",
    "composed": "é",
    "decomposed": "e\u0301",
    "spaces": " a  b ",
    "longest": "€" * 21_845,
}


@pytest.mark.parametrize("string", WELL_FORMED.values(), ids=WELL_FORMED)
async def test_a_well_formed_string_passes_as_it_is(clients: Clients, string: str) -> None:
    """As a topic, in properties and in a will; U+FEFF is kept: [MQTT-1.5.4-3] [MQTT-1.5.4-1]."""
    peer = await clients.connect("c")
    assert (await peer.subscribe(string)).reasons == (0,)
    await peer.publish(
        string,
        b"x",
        properties=[("content_type", string), ("user_property", (string, string))],
    )
    received = await peer.message()

    assert received.topic == string
    assert received.get("content_type") == string
    assert received.get("user_property") == (string, string)
    dying = await clients.connect("d" + string[:100], will=Will(string, b"will"))
    await dying.close()
    assert (await peer.message()).topic == string


async def test_strings_that_look_alike_are_different_topics(clients: Clients) -> None:
    """A byte order mark is a character, and nothing is normalized: [MQTT-1.5.4-3]."""
    topics = ["a", "\ufeffa", "a\ufeff", "é", "e\u0301", "A", "\uff41"]
    peers = {topic: await clients.connect(f"c {n}") for n, topic in enumerate(topics)}
    for topic, peer in peers.items():
        await peer.subscribe(topic)
    publisher = await clients.connect("publisher")
    for topic in topics:
        await publisher.publish(topic, topic.encode())
    await publisher.ping()

    for topic, peer in peers.items():
        assert (await peer.message()).payload == topic.encode()
    await clients.silent(*peers.values())


async def test_a_byte_order_mark_belongs_to_the_client_identifier(clients: Clients) -> None:
    """[MQTT-1.5.4-3]: it is not stripped off."""
    first = await clients.connect("c")
    await clients.connect("\ufeffc")
    peer = await clients.open()
    assert (await peer.connect(Connect("\ufeffc"))).reason == 0

    await clients.silent(first)
