"""Variable Byte Integers: lengths and identifiers, read and written (MQTT 5 §1.5.5)."""

import pytest

from tests.packets import PINGREQ, PUBLISH, Publish, packet, property_block, text, variable
from tests.peer import Clients, Filter

MALFORMED = 0x81
SIZES = [127, 128, 16_383, 16_384, 2_097_151, 2_097_152]
"""The last of one byte, the first of two, and so on."""

LONGER_THAN_NEEDED = {
    "0 in two bytes": b"\x80\x00",
    "0 in four bytes": b"\x80\x80\x80\x00",
    "5 in two bytes": b"\x85\x00",
    "127 in three bytes": b"\xff\x80\x00",
    "128 in three bytes": b"\x80\x81\x00",
}

TOO_LONG = {
    "five bytes": b"\x80\x80\x80\x80\x01",
    "five bytes of 0": b"\x80\x80\x80\x80\x00",
    "no end": b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("wrong", LONGER_THAN_NEEDED | TOO_LONG)
async def test_a_remaining_length_that_is_malformed_ends_the_connection(
    clients: Clients, wrong: str
) -> None:
    """[MQTT-1.5.5-1]: it uses the fewest bytes, and four at most."""
    length = (LONGER_THAN_NEEDED | TOO_LONG)[wrong]
    for first in (PINGREQ << 4, PUBLISH << 4):
        peer = await clients.connect("c")
        await peer.send(bytes([first]) + length)
        assert await peer.refused() == MALFORMED


@pytest.mark.parametrize("wrong", LONGER_THAN_NEEDED | TOO_LONG)
async def test_a_property_length_that_is_malformed_ends_the_connection(
    clients: Clients, wrong: str
) -> None:
    """[MQTT-1.5.5-1] [MQTT-2.2.2-1]."""
    length = (LONGER_THAN_NEEDED | TOO_LONG)[wrong]
    peer = await clients.connect("c")
    await peer.send(packet(PUBLISH, 0, text("a") + length + b"x" * 200))

    assert await peer.refused() == MALFORMED


@pytest.mark.parametrize("wrong", LONGER_THAN_NEEDED | TOO_LONG)
async def test_a_subscription_identifier_that_is_malformed_ends_the_connection(
    clients: Clients, wrong: str
) -> None:
    """[MQTT-1.5.5-1]."""
    identifier = b"\x0b" + (LONGER_THAN_NEEDED | TOO_LONG)[wrong]
    peer = await clients.connect("c")
    body = b"\0\1" + bytes([len(identifier)]) + identifier + text("a") + b"\0"
    await peer.send(packet(8, 2, body))

    assert await peer.refused() == MALFORMED


async def test_a_property_identifier_of_two_bytes_is_none(clients: Clients) -> None:
    """It is a Variable Byte Integer too, in as few bytes as it takes: [MQTT-1.5.5-1]."""
    for identifier in (b"\x81\x00\x01", b"\xa6\x00" + text("n") + text("v")):
        peer = await clients.connect("c")
        section = bytes([len(identifier)]) + identifier
        await peer.send(packet(PUBLISH, 0, text("a") + section))
        assert await peer.refused() == MALFORMED


@pytest.mark.parametrize("size", SIZES)
async def test_a_remaining_length_of_every_width_is_read_and_written(
    clients: Clients, size: int
) -> None:
    """In its shortest form, which the reader of the tests insists on: [MQTT-1.5.5-1]."""
    peer = await clients.connect("c")
    await peer.subscribe("a")
    payload = b"x" * (size - len(text("a")) - 1)
    sent = Publish("a", payload).encode(5)
    assert sent[1:].startswith(variable(size))
    await peer.send(sent)
    head = 1 + len(variable(size))

    assert await peer.reader.readexactly(head) == bytes([0x30]) + variable(size)
    assert await peer.reader.readexactly(size) == text("a") + b"\0" + payload


@pytest.mark.parametrize("size", SIZES[:4])
async def test_a_property_length_of_every_width_is_read_and_written(
    clients: Clients, size: int
) -> None:
    """[MQTT-1.5.5-1] [MQTT-2.2.2-1]."""
    peer = await clients.connect("c")
    await peer.subscribe("a")
    pair = ("n", "v" * (size - 6))
    assert property_block([("user_property", pair)]).startswith(variable(size))
    await peer.publish("a", b"x", properties=[("user_property", pair)])
    received = await peer.message()

    assert (received.payload, received.properties) == (b"x", (("user_property", pair),))


@pytest.mark.parametrize("identifier", [1, *SIZES, 268_435_455])
async def test_a_subscription_identifier_of_every_width_comes_back(
    clients: Clients, identifier: int
) -> None:
    """[MQTT-1.5.5-1]: in its shortest form."""
    peer = await clients.connect("c")
    await peer.subscribe(Filter("a"), identifier=identifier)
    await peer.publish("a")

    assert (await peer.message()).get("subscription_identifier") == identifier
