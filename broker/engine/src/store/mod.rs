//! The store: what lasts. The engine tells it each change before it answers, and answers when the
//! change is committed: each answer that promises something carries the ticket it waits for.
//!
//! | sent by the broker | waits for the commit of |
//! |---|---|
//! | PUBACK | the message for all its lasting receivers, and its retained change |
//! | PUBREC | the same, and the Packet Identifier of a lasting publisher |
//! | PUBCOMP to a lasting publisher | removal of that identifier |
//! | PUBLISH QoS 2 | what its publisher's PUBREC waits for |
//! | PUBLISH QoS 2 to a lasting receiver | also the identifier it is sent under |
//! | PUBREL to a lasting receiver | "PUBREC received" for that identifier |
//! | SUBACK, UNSUBACK of a lasting session | the change |
//! | CONNACK | creation, change or deletion of a lasting session, and its will |

mod memory;
mod recovered;

use std::sync::Arc;

pub use memory::MemoryStore;
pub use recovered::{Recovered, StoredDelivery, StoredExchange, StoredSession, StoredStage};

use crate::message::SharedMessage;
use crate::router::{QueueRef, SubscriptionOptions};

/// The number of the group that commits a change; those of all shards compare. 0: nothing to
/// wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// What the store calls a lasting session: never given twice, 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub u64);

/// A lasting session that a message is for, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Where it lives now; not stored.
    pub queue: QueueRef,
    /// What it is called in the store.
    pub session: SessionId,
    /// The terms of its delivery.
    pub terms: StoredTerms,
}

/// How one receiver gets a message, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct StoredTerms {
    /// QoS: 1 or 2.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// The shared group it came through: `ShareName/filter`, mount point before the filter; or
    /// empty.
    pub group: Box<str>,
    /// Subscription Identifiers.
    pub identifiers: Box<[u32]>,
}

/// The lasting receivers of one message; a delivery is its index here. Often the same list for
/// many messages: then it is the same `Arc`.
pub type Receivers = Arc<[Receiver]>;

/// A message that a change names: still in memory, or known by its number.
#[derive(Debug, Clone)]
pub enum MessageRef {
    /// Its number is read when the writer takes the change; 0 then means that the writer has yet
    /// to see the message.
    Held(SharedMessage),
    /// Its number in the log.
    Number(u64),
}

impl MessageRef {
    /// Its number, or 0.
    pub fn number(&self) -> u64 {
        match self {
            Self::Held(message) => message.number(),
            Self::Number(number) => *number,
        }
    }
}

/// A will as it is stored (MQTT 5 §3.1.2.5).
#[derive(Debug, Clone)]
pub struct StoredWill {
    /// The will; its own expiry is `expiry_s`.
    pub message: SharedMessage,
    /// Message Expiry Interval in seconds, counted from its publication.
    pub expiry_s: Option<u32>,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
}

