"""Time that a test turns: everything that takes long, over real sockets, without waiting."""

import asyncio

import pytest

from quantummq.auth import AuthenticationRequest, Identity
from quantummq.broker import Broker
from quantummq.clock import ManualClock, SystemClock
from quantummq.config import Config
from tests.conftest import CONFIG
from tests.packets import Connect, Will
from tests.peer import Clients, Filter

DAY_S = 24 * 3_600


async def test_keep_alive_runs_on_the_clock(clients: Clients) -> None:
    """[MQTT-3.1.2-22]: to the millisecond, and not before."""
    peer = await clients.connect("c", keep_alive=60)
    await clients.clock.advance(89.999)
    [session] = await clients.broker.sessions()
    assert session.connected
    await clients.clock.advance(0.001)

    assert await peer.refused() == 0x8D


async def test_session_expiry_runs_on_the_clock(clients: Clients) -> None:
    """[MQTT-3.1.2-23]: it is there until then."""
    peer = await clients.connect("c", expiry=30 * DAY_S)
    await peer.close()
    await clients.settle()
    await clients.clock.advance(30 * DAY_S - 0.001)
    assert len(await clients.broker.sessions()) == 1
    await clients.clock.advance(0.001)

    assert await clients.broker.sessions() == []


async def test_will_delay_runs_on_the_clock(clients: Clients) -> None:
    """[MQTT-3.1.3-9]: after the delay, or with the session if that ends first."""
    watcher = await clients.connect("watcher")
    await watcher.subscribe("will/#")
    for name, expiry in (("delay", 100), ("session", 5)):
        will = Will(f"will/{name}", properties=(("will_delay_interval", 10),))
        await (await clients.connect(name, expiry=expiry, will=will)).close()
    await clients.settle()

    await clients.clock.advance(4.999)
    await clients.silent(watcher)
    await clients.clock.advance(0.001)
    assert (await watcher.message()).topic == "will/session"
    await clients.clock.advance(4.999)
    await clients.silent(watcher)
    await clients.clock.advance(0.001)
    assert (await watcher.message()).topic == "will/delay"


async def test_message_expiry_runs_on_the_clock(clients: Clients) -> None:
    """[MQTT-3.3.2-5] [MQTT-3.3.2-6]: queued, retained, and what is left is sent on."""
    peer = await clients.connect("c", expiry=1_000)
    await peer.subscribe(Filter("a", qos=1))
    await peer.close()
    await clients.settle()
    for expiry in (10, 20):
        await clients.broker.publish("a", b"%d" % expiry, qos=1, message_expiry_s=expiry)
    await clients.broker.publish("r", b"kept", retain=True, message_expiry_s=20)
    await clients.clock.advance(15)

    again = await clients.connect("c", expiry=1_000, clean=False)
    message = await again.message()
    assert message.payload == b"20"
    assert message.get("message_expiry_interval") == 5
    [retained] = await clients.broker.retained("#")
    assert retained.message_expiry_s == 5
    await clients.clock.advance(5)
    assert await clients.broker.retained("#") == []
    await clients.silent(again)


async def test_the_connect_timeout_runs_on_the_clock(clients: Clients) -> None:
    """Whatever was sent of the CONNECT by then."""
    timeout_s = clients.broker.config.listeners[0].connect_timeout_s
    peers = [await clients.open() for _ in range(4)]
    for number, peer in enumerate(peers):
        await peer.send(Connect("c").encode()[: number * 3])
    await clients.clock.advance(timeout_s - 0.001)
    assert clients.broker.counters()["connections"] == 4
    await clients.clock.advance(0.001)

    for peer in peers:
        assert await peer.rest() == []
    await clients.settle()
    assert clients.broker.counters()["connections"] == 0


