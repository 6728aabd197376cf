"""`Broker`: the whole product in a few calls, for programs that embed it and for the command line.

What happens in between is elsewhere: the engine is behind `engine.py`, who is let in is asked in
`decisions.py`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypedDict, Unpack

from quantummq import auth, options
from quantummq.clock import ManualClock, SystemClock
from quantummq.config import Config
from quantummq.config.check import check_config
from quantummq.decisions import DecisionLimits, Decisions, Judge
from quantummq.engine import Engine, EngineError, Link, Message, SessionInfo
from quantummq.errors import ConfigError, QuantumMQError, raise_all
from quantummq.events import EVENTS_MAX, EventHub, EventStream
from quantummq.subscription import Subscription

RETAINED_MAX: Final = 100_000
"""Retained messages returned at a time unless another bound is asked for."""


class Properties(TypedDict, total=False):
    """Properties of a message; each may be left out (MQTT 5 §3.3.2.3)."""

    message_expiry_s: int
    """Message Expiry Interval in seconds."""
    payload_is_utf8: bool
    """Payload Format Indicator is 1."""
    content_type: str
    """Content Type."""
    response_topic: str
    """Response Topic."""
    correlation_data: bytes
    """Correlation Data."""
    user_properties: Sequence[tuple[str, str]]
    """User Properties, names and values in order."""


class Broker:
    """An MQTT broker in this process: `async with Broker(config) as broker:`.

    Topics are those of the broker: a client behind a mount point `site1/` publishes `lab/temp` as
    `site1/lab/temp`. It belongs to the event loop it was started in, and says so with an
    `EngineError` to coroutines of another; its own threads never wait for it. Once stopped it can
    be started again.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        clock: ManualClock | None = None,
        authenticators: auth.Authenticators | auth.Authenticator | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            config: By default a broker for this machine alone, on tcp://127.0.0.1:1883.
            clock: Time to be moved by hand, for tests.
            authenticators: Decide in place of those the configuration names. A single one is asked
                about every CONNECT without Authentication Method, credentials or not.
        """
        self.config = config or Config()
        self.clock: SystemClock | ManualClock = clock or SystemClock()
        self._authenticators = authenticators
        self._events = EventHub(self._watch)
        self._addresses: tuple[str, ...] = ()
        self._link: Link | None = None
        self._is_starting = False
        self._stopping: asyncio.Future[bool] | None = None
        self._decisions: Decisions | None = None
        self._built: auth.Authenticators | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, in the order of the listeners: `tcp://127.0.0.1:40123`, `unix:/path`.

        With the ports that were given. Empty while it does not run.
        """
        return self._addresses

    async def start(self) -> None:
        """Starts it; every listener accepts when this returns. `async with` does it for you.

        Raises:
            ConfigError: the configuration cannot be used.
            CredentialsError: a file of users cannot be used.
            EngineError: an address or a certificate cannot be used, or it runs already.
        """
        if self._link is not None or self._is_starting:
            raise EngineError("the broker runs already")
        if self._stopping is not None:
            raise EngineError("the broker is being stopped; wait for stop() first")
        self._is_starting = True
        try:
            await self._start()
        finally:
            self._is_starting = False

    async def _start(self) -> None:
        config = self.config
        raise_all(check_config(config, authenticated=self._authenticators is not None))
        engine = Engine(
            options.engine_options(config, manual_clock=isinstance(self.clock, ManualClock)),
            [
                options.listener_options(
                    config,
                    index,
                    authenticate=self._authenticators is not None or config.needs_verdict(listener),
                    enhanced=self._is_enhanced(),
                )
                for index, listener in enumerate(config.listeners)
            ],
            options.store_options(config),
        )
        limits = DecisionLimits(config.limits.authentications, config.limits.decision_timeout_s)
        self._decisions = Decisions(self._judge(), limits, self.clock, engine.answer)
        link = Link(engine, on_events=self._events.add, on_request=self._decisions.ask)
        try:
            self._addresses = await link.start()
        except BaseException:
            await self._end()
            raise
        self._link = link
        self._events.begin(asyncio.get_running_loop())
        if self._events.is_watched:
            engine.watch_events(True)
        if isinstance(self.clock, ManualClock):
            self.clock.attach(link.advance)

    async def stop(self, deadline_s: float | None = None) -> bool:
        """Ends gracefully: clients get DISCONNECT 0x8B. `async with` does it for you.

        Args:
            deadline_s: Seconds until connections that still have something to send are cut; by
                default `broker.shutdown_deadline_s`.

        Returns:
            Whether everything was sent. It is no error if the broker does not run; whoever calls
            while it is being stopped waits for that. Cancelled, it does not wait for the deadline,
            and has stopped all the same.

        Raises:
            EngineError: this is another event loop than the one it was started in, which is open.
        """
        if self._stopping is not None:
            return await asyncio.shield(self._stopping)
        if self._link is None:
            return True
        self._link.check_stop()
        link, self._link = self._link, None
        self._stopping = stopping = asyncio.get_running_loop().create_future()
        clean = False
        try:
            clean = await self._stop(link, deadline_s)
        finally:
            self._stopping = None
            stopping.set_result(clean)
        return clean

    async def _stop(self, link: Link, deadline_s: float | None) -> bool:
        if isinstance(self.clock, ManualClock):
            self.clock.detach(link.advance)
        if deadline_s is None:
            deadline_s = self.config.broker.shutdown_deadline_s
        try:
            return await link.stop(deadline_s)
        finally:
            self._events.end()
            await self._end()

    async def _end(self) -> None:
        """Lets go of what only a running broker needs."""
        self._addresses = ()
        decisions, self._decisions = self._decisions, None
        if decisions is not None:
            await decisions.stop()
        built, self._built = self._built, None
        if built is not None:
            built.close()

    async def __aenter__(self) -> Self:
        """Starts it."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops it."""
        await self.stop()

    async def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        qos: int = 0,
        retain: bool = False,
        **properties: Unpack[Properties],
    ) -> None:
        """Publishes a message; returns when what its QoS promises is kept.

        Args:
            topic: Topic Name.
            payload: Application Message; str is sent as UTF-8.
            qos: 0, 1 or 2; subscribers get it with this or a lower one.
            retain: Whether later subscribers get it as well.
            properties: See `Properties`.

        Raises:
            RefusedError: the topic is not valid, or a limit is reached.
            ValueError: qos or a property is out of range.
            EngineError: the broker does not run.
        """
        data = payload.encode() if isinstance(payload, str) else payload
        message = Message(topic=topic, payload=data, qos=qos, retain=retain, **properties)
        await self._running().publish((message,))

    async def publish_batch(self, messages: Iterable[Message]) -> None:
        """Publishes messages in order: the way to publish many.

        Raises:
            RefusedError: the engine did not take all of them.
            EngineError: the broker does not run.
        """
        await self._running().publish(tuple(messages))

    def subscribe(self, topic_filter: str) -> Subscription:
        """Messages that match: `async for message in broker.subscribe("lab/#")`.

        Args:
            topic_filter: Topic Filter; `$share/…` is allowed. Retained messages are not among
                what comes, see `retained`.

        Raises:
            EngineError: the broker does not run.
        """
        return Subscription(self._running(), topic_filter)

    async def retained(self, topic_filter: str, *, maximum: int = RETAINED_MAX) -> list[Message]:
        """Retained messages that match, in no order.

        Args:
            topic_filter: Topic Filter.
            maximum: The most to return.

        Raises:
            RefusedError: the filter is not valid.
            EngineError: the broker does not run.
        """
        return await self._running().retained(topic_filter, maximum)

    async def sessions(self) -> list[SessionInfo]:
        """All sessions, connected or not, in no order.

        Raises:
            EngineError: the broker does not run.
        """
        return await self._running().sessions()

    def counters(self) -> Mapping[str, int]:
        """Numbers by name, such as `messages_received`; `_engine.pyi` and the docs explain them.

        Raises:
            EngineError: the broker does not run.
        """
        return {counter.name: counter.value for counter in self._running().engine.counters()}

    def events(self, *, capacity: int = EVENTS_MAX) -> EventStream:
        """What happens from now on: `async for batch in broker.events()`.

        Args:
            capacity: Events that wait for this stream; what comes beyond is dropped and counted.

        Raises:
            ValueError: `capacity` is less than 1.
        """
        return self._events.open(capacity)

    async def reload_tls(self) -> None:
        """Reads all certificates again; live connections stay as they are.

        A listener whose certificate cannot be used keeps its former one; the others get theirs.

        Raises:
            ConfigError: a file cannot be read.
            EngineError: one cannot be used, or several cannot be read or used.
        """
        link = self._running()

        def reload(index: int, name: str) -> None:
            tls = options.tls_options(self.config, index)
            if tls is not None:
                link.engine.reload_tls(name, tls)

        faults: dict[str, QuantumMQError] = {}
        for index, listener in enumerate(self.config.listeners):
            try:
                await asyncio.to_thread(reload, index, listener.name)
            except (ConfigError, EngineError) as error:
                faults[str(error)] = error
        if len(faults) > 1:
            raise EngineError("; ".join(faults))
        for fault in faults.values():
            raise fault

    async def failure(self) -> EngineError:
        """Waits for a fault of the engine, which should not come; the program should stop then.

        Raises:
            EngineError: the broker does not run, or was stopped without a fault.
        """
        link = self._running()
        link.check_loop()
        error = await asyncio.shield(link.failed)
        if error is None:
            raise EngineError("the broker stopped")
        return error

    def _running(self) -> Link:
        if self._link is None:
            raise EngineError("the broker is not running; use it inside `async with`")
        return self._link

    def _watch(self, on: bool) -> None:
        """Tells the engine whether events are wanted."""
        if self._link is not None:
            self._link.engine.watch_events(on)

    def _is_enhanced(self) -> bool:
        given = self._authenticators
        if isinstance(given, auth.Authenticators):
            return bool(given.methods)
        return given is None and self.config.authentication.scram_file is not None

    def _judge(self) -> Judge:
        given = self._authenticators
        if isinstance(given, auth.Authenticators):
            return given
        if given is not None:
            return _Single(given)
        self._built = auth.build(self.config, monotonic=self.clock.seconds)
        return self._built


class _Single:
    """One authenticator, asked about everything."""

    def __init__(self, authenticator: auth.Authenticator) -> None:
        self.authenticate = authenticator.authenticate

    def begin(self, request: auth.AuthenticationRequest) -> auth.Refusal:
        """There is no enhanced authentication."""
        del request
        return auth.Refusal(0x8C, "unknown authentication method")
