"""MQTT 3.1 and 3.1.1: Keep Alive, on a clock that the test moves."""

import pytest

from tests.packets import PINGREQ, PUBACK, Publish, packet, text
from tests.peer import Clients

versions = pytest.mark.parametrize("version", [3, 4], ids=["3.1", "3.1.1"])


@versions
async def test_a_client_that_is_silent_for_one_and_a_half_times_its_keep_alive_is_closed(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.2-24]."""
    peer = await clients.connect("p", version=version, keep_alive=10)

    await clients.clock.advance(14.9)
    await clients.silent(peer)
    await clients.clock.advance(14.9)
    await peer.ping()
    await clients.clock.advance(15)

    assert await peer.refused() == -1


@versions
async def test_any_packet_counts_as_a_sign_of_life(clients: Clients, version: int) -> None:
    """[MQTT3-3.1.2-24]."""
    peer = await clients.connect("p", version=version, keep_alive=10)
    signs = [
        Publish("a", b"x").encode(version),
        packet(PUBACK, 0, b"\0\x01"),
        packet(8, 2, b"\0\x01" + text("b") + b"\0"),
    ]
    for sign in signs:
        await clients.clock.advance(14)
        await peer.send(sign)
        await clients.settle()

    assert clients.broker.counters()["clients_connected"] == 1


@versions
async def test_keep_alive_0_switches_it_off(clients: Clients, version: int) -> None:
    """Section 3.1.2.10."""
    peer = await clients.connect("p", version=version, keep_alive=0)

    await clients.clock.advance(10 * 24 * 3_600)

    await peer.ping()


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_packet_that_is_dripped_is_no_sign_of_life(clients: Clients, version: int) -> None:
    """What counts is a packet, or a large one that makes progress. [MQTT3-3.1.2-24]."""
    peer = await clients.connect("p", version=version, keep_alive=10)
    packet_bytes = Publish("a", bytes(1_000)).encode(version)

    for byte in packet_bytes[:5]:
        await peer.send(bytes([byte]))
        await clients.clock.advance(4)

    assert await peer.refused() == (0x8D if version == 5 else -1)


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_large_packet_on_a_slow_line_may_take_longer_than_the_keep_alive(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.2-24]."""
    peer = await clients.connect("p", version=version, keep_alive=10)
    await peer.subscribe("a")
    payload = bytes(200_000)
    packet_bytes = Publish("a", payload).encode(version)

    for start in range(0, len(packet_bytes), 20_000):
        await peer.send(packet_bytes[start : start + 20_000])
        await clients.settle()
        await clients.clock.advance(12)

    assert (await peer.message()).payload == payload


@versions
async def test_a_ping_that_comes_in_pieces_counts_when_it_is_whole(
    clients: Clients, version: int
) -> None:
    """[MQTT3-3.1.2-24]."""
    peer = await clients.connect("p", version=version, keep_alive=10)
    ping = packet(PINGREQ, 0, b"")

    for _ in range(3):
        await clients.clock.advance(7)
        await peer.send(ping[:1])
        await clients.clock.advance(7)
        await peer.send(ping[1:])
        await clients.silent(peer)
