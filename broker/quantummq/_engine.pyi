"""The native module: the engine, its options, and the records that cross the door.

This file is the contract between Rust and Python. What crosses is bytes, str, int and frozen
records, in batches. No method holds the interpreter's lock while it waits; engine threads never
take it. Only `quantummq.engine` imports this module.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, final

from quantummq.errors import QuantumMQError

__all__ = [
    "AuthenticationAnswer",
    "AuthenticationRequest",
    "Completion",
    "Counter",
    "Delivery",
    "Engine",
    "EngineError",
    "EngineOptions",
    "Event",
    "Failure",
    "ListenerOptions",
    "Message",
    "SessionInfo",
    "Sessions",
    "StoreOptions",
    "TlsOptions",
]

class EngineError(QuantumMQError):
    """The engine refused, or failed: the message says what, where and what to do.

    A panic in Rust is one too; its message begins with `internal error`.
    """

@final
class EngineOptions:
    """What holds for the whole engine. Each bound has its policy in `quantummq.config.limits`."""

    def __new__(
        cls,
        *,
        shards: int,
        pin_cpus: Sequence[int],
        seed: int,
        manual_clock: bool,
        connections: int,
        sessions: int,
        session_queue_messages: int,
        session_queue_bytes: int,
        session_queue_overflow: str,
        queued_messages: int,
        queued_bytes: int,
        queued_memory_bytes: int,
        subscriptions_per_session: int,
        subscriptions: int,
        subscription_bytes_per_session: int,
        subscription_bytes: int,
        retained_messages: int,
        retained_bytes: int,
        output_bytes: int,
        output_bytes_total: int,
        input_bytes_total: int,
        match_cache_entries: int,
        host_records: int,
        host_subscription_bytes: int,
        authentications: int,
        decision_timeout_ms: int,
    ) -> EngineOptions:
        """Checks and keeps the options.

        Args:
            shards: Event loops, one thread each; 1 or more.
            pin_cpus: The CPU of each shard's thread; empty: the kernel chooses.
            seed: Seed of the engine's random choices, 64 bits.
            manual_clock: Whether time stands still but for `Engine.advance`.
            connections: Connections in all; one more is closed at once.
            sessions: Sessions in all; a new one is refused with 0x97.
            session_queue_messages: Messages in one session's queue; the oldest is dropped.
            session_queue_overflow: At these two: "drop_oldest", "drop_newest" or "reject".
            session_queue_bytes: Bytes in one session's queue; the oldest is dropped.
            queued_messages: Messages in all queues; a new one is dropped.
            queued_bytes: Bytes in all queues; a new one is dropped.
            queued_memory_bytes: Bytes of those kept in memory; others are read back from the store.
            subscriptions_per_session: Subscriptions of a session; SUBACK says 0x97.
            subscriptions: Subscriptions in all; SUBACK says 0x97.
            subscription_bytes_per_session: Bytes of one session's filters.
            subscription_bytes: Bytes of all filters.
            retained_messages: Retained messages; a new topic is refused with 0x97.
            retained_bytes: Bytes of all retained messages; a new topic is refused with 0x97.
            output_bytes: Bytes waiting for one connection; QoS 0 is dropped for it.
            output_bytes_total: Bytes waiting on a shard; QoS 0 is dropped for slow readers.
            input_bytes_total: Bytes of incomplete packets on a shard; the largest are given up.
            match_cache_entries: Topic names a shard remembers; then it starts afresh.
            host_records: Records waiting for `drain`; events are dropped.
            host_subscription_bytes: Bytes waiting for one host subscription; then messages for
                it are dropped.
            authentications: CONNECTs waiting for an answer; one more gets 0x89.
            decision_timeout_ms: How long an answer may take; then it is no.

        Raises:
            ValueError, OverflowError: a number is out of range.
        """

@final
class TlsOptions:
    """A listener's certificates. Shows nothing of the key."""

    def __new__(
        cls,
        *,
        certificate_chain: bytes,
        private_key: bytes,
        client_ca: bytes | None,
        client_certificate: Literal["none", "optional", "require"],
        minimum_version: Literal["1.2", "1.3"],
    ) -> TlsOptions:
        """Keeps them; they are read when the engine starts or reloads.

        Args:
            certificate_chain: The certificate, then its intermediates, PEM.
            private_key: PKCS#8, PKCS#1 or SEC1, PEM.
            client_ca: The authorities client certificates come from, PEM.
            client_certificate: Whether clients show a certificate.
            minimum_version: The oldest TLS version spoken.

        Raises:
            ValueError: `client_certificate` or `minimum_version` is not one of those named.
        """

