"""What happened, for logs and people: `async for batch in broker.events()`."""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from quantummq.engine import Event, check_loop
from quantummq.log import tell

_LOG: Final = logging.getLogger("quantummq.store")
EVENTS_MAX: Final = 10_000
"""Events that wait for one reader unless it asks for another bound: a few megabytes."""


class _Buffer:
    """Events that wait for one stream. The hub holds this and not the stream."""

    def __init__(self, capacity: int, home: asyncio.AbstractEventLoop | None) -> None:
        self.capacity = capacity
        self.home = home
        self.events: list[Event] = []
        self.dropped = 0
        self.ended = False
        self.changed = asyncio.Event()

    def add(self, events: list[Event]) -> None:
        room = self.capacity - len(self.events)
        self.events.extend(events[:room])
        self.dropped += max(0, len(events) - room)
        self.changed.set()

    def end(self) -> None:
        self.ended = True
        self.changed.set()


class EventStream:
    """Batches of events since it was made, by `Broker.events`.

    Each stream has a buffer of its own; what does not fit is dropped, the newest first, and
    counted. Later versions add kinds of events: skip those you do not know. It ends when the
    broker stops, after the events that came before.
    """

    def __init__(self, buffer: _Buffer, on_close: Callable[[_Buffer], None]) -> None:
        """Made by `Broker.events`."""
        self._buffer = buffer
        self._on_close = on_close

    @property
    def dropped(self) -> int:
        """Events dropped because this stream was not read fast enough."""
        return self._buffer.dropped

    def close(self) -> None:
        """No more events are kept for it; those it has can still be read."""
        self._on_close(self._buffer)
        self._buffer.end()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self.close()

    def __del__(self) -> None:
        """Ends it when nobody can read it any more."""
        self.close()

    def __aiter__(self) -> Self:
        """Itself: a batch at a time."""
        return self

    async def __anext__(self) -> list[Event]:
        """All events that wait, oldest first; at least one.

        Raises:
            EngineError: this is another event loop than the broker's.
        """
        buffer = self._buffer
        if buffer.home is not None:
            check_loop(buffer.home)
        while not buffer.events:
            if buffer.ended:
                raise StopAsyncIteration
            buffer.changed.clear()
            await buffer.changed.wait()
        batch, buffer.events = buffer.events, []
        return batch


class EventHub:
    """Gives each event to every stream, and lets the engine record none while there is none.

    Args:
        watch: Told whether anybody listens.
    """

    def __init__(self, watch: Callable[[bool], None]) -> None:
        self._watch = watch
        self._buffers: list[_Buffer] = []
        self._home: asyncio.AbstractEventLoop | None = None

    def open(self, capacity: int) -> EventStream:
        """A stream of what happens from now on.

        Raises:
            ValueError: `capacity` is less than 1.
        """
        if capacity < 1:
            raise ValueError("capacity: at least one event")
        buffer = _Buffer(capacity, self._home)
        self._buffers.append(buffer)
        self._watch(True)
        return EventStream(buffer, self._close)

    def begin(self, home: asyncio.AbstractEventLoop) -> None:
        """The broker runs now, in this event loop."""
        self._home = home
        for buffer in self._buffers:
            buffer.home = home

    @property
    def is_watched(self) -> bool:
        """Whether anybody listens."""
        return bool(self._buffers)

    def add(self, events: list[Event]) -> None:
        """Something happened; what the store says goes into the log as well."""
        for event in events:
            if event.kind == "store":
                tell(_LOG, logging.WARNING if event.reason else logging.INFO, event.detail)
        for buffer in self._buffers:
            buffer.add(events)

    def end(self) -> None:
        """Nothing more will happen."""
        self._home = None
        buffers, self._buffers = self._buffers, []
        for buffer in buffers:
            buffer.end()

    def _close(self, buffer: _Buffer) -> None:
        if buffer in self._buffers:
            self._buffers.remove(buffer)
            if not self._buffers:
                self._watch(False)
