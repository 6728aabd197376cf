"""Table `[limits]`: the bounds of the whole broker, and what happens at each."""

from typing import Literal

from pydantic import Field

from quantummq.config.table import Bytes, Count, Seconds, Table

_MIB = 1024 * 1024


class Limits(Table):
    """Bounds of the whole broker. Nothing grows past these, and each drop is counted."""

    connections: Count = Field(
        default=10_000,
        description="Connections of all listeners together; one more is closed at once.",
    )
    sessions: Count = Field(
        default=1_000_000,
        description="Sessions, connected or not; a new one is refused with 0x97.",
    )
    session_queue_messages: Count = Field(
        default=100_000,
        description="Messages waiting in one session's queue; the oldest is dropped.",
    )
    session_queue_bytes: Bytes = Field(
        default=64 * _MIB,
        description="Bytes waiting in one session's queue; the oldest message is dropped. With as "
        "many sent and not acknowledged, a session that lasts is sent no more until it answers.",
    )
    session_queue_overflow: Literal["drop_oldest", "drop_newest", "reject"] = Field(
        default="drop_oldest",
        description="What happens when a session's queue is at its limit. drop_oldest and "
        "drop_newest lose a message, counted and told by an event. reject: PUBACK and PUBREC say "
        "0x97, and before MQTT 5 the publisher is disconnected.",
    )
    queued_messages: Bytes = Field(
        default=1_000_000,
        description="Messages waiting in all queues together; a new one is dropped.",
    )
    queued_bytes: Bytes = Field(
        default=1024 * _MIB,
        description="Bytes of all queues, wills, messages that lasting sessions have not "
        "acknowledged, and names of sessions above 256 bytes; a new message is dropped, a CONNECT "
        "whose will or name does not fit gets 0x97.",
    )
    queued_memory_bytes: Bytes = Field(
        default=64 * _MIB,
        description="Bytes of queued messages kept in memory; above it those that the store has "
        "are read back from there when they are delivered.",
    )
    subscriptions_per_session: Count = Field(
        default=100_000,
        description="Subscriptions of one session, and filters of one SUBSCRIBE that are looked "
        "at; SUBACK answers 0x97.",
    )
    subscriptions: Count = Field(
        default=10_000_000, description="Subscriptions in all; SUBACK answers 0x97."
    )
    subscription_bytes_per_session: Bytes = Field(
        default=16 * _MIB,
        description="Bytes of one session's filters; SUBACK answers 0x97. Levels beyond the eighth "
        "of a filter with wildcards count 64 bytes more each.",
    )
    subscription_bytes: Bytes = Field(
        default=1024 * _MIB,
        description="Bytes of all filters, counted likewise; SUBACK answers 0x97.",
    )
    retained_messages: Count = Field(
        default=1_000_000, description="Retained messages; a new topic is refused with 0x97."
    )
    retained_bytes: Bytes = Field(
        default=1024 * _MIB,
        description="Bytes of all retained messages; a new topic is refused with 0x97.",
    )
    output_bytes: int = Field(
        default=16 * _MIB,
        ge=64 * 1024,
        le=2**32 - 1,
        description="Bytes waiting to be sent on one connection before QoS 0 is dropped for it.",
    )
    output_bytes_total: Bytes = Field(
        default=512 * _MIB,
        description="Bytes waiting to be sent on one shard before QoS 0 is dropped for those "
        "who read slowly.",
    )
    input_bytes_total: Bytes = Field(
        default=512 * _MIB,
        description="Bytes of incomplete packets on one shard; above it whoever adds to one "
        "larger than 64 KiB is disconnected with 0x97.",
    )
    match_cache_entries: Count = Field(
        default=131_072,
        description="Topic names whose receivers a shard remembers; then it starts afresh.",
    )
    host_records: Count = Field(
        default=65_536,
        description="Events and decisions waiting for Python; then events are dropped.",
    )
    host_subscription_bytes: Bytes = Field(
        default=16 * _MIB,
        description="Bytes of messages waiting for one subscription made from Python; "
        "then they are dropped.",
    )
    authentications: Count = Field(
        default=1_024,
        description="CONNECTs waiting for a decision; one more is refused with 0x89.",
    )
    decision_timeout_s: Seconds = Field(
        default=2.0, description="Seconds an authenticator may take; then the answer is no."
    )
