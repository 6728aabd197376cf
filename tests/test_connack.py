"""CONNACK: what the broker grants, what it refuses, and in which words (MQTT 5 §3.2)."""

import asyncio

import pytest

from quantummq.auth import AuthenticationRequest, Identity, Refusal
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import CONNACK, DISCONNECT, PINGREQ, Connect, Packet, Properties, Will, packet
from tests.peer import Clients, Peer

CONNECT_REASONS = {
    *range(0x80, 0x8B),
    *(0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F),
}
"""Reasons to refuse a CONNECT, MQTT 5 Table 3-1."""

LISTENER: dict[str, object] = {"address": "tcp://127.0.0.1:0"}


def configured(listener: dict[str, object] | None = None, **mqtt: object) -> Config:
    """A configuration with one listener."""
    listeners = [{**LISTENER, **(listener or {})}]
    return Config.model_validate({**CONFIG, "listener": listeners, "mqtt": mqtt})


async def granted(clients: Clients, asked: Properties | None = None, **fields: int) -> Packet:
    """The CONNACK of a client."""
    peer = await clients.open()
    connect = Connect("c", keep_alive=fields.get("keep_alive", 0), properties=tuple(asked or ()))
    return await peer.connect(connect)


async def test_a_broker_without_limits_says_little(clients: Clients) -> None:
    """What is left out has the standard's default: [MQTT-3.2.2-8] [MQTT-3.2.2-9]."""
    connack = await granted(clients)

    assert connack.reason == 0
    assert dict(connack.properties) == {
        "maximum_packet_size": 16 * 1_024 * 1_024,
        "topic_alias_maximum": 32,
    }


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (configured({"receive_maximum": 7}), "receive_maximum", 7),
        (configured({"maximum_qos": 0}), "maximum_qos", 0),
        (configured({"maximum_qos": 1}), "maximum_qos", 1),
        (configured(retain_available=False), "retain_available", 0),
        (configured({"maximum_packet_size": 2_000}), "maximum_packet_size", 2_000),
        (configured({"topic_alias_maximum": 3}), "topic_alias_maximum", 3),
        (configured({"topic_alias_maximum": 0}), "topic_alias_maximum", None),
        (configured({"keep_alive_max_s": 9}), "server_keep_alive", 9),
        (configured({"session_expiry_max_s": 5}), "session_expiry_interval", 5),
    ],
    ids=lambda value: str(value) if not isinstance(value, Config) else "",
)
async def test_a_limit_is_told(
    clients: Clients, config: Config, name: str, value: int | None
) -> None:
    """Once, and with its value: [MQTT-3.2.2-9]."""
    assert config.listeners
    connack = await granted(clients, [("session_expiry_interval", 10)], keep_alive=10)

    assert connack.reason == 0
    assert connack.all(name) == ([] if value is None else [value])


@pytest.mark.parametrize("config", [configured({"maximum_qos": qos}) for qos in (0, 1, 2)])
async def test_a_will_above_the_maximum_qos_is_refused(clients: Clients, config: Config) -> None:
    """0x9B; up to it wills are taken: [MQTT-3.2.2-12] [MQTT-3.2.2-7]."""
    maximum = config.listeners[0].maximum_qos
    for qos in (0, 1, 2):
        peer = await clients.open()
        connack = await peer.connect(Connect("c", will=Will("w", qos=qos)))
        assert connack.reason == (0x9B if qos > maximum else 0)
        if qos > maximum:
            assert await peer.rest() == []


@pytest.mark.parametrize("config", [configured({"maximum_qos": qos}) for qos in (0, 1)])
async def test_a_broker_of_a_lower_qos_takes_any_subscription(
    clients: Clients, config: Config
) -> None:
    """SUBACK grants what there is: [MQTT-3.2.2-10]."""
    maximum = config.listeners[0].maximum_qos
    peer = await clients.connect("c")
    for qos in (0, 1, 2):
        assert (await peer.subscribe("a", qos=qos)).reasons == (min(qos, maximum),)
    await peer.publish("a", b"x", qos=maximum)

    assert (await peer.message()).qos == maximum


