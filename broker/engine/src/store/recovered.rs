//! What a store found when it was opened: the state of the last commit.

use super::{SessionId, StoredTerms, StoredWill};
use crate::message::SharedMessage;
use crate::router::SubscriptionOptions;

/// Everything that lasted. Times are engine milliseconds of this run.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Lasting sessions, none connected.
    pub sessions: Vec<StoredSession>,
    /// Retained messages.
    pub retained: Vec<SharedMessage>,
}

/// One lasting session.
#[derive(Debug)]
pub struct StoredSession {
    /// What the store calls it.
    pub id: SessionId,
    /// Mount point, NUL, Client Identifier.
    pub key: Box<[u8]>,
    /// Identity it belongs to.
    pub user: Box<str>,
    /// Session Expiry Interval in seconds, not 0.
    pub expiry_s: u32,
    /// When it lost its connection; now, if it was connected to the end. May be negative time, so
    /// it is told as milliseconds already gone.
    pub gone_ms: u64,
    /// Filter as the client wrote it, options, Subscription Identifier or 0.
    pub subscriptions: Vec<(Box<str>, SubscriptionOptions, u32)>,
    /// Deliveries that wait, by number; those of `exchanges` are not among them.
    pub deliveries: Vec<StoredDelivery>,
    /// QoS 2 exchanges towards the client, by number.
    pub exchanges: Vec<StoredExchange>,
    /// Packet Identifiers of QoS 2 messages from the client that are not released.
    pub received: Vec<u16>,
    /// Its will, if its connection did not end in good order.
    pub will: Option<StoredWill>,
}

/// A delivery that waits.
#[derive(Debug, Clone)]
pub struct StoredDelivery {
    /// The message's number in the log.
    pub number: u64,
    /// Index in the message's receivers.
    pub receiver: u32,
    /// What it counts for in limits: topic, properties and payload, in bytes.
    pub size: u32,
    /// The message's expiry in engine milliseconds, or `NEVER`.
    pub expires_at_ms: u64,
    /// The terms; one `Arc` for all that share them.
    pub terms: std::sync::Arc<StoredTerms>,
}

/// Where a QoS 2 exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredStage {
    /// PUBLISH was, or may have been, sent.
    Sent,
    /// PUBREC came.
    ReceivedByPeer,
}

/// A QoS 2 message on its way to the client.
#[derive(Debug, Clone)]
pub struct StoredExchange {
    /// Packet Identifier.
    pub packet_id: u16,
    /// How far it is.
    pub stage: StoredStage,
    /// The delivery; its message is wanted only at stage `Sent`.
    pub delivery: StoredDelivery,
}