@final
class StoreOptions:
    """Where what lasts is kept, and how surely; see `quantummq.config.store`."""

    def __new__(
        cls,
        *,
        folder: Path,
        profile: str,
        stops_on_damage: bool,
        reserve_bytes: int,
        wal_bytes_max: int,
    ) -> StoreOptions:
        """Checks and keeps the options; nothing is opened yet.

        Args:
            folder: The data folder; one broker at a time.
            profile: `safe`, `card` or `fast`.
            stops_on_damage: Whether a damaged file is a reason not to start.
            reserve_bytes: Size of the file given up when the disk is full.
            wal_bytes_max: The write-ahead log's limit; above it new messages are refused.
        """

@final
class ListenerOptions:
    """One listener: where it listens, what it speaks, what it grants."""

    def __new__(
        cls,
        *,
        name: str,
        address: str,
        unix_mode: int,
        backlog: int,
        connections: int,
        tls: TlsOptions | None,
        mqtt: bool,
        websocket: bool,
        websocket_path: str | None,
        websocket_origins: Sequence[str],
        proxy_trusted: Sequence[str] | None,
        mount_point: str,
        authenticate: bool,
        enhanced_authentication: bool,
        maximum_packet_size: int,
        receive_maximum: int,
        inflight_maximum: int,
        topic_alias_maximum: int,
        topic_alias_maximum_out: int,
        maximum_qos: int,
        retain_available: bool,
        keep_alive_max_s: int,
        session_expiry_max_s: int,
        connect_timeout_ms: int,
        response_information: str,
        server_reference: str,
        redirect: int,
    ) -> ListenerOptions:
        """Checks and keeps the options.

        Args:
            name: For events and errors; unique.
            address: `192.0.2.1:1883`, `[::1]:1883` (port 0: any free one) or `unix:/path`.
            unix_mode: Permission bits of a Unix socket.
            backlog: Length of the kernel's accept queue.
            connections: Connections through this listener; one more is closed at once.
            tls: If given, connections begin with a TLS handshake.
            mqtt: Whether MQTT without WebSocket is accepted.
            websocket: Whether MQTT in WebSocket is accepted.
            websocket_path: The only request path answered; None: any.
            websocket_origins: Values of the Origin header let in; requests without it always are.
            proxy_trusted: If given, each connection begins with a PROXY header, accepted only
                from these networks (`192.0.2.0/24`).
            mount_point: Prefix of topic names and filters, or empty.
            authenticate: Whether each CONNECT becomes an `AuthenticationRequest`.
            enhanced_authentication: Whether an Authentication Method may be used.
            maximum_packet_size: Bytes of the largest packet accepted.
            receive_maximum: QoS 1 and 2 messages a client may have unacknowledged.
            inflight_maximum: QoS 1 and 2 messages left unacknowledged towards a client.
            topic_alias_maximum: Topic aliases a client may use.
            topic_alias_maximum_out: Topic aliases used towards a client.
            maximum_qos: 0, 1 or 2.
            retain_available: Whether RETAIN is allowed.
            keep_alive_max_s: The largest Keep Alive; 0: no bound.
            session_expiry_max_s: The largest Session Expiry Interval; 0xFFFFFFFF: no bound.
            connect_timeout_ms: From accept to a complete CONNECT, all handshakes included.
            response_information: For clients that ask for it, or empty.
            server_reference: Sent with 0x9C and 0x9D, or empty.
            redirect: 0, or the Reason Code (0x9C, 0x9D) that answers every CONNECT.

        Raises:
            ValueError, OverflowError: an address, a network or a number cannot be used.
        """

