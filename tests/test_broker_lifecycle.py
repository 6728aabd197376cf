"""The broker in a program: started and stopped, cancelled anywhere, used from the wrong place."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from quantummq import options
from quantummq.broker import Broker
from quantummq.clock import ManualClock
from quantummq.config import Config
from quantummq.engine import EngineError, EngineOptions, Message
from quantummq.errors import ConfigError, CredentialsError
from tests.conftest import CONFIG
from tests.packets import DISCONNECT, Connect, Packet
from tests.peer import TIMEOUT_S, Clients, Peer


def open_files() -> dict[str, str]:
    """Descriptors of this process and what they are."""
    found: dict[str, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found[entry.name] = os.readlink(entry)  # noqa: PTH115 - sockets are not paths.
    return found


def shard_threads() -> list[str]:
    """Names of the engine's threads in this process."""
    names: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            names.append((task / "comm").read_text().strip())
    return [name for name in names if name.startswith("shard-")]


def resident_kib() -> int:
    """Memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.fixture
async def broker(config: Config) -> AsyncIterator[Broker]:
    """A broker that is not started."""
    made = Broker(config)
    yield made
    await made.stop(0)


# --- start and stop ----------------------------------------------------------------------------


async def test_a_broker_can_be_started_again(broker: Broker) -> None:
    for number in range(3):
        await broker.start()
        assert broker.addresses[0].startswith("tcp://127.0.0.1:")
        peer = await Peer.open(broker.addresses[0])
        assert (await peer.connect(Connect(f"c{number}"))).reason == 0
        [session] = await broker.sessions()
        assert session.client_id == f"c{number}"
        assert await broker.stop()
        assert [last.reason for last in await peer.rest() if isinstance(last, Packet)] == [0x8B]
        await peer.close()
        assert broker.addresses == ()


async def test_starting_and_stopping_leaves_no_thread_file_or_memory(config: Config) -> None:
    async def once() -> None:
        async with Broker(config) as broker, broker.events() as events:
            peer = await Peer.open(broker.addresses[0])
            await peer.connect(Connect("c"))
            async with broker.subscribe("a") as messages:
                await peer.publish("a", b"x" * 10_000, qos=1, retain=True)
                await anext(messages)
            await anext(events)
            await peer.close()

    for _ in range(5):
        await once()
    gc.collect()
    files, threads, memory = open_files(), threading.active_count(), resident_kib()
    for _ in range(50):
        await once()
    gc.collect()

    assert open_files() == files
    assert shard_threads() == []
    assert threading.active_count() <= threads + 6  # asyncio's own, of its default executor.
    # A broker that stayed would be some 300 KiB, fifty of them 15 MiB.
    assert resident_kib() - memory < 5 * 1024


async def test_several_brokers_in_one_process_know_nothing_of_each_other(config: Config) -> None:
    async with Broker(config) as one, Broker(config) as two:
        async with one.subscribe("#") as of_one, two.subscribe("#") as of_two:
            await one.publish("a", b"1", retain=True)
            await two.publish("a", b"2")
            assert (await anext(of_one)).payload == b"1"
            assert (await anext(of_two)).payload == b"2"

        assert one.addresses != two.addresses
        assert await two.retained("#") == []
        await one.stop()
        await two.publish("a", b"3", retain=True)
        assert [message.payload for message in await two.retained("#")] == [b"3"]


async def test_one_that_runs_cannot_be_started_again(broker: Broker) -> None:
    first, second = asyncio.create_task(broker.start()), asyncio.create_task(broker.start())

    with pytest.raises(EngineError, match="runs already"):
        await second
    await first
    with pytest.raises(EngineError, match="runs already"):
        await broker.start()
    await broker.publish("a", b"")


async def test_whoever_stops_a_broker_that_is_being_stopped_waits_for_that(broker: Broker) -> None:
    await broker.start()
    stops = [asyncio.create_task(broker.stop()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(EngineError, match="being stopped"):
        await broker.start()

    assert await asyncio.gather(*stops) == [True, True, True]
    assert shard_threads() == []
    assert await broker.stop()
    await broker.start()


async def test_a_start_that_fails_leaves_nothing_behind(broker: Broker) -> None:
    await broker.start()
    listeners = [{"address": "tcp://127.0.0.1:0"}, {"address": broker.addresses[0]}]
    second = Broker(Config.model_validate({**CONFIG, "listener": listeners}))
    gc.collect()
    files = open_files()

    with pytest.raises(EngineError, match="in use"):
        await second.start()
    gc.collect()

    assert open_files() == files
    with pytest.raises(EngineError, match="not running"):
        await second.publish("a", b"")
    await broker.stop()
    await second.start()
    await second.stop()


async def test_files_of_users_are_looked_at_before_anything_is_opened(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("nonsense\n", encoding="utf-8")
    for name, error in (("missing", ConfigError), ("users", CredentialsError)):
        table = {"password_file": tmp_path / name}
        broker = Broker(Config.model_validate({**CONFIG, "authentication": table}))
        with pytest.raises(error):
            await broker.start()
        assert broker.addresses == ()


async def test_a_stop_tells_clients_and_ends_what_waits(clients: Clients) -> None:
    """[MQTT-3.14.4-1] from the server's side: DISCONNECT 0x8B, then the end."""
    broker = clients.broker
    peer = await clients.connect("c")
    await clients.settle()
    stream = broker.events()
    subscription = broker.subscribe("a")
    await subscription.start()
    await broker.publish("a", b"1")

    assert await broker.stop()

    goodbye = await peer.packet(DISCONNECT)
    assert goodbye.reason == 0x8B
    assert [message.payload async for message in subscription] == [b"1"]
    kinds = [event.kind async for batch in stream for event in batch]
    assert kinds == ["disconnected", "session_ended"]


