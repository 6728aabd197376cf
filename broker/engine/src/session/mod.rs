//! A session: what is kept of a client whether it is connected or not (MQTT 5 §4.1).

mod inflight;
mod queue;
mod received;
mod replays;
mod stragglers;
mod subscriptions;

use std::sync::Arc;

pub use inflight::{Inflight, Resend, Sent, Stage};
pub use queue::{Body, Identifiers, NOT_STORED, Queue, Queued};
pub use received::Received;
pub use replays::{Replay, Replays};
pub use subscriptions::{Subscription, Subscriptions};

use crate::codec::packet::Version;
use crate::host::{ConnectionRef, HostWindow};
use crate::message::SharedMessage;
use crate::router::{QueueRef, SharedState};
use crate::shared::Charge;
use crate::store::{SessionId, Ticket};

/// Session Expiry Interval that never runs out (MQTT 5 §3.1.2.11.2).
pub const EXPIRY_NEVER: u32 = u32::MAX;

/// What is kept of one client.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says another thing; none excludes another")]
pub struct Session {
    /// Mount point, NUL, Client Identifier.
    pub key: Box<[u8]>,
    /// What the store calls it; 0 if it does not last, or nothing is kept.
    pub id: SessionId,
    /// The identity it belongs to; empty for anonymous.
    pub user: Box<str>,
    /// Its place in the router.
    pub queue_ref: QueueRef,
    /// The connection, while there is one.
    pub connection: Option<ConnectionRef>,
    /// What its last connection spoke.
    pub version: Version,
    /// Session Expiry Interval in seconds; 0 ends it with the connection.
    pub expiry_s: u32,
    /// Its subscriptions.
    pub subscriptions: Subscriptions,
    /// Messages that wait.
    pub queue: Queue,
    /// Messages under way to the client.
    pub inflight: Inflight,
    /// QoS 2 identifiers under way from the client.
    pub received: Option<Box<Received>>,
    /// The will of the connection, or of the last one while its delay runs.
    pub will: Option<Box<SessionWill>>,
    /// Retained messages that are still to be sent to new subscriptions.
    pub replays: Option<Box<Replays>>,
    /// It waits for its turn to read on in the retained store.
    pub is_reading: bool,
    /// Its state towards shared groups, if it is in one.
    pub group_state: Option<Arc<SharedState>>,
    /// The host's side, if this is a host subscription.
    pub host: Option<Box<HostSubscription>>,
    /// The deadline held in the timers, or 0.
    pub timer_ms: u64,
    /// When it ends, in engine milliseconds; counts while not connected. 0: not running.
    pub ends_at_ms: u64,
    /// What long names take of the limit of all queues.
    pub name_charge: Option<Box<Charge>>,
    /// Messages dropped for it.
    pub dropped: u64,
    /// Dropped messages not yet told by an event.
    pub dropped_untold: u64,
    /// The Session Expiry Interval that the store has.
    pub stored_expiry_s: u32,
    /// What the last step of a QoS 2 exchange waits for: a step that comes again waits for it too.
    pub exchange_ticket: Ticket,
    /// Its queue is at its limit, and others know it.
    pub is_full: bool,
    /// It is in the list of sessions whose messages may leave the memory.
    pub is_unloading: bool,
    /// Messages under way in an earlier run are still in the store.
    pub has_unfetched: bool,
    /// Messages were asked of the store and have not come.
    pub is_fetching: bool,
}

/// A will that waits (MQTT 5 §3.1.2.5).
#[derive(Debug)]
pub struct SessionWill {
    /// The will as it is to be published; its expiry interval begins then.
    pub message: SharedMessage,
    /// Message Expiry Interval in seconds.
    pub expiry_s: Option<u32>,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// When the delay runs out, once the connection is gone; 0 before.
    pub due_at_ms: u64,
    /// What it takes of the limit of all queues.
    pub charge: Charge,
}

/// The host's side of a host subscription.
#[derive(Debug)]
pub struct HostSubscription {
    /// Chosen by the host.
    pub id: u64,
    /// The filter as the host wrote it.
    pub filter: Box<str>,
    /// Its bound.
    pub window: Arc<HostWindow>,
}

impl Session {
    /// A session with nothing in it.
    pub fn new(key: Box<[u8]>, user: Box<str>, version: Version) -> Self {
        Self {
            key,
            id: SessionId::default(),
            user,
            queue_ref: QueueRef { shard: 0, slot: 0, generation: 0 },
            connection: None,
            version,
            expiry_s: 0,
            subscriptions: Subscriptions::default(),
            queue: Queue::default(),
            inflight: Inflight::default(),
            received: None,
            will: None,
            replays: None,
            is_reading: false,
            group_state: None,
            host: None,
            timer_ms: 0,
            ends_at_ms: 0,
            name_charge: None,
            dropped: 0,
            dropped_untold: 0,
            stored_expiry_s: 0,
            exchange_ticket: Ticket::default(),
            is_full: false,
            is_unloading: false,
            has_unfetched: false,
            is_fetching: false,
        }
    }

    /// Whether it outlives its connection (design: "lasting").
    #[inline]
    pub fn is_lasting(&self) -> bool {
        self.expiry_s > 0
    }

    /// Mount point and Client Identifier.
    pub fn names(&self) -> (&str, &str) {
        let text = std::str::from_utf8(&self.key).unwrap_or_default();
        text.split_once('\0').unwrap_or(("", text))
    }

    /// The earlier of its deadlines, or 0.
    pub fn next_deadline(&self) -> u64 {
        let will = self.will.as_ref().map_or(0, |will| will.due_at_ms);
        match (will, self.ends_at_ms) {
            (0, other) | (other, 0) => other,
            (will, end) => will.min(end),
        }
    }
}

/// A session's key: mount point, NUL (no identifier holds one), Client Identifier.
pub fn session_key(mount_point: &str, client_id: &str) -> Box<[u8]> {
    let mut key = Vec::with_capacity(mount_point.len() + 1 + client_id.len());
    key.extend_from_slice(mount_point.as_bytes());
    key.push(0);
    key.extend_from_slice(client_id.as_bytes());
    key.into()
}
