//! What crosses between the engine and its host (the Python process around it): frozen records,
//! in batches. The host's work is intent: who may connect, what to publish, what it listens to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::packet::UserProperties;
use crate::reason::ReasonCode;

/// A connection: its place in the shard's table, and a generation against reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionRef {
    /// Index in the shard's table of connections.
    pub slot: u32,
    /// Raised each time the slot is given again.
    pub generation: u32,
}

/// Who is at the other end of a transport.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// `192.0.2.1:4711`, `[::1]:4711`, or `unix`; the address in the PROXY header if one was read.
    pub address: Box<str>,
    /// The client's certificate, DER, if it showed one that verified.
    pub certificate: Option<Arc<[u8]>>,
}

/// A message in the shape the host sees; topics carry their mount point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostMessage {
    /// Topic Name.
    pub topic: Box<str>,
    /// Application Message.
    pub payload: Box<[u8]>,
    /// QoS: 0, 1 or 2.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// Message Expiry Interval left, in seconds.
    pub message_expiry_s: Option<u32>,
    /// Payload Format Indicator is 1.
    pub payload_is_utf8: bool,
    /// Content Type.
    pub content_type: Option<Box<str>>,
    /// Response Topic.
    pub response_topic: Option<Box<str>>,
    /// Correlation Data.
    pub correlation_data: Option<Box<[u8]>>,
    /// User Properties.
    pub user_properties: UserProperties,
}

/// What the host asks of a shard.
#[derive(Debug, Clone)]
pub enum HostCommand {
    /// Publish in order; answered by one `HostRecord::Completion` when what they promise is kept.
    Publish {
        /// Given back in the completion.
        token: u64,
        /// At least one.
        messages: Vec<HostMessage>,
    },
    /// Start a host subscription; answered by a completion with `id` as its token.
    Subscribe {
        /// Chosen by the host, unique.
        id: u64,
        /// Topic Filter; may be `$share/...`.
        filter: Box<str>,
        /// Bytes that wait for this subscription, and what was dropped.
        window: Arc<HostWindow>,
    },
    /// End a host subscription.
    Unsubscribe {
        /// As in `Subscribe`.
        id: u64,
    },
    /// The verdict about a parked connection.
    Answer(AuthenticationAnswer),
    /// List the shard's sessions; answered by `HostRecord::Sessions`.
    Sessions {
        /// Given back in the answer.
        token: u64,
    },
}

/// The bound of one host subscription, shared by the engine (adds) and the host (takes).
#[derive(Debug, Default)]
pub struct HostWindow {
    /// Bytes delivered and not yet taken by the host.
    pub bytes: AtomicU64,
    /// Messages dropped because the window was full.
    pub dropped: AtomicU64,
}

impl HostWindow {
    /// Takes `bytes` out of the window: the host has the messages.
    pub fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why a connection waits for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationStep {
    /// A CONNECT came.
    Connect,
    /// An AUTH with 0x18 came.
    Continue,
    /// An AUTH with 0x19 came.
    Reauthenticate,
}

/// A connection that is parked until the host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationRequest {
    /// The shard that waits.
    pub shard: u16,
    /// The connection that is parked.
    pub connection: ConnectionRef,
    /// Why.
    pub step: AuthenticationStep,
    /// Client Identifier; empty if the server is to assign one.
    pub client_id: Box<str>,
    /// User Name.
    pub username: Option<Box<str>>,
    /// Password.
    pub password: Option<Box<[u8]>>,
    /// Whose connection it is, in a re-authentication; empty before.
    pub user: Box<str>,
    /// Authentication Method.
    pub method: Option<Box<str>>,
    /// Authentication Data.
    pub data: Option<Box<[u8]>>,
    /// The listener's name.
    pub listener: Box<str>,
    /// The listener's mount point.
    pub mount_point: Box<str>,
    /// Who connects.
    pub peer: Peer,
    /// Protocol level: 3, 4 or 5.
    pub protocol_level: u8,
}

