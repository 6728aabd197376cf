//! Every bound of the engine in one place, with its default. Nothing grows past these.

/// The largest packet there can be: a Remaining Length has four bytes (MQTT 5 §1.5.5).
pub const PACKET_SIZE_LARGEST: u32 = 268_435_460;

/// Bounds that hold for the whole broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Messages in one session's queue; at the limit the oldest is dropped and counted.
    pub session_queue_messages: u32,
    /// Bytes in one session's queue (topic, properties and payload); same policy. A lasting session
    /// with as much under way and not acknowledged is sent no more: it waits in the queue.
    pub session_queue_bytes: u64,
    /// What happens at these two.
    pub session_queue_overflow: Overflow,
    /// Messages in all queues together; at the limit a new one is dropped and counted.
    pub queued_messages: u64,
    /// Bytes in all queues, under way to lasting sessions, in wills and in the long names of
    /// sessions together; same policy, and a CONNECT whose will or name does not fit is refused
    /// with 0x97.
    pub queued_bytes: u64,
    /// Bytes of queued messages kept in memory; above it those that the store has are read back
    /// from there when they are sent.
    pub queued_memory_bytes: u64,
    /// Sessions, connected or not; at the limit a new one is refused with 0x97.
    pub sessions: u32,
    /// Subscriptions of one session; at the limit SUBACK says 0x97.
    pub subscriptions_per_session: u32,
    /// Subscriptions in all; at the limit SUBACK says 0x97.
    pub subscriptions: u32,
    /// Bytes of one session's filters; at the limit SUBACK says 0x97.
    pub subscription_bytes_per_session: u64,
    /// Bytes of all filters; at the limit SUBACK says 0x97.
    pub subscription_bytes: u64,
    /// Retained messages; at the limit a new topic is refused with 0x97.
    pub retained_messages: u32,
    /// Bytes of all retained messages; same policy.
    pub retained_bytes: u64,
    /// Bytes waiting in one connection's output buffer before QoS 0 is dropped for it.
    pub output_bytes: u32,
    /// Bytes waiting in all output buffers of a shard before QoS 0 is dropped for slow ones.
    pub output_bytes_total: u64,
    /// Bytes of incomplete packets of a shard; above it whoever adds to one that is larger than
    /// 64 KiB is disconnected with 0x97.
    pub input_bytes_total: u64,
    /// Entries of a shard's match cache; at the limit it starts afresh.
    pub match_cache_entries: u32,
    /// Records waiting for the host; at the limit events are dropped and counted.
    pub host_records: u32,
    /// Bytes of messages waiting for one host subscription; at the limit they are dropped and
    /// counted.
    pub host_subscription_bytes: u64,
    /// Connections whose CONNECT waits for the host; at the limit 0x89, Server busy.
    pub authentications: u32,
    /// How long the host may take over a decision, in milliseconds; then the answer is no.
    pub decision_timeout_ms: u64,
}

/// What happens to a message for a session whose queue is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The oldest message goes.
    #[default]
    DropOldest,
    /// The new one does.
    DropNewest,
    /// The new one is refused with 0x97 before anybody gets it; before MQTT 5 its publisher is
    /// disconnected.
    Reject,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session_queue_messages: 100_000,
            session_queue_bytes: 64 << 20,
            session_queue_overflow: Overflow::DropOldest,
            queued_messages: 1_000_000,
            queued_bytes: 1 << 30,
            queued_memory_bytes: 64 << 20,
            sessions: 1_000_000,
            subscriptions_per_session: 100_000,
            subscriptions: 10_000_000,
            subscription_bytes_per_session: 16 << 20,
            subscription_bytes: 1 << 30,
            retained_messages: 1_000_000,
            retained_bytes: 1 << 30,
            // 16 MiB: a burst of 100,000 small messages passes, a stalled reader costs no more.
            output_bytes: 16 << 20,
            output_bytes_total: 512 << 20,
            input_bytes_total: 512 << 20,
            match_cache_entries: 131_072,
            host_records: 65_536,
            host_subscription_bytes: 16 << 20,
            authentications: 1_024,
            decision_timeout_ms: 2_000,
        }
    }
}

/// What one listener grants to those who connect through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerProfile {
    /// Its name in the configuration, for events.
    pub name: Box<str>,
    /// Prefix of topic names and filters, or empty.
    pub mount_point: Box<str>,
    /// Whether CONNECT needs a verdict of the host; otherwise everyone is let in as they are.
    pub authenticate: bool,
    /// Whether an Authentication Method may be used (the host decides which).
    pub enhanced_authentication: bool,
    /// Maximum Packet Size accepted, in bytes.
    pub maximum_packet_size: u32,
    /// Receive Maximum announced: QoS 1 and 2 messages a client may have unacknowledged.
    pub receive_maximum: u16,
    /// QoS 1 and 2 messages we leave unacknowledged towards a client, besides its own limit.
    pub inflight_maximum: u16,
    /// Topic Alias Maximum announced.
    pub topic_alias_maximum: u16,
    /// Topic aliases we use towards a client, besides its own limit.
    pub topic_alias_maximum_out: u16,
    /// Maximum QoS granted: 0, 1 or 2.
    pub maximum_qos: u8,
    /// Whether RETAIN is allowed.
    pub retain_available: bool,
    /// The largest Keep Alive in seconds, announced as Server Keep Alive; 0 for no bound.
    pub keep_alive_max_s: u16,
    /// The largest Session Expiry Interval in seconds; 0xFFFFFFFF for no bound.
    pub session_expiry_max_s: u32,
    /// Milliseconds from accept to a complete CONNECT, all handshakes included.
    pub connect_timeout_ms: u64,
    /// Response Information prefix given to those who ask, or empty for none.
    pub response_information: Box<str>,
    /// Server Reference sent with 0x9C and 0x9D, or empty.
    pub server_reference: Box<str>,
    /// If not 0, every CONNECT is answered with this Reason Code (0x9C or 0x9D) and the reference.
    pub redirect: u8,
}

impl Default for ListenerProfile {
    fn default() -> Self {
        Self {
            name: "default".into(),
            mount_point: "".into(),
            authenticate: false,
            enhanced_authentication: false,
            // 1 MiB would be safer, but 256 MiB packets are what the standard allows; the
            // configuration's default is lower.
            maximum_packet_size: PACKET_SIZE_LARGEST,
            receive_maximum: 65_535,
            inflight_maximum: 65_535,
            topic_alias_maximum: 32,
            topic_alias_maximum_out: 32,
            maximum_qos: 2,
            retain_available: true,
            keep_alive_max_s: 0,
            session_expiry_max_s: u32::MAX,
            connect_timeout_ms: 10_000,
            response_information: "".into(),
            server_reference: "".into(),
            redirect: 0,
        }
    }
}
