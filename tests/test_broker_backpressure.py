"""A program that is slower or faster than the broker: everything waits within its bound."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager

import pytest

from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from quantummq.engine import EngineError, Message
from tests.conftest import CONFIG
from tests.peer import TIMEOUT_S, Clients

MIB = 1024 * 1024
RECORD_BYTES = 128
"""What a message takes in a subscription's window besides its bytes."""


@asynccontextmanager
async def bounded(host_subscription_bytes: int) -> AsyncGenerator[Clients]:
    """A broker with a small window for each subscription of the program."""
    limits = {"host_subscription_bytes": host_subscription_bytes}
    clock = ManualClock()
    async with Broker(Config.model_validate({**CONFIG, "limits": limits}), clock=clock) as broker:
        clients = Clients(broker, clock)
        try:
            yield clients
        finally:
            await clients.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_slow_reader_has_a_bounded_window_and_its_drops_are_counted(qos: int) -> None:
    """The first messages wait, the rest is dropped, and no client is held up by it."""
    size = RECORD_BYTES + len("a") + 1_000
    async with bounded(10 * size) as clients, clients.broker.subscribe("a") as messages:
        peer = await clients.connect("c")
        other = await clients.connect("other")
        await other.subscribe("a", qos=qos)
        for number in range(50):
            assert await peer.publish("a", b"%03d" % number + bytes(997), qos) == 0
        await peer.ping()
        await clients.settle()

        assert messages.dropped == 40
        assert clients.broker.counters()["dropped_host_window"] == 40
        got = [(await anext(messages)).payload[:3] for _ in range(10)]
        assert got == [b"%03d" % number for number in range(10)]
        assert len(await other.messages(50)) == 50

        await peer.publish("a", b"now", qos)
        assert (await anext(messages)).payload == b"now"
        assert messages.dropped == 40


async def test_one_slow_reader_takes_nothing_from_another() -> None:
    async with bounded(10_000) as clients:
        broker = clients.broker
        async with broker.subscribe("#") as slow, broker.subscribe("#") as quick:
            for number in range(100):
                await broker.publish("a", b"%03d" % number + bytes(997))
                assert (await anext(quick)).payload[:3] == b"%03d" % number

            assert quick.dropped == 0
            assert slow.dropped > 80
            held = slow.dropped
        # What was dropped can be asked for after the end.
        assert slow.dropped == held


async def test_a_message_above_the_window_is_delivered_alone() -> None:
    """Else it could never be read."""
    async with bounded(1_000) as clients, clients.broker.subscribe("a") as messages:
        for number in range(3):
            await clients.broker.publish("a", b"%d" % number + bytes(100_000))
        await clients.settle()

        assert messages.dropped == 2
        assert (await anext(messages)).payload[:1] == b"0"
        await clients.broker.publish("a", b"3" + bytes(100_000))
        assert (await anext(messages)).payload[:1] == b"3"


async def test_reading_makes_room_as_fast_as_it_is_read() -> None:
    """A reader that keeps up loses nothing, however small its window."""
    async with bounded(20_000) as clients, clients.broker.subscribe("a") as messages:
        for number in range(1_000):
            await clients.broker.publish("a", b"%d" % number + bytes(1_000))
            if number % 10 == 9:
                for _ in range(10):
                    await anext(messages)

        assert messages.dropped == 0


def large(size: int) -> Message:
    """A message of that many bytes."""
    return Message(topic="a", payload=bytes(size))


async def finished(*tasks: Awaitable[object]) -> None:
    """Waits for tasks, not for ever."""
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*tasks)


async def test_publishers_wait_in_line_while_16_mib_are_under_way(clients: Clients) -> None:
    """In the order they came: a small one does not overtake a large one."""
    order: list[str] = []

    async def publish(name: str, size: int) -> None:
        await clients.broker.publish_batch([large(size)])
        order.append(name)

    sizes = {"first": 10 * MIB, "large": 12 * MIB, "small": 1, "huge": 40 * MIB, "last": 1}
    await finished(*(publish(name, size) for name, size in sizes.items()))

    assert order == list(sizes)
    assert clients.broker.counters()["queued_bytes"] == 0


async def test_many_publishers_at_once_all_come_through(clients: Clients) -> None:
    async with clients.broker.subscribe("a") as messages:
        count = 0

        async def read() -> None:
            nonlocal count
            async for batch in messages.batches():
                count += len(batch)
                if count + messages.dropped == 400:
                    return

        publishing = (clients.broker.publish_batch([large(MIB // 4)]) for _ in range(400))
        await finished(read(), *publishing)

    assert count > 0


async def test_one_that_leaves_the_line_gives_its_room_back(clients: Clients) -> None:
    broker = clients.broker
    for _ in range(20):
        tasks = [asyncio.create_task(broker.publish_batch([large(10 * MIB)])) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[2].cancel()
        await finished(tasks[0], tasks[3])
        for task in tasks[1:3]:
            with pytest.raises(asyncio.CancelledError):
                await task

    await finished(broker.publish_batch([large(15 * MIB)]))


async def test_one_cancelled_as_its_turn_comes_gives_its_room_back(clients: Clients) -> None:
    broker = clients.broker

    async def publish_and_cancel(other: "asyncio.Task[None]") -> None:
        await broker.publish_batch([large(16 * MIB)])
        other.cancel()  # Its turn was given with our end, and it has not run since.

    for _ in range(5):
        start = asyncio.Event()

        async def wait_for_room(start: asyncio.Event) -> None:
            await start.wait()
            await broker.publish_batch([large(16 * MIB)])

        second = asyncio.create_task(wait_for_room(start))
        first = asyncio.create_task(publish_and_cancel(second))
        await asyncio.sleep(0)
        start.set()
        await finished(first)
        with pytest.raises(asyncio.CancelledError):
            await second

    await finished(broker.publish_batch([large(15 * MIB)]))


async def test_a_stop_ends_the_line(config: Config) -> None:
    broker = Broker(config)
    await broker.start()
    message = large(20 * MIB)
    tasks = [asyncio.create_task(broker.publish_batch([message])) for _ in range(100)]
    await asyncio.sleep(0)
    await broker.stop()

    async with asyncio.timeout(TIMEOUT_S):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, EngineError) for result in results)
    assert any(isinstance(result, EngineError) for result in results)