# --- after the end, and from elsewhere ---------------------------------------------------------


CALLS: dict[str, Callable[[Broker], Awaitable[object]]] = {
    "publish": lambda broker: broker.publish("a", b""),
    "publish_batch": lambda broker: broker.publish_batch([Message(topic="a", payload=b"")]),
    "retained": lambda broker: broker.retained("#"),
    "sessions": lambda broker: broker.sessions(),
    "subscribe": lambda broker: broker.subscribe("a").start(),
    "reload_tls": lambda broker: broker.reload_tls(),
    "failure": lambda broker: broker.failure(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_broker_that_does_not_run_says_so(broker: Broker, call: str) -> None:
    with pytest.raises(EngineError, match="not running; use it inside `async with`"):
        await CALLS[call](broker)
    await broker.start()
    await broker.stop()
    with pytest.raises(EngineError, match="not running; use it inside `async with`"):
        await CALLS[call](broker)


async def test_counters_of_a_broker_that_does_not_run_are_an_error(broker: Broker) -> None:
    with pytest.raises(EngineError, match="not running"):
        broker.counters()


async def in_another_loop(coroutine: Callable[[], Awaitable[object]]) -> object:
    """What a coroutine comes to in an event loop of its own, in another thread."""

    async def run() -> object:
        async with asyncio.timeout(TIMEOUT_S):
            return await coroutine()

    return await asyncio.to_thread(lambda: asyncio.run(run()))


@pytest.mark.parametrize("call", [call for call in CALLS if call != "reload_tls"])
async def test_a_coroutine_in_another_event_loop_says_so(clients: Clients, call: str) -> None:
    with pytest.raises(EngineError, match="another event loop"):
        await in_another_loop(lambda: CALLS[call](clients.broker))
    await clients.broker.publish("a", b"")


async def test_streams_and_the_end_belong_to_the_event_loop_as_well(clients: Clients) -> None:
    broker = clients.broker
    subscription, stream = broker.subscribe("a"), broker.events()
    await subscription.start()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: anext(subscription),
        lambda: anext(subscription.batches()),
        lambda: anext(stream),
        lambda: anext(broker.events()),
        broker.stop,
    ]

    for call in calls:
        with pytest.raises(EngineError, match="another event loop"):
            await in_another_loop(call)
    await broker.publish("a", b"1")
    assert (await anext(subscription)).payload == b"1"


def test_a_broker_whose_event_loop_is_gone_can_be_stopped_in_another(config: Config) -> None:
    broker = Broker(config)
    asyncio.run(broker.start())

    assert asyncio.run(broker.stop())

    assert shard_threads() == []

    async def again() -> None:
        async with broker:
            await broker.publish("a", b"")

    asyncio.run(again())


# --- cancellation ------------------------------------------------------------------------------


async def cancelled(task: "asyncio.Task[object]") -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    async with asyncio.timeout(TIMEOUT_S):
        with pytest.raises(asyncio.CancelledError):
            await task


async def step(count: int) -> None:
    """Lets other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("steps", range(4))
async def test_a_cancelled_start_has_opened_nothing(config: Config, steps: int) -> None:
    """Wherever it is: what its thread opens is closed before the cancellation is told."""
    broker = Broker(config)
    gc.collect()
    files = open_files()
    task: asyncio.Task[object] = asyncio.create_task(broker.start())
    await step(steps)

    await cancelled(task)

    del task  # Its traceback holds the engine, and the event loop the task for a step.
    await step(1)
    gc.collect()
    assert open_files() == files
    assert shard_threads() == []
    async with broker:
        await broker.publish("a", b"")


async def test_a_start_at_a_fixed_port_can_follow_a_cancelled_one(config: Config) -> None:
    async with Broker(config) as first:
        address = first.addresses[0]
    fixed = Broker(Config.model_validate({**CONFIG, "listener": [{"address": address}]}))
    for steps in range(3):
        task: asyncio.Task[object] = asyncio.create_task(fixed.start())
        await step(steps)
        await cancelled(task)

    async with fixed:
        assert fixed.addresses == (address,)


@pytest.mark.parametrize("steps", range(4))
async def test_a_cancelled_stop_has_stopped(config: Config, steps: int) -> None:
    """Though a client does not go, and the deadline is an hour away."""
    broker = Broker(config, clock=ManualClock())
    await broker.start()
    peer = await Peer.open(broker.addresses[0])
    await peer.connect(Connect("c"))
    subscription = broker.subscribe("a")
    await subscription.start()
    files = open_files()
    waiting = asyncio.create_task(anext(aiter(subscription), None))
    task: asyncio.Task[object] = asyncio.create_task(broker.stop(3_600))
    await step(steps)

    await cancelled(task)

    if steps == 0:  # It had not begun.
        await broker.stop()
    assert shard_threads() == []
    assert broker.addresses == ()
    assert await waiting is None
    assert len(open_files()) < len(files)
    await peer.close()
    async with broker:
        await broker.publish("a", b"")


@pytest.mark.parametrize("steps", range(3))
async def test_a_cancelled_publish_leaves_the_broker_as_it_was(
    clients: Clients, steps: int
) -> None:
    broker = clients.broker
    for _ in range(20):
        task: asyncio.Task[object] = asyncio.create_task(broker.publish("a", b"x", qos=1))
        await step(steps)
        if not task.done():
            await cancelled(task)

    async with asyncio.timeout(TIMEOUT_S):
        await broker.publish("a", b"last", qos=1, retain=True)
    assert [message.payload for message in await broker.retained("a")] == [b"last"]


@pytest.mark.parametrize("steps", range(3))
async def test_a_cancelled_subscribe_does_not_stay(clients: Clients, steps: int) -> None:
    broker = clients.broker
    subscription = broker.subscribe("a")
    task: asyncio.Task[object] = asyncio.create_task(subscription.start())
    await step(steps)
    await cancelled(task)
    await clients.settle()

    assert broker.counters()["subscriptions"] == 0
    await subscription.start()
    await broker.publish("a", b"1")
    assert (await anext(subscription)).payload == b"1"
    subscription.close()


async def test_a_cancelled_reader_loses_nothing(clients: Clients) -> None:
    broker = clients.broker
    got: list[bytes] = []
    async with broker.subscribe("a") as messages:
        for number in range(60):
            task = asyncio.ensure_future(anext(messages))
            await step(number % 3)
            published = asyncio.create_task(broker.publish("a", b"%d" % number))
            await step(number % 5)
            if number % 7 == 0:
                await published
            task.cancel()
            with suppress(asyncio.CancelledError):
                got.append((await task).payload)
            await published
        read = len(got)
        got += [(await anext(messages)).payload for _ in range(60 - read)]

    assert 0 < read < 60
    assert got == [b"%d" % number for number in range(60)]


async def test_a_cancelled_reader_of_batches_loses_nothing(clients: Clients) -> None:
    broker = clients.broker
    async with broker.subscribe("a") as messages:
        async with aclosing(messages.batches()) as lists:
            task = asyncio.ensure_future(anext(lists))
            await step(2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await broker.publish("a", b"1")

        async with aclosing(messages.batches()) as lists:
            [message] = await anext(lists)
        assert message.payload == b"1"


async def test_cancelled_questions_leave_the_others_their_answers(clients: Clients) -> None:
    broker = clients.broker
    await clients.connect("c")
    for steps in range(3):
        task: asyncio.Task[object] = asyncio.create_task(broker.sessions())
        await step(steps)
        await cancelled(task)
        [session] = await broker.sessions()
        assert session.client_id == "c"


# --- faults ------------------------------------------------------------------------------------


@pytest.fixture
def broken(config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A configuration whose second shard ends as soon as it starts: its CPU does not exist."""

    def misplaced(
        *, pin_cpus: tuple[int, ...], session_queue_overflow: str, **others: bool
    ) -> EngineOptions:
        assert pin_cpus == ()
        return EngineOptions(
            pin_cpus=(min(os.sched_getaffinity(0)), 100_000),
            session_queue_overflow=session_queue_overflow,
            **others,
        )

    monkeypatch.setattr(options, "EngineOptions", misplaced)
    return config


async def test_a_fault_of_the_engine_ends_all_that_waits(broken: Config) -> None:
    """Nobody waits for what will not come, and everybody is told why."""
    broker = Broker(broken)
    await broker.start()
    async with asyncio.timeout(TIMEOUT_S):
        error = await broker.failure()

    assert "cannot run on CPU 100000" in str(error)
    assert "stop the broker and report the fault" in str(error)
    for name, call in CALLS.items():
        if name not in ("failure", "reload_tls"):
            with pytest.raises(EngineError, match="CPU 100000"):
                await call(broker)
    assert (await broker.failure()) is error
    assert await broker.stop() is False
    assert shard_threads() == []


async def test_a_reader_is_told_of_a_fault(broken: Config) -> None:
    async with Broker(broken) as broker:
        subscription = broker.subscribe("a")
        with pytest.raises(EngineError, match="CPU 100000"):
            async for _ in subscription:
                pass
        assert isinstance(await broker.failure(), EngineError)


async def test_whoever_waits_for_a_failure_hears_of_the_end(broker: Broker) -> None:
    await broker.start()
    waiting = asyncio.create_task(broker.failure())
    await step(2)
    await broker.stop()

    with pytest.raises(EngineError, match="the broker stopped"):
        await waiting
