"""Keep Alive and Server Keep Alive: how long a client may say nothing (MQTT 5 §3.1.2.10)."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from quantummq.config import Config
from tests.conftest import CONFIG
from tests.hostile import broker_process
from tests.packets import PINGREQ, PINGRESP, Connect, Publish, packet
from tests.peer import Clients, Peer

KEEP_ALIVE_TIMEOUT = 0x8D
PLAIN, BOUNDED = range(2)
"""Listeners: without a bound, and with a longest Keep Alive of 60 s."""


@pytest.fixture
def config() -> Config:
    """One listener leaves the Keep Alive to clients, another does not."""
    address = "tcp://127.0.0.1:0"
    listeners = [
        {"name": "plain", "address": address},
        {"name": "bounded", "address": address, "keep_alive_max_s": 60},
    ]
    return Config.model_validate({**CONFIG, "listener": listeners})


async def silent_until_closed(clients: Clients, peer: Peer, seconds: float) -> None:
    """Nothing happens up to a millisecond before; then the connection is closed with 0x8D."""
    await clients.clock.advance(seconds - 0.001)
    (session,) = await clients.broker.sessions()
    assert session.connected
    await clients.clock.advance(0.001)

    assert await peer.refused() == KEEP_ALIVE_TIMEOUT


@pytest.mark.parametrize("keep_alive", [1, 10, 65_535])
async def test_a_silent_client_is_closed_after_one_and_a_half_times_its_keep_alive(
    clients: Clients, keep_alive: int
) -> None:
    """To the millisecond: [MQTT-3.1.2-22] [MQTT-3.2.2-22]."""
    peer = await clients.connect("c", keep_alive=keep_alive)
    assert peer.connack is not None
    assert peer.connack.get("server_keep_alive") is None

    await silent_until_closed(clients, peer, keep_alive * 1.5)


async def test_keep_alive_0_turns_it_off(clients: Clients) -> None:
    """[MQTT-3.1.2-22]: of a value that is not 0."""
    peer = await clients.connect("c", keep_alive=0)
    await clients.clock.advance(10 * 365 * 24 * 3_600)

    await peer.ping()


@pytest.mark.parametrize("sent", ["pingreq", "publish", "subscribe"])
async def test_any_packet_counts(clients: Clients, sent: str) -> None:
    """The time begins again with it: [MQTT-3.1.2-22]."""
    peer = await clients.connect("c", keep_alive=10)
    for _ in range(5):
        await clients.clock.advance(14)
        if sent == "pingreq":
            await peer.ping()
        elif sent == "publish":
            await peer.publish("a")
        else:
            await peer.subscribe("b")
        await clients.settle()

    await silent_until_closed(clients, peer, 15)


async def test_what_the_broker_sends_does_not_count(clients: Clients) -> None:
    """It is the client that has to be heard: [MQTT-3.1.2-22]."""
    peer = await clients.connect("c", keep_alive=10)
    await peer.subscribe("a")
    publisher = await clients.connect("publisher")
    for _ in range(3):
        await clients.clock.advance(4.9)
        await publisher.publish("a")
        await peer.message()
    await clients.clock.advance(1)

    assert await peer.refused() == KEEP_ALIVE_TIMEOUT


async def test_bytes_that_make_no_packet_do_not_count(clients: Clients) -> None:
    """A packet that comes byte by byte is none until it is whole: [MQTT-3.1.2-22]."""
    peer = await clients.connect("c", keep_alive=10)
    sent = Publish("a", b"x" * 100).encode(5)
    for byte in sent[:3]:
        await clients.clock.advance(4)
        await peer.send(bytes([byte]))
    await clients.clock.advance(3)

    assert await peer.refused() == KEEP_ALIVE_TIMEOUT


async def test_a_packet_that_was_cut_counts_once_it_is_whole(clients: Clients) -> None:
    """[MQTT-3.1.2-22]: from its last byte on."""
    peer = await clients.connect("c", keep_alive=10)
    await peer.send(packet(PINGREQ, 0, b"")[:1])
    await clients.clock.advance(14)
    await peer.send(packet(PINGREQ, 0, b"")[1:])
    await peer.packet(PINGRESP)

    await silent_until_closed(clients, peer, 15)


@pytest.mark.parametrize("size", [20_000, 200_000])
async def test_a_large_packet_may_take_its_time(clients: Clients, size: int) -> None:
    """Nothing can come in between, so its progress counts, if there is some."""
    peer = await clients.connect("c", keep_alive=10)
    sent = Publish("a", b"x" * size).encode(5)
    part = len(sent) // 5 + 1
    for start in range(0, len(sent), part):
        await peer.send(sent[start : start + part])
        await clients.clock.advance(10)
    await peer.ping()

    await silent_until_closed(clients, peer, 15)


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 60), (1, None), (60, None), (61, 60), (65_535, 60)]
)
async def test_the_broker_may_ask_for_another_keep_alive(
    clients: Clients, asked: int, given: int | None
) -> None:
    """Server Keep Alive is used by the broker itself too: [MQTT-3.2.2-22] [MQTT-3.1.2-22]."""
    peer = await clients.connect("c", listener=BOUNDED, keep_alive=asked)
    assert peer.connack is not None
    assert peer.connack.get("server_keep_alive") == given

    await silent_until_closed(clients, peer, (given or asked) * 1.5)


async def test_the_session_outlives_a_silence(clients: Clients) -> None:
    """It is as if the network had failed: [MQTT-3.1.2-22] [MQTT-3.1.2-23]."""
    peer = await clients.connect("c", keep_alive=10, clean=False, expiry=100)
    await peer.subscribe("a", qos=1)
    await clients.clock.advance(15)
    assert await peer.refused() == KEEP_ALIVE_TIMEOUT
    publisher = await clients.connect("publisher")
    await publisher.publish("a", b"kept", qos=1)
    again = await clients.connect("c", clean=False)

    assert (await again.message()).payload == b"kept"


async def test_a_client_of_an_older_version_is_closed_without_a_word(clients: Clients) -> None:
    """[MQTT-3.1.2-22]: there was no DISCONNECT from the broker yet."""
    peer = await clients.connect("c", version=4, keep_alive=10)
    await clients.clock.advance(14.999)
    await peer.ping()
    await clients.clock.advance(15)

    assert await peer.rest() == []


@pytest.mark.parametrize("begun", [b"", Connect("c").encode()[:10]])
async def test_who_does_not_finish_connect_is_closed(clients: Clients, begun: bytes) -> None:
    """After the connect timeout, 10 s, without a CONNACK that answers nothing."""
    peer = await clients.open()
    await peer.send(begun)
    await clients.clock.advance(10)

    assert await peer.rest() == []


async def test_a_standstill_of_the_broker_is_not_taken_for_silence_of_its_clients(
    tmp_path: Path,
) -> None:
    """A paused machine, a debugger: what came meanwhile is read before anyone is called silent."""
    with broker_process(tmp_path) as target:
        pid = target.process.process.pid
        peers = [await target.connect(Connect(f"c{each}", keep_alive=1)) for each in range(10)]
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        try:
            for peer in peers:
                await peer.send(packet(PINGREQ, 0, b""))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await peers[0].packet(PINGRESP)
        finally:
            os.kill(pid, signal.SIGCONT)

        for peer in peers:
            await peer.packet(PINGRESP)
        await target.close()
