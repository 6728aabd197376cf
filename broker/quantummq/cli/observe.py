"""What the log says about a running broker: every event at debug, else a summary."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

from quantummq.broker import Broker
from quantummq.engine import Event
from quantummq.log import tell

_LOG: Final = logging.getLogger("quantummq.clients")
SUMMARY_INTERVAL_S: Final = 10.0

# Counters worth a line when they rise, with what to say.
TOLD: Final = {
    "connections_refused": "connections closed at once: a limit, or no trusted PROXY sender",
    "connects_refused": "CONNECTs were refused",
    "violations": "connections ended for a violation of the standard",
    "dropped_output_full": "QoS 0 messages dropped: their receivers read too slowly",
    "dropped_queue_full": "messages dropped: a session's queue was full",
    "dropped_total_full": "messages dropped: all queues together were full",
    "dropped_shared": "messages of shared groups dropped with a member's session",
    "dropped_host_window": "messages for Python dropped: its subscription was full",
    "dropped_events": "events dropped: Python did not keep up",
    "retained_refused": "retained messages refused: the store was full",
}


class Observer:
    """Writes to the log what a broker's clients do.

    Events cost the engine and Python something for each connection, so they are asked for only
    at level debug; otherwise the counters are compared every ten seconds.
    """

    def __init__(self, broker: Broker) -> None:
        """Begins to listen; a broker that has not started yet is heard from its start on."""
        self._broker = broker
        self._events = broker.events() if _LOG.isEnabledFor(logging.DEBUG) else None

    async def follow(self, stop: asyncio.Event) -> None:
        """Logs until the broker has stopped, at level debug with all that happened until then.

        Args:
            stop: Is set when it is about to stop.
        """
        if self._events is None:
            await self._follow_counters(stop)
            return
        async for batch in self._events:
            for event in batch:
                _tell_event(event)

    async def _follow_counters(self, stop: asyncio.Event) -> None:
        before = self._broker.counters()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SUMMARY_INTERVAL_S):
                    await stop.wait()
            if stop.is_set():
                return
            now = self._broker.counters()
            tell_rises(before, now)
            before = now


def _tell_event(event: Event) -> None:
    facts = {
        "client_id": event.client_id,
        "user": event.user,
        "listener": event.listener,
        "peer": event.peer,
        "detail": event.detail,
    }
    shown = {key: value for key, value in facts.items() if value}
    if event.reason:
        shown["reason"] = f"0x{event.reason:02X}"
    if event.count > 1:
        shown["count"] = str(event.count)
    tell(_LOG, logging.DEBUG, event.kind, **shown)


def tell_rises(before: Mapping[str, int], now: Mapping[str, int]) -> None:
    """A line for each counter in `TOLD` that rose."""
    for name, message in TOLD.items():
        rise = now.get(name, 0) - before.get(name, 0)
        if rise > 0:
            tell(_LOG, logging.WARNING, message, count=rise, in_seconds=SUMMARY_INTERVAL_S)