/// One change of what lasts. Times are engine milliseconds; a store that outlives the process
/// keeps them as time left.
#[derive(Debug, Clone)]
pub enum Change {
    /// A lasting session begins, or its terms change; it is connected.
    Session {
        /// Whose.
        id: SessionId,
        /// Mount point, NUL, Client Identifier.
        key: Box<[u8]>,
        /// Identity it belongs to.
        user: Box<str>,
        /// Session Expiry Interval in seconds, not 0.
        expiry_s: u32,
    },
    /// A lasting session lost its connection: its expiry counts from now on.
    SessionLeft {
        /// Whose.
        id: SessionId,
        /// Session Expiry Interval in seconds, not 0; DISCONNECT may have changed it.
        expiry_s: u32,
        /// When.
        now_ms: u64,
    },
    /// A lasting session ended, with its subscriptions, will, exchanges and identifiers. Its
    /// deliveries are told one by one as `Consumed`.
    SessionEnded {
        /// Whose.
        id: SessionId,
    },
    /// A subscription of a lasting session is made or changed.
    Subscribed {
        /// Whose.
        id: SessionId,
        /// Topic Filter as the client wrote it, without mount point; may be `$share/...`.
        filter: Box<str>,
        /// Maximum QoS, No Local, Retain As Published.
        options: SubscriptionOptions,
        /// Subscription Identifier, or 0.
        identifier: u32,
    },
    /// A subscription of a lasting session ended.
    Unsubscribed {
        /// Whose.
        id: SessionId,
        /// Topic Filter as in `Subscribed`.
        filter: Box<str>,
    },
    /// A message is appended to the log, once for all its lasting receivers (at least one).
    Appended {
        /// The message.
        message: SharedMessage,
        /// Whom it is for.
        receivers: Receivers,
    },
    /// A receiver is done with a message: acknowledged, dropped or expired.
    Consumed {
        /// The message.
        message: MessageRef,
        /// Index in its receivers.
        receiver: u32,
    },
    /// A delivery that went to another member of its group, which has it as a new message of the
    /// same unit: unlike `Consumed` it commits with that, or a crash would leave both.
    Moved {
        /// The message.
        message: MessageRef,
        /// Index in its receivers.
        receiver: u32,
    },
    /// A QoS 2 message is about to be sent under this identifier.
    Sent {
        /// Whose.
        id: SessionId,
        /// Packet Identifier; what was under it before is over.
        packet_id: u16,
        /// The message.
        message: MessageRef,
        /// Index in its receivers.
        receiver: u32,
    },
    /// PUBREC came for this identifier: only PUBREL is sent from now on, and the delivery is
    /// consumed (no `Consumed` comes).
    ReceivedByPeer {
        /// Whose.
        id: SessionId,
        /// Packet Identifier.
        packet_id: u16,
    },
    /// The exchange under this identifier is over (PUBCOMP, or PUBREC with an error, after which
    /// `Consumed` comes as well). May be persisted late, like `Consumed`.
    Completed {
        /// Whose.
        id: SessionId,
        /// Packet Identifier.
        packet_id: u16,
    },
    /// A QoS 2 PUBLISH came under this identifier.
    Received {
        /// Whose.
        id: SessionId,
        /// Packet Identifier.
        packet_id: u16,
    },
    /// PUBREL came for this identifier.
    Released {
        /// Whose.
        id: SessionId,
        /// Packet Identifier.
        packet_id: u16,
    },
    /// The retained message of a topic is set, or (`None`) gone.
    Retained {
        /// Rises with each change of the retained store, whichever shard makes it: of two changes
        /// of one topic the higher stands.
        sequence: u64,
        /// Topic Name, mount point included.
        topic: Box<[u8]>,
        /// The message.
        message: Option<SharedMessage>,
    },
    /// A lasting session has this will from now on, or none.
    Will {
        /// Whose.
        id: SessionId,
        /// The will.
        will: Option<Box<StoredWill>>,
    },
}

/// Whether a store takes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// All is well.
    #[default]
    Sound,
    /// No room for what is new; what makes room still commits.
    Full,
    /// Nothing commits.
    Stopped,
}

/// Messages that a queue wants back in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Whose; given back in the answer.
    pub queue: QueueRef,
    /// Their numbers in the log, ascending.
    pub numbers: Vec<u64>,
}

/// The answer to a `Fetch`.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Whose.
    pub queue: QueueRef,
    /// By number, in the order asked; `None` for one that is gone.
    pub messages: Vec<(u64, Option<SharedMessage>)>,
}

/// Where changes go. One handle a shard.
pub trait Store: Send + std::fmt::Debug {
    /// Whether anything is kept beyond the process: if not, changes need not be told.
    fn keeps(&self) -> bool;

    /// Takes a change; it commits with the ticket's group, in the order of calls.
    fn write(&mut self, change: Change) -> Ticket;

    /// From here to `end` the changes of this shard commit in one group.
    fn begin(&mut self);

    /// See `begin`.
    fn end(&mut self);

    /// A round of the event loop is over: the writer may take what was written. (A handle may wake
    /// its writer here, once a round, instead of with every change.)
    fn flush(&mut self);

    /// Asks for messages; `Shard::fetched` brings them, after what was written before is committed.
    fn fetch(&mut self, fetch: Fetch);

    /// A name for a new lasting session.
    fn new_session(&mut self) -> SessionId;

    /// Whether it takes changes.
    fn health(&self) -> Health;
}