async def test_deadlines_that_are_passed_are_met_in_order() -> None:
    """One step over many of them is as good as many steps; on one shard, whose order is one."""
    clock = ManualClock()
    config = Config.model_validate({**CONFIG, "broker": {"shards": 1}})
    async with Broker(config, clock=clock) as broker:
        clients = Clients(broker, clock)
        watcher = await clients.connect("watcher")
        await watcher.subscribe("will/#")
        for delay in (7, 3, 9, 1, 5):
            will = Will(f"will/{delay}", properties=(("will_delay_interval", delay),))
            session = await clients.connect(f"c{delay}", expiry=100 + delay, will=will)
            await session.close()
        await clients.settle()
        async with broker.events() as stream:
            await clock.advance(200)

            wills = [(await watcher.message()).topic for _ in range(5)]
            ended = [(event.client_id, event.time_ms) for event in await anext(stream)]
        await clients.close()

    assert wills == [f"will/{delay}" for delay in (1, 3, 5, 7, 9)]
    assert ended == [(f"c{delay}", (100 + delay) * 1_000) for delay in (1, 3, 5, 7, 9)]


async def test_time_stands_still_until_it_is_moved(clients: Clients) -> None:
    """Nothing that counts time runs by itself."""
    peer = await clients.connect("c", keep_alive=1)
    for _ in range(20):
        await clients.clock.advance(0)
    assert clients.clock.seconds() == 0
    await peer.ping()


async def test_time_moves_forward_only() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="forward"):
        await clock.advance(-1)
    await clock.advance(0.0004)
    assert clock.seconds() == 0
    await clock.advance(1.5)
    assert clock.seconds() == 1.5


async def test_one_clock_moves_several_brokers(config: Config) -> None:
    """From when they run on, and no longer than they run."""
    clock = ManualClock()
    async with Broker(config, clock=clock) as early:
        await early.publish("a", b"", retain=True, message_expiry_s=10)
        await clock.advance(5)
        async with Broker(config, clock=clock) as late:
            await late.publish("a", b"1", retain=True, message_expiry_s=10)
            await early.publish("b", b"1", retain=True, message_expiry_s=10)
            await clock.advance(9.999)
            assert len(await late.retained("#")) == len(await early.retained("#")) == 1
            await clock.advance(0.001)
            assert await late.retained("#") == await early.retained("#") == []
        await clock.advance(1)
    await clock.advance(1)

    assert clock.seconds() == 17


async def test_calls_are_made_when_they_are_due_and_in_order() -> None:
    clock = ManualClock()
    called: list[str] = []
    clock.call_later(2, lambda: called.append("two"))
    clock.call_later(1, lambda: called.append("one"))
    clock.call_later(2, lambda: called.append("two again"))
    clock.call_later(1.5, lambda: called.append("never")).cancel()
    await clock.advance(0.999)
    assert called == []
    await clock.advance(0.001)
    assert called == ["one"]
    await clock.advance(10)
    assert called == ["one", "two", "two again"]


async def test_the_decision_timeout_runs_on_the_clock() -> None:
    class Never:
        async def authenticate(self, request: AuthenticationRequest) -> Identity:
            await asyncio.Event().wait()
            return Identity(request.client_id)

    clock = ManualClock()
    config = Config.model_validate({**CONFIG, "limits": {"decision_timeout_s": 8}})
    async with Broker(config, clock=clock, authenticators=Never()) as broker:
        clients = Clients(broker, clock)
        peer = await clients.open()
        await peer.send(Connect("c").encode())
        await clients.settle()
        await clock.advance(7.999)
        assert broker.counters()["connects_refused"] == 0
        await clock.advance(0.001)

        assert (await peer.packet(2)).reason == 0x87
        await clients.close()


async def test_without_a_clock_the_machines_time_counts(config: Config) -> None:
    """It moves by itself."""
    broker = Broker(config)
    assert isinstance(broker.clock, SystemClock)
    before = broker.clock.seconds()
    done = asyncio.Event()
    broker.clock.call_later(0.001, done.set)
    await done.wait()

    assert broker.clock.seconds() > before
    async with broker:
        clients = Clients(broker, ManualClock())
        peer = await clients.connect("c", keep_alive=1)
        async with broker.events() as stream:
            assert await peer.refused() == 0x8D
            [event, *_] = await anext(stream)
        assert event.time_ms > 0
        await clients.close()