@pytest.mark.parametrize("config", [configured({"maximum_qos": qos}) for qos in (0, 1)])
async def test_a_message_above_the_maximum_qos_ends_the_connection(
    clients: Clients, config: Config
) -> None:
    """DISCONNECT 0x9B, and it goes to nobody: [MQTT-3.2.2-11]."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("a")
    peer = await clients.connect("c")
    qos = config.listeners[0].maximum_qos + 1
    await peer.send(bytes([0x30 | qos << 1]) + b"\6\0\1a\0\1\0")

    assert await peer.refused() == 0x9B
    await clients.silent(watcher)


@pytest.mark.parametrize("config", [configured(retain_available=False)])
async def test_without_retained_messages_a_will_with_retain_is_refused(
    clients: Clients, config: Config
) -> None:
    """0x9A, then the end: [MQTT-3.2.2-13] [MQTT-3.2.2-7]."""
    assert not config.mqtt.retain_available
    peer = await clients.open()
    connack = await peer.connect(Connect("c", will=Will("w", retain=True)))

    assert connack.reason == 0x9A
    assert await peer.rest() == []
    assert (await granted(clients)).reason == 0


@pytest.mark.parametrize("config", [configured(retain_available=False)])
async def test_without_retained_messages_retain_ends_the_connection(
    clients: Clients, config: Config
) -> None:
    """DISCONNECT 0x9A, and the message goes to nobody: [MQTT-3.2.2-14]."""
    assert not config.mqtt.retain_available
    watcher = await clients.connect("watcher")
    await watcher.subscribe("a")
    peer = await clients.connect("c")
    await peer.publish("a", b"x", retain=True)

    assert await peer.refused() == 0x9A
    await clients.silent(watcher)


class Refusing:
    """Refuses with the reason that the password holds; User Name `late` waits before it does."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def authenticate(self, request: AuthenticationRequest) -> Identity | Refusal:
        """Whatever it was told."""
        self.asked.set()
        if request.username == "late":
            await asyncio.Event().wait()
        if not request.password:
            return Identity("")
        return Refusal(request.password[0], "as the test wants it")


async def test_a_refusal_uses_a_reason_that_connack_has(config: Config) -> None:
    """Others become one of its table, then the connection ends.

    [MQTT-3.2.2-8] [MQTT-3.2.2-7] [MQTT-3.2.2-6] [MQTT-3.1.4-2]
    """
    clock = ManualClock()
    async with Broker(config, clock=clock, authenticators=Refusing()) as broker:
        clients = Clients(broker, clock)
        for reason in range(256):
            peer = await clients.open()
            connect = Connect("c", username="u", password=bytes([reason]))
            connack = await peer.connect(connect)
            assert not connack.session_present
            assert connack.reason in CONNECT_REASONS
            if reason in CONNECT_REASONS:
                assert connack.reason == reason
                assert connack.get("reason_string") == "as the test wants it"
            assert await peer.rest() == []
        await clients.close()


async def test_nobody_but_the_authenticator_lets_in(config: Config) -> None:
    """One that does not answer means no, 0x87: [MQTT-3.1.4-2] [MQTT-3.2.0-1]."""
    clock = ManualClock()
    judge = Refusing()
    async with Broker(config, clock=clock, authenticators=judge) as broker:
        clients = Clients(broker, clock)
        peer = await clients.open()
        behind = packet(PINGREQ, 0, b"")
        await peer.send(Connect("c", username="late", password=b"\x80").encode() + behind)
        await judge.asked.wait()
        await clock.advance(2)

        assert await peer.refused() == 0x87
        await clients.close()


async def test_packets_that_wait_for_a_decision_are_answered_after_connack(
    config: Config,
) -> None:
    """The first packet is CONNACK, whoever decides: [MQTT-3.2.0-1] [MQTT-3.2.0-2]."""
    clock = ManualClock()
    async with Broker(config, clock=clock, authenticators=Refusing()) as broker:
        clients = Clients(broker, clock)
        for name in ("a", "b", "c", "d"):
            peer = await clients.open()
            await peer.send(Connect(name).encode() + packet(PINGREQ, 0, b"") * 3)
            first = await peer.packet(CONNACK)
            assert first.reason == 0
            for _ in range(3):
                assert isinstance(received := await peer.next(), Packet)
                assert received.kind == PINGREQ + 1
        await clients.close()


async def begun(clients: Clients) -> Peer:
    """A connection whose CONNECT is not complete."""
    peer = await clients.open()
    await peer.send(Connect("begun").encode()[:5])
    return peer


async def test_a_broker_that_stops_says_so_to_those_it_knows(config: Config) -> None:
    """DISCONNECT 0x8B after CONNACK; nothing where no CONNECT came to be answered.

    [MQTT-3.2.0-1] [MQTT-3.2.2-8]
    """
    clock = ManualClock()
    judge = Refusing()
    async with Broker(config, clock=clock, authenticators=judge) as broker:
        clients = Clients(broker, clock)
        connected = await clients.connect("c")
        unknown = await begun(clients)
        judge.asked.clear()
        deciding = await clients.open()
        await deciding.send(Connect("d", username="late", password=b"\x80").encode())
        await judge.asked.wait()
        await clients.settle()

    said = await connected.packet(DISCONNECT)
    assert (said.reason, await connected.rest()) == (0x8B, [])
    assert await unknown.rest() == []
    assert (await deciding.packet(CONNACK)).reason == 0x88
    await clients.close()


@pytest.mark.parametrize("clean", [True, False])
async def test_the_reserved_flags_of_connack_are_0(clients: Clients, clean: bool) -> None:
    """Bits 7 to 1, with Session Present and without: [MQTT-3.2.2-1]."""
    await (await clients.connect("c", clean=False, expiry=100)).disconnect()
    peer = await clients.connect("c", clean=clean)

    assert peer.connack is not None
    assert peer.connack.body[0] == (0 if clean else 1)
    refused = await clients.open()
    connack = await refused.connect(Connect("c", will=Will("#")))
    assert connack.body[:2] == b"\x00\x90"