/// What the host decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let in, as `user`; `data` is the last Authentication Data of an exchange.
    Allow {
        /// The identity's name; sessions belong to it. Empty for anonymous.
        user: Box<str>,
        /// Authentication Data for CONNACK or AUTH.
        data: Option<Box<[u8]>>,
        /// Client Identifier to use in place of an empty one.
        assigned_client_id: Option<Box<str>>,
    },
    /// Send AUTH 0x18 with this data and wait for the next step.
    Continue {
        /// Authentication Data.
        data: Box<[u8]>,
    },
    /// Refuse with this Reason Code (0x80 and above).
    Refuse {
        /// For CONNACK or DISCONNECT.
        reason: ReasonCode,
        /// Reason String, public.
        reason_string: Option<Box<str>>,
    },
}

/// The answer to an `AuthenticationRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationAnswer {
    /// From the request.
    pub shard: u16,
    /// From the request.
    pub connection: ConnectionRef,
    /// What was decided.
    pub verdict: Verdict,
}

/// What happened, for logs and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A client is connected: CONNACK 0x00 was sent.
    Connected,
    /// A connection that was connected ended; `reason` says how.
    Disconnected,
    /// A CONNECT was refused with `reason`.
    Refused,
    /// A connection ended before its CONNECT was complete.
    Aborted,
    /// A session ended (expired or deleted).
    SessionEnded,
    /// A subscription was made or changed; `detail` is the filter.
    Subscribed,
    /// A subscription ended; `detail` is the filter.
    Unsubscribed,
    /// The store has something to say, in `detail`; `reason` is above 0x80 if it is trouble.
    Store,
    /// Messages were dropped; `count` of them since the last such event, `detail` says why.
    Dropped,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Engine time in milliseconds.
    pub time_ms: u64,
    /// What happened.
    pub kind: EventKind,
    /// Whose.
    pub client_id: Box<str>,
    /// The identity's name, or empty.
    pub user: Box<str>,
    /// The listener's name, or empty.
    pub listener: Box<str>,
    /// The peer's address, or empty.
    pub peer: Box<str>,
    /// Reason Code, 0 where none applies.
    pub reason: ReasonCode,
    /// A filter, a cause: a short text; never a secret.
    pub detail: Box<str>,
    /// How many; 1 where it does not count.
    pub count: u64,
}

impl Event {
    /// Bytes of its texts.
    pub fn text_bytes(&self) -> usize {
        self.client_id.len()
            + self.user.len()
            + self.listener.len()
            + self.peer.len()
            + self.detail.len()
    }
}

/// A session as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Client Identifier.
    pub client_id: Box<str>,
    /// Mount point, part of the session's key.
    pub mount_point: Box<str>,
    /// Whose session it is; empty for anonymous.
    pub user: Box<str>,
    /// Whether a connection is there now.
    pub connected: bool,
    /// Protocol level of the last connection: 3, 4 or 5.
    pub protocol_level: u8,
    /// The peer's address while connected.
    pub peer: Box<str>,
    /// The listener's name while connected.
    pub listener: Box<str>,
    /// Session Expiry Interval in seconds.
    pub session_expiry_s: u32,
    /// Number of subscriptions.
    pub subscriptions: u32,
    /// Messages waiting.
    pub queued_messages: u32,
    /// Bytes waiting.
    pub queued_bytes: u64,
    /// QoS 1 and 2 messages sent and not acknowledged.
    pub inflight: u32,
    /// Messages dropped for this session since it began.
    pub dropped: u64,
}

/// What the engine tells its host.
#[derive(Debug, Clone)]
pub enum HostRecord {
    /// Something happened.
    Event(Event),
    /// A connection waits for a decision.
    Authenticate(AuthenticationRequest),
    /// A message for a host subscription; its size counts against the window until released.
    Delivery {
        /// The subscription's id.
        id: u64,
        /// The message.
        message: HostMessage,
        /// Bytes to release from the window.
        bytes: u64,
    },
    /// A command is done.
    Completion {
        /// The command's token.
        token: u64,
        /// 0x00, or why not.
        reason: ReasonCode,
    },
    /// An event loop ended by a fault of ours: the host must stop.
    Failed {
        /// What the fault said.
        detail: Box<str>,
    },
    /// A shard's sessions.
    Sessions {
        /// The command's token.
        token: u64,
        /// All of the shard's.
        sessions: Vec<SessionInfo>,
    },
}