@final
class Message:
    """An application message, the same in both directions. Topics carry their mount point."""

    def __new__(
        cls,
        *,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        message_expiry_s: int | None = None,
        payload_is_utf8: bool = False,
        content_type: str | None = None,
        response_topic: str | None = None,
        correlation_data: bytes | None = None,
        user_properties: Sequence[tuple[str, str]] | None = None,
    ) -> Message:
        """Checks sizes and keeps the message; the engine checks the topic when it is published.

        Args:
            topic: Topic Name.
            payload: Application Message.
            qos: 0, 1 or 2.
            retain: RETAIN.
            message_expiry_s: Message Expiry Interval in seconds.
            payload_is_utf8: Payload Format Indicator is 1.
            content_type: Content Type.
            response_topic: Response Topic.
            correlation_data: Correlation Data.
            user_properties: Names and values, in order.

        Raises:
            ValueError: qos is not 0, 1 or 2, a string is not UTF-8 of at most 65,535 bytes without
                null characters, or the Response Topic has wildcards.
            OverflowError: a number is out of range.

        Source: MQTT 5 §3.3.
        """

    @property
    def topic(self) -> str:
        """Topic Name."""

    @property
    def payload(self) -> bytes:
        """Application Message."""

    @property
    def qos(self) -> int:
        """0, 1 or 2."""

    @property
    def retain(self) -> bool:
        """RETAIN."""

    @property
    def message_expiry_s(self) -> int | None:
        """Message Expiry Interval left, in seconds."""

    @property
    def payload_is_utf8(self) -> bool:
        """Whether the Payload Format Indicator is 1."""

    @property
    def content_type(self) -> str | None:
        """Content Type."""

    @property
    def response_topic(self) -> str | None:
        """Response Topic."""

    @property
    def correlation_data(self) -> bytes | None:
        """Correlation Data."""

    @property
    def user_properties(self) -> tuple[tuple[str, str], ...]:
        """User Properties, names and values in order."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class AuthenticationRequest:
    """A connection is parked until it is answered, or until the engine's time limit says no.

    Shows neither password nor Authentication Data.
    """

    @property
    def shard(self) -> int:
        """The shard that waits; with `slot` and `generation` it names the connection."""

    @property
    def slot(self) -> int:
        """The connection's place on its shard."""

    @property
    def generation(self) -> int:
        """Raised each time the slot is given again."""

    @property
    def step(self) -> Literal["connect", "continue", "reauthenticate"]:
        """A CONNECT, an AUTH with 0x18, or an AUTH with 0x19 came."""

    @property
    def client_id(self) -> str:
        """Client Identifier; empty if the server is to assign one."""

    @property
    def username(self) -> str | None:
        """User Name."""

    @property
    def password(self) -> bytes | None:
        """Password."""

    @property
    def method(self) -> str | None:
        """Authentication Method."""

    @property
    def data(self) -> bytes | None:
        """Authentication Data."""

    @property
    def listener(self) -> str:
        """The listener's name."""

    @property
    def mount_point(self) -> str:
        """The listener's mount point."""

    @property
    def peer(self) -> str:
        """`192.0.2.1:4711`, `[::1]:4711` or `unix`."""

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate, DER, if it showed one that verified."""

    @property
    def user(self) -> str:
        """On re-authentication, whose connection it is; else empty."""

    @property
    def protocol_level(self) -> int:
        """3, 4 or 5: MQTT 3.1, 3.1.1 or 5."""

@final
class AuthenticationAnswer:
    """What was decided about a request. One that comes too late has no effect."""

    @staticmethod
    def allow(
        request: AuthenticationRequest,
        *,
        user: str,
        data: bytes | None = None,
        assigned_client_id: str | None = None,
    ) -> AuthenticationAnswer:
        """Lets the client in.

        Args:
            request: The question.
            user: The identity's name, to which sessions belong; empty for anonymous.
            data: The last Authentication Data of an exchange.
            assigned_client_id: In place of an empty Client Identifier.

        Raises:
            ValueError: `assigned_client_id` is no Client Identifier.
        """

    @staticmethod
    def proceed(request: AuthenticationRequest, *, data: bytes) -> AuthenticationAnswer:
        """Sends AUTH 0x18 with `data`; the client's next step is another request.

        Args:
            request: The question.
            data: Authentication Data.
        """

    @staticmethod
    def refuse(
        request: AuthenticationRequest, *, reason: int, reason_string: str | None = None
    ) -> AuthenticationAnswer:
        """Turns the client away.

        Args:
            request: The question.
            reason: Reason Code, 0x80 or above, for CONNACK or DISCONNECT; one that the packet may
                not have becomes the nearest that it may.
            reason_string: Reason String; the client sees it.

        Raises:
            ValueError: `reason` is below 0x80, or `reason_string` is too long or not for the wire.
        """

@final
class Event:
    """Something happened. Further kinds may come; skip those you do not know."""

    @property
    def time_ms(self) -> int:
        """Engine time in milliseconds: of the machine since its start, or of a manual clock."""

    @property
    def kind(self) -> str:
        """What happened.

        - `connected`: CONNACK 0x00 was sent.
        - `disconnected`: a connected client's connection ended; `reason` is that of the DISCONNECT,
          whoever sent it, or 0x80 with the cause in `detail`.
        - `refused`: a CONNECT was refused with `reason`. Without `client_id` and with 0x97:
          `count` connections were closed at the door since the last such event, `detail` says why.
        - `aborted`: a connection ended before a complete CONNECT; `detail` says why.
        - `session_ended`: a session expired or was deleted.
        - `store`: the store has something to say, in `detail`; `reason` is above 0x7F if it is
          trouble.
        - `subscribed`: `detail` is the topic filter, `reason` the granted QoS.
        - `unsubscribed`: `detail` is the topic filter.
        - `dropped`: `count` messages for this session were since the last such event.
        """

    @property
    def client_id(self) -> str:
        """Whose; empty if there is none."""

    @property
    def user(self) -> str:
        """The identity's name, or empty."""

    @property
    def listener(self) -> str:
        """The listener's name, or empty."""

    @property
    def peer(self) -> str:
        """The peer's address, or empty."""

    @property
    def reason(self) -> int:
        """Reason Code; 0 where none applies."""

    @property
    def detail(self) -> str:
        """A topic filter or a cause; never a secret."""

    @property
    def count(self) -> int:
        """How many; 1 where it does not count."""

