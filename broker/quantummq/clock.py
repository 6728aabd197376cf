"""Time as the broker sees it: the machine's, or one that a test moves."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """It will not be called; too late is no error."""


class SystemClock:
    """The machine's time."""

    def seconds(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Calls `callback` in the running event loop after `delay_s` seconds."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


class _ManualTimer:
    """An entry of the manual clock's heap."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Time that stands still until `advance`: for tests of what takes long.

    `Broker(config, clock=ManualClock())` counts keep alive, delays, expiry and timeouts on it,
    over real sockets. One clock may serve several brokers.
    """

    def __init__(self) -> None:
        self._now_ms = 0
        self._engines: list[Callable[[int], Awaitable[None]]] = []
        self._timers: list[tuple[int, int, _ManualTimer]] = []
        self._order = itertools.count()

    def seconds(self) -> float:
        """Seconds it has been moved so far."""
        return self._now_ms / 1_000

    async def advance(self, seconds: float) -> None:
        """Moves the time; returns when everything due by then has been done.

        Args:
            seconds: How far, to the millisecond; deadlines passed on the way are met in order.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("time moves forward only")
        milliseconds = round(seconds * 1_000)
        for advance in tuple(self._engines):
            await advance(milliseconds)
        self._now_ms += milliseconds
        while self._timers and self._timers[0][0] <= self._now_ms:
            _, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Calls `callback` in the `advance` that passes `delay_s` seconds from now."""
        timer = _ManualTimer(callback)
        due_ms = self._now_ms + round(delay_s * 1_000)
        heapq.heappush(self._timers, (due_ms, next(self._order), timer))
        return timer

    def attach(self, advance: Callable[[int], Awaitable[None]]) -> None:
        """Moves an engine along, by `advance(milliseconds)`; a broker that starts does this."""
        self._engines.append(advance)

    def detach(self, advance: Callable[[int], Awaitable[None]]) -> None:
        """Leaves an engine alone from now on."""
        if advance in self._engines:
            self._engines.remove(advance)
