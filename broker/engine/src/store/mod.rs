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

pub use memory::MemoryStore;

use crate::message::Message;
use crate::router::{QueueRef, SubscriptionOptions};

/// Names a group of changes that commit together; later ones are higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// What a session is known by, across restarts: mount point, NUL, Client Identifier.
pub type SessionKey = [u8];

/// One change of what lasts.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// A lasting session begins or changes its terms.
    Session {
        /// Whose.
        key: &'a SessionKey,
        /// Identity it belongs to.
        user: &'a str,
        /// Session Expiry Interval in seconds.
        expiry_s: u32,
    },
    /// A lasting session ended, with all it had.
    SessionEnded {
        /// Whose.
        key: &'a SessionKey,
    },
    /// A subscription of a lasting session is made or changed.
    Subscribed {
        /// Whose.
        key: &'a SessionKey,
        /// Topic Filter as the client wrote it, mount point included.
        filter: &'a str,
        /// Maximum QoS, No Local, Retain As Published.
        options: SubscriptionOptions,
        /// Subscription Identifier, or 0.
        identifier: u32,
    },
    /// A subscription of a lasting session ended.
    Unsubscribed {
        /// Whose.
        key: &'a SessionKey,
        /// Topic Filter.
        filter: &'a str,
    },
    /// A message is appended to the log, once for all its lasting receivers.
    Appended {
        /// The message.
        message: &'a Message,
        /// The queues it is for.
        receivers: &'a [QueueRef],
    },
    /// A queue is done with a message: acknowledged, dropped or expired.
    Consumed {
        /// Whose.
        key: &'a SessionKey,
        /// The message's number in the log.
        number: u64,
    },
    /// A QoS 2 message is sent under this identifier.
    Sent {
        /// Whose.
        key: &'a SessionKey,
        /// Packet Identifier.
        packet_id: u16,
        /// The message's number in the log.
        number: u64,
    },
    /// PUBREC came for this identifier; only PUBREL is sent from now on.
    ReceivedByPeer {
        /// Whose.
        key: &'a SessionKey,
        /// Packet Identifier.
        packet_id: u16,
    },
    /// A QoS 2 PUBLISH came under this identifier.
    Received {
        /// Whose.
        key: &'a SessionKey,
        /// Packet Identifier.
        packet_id: u16,
    },
    /// PUBREL came for this identifier.
    Released {
        /// Whose.
        key: &'a SessionKey,
        /// Packet Identifier.
        packet_id: u16,
    },
    /// The retained message of a topic is set.
    Retained {
        /// The message.
        message: &'a Message,
    },
    /// The retained message of a topic is gone.
    RetainedCleared {
        /// Topic Name.
        topic: &'a [u8],
    },
    /// A lasting session has this will from now on, or none.
    Will {
        /// Whose.
        key: &'a SessionKey,
        /// The will.
        message: Option<&'a Message>,
        /// Will Delay Interval in seconds.
        delay_s: u32,
    },
}

/// Where changes go. One handle a shard.
pub trait Store: Send + std::fmt::Debug {
    /// Whether anything is kept beyond the process: if not, messages need not be told.
    fn keeps(&self) -> bool;

    /// Takes a change; it commits with the ticket's group, in the order of calls.
    fn write(&mut self, change: &Change<'_>) -> Ticket;

    /// The highest ticket that is committed; all below are too.
    fn committed(&self) -> Ticket;
}