@final
class Delivery:
    """Messages of one host subscription, in order; they fill its window until released."""

    @property
    def subscription(self) -> int:
        """The id given to `Engine.subscribe`."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """At least one."""

    @property
    def bytes(self) -> int:
        """To be given to `Engine.release`."""

@final
class Completion:
    """A command is done."""

    @property
    def token(self) -> int:
        """The token of `publish`, or the id of `subscribe`."""

    @property
    def reason(self) -> int:
        """Reason Code: below 0x80 it is done, else it says why not."""

@final
class Failure:
    """An event loop ended by a fault of ours: the engine is to be stopped."""

    @property
    def detail(self) -> str:
        """What the fault said."""

@final
class SessionInfo:
    """A session as it was when it was asked for."""

    @property
    def client_id(self) -> str:
        """Client Identifier."""

    @property
    def mount_point(self) -> str:
        """With the Client Identifier it names the session."""

    @property
    def user(self) -> str:
        """Whose it is; empty for anonymous."""

    @property
    def connected(self) -> bool:
        """Whether a connection is there."""

    @property
    def protocol_level(self) -> int:
        """3, 4 or 5, of the last connection."""

    @property
    def peer(self) -> str:
        """The peer's address while connected."""

    @property
    def listener(self) -> str:
        """The listener's name while connected."""

    @property
    def session_expiry_s(self) -> int:
        """Session Expiry Interval; 0xFFFFFFFF: never."""

    @property
    def subscriptions(self) -> int:
        """How many it has."""

    @property
    def queued_messages(self) -> int:
        """Messages waiting."""

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting."""

    @property
    def inflight(self) -> int:
        """QoS 1 and 2 messages sent and not acknowledged."""

    @property
    def dropped(self) -> int:
        """Messages dropped for it since it began."""

@final
class Sessions:
    """The sessions of one shard, as asked for with `Engine.sessions`."""

    @property
    def token(self) -> int:
        """The command's."""

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """All of them, in no order."""

@final
class Counter:
    """A number that the engine keeps, summed over its shards."""

    @property
    def name(self) -> str:
        """Such as `messages_received`; docs/reference lists them."""

    @property
    def value(self) -> int:
        """Since the start, or now where the name is of a state."""

