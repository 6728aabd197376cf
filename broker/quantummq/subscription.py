"""What the host reads: `async for message in broker.subscribe("lab/#")`."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from quantummq.engine import Delivery, Link, Message


class Inbox:
    """Deliveries that wait to be taken; the engine's window bounds their bytes.

    The link holds this and not the subscription, so that one nobody can read any more ends.
    """

    def __init__(self) -> None:
        self.deliveries: deque[Delivery] = deque()
        # The rest of a delivery that is read one by one: out of the window, and first in line.
        self.taken: deque[Message] = deque()
        self.ended = False
        self._changed = asyncio.Event()

    def receive(self, delivery: Delivery) -> None:
        """Keeps a delivery until it is taken."""
        self.deliveries.append(delivery)
        self._changed.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._changed.set()

    async def wait(self) -> None:
        """Returns when something is here, or nothing will come."""
        while not (self.taken or self.deliveries or self.ended):
            self._changed.clear()
            await self._changed.wait()


class Subscription:
    """Messages that match a topic filter, made by `Broker.subscribe`.

    Either `async with broker.subscribe(...) as messages`, which has subscribed once the block
    begins and ends with it; or `async for message in broker.subscribe(...)`, which subscribes
    with the first message asked for and ends when the loop is left. It ends, too, when the broker
    stops, after the messages that came before.

    Messages wait up to `limits.host_subscription_bytes`; what comes beyond is dropped and counted.
    Several tasks may read one subscription; each message goes to one of them.
    """

    def __init__(self, link: Link, topic_filter: str) -> None:
        """Made by `Broker.subscribe`."""
        self.topic_filter = topic_filter
        self._link = link
        self._inbox = Inbox()
        self._id: int | None = None
        self._closed = False
        self._starting = asyncio.Lock()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Messages dropped so far because they were not read fast enough."""
        if self._id is not None:
            self._dropped = max(self._dropped, self._link.engine.dropped(self._id))
        return self._dropped

    async def start(self) -> None:
        """Subscribes, unless that is done; messages published from now on will come.

        Raises:
            RefusedError: the filter is not valid, or a limit is reached.
            EngineError: the broker does not run.
        """
        async with self._starting:
            if self._id is not None or self._inbox.ended:
                return
            subscription = await self._link.subscribe(self.topic_filter, self._inbox)
            if self._closed:  # Meanwhile.
                self._link.unsubscribe(subscription)
            else:
                self._id = subscription

    def close(self) -> None:
        """Unsubscribes; messages that came before can still be read."""
        self._closed = True
        if self._id is not None:
            self._dropped = self.dropped
            self._link.unsubscribe(self._id)
            self._id = None
        self._inbox.end()

    async def __aenter__(self) -> Self:
        """Subscribes."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Unsubscribes."""
        self.close()

    def __del__(self) -> None:
        """Unsubscribes when nobody can read it any more."""
        self.close()

    def __aiter__(self) -> Self:
        """Itself: one message at a time."""
        return self

    async def __anext__(self) -> Message:
        """The next message.

        Raises:
            RefusedError: the filter is not valid, or a limit is reached.
            EngineError: the broker does not run or has failed, or this is another event loop.
        """
        taken = self._inbox.taken
        if not taken:
            if not await self._wait():
                raise StopAsyncIteration
            if not taken:
                taken.extend(self._release().messages)
        return taken.popleft()

    async def batches(self) -> AsyncGenerator[list[Message]]:
        """Lists of messages, each with all that wait: the way to read many.

        Raises:
            RefusedError: the filter is not valid, or a limit is reached.
            EngineError: the broker does not run or has failed, or this is another event loop.
        """
        while await self._wait():
            batch = list(self._inbox.taken)
            self._inbox.taken.clear()
            while self._inbox.deliveries:
                batch.extend(self._release().messages)
            yield batch

    async def _wait(self) -> bool:
        """Waits until there is something to read; False at the end."""
        self._link.check_loop()
        if self._id is None:
            await self.start()
        await self._inbox.wait()
        if self._inbox.taken or self._inbox.deliveries:
            return True
        if not self._closed:
            self._link.check_failure()
        return False

    def _release(self) -> Delivery:
        """Takes a delivery out of the engine's window."""
        delivery = self._inbox.deliveries.popleft()
        self._link.engine.release(delivery.subscription, delivery.bytes)
        return delivery
