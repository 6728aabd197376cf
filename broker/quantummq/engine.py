"""The door: the only importer of the native module, and its bridge to asyncio.

`Link` turns commands into awaitables and hands records to those who wait for them. What a record
means is not decided here.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from quantummq._engine import (
    AuthenticationAnswer,
    AuthenticationRequest,
    Completion,
    Counter,
    Delivery,
    Engine,
    EngineError,
    EngineOptions,
    Event,
    Failure,
    ListenerOptions,
    Message,
    SessionInfo,
    Sessions,
    StoreOptions,
    TlsOptions,
)
from quantummq.errors import QuantumMQError

__all__ = [
    "AuthenticationAnswer",
    "AuthenticationRequest",
    "Counter",
    "Delivery",
    "Engine",
    "EngineError",
    "EngineOptions",
    "Event",
    "Link",
    "ListenerOptions",
    "Message",
    "RefusedError",
    "SessionInfo",
    "StoreOptions",
    "TlsOptions",
    "check_loop",
]

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

# Records taken in one go: a few milliseconds of work, then the event loop has its turn.
_DRAIN_MAX: Final = 1_024
# Bytes of messages published and not completed; above it `publish` waits. As much as the engine
# lets wait for one host subscription by default.
_PUBLISH_BYTES_MAX: Final = 16 * 1024 * 1024
# What a message takes besides topic and payload, about: its struct and its allocations.
_MESSAGE_BYTES: Final = 256


class RefusedError(QuantumMQError):
    """The engine refused a command; nothing, or not all of it, was done.

    Attributes:
        reason: Reason Code, 0x80 or above (MQTT 5 §2.4).
    """

    def __init__(self, what: str, reason: int) -> None:
        """Says what was refused, and why."""
        super().__init__(
            f"{what} refused: 0x{reason:02X} {_REASONS.get(reason, 'see MQTT 5 §2.4')}"
        )
        self.reason = reason


_REASONS: Final = {
    0x83: "Implementation specific error",
    0x87: "Not authorized",
    0x89: "Server busy",
    0x8B: "Server shutting down",
    0x8F: "Topic Filter invalid",
    0x90: "Topic Name invalid",
    0x95: "Packet too large",
    0x97: "Quota exceeded",
    0x99: "Payload format invalid",
    0x9B: "QoS not supported",
}


class Receiver(Protocol):
    """Whoever has a host subscription."""

    def receive(self, delivery: Delivery) -> None:
        """Keeps a delivery until it is taken; called in the event loop, and must not wait."""

    def end(self) -> None:
        """No more deliveries will come."""


@dataclass(slots=True)
class _Command:
    """A command under way."""

    completed: asyncio.Future[int]
    size: int


@dataclass(slots=True)
class _Publisher:
    """Somebody who waits for `size` bytes of room."""

    turn: asyncio.Future[None]
    size: int


@dataclass(slots=True)
class _Listing:
    """Answers of the shards to one question for sessions."""

    completed: asyncio.Future[list[SessionInfo]]
    missing: int
    found: list[SessionInfo]


class Link:
    """A running engine in the event loop it is made in.

    `failed` has a result once one of the engine's own event loops ended by a fault, or None once
    the engine has stopped without one.

    Args:
        engine: Not started yet.
        on_events: Called with each batch of events.
        on_request: Called with each question of a parked connection.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_events: Callable[[list[Event]], None],
        on_request: Callable[[AuthenticationRequest], None],
    ) -> None:
        self.engine = engine
        self._on_events = on_events
        self._on_request = on_request
        self._numbers = itertools.count(1)
        self._commands: dict[int, _Command] = {}
        self._listings: dict[int, _Listing] = {}
        self._receivers: dict[int, Receiver] = {}
        self._publish_bytes = 0
        self._publishers: deque[_Publisher] = deque()
        self._loop = asyncio.get_running_loop()
        # Why nothing can be asked of the engine; empty while it runs.
        self._over = "the broker is not started"
        self.failed: asyncio.Future[EngineError | None] = self._loop.create_future()

    async def start(self) -> tuple[str, ...]:
        """Starts the engine; returns the addresses it listens on, in the listeners' order.

        Raises:
            EngineError: an address or a certificate cannot be used.
        """
        starting = self._loop.run_in_executor(None, self.engine.start)
        cancelled = await _finished(starting)
        if cancelled is not None:
            if starting.exception() is None:
                await _finished(self._loop.run_in_executor(None, self.engine.stop, 0))
            raise cancelled
        addresses = starting.result()
        self._loop.add_reader(self.engine.fileno(), self.drain)
        self._over = ""
        return tuple(addresses)

    async def stop(self, deadline_s: float) -> bool:
        """Stops the engine gracefully; whoever still waits gets an `EngineError`.

        Cancelled, it cuts what is left of the deadline, and still stops the engine.

        Args:
            deadline_s: Seconds until connections that still have something to send are cut.

        Returns:
            Whether everything was sent.
        """
        loop = asyncio.get_running_loop()
        stopping = loop.run_in_executor(None, self.engine.stop, round(deadline_s * 1_000))
        cancelled = await _finished(stopping, lambda: self.engine.stop(0))
        if not self._loop.is_closed():
            self._loop.remove_reader(self.engine.fileno())
        while self.drain():
            pass
        self._end("the broker stopped")
        if not self.failed.done():
            self.failed.set_result(None)
        if cancelled is not None:
            raise cancelled
        return stopping.result()

    def drain(self) -> int:
        """Hands out one batch of records; returns how many records Python saw."""
        records = self.engine.drain(_DRAIN_MAX)
        events: list[Event] = []
        for record in records:
            match record:
                case Delivery():
                    self._deliver(record)
                case Event():
                    events.append(record)
                case AuthenticationRequest():
                    self._on_request(record)
                case Completion():
                    self._complete(record)
                case Sessions():
                    self._list(record)
                case Failure():
                    self._fail(record)
        if events:
            self._on_events(events)
        return len(records)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publishes in order; returns when what the messages promise is kept.

        Waits first while 16 MiB of messages are under way.

        Raises:
            RefusedError: the engine did not take all of them.
            EngineError: the broker stopped meanwhile, or does not run.
        """
        if not messages:
            return
        self.check()
        size = sum(_MESSAGE_BYTES + len(m.topic) + len(m.payload) for m in messages)
        await self._make_room(size)
        try:
            self.check()
            token = next(self._numbers)
            self.engine.publish(token, messages)
        except BaseException:
            self._give_back(size)
            raise
        reason = await self._completion(token, size)
        if reason >= 0x80:
            raise RefusedError(f"publish to {messages[0].topic!r}", reason)

    async def subscribe(self, topic_filter: str, receiver: Receiver) -> int:
        """Starts a host subscription; returns its id when messages will come.

        Raises:
            RefusedError: the filter is not valid, or a limit is reached.
            EngineError: the broker stopped meanwhile, or does not run.
        """
        self.check()
        subscription = next(self._numbers)
        self._receivers[subscription] = receiver
        try:
            self.engine.subscribe(subscription, topic_filter)
            reason = await self._completion(subscription, 0)
            if reason >= 0x80:
                raise RefusedError(f"subscribe to {topic_filter!r}", reason)
        except BaseException:
            self.unsubscribe(subscription)
            raise
        return subscription

    def unsubscribe(self, subscription: int) -> None:
        """Ends a host subscription; what was delivered stays with its receiver."""
        if self._receivers.pop(subscription, None) is not None:
            self.engine.unsubscribe(subscription)

    async def sessions(self) -> list[SessionInfo]:
        """All sessions, of all shards.

        Raises:
            EngineError: the broker stopped meanwhile, or does not run.
        """
        self.check()
        token = next(self._numbers)
        completed: asyncio.Future[list[SessionInfo]] = asyncio.get_running_loop().create_future()
        missing = self.engine.sessions(token)
        self._listings[token] = _Listing(completed, missing, [])
        return await completed

    async def advance(self, milliseconds: int) -> None:
        """Moves a manual clock; returns when the timers have run and what they said is here."""
        await asyncio.to_thread(self.engine.advance, milliseconds)
        while self.drain():
            pass

    async def retained(self, topic_filter: str, maximum: int) -> list[Message]:
        """Retained messages that match, in no order; at most `maximum`.

        Raises:
            RefusedError: the filter is not valid.
            EngineError: the broker does not run.
        """
        self.check()
        try:
            return await asyncio.to_thread(self.engine.retained, topic_filter, maximum)
        except ValueError:
            raise RefusedError(f"retained messages of {topic_filter!r}", 0x8F) from None

    def check(self) -> None:
        """Sees that the engine can be asked, and from here.

        Raises:
            EngineError: it has stopped or failed, or this is another event loop than its own.
        """
        if self._over:
            raise EngineError(self._over)
        self.check_loop()

    def check_loop(self) -> None:
        """Sees that this is the event loop in which results arrive.

        Raises:
            EngineError: it is another one, where nobody would ever be woken.
        """
        check_loop(self._loop)

    def check_stop(self) -> None:
        """Sees that this is the event loop to stop in; any will do once its own is closed.

        Raises:
            EngineError: it is another one.
        """
        if not self._loop.is_closed():
            self.check_loop()

    def check_failure(self) -> None:
        """Sees that what came to an end did so because the broker stopped.

        Raises:
            EngineError: an event loop of the engine failed.
        """
        error = self.failed.result() if self.failed.done() else None
        if error is not None:
            raise error

    def _completion(self, token: int, size: int) -> asyncio.Future[int]:
        """What a command comes to; it has been given to the engine."""
        command = _Command(self._loop.create_future(), size)
        self._commands[token] = command
        return command.completed

    async def _make_room(self, size: int) -> None:
        """Waits in line until `size` bytes fit, and takes them; a batch above the bound goes alone.

        Raises:
            EngineError: the broker stopped meanwhile.
        """
        if not self._publishers and self._fits(size):
            self._publish_bytes += size
            return
        publisher = _Publisher(self._loop.create_future(), size)
        self._publishers.append(publisher)
        try:
            await publisher.turn
        except asyncio.CancelledError:
            if publisher.turn.cancelled():
                self._let_in()
            elif publisher.turn.exception() is None:
                self._give_back(size)
            raise

    def _fits(self, size: int) -> bool:
        return not self._publish_bytes or self._publish_bytes + size <= _PUBLISH_BYTES_MAX

    def _give_back(self, size: int) -> None:
        self._publish_bytes -= size
        self._let_in()

    def _let_in(self) -> None:
        """Lets those in for whom there is room now, in the order they came."""
        while self._publishers:
            publisher = self._publishers[0]
            if not publisher.turn.done():
                if not self._fits(publisher.size):
                    return
                self._publish_bytes += publisher.size
                publisher.turn.set_result(None)
            self._publishers.popleft()

    def _complete(self, completion: Completion) -> None:
        command = self._commands.pop(completion.token, None)
        if command is None:
            return
        if not command.completed.done():
            command.completed.set_result(completion.reason)
        self._give_back(command.size)

    def _deliver(self, delivery: Delivery) -> None:
        receiver = self._receivers.get(delivery.subscription)
        if receiver is not None:
            receiver.receive(delivery)

    def _list(self, answer: Sessions) -> None:
        listing = self._listings.get(answer.token)
        if listing is None:
            return
        listing.found.extend(answer.sessions)
        listing.missing -= 1
        if listing.missing == 0:
            del self._listings[answer.token]
            if not listing.completed.done():
                listing.completed.set_result(listing.found)

    def _fail(self, failure: Failure) -> None:
        """An event loop ended: nobody shall wait for what it owed them."""
        text = f"an event loop failed: {failure.detail}; stop the broker and report the fault"
        _log.critical("%s", text)
        self._end(text)
        if not self.failed.done():
            self.failed.set_result(EngineError(text))

    def _end(self, why: str) -> None:
        """Lets go of everybody who waits for something that will not come."""
        self._over = why
        waiting: list[asyncio.Future[int] | asyncio.Future[list[SessionInfo]]] = [
            *(command.completed for command in self._commands.values()),
            *(listing.completed for listing in self._listings.values()),
        ]
        turns = [publisher.turn for publisher in self._publishers]
        self._commands.clear()
        self._listings.clear()
        self._publishers.clear()
        if not self._loop.is_closed():
            for future in (*waiting, *turns):
                if not future.done():
                    future.set_exception(EngineError(why))
        receivers, self._receivers = self._receivers, {}
        for receiver in receivers.values():
            receiver.end()


def check_loop(home: asyncio.AbstractEventLoop) -> None:
    """Sees that the running event loop is `home`.

    Raises:
        EngineError: it is another one.
    """
    if asyncio.get_running_loop() is not home:
        raise EngineError(
            "the broker belongs to another event loop, the one it was started in; "
            "use asyncio.run_coroutine_threadsafe to call it from elsewhere"
        )


async def _finished(
    work: asyncio.Future[_T], hurry: Callable[[], _T] | None = None
) -> asyncio.CancelledError | None:
    """Waits for a thread's work, which cannot be cancelled; returns the cancellation if one came.

    Args:
        work: What `run_in_executor` gave.
        hurry: Run in another thread when a cancellation comes.
    """
    cancelled: asyncio.CancelledError | None = None
    pending = {work}
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            if cancelled is None and hurry is not None:
                pending.add(asyncio.get_running_loop().run_in_executor(None, hurry))
            cancelled = error
    return cancelled