@final
class Engine:
    """Listeners and event loops. May be called from any thread.

    Every method but `start` raises `EngineError` before `start` has succeeded.
    """

    def __new__(
        cls,
        options: EngineOptions,
        listeners: Sequence[ListenerOptions],
        store: StoreOptions | None,
    ) -> Engine:
        """Keeps the options; nothing is opened yet.

        Args:
            options: For the whole engine.
            listeners: Each with a name of its own.
            store: Where what lasts is kept; None: nowhere.
        """

    def start(self) -> list[str]:
        """Binds every listener and starts the event loops.

        Returns:
            The addresses in the order of the listeners, with the ports that were given:
            `tcp://127.0.0.1:40123`, `tls://…`, `ws://…`, `wss://…`, `unix:/path`. Each accepts.

        Raises:
            EngineError: an address or a certificate cannot be used, or it was started before.
        """

    def fileno(self) -> int:
        """A descriptor that is readable while records wait."""

    def drain(
        self, maximum: int
    ) -> list[Event | AuthenticationRequest | Delivery | Completion | Sessions | Failure]:
        """Takes what waits, oldest first; deliveries of one subscription come as one record.

        Args:
            maximum: Of the engine's records; a message of a delivery is one.
        """

    def watch_events(self, on: bool) -> None:
        """Whether events are recorded; at first they are not.

        Args:
            on: True from now on, False no longer.
        """

    def answer(self, answers: Sequence[AuthenticationAnswer]) -> None:
        """Lets parked connections go on.

        Args:
            answers: Any number, in any order.
        """

    def publish(self, token: int, messages: Sequence[Message]) -> None:
        """Publishes in order; one `Completion` comes when what they promise is kept.

        Args:
            token: Given back in the completion.
            messages: At least one.

        Raises:
            ValueError: there are no messages.
        """

    def subscribe(self, subscription: int, topic_filter: str) -> None:
        """Starts a host subscription; a `Completion` with its id as token says how it went.

        Args:
            subscription: An id not in use, neither by a subscription nor as a token.
            topic_filter: Topic Filter; `$share/…` is allowed.

        Raises:
            EngineError: the id is in use.
        """

    def unsubscribe(self, subscription: int) -> None:
        """Ends a host subscription; an unknown id is no error.

        Args:
            subscription: As in `subscribe`. Deliveries under way may still come.
        """

    def release(self, subscription: int, size: int) -> None:
        """Makes room in a subscription's window: its messages were taken.

        Args:
            subscription: As in `subscribe`; an unknown id is no error.
            size: `bytes` of the deliveries taken.
        """

    def dropped(self, subscription: int) -> int:
        """Messages dropped because the subscription's window was full; 0 for an unknown id.

        Args:
            subscription: As in `subscribe`.
        """

    def retained(self, topic_filter: str, maximum: int) -> list[Message]:
        """Retained messages that match, in no order.

        Args:
            topic_filter: Topic Filter, not a shared one.
            maximum: The most to return.

        Raises:
            ValueError: the filter is not valid.
        """

    def sessions(self, token: int) -> int:
        """Asks each shard for its sessions.

        Args:
            token: Given back in each `Sessions` record.

        Returns:
            How many such records will come.
        """

    def counters(self) -> list[Counter]:
        """All counters, summed over the shards."""

    def reload_tls(self, listener: str, tls: TlsOptions) -> None:
        """Uses other certificates for new connections; live ones stay as they are.

        Args:
            listener: Its name.
            tls: What to use from now on.

        Raises:
            EngineError: they cannot be used; the former ones stay in use.
        """

    def advance(self, milliseconds: int) -> None:
        """Moves a manual clock; returns when every shard has run the timers due.

        Args:
            milliseconds: How far.
        """

    def stop(self, deadline_ms: int) -> bool:
        """Ends gracefully: no new connections, DISCONNECT 0x8B, then the threads.

        Args:
            deadline_ms: Until connections that still have something to send are cut.

        Returns:
            Whether all was sent. A call while another waits may bring its deadline nearer, and
            waits as well; one after it only answers.
        """
