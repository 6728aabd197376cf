"""The Fixed Header's flags, and Property Length where there are no properties (MQTT 5 §2)."""

import pytest

from tests.packets import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Connect,
    Packet,
    Publish,
    packet,
    text,
)
from tests.peer import Clients

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82

FLAGS = {
    PUBACK: 0,
    PUBREC: 0,
    PUBREL: 2,
    PUBCOMP: 0,
    SUBSCRIBE: 2,
    UNSUBSCRIBE: 2,
    PINGREQ: 0,
    DISCONNECT: 0,
    AUTH: 0,
}
"""The flags that packets of clients must have, but for CONNECT and PUBLISH (MQTT 5 Table 2-2)."""

BODIES = {
    SUBSCRIBE: b"\0\1\0" + text("a") + b"\0",
    UNSUBSCRIBE: b"\0\1\0" + text("a"),
    PINGREQ: b"",
    DISCONNECT: b"",
    AUTH: b"",
}


@pytest.mark.parametrize("kind", FLAGS)
async def test_flags_other_than_the_listed_end_the_connection(clients: Clients, kind: int) -> None:
    """Every other value: [MQTT-2.1.3-1]."""
    for flags in range(16):
        if flags == FLAGS[kind]:
            continue
        peer = await clients.connect("c")
        await peer.send(packet(kind, flags, BODIES.get(kind, b"\0\1")))
        assert await peer.refused() == MALFORMED


@pytest.mark.parametrize("kind", [0, CONNACK, SUBACK, UNSUBACK, PINGRESP])
async def test_a_packet_that_is_no_clients_ends_the_connection(clients: Clients, kind: int) -> None:
    """Type 0 is reserved, others are the broker's to send: [MQTT-2.1.3-1]."""
    peer = await clients.connect("c")
    await peer.send(packet(kind, 0, b"\0\0\0"))

    assert await peer.refused() in (MALFORMED, PROTOCOL_ERROR)


async def test_the_brokers_own_flags_are_the_listed(clients: Clients) -> None:
    """In every packet that it sends: [MQTT-2.1.3-1]."""
    peer = await clients.open()
    seen = {CONNACK: (await peer.connect(Connect("c"))).flags}
    seen[SUBACK] = (await peer.subscribe("a", qos=2)).flags
    await peer.send(Publish("a", qos=2, packet_id=1).encode(5))
    received = [await peer.next(), await peer.next()]
    (pubrec,) = [each for each in received if isinstance(each, Packet)]
    (publish,) = [each for each in received if isinstance(each, Publish)]
    seen[PUBREC] = pubrec.flags
    await peer.answer(PUBREC, publish.packet_id)
    seen[PUBREL] = (await peer.packet(PUBREL)).flags
    await peer.answer(PUBREL, 1)
    seen[PUBCOMP] = (await peer.packet(PUBCOMP)).flags
    await peer.send(Publish("b", qos=1, packet_id=1).encode(5) + packet(PINGREQ, 0, b""))
    seen[PUBACK] = (await peer.packet(PUBACK)).flags
    seen[PINGRESP] = (await peer.packet(PINGRESP)).flags
    seen[UNSUBACK] = (await peer.unsubscribe("a")).flags
    await peer.send(packet(PINGREQ, 1, b""))
    seen[DISCONNECT] = (await peer.packet(DISCONNECT)).flags

    assert seen.pop(PUBREL) == 2
    assert set(seen.values()) == {0}


WITHOUT_LENGTH = {
    "PUBLISH": packet(3, 0, text("a")),
    "SUBSCRIBE": packet(SUBSCRIBE, 2, b"\0\1"),
    "UNSUBSCRIBE": packet(UNSUBSCRIBE, 2, b"\0\1"),
}


@pytest.mark.parametrize("sent", WITHOUT_LENGTH.values(), ids=WITHOUT_LENGTH)
async def test_a_packet_without_property_length_is_malformed(clients: Clients, sent: bytes) -> None:
    """Even if there are no properties: [MQTT-2.2.2-1]."""
    peer = await clients.connect("c")
    await peer.send(sent)

    assert await peer.refused() == MALFORMED


async def test_the_broker_writes_a_property_length_of_0(clients: Clients) -> None:
    """In CONNACK, SUBACK, UNSUBACK and PUBLISH: [MQTT-2.2.2-1]."""
    peer = await clients.open()
    size = ("maximum_packet_size", 1_000)
    await peer.connect(Connect("c", properties=(size,)))
    suback = await peer.subscribe("a")
    assert suback.body == b"\0\1\0\0"
    await peer.send(Publish("a", b"x").encode(5))
    assert await peer.reader.readexactly(7) == b"\x30\5\0\1a\0x"
    unsuback = await peer.unsubscribe("a")
    assert unsuback.body == b"\0\2\0\0"
    refused = await clients.open()
    limit = ("maximum_packet_size", 6)
    connack = await refused.connect(Connect("", properties=(limit,)))

    assert connack.body == b"\0\x95\0"
