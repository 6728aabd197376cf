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
from typing import Final, Protocol

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
    "TlsOptions",
]

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
class _Listing:
    """Answers of the shards to one question for sessions."""

    completed: asyncio.Future[list[SessionInfo]]
    missing: int
    found: list[SessionInfo]


class Link:
    """A running engine in the event loop it is made in.

    `failed` has a result once one of the engine's own event loops ended by a fault.

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
        self._publishers: deque[asyncio.Future[None]] = deque()
        self._running = False
        self.failed: asyncio.Future[EngineError] = asyncio.get_running_loop().create_future()

    async def start(self) -> tuple[str, ...]:
        """Starts the engine; returns the addresses it listens on, in the listeners' order.

        Raises:
            EngineError: an address or a certificate cannot be used.
        """
        addresses = await asyncio.to_thread(self.engine.start)
        asyncio.get_running_loop().add_reader(self.engine.fileno(), self.drain)
        self._running = True
        return tuple(addresses)

    async def stop(self, deadline_s: float) -> bool:
        """Stops the engine gracefully; whoever still waits gets an `EngineError`.

        Args:
            deadline_s: Seconds until connections that still have something to send are cut.

        Returns:
            Whether everything was sent.
        """
        if not self._running:
            return True
        clean = await asyncio.to_thread(self.engine.stop, round(deadline_s * 1_000))
        asyncio.get_running_loop().remove_reader(self.engine.fileno())
        self._running = False
        while self.drain():
            pass
        self._end("the broker stopped")
        return clean

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
        size = sum(_MESSAGE_BYTES + len(m.topic) + len(m.payload) for m in messages)
        await self._make_room(size)
        token = next(self._numbers)
        command = self._command(token, size)
        self.engine.publish(token, messages)
        reason = await command.completed
        if reason >= 0x80:
            raise RefusedError(f"publish to {messages[0].topic!r}", reason)

    async def subscribe(self, topic_filter: str, receiver: Receiver) -> int:
        """Starts a host subscription; returns its id when messages will come.

        Raises:
            RefusedError: the filter is not valid, or a limit is reached.
            EngineError: the broker stopped meanwhile, or does not run.
        """
        subscription = next(self._numbers)
        command = self._command(subscription, 0)
        self._receivers[subscription] = receiver
        try:
            self.engine.subscribe(subscription, topic_filter)
            reason = await command.completed
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
        self._check_running()
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

    def _check_running(self) -> None:
        if not self._running:
            raise EngineError("the broker is not running")

    def _command(self, token: int, size: int) -> _Command:
        self._check_running()
        command = _Command(asyncio.get_running_loop().create_future(), size)
        self._commands[token] = command
        self._publish_bytes += size
        return command

    async def _make_room(self, size: int) -> None:
        """Waits in line until `size` bytes fit; a batch above the bound goes alone."""
        while self._publish_bytes and self._publish_bytes + size > _PUBLISH_BYTES_MAX:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._publishers.append(turn)
            await turn

    def _complete(self, completion: Completion) -> None:
        command = self._commands.pop(completion.token, None)
        if command is None:
            return
        self._publish_bytes -= command.size
        if not command.completed.done():
            command.completed.set_result(completion.reason)
        while self._publishers:
            turn = self._publishers.popleft()
            if not turn.done():
                turn.set_result(None)

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
        waiting: list[asyncio.Future[int] | asyncio.Future[list[SessionInfo]]] = [
            *(command.completed for command in self._commands.values()),
            *(listing.completed for listing in self._listings.values()),
        ]
        self._commands.clear()
        self._listings.clear()
        for completed in waiting:
            if not completed.done():
                completed.set_exception(EngineError(why))
        while self._publishers:
            turn = self._publishers.popleft()
            if not turn.done():
                turn.set_result(None)
        receivers, self._receivers = self._receivers, {}
        for receiver in receivers.values():
            receiver.end()
