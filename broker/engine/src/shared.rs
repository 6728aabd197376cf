//! What the shards of one broker share: the topic tree and the retained store, each behind a
//! lock, and totals that bound all of them together.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::host::HostMessage;
use crate::lasting::Lasting;
use crate::limits::Limits;
use crate::retained::RetainedStore;
use crate::router::{Epochs, Tree};
use crate::store::Ticket;

/// One for all shards.
#[derive(Debug)]
pub struct Shared {
    /// The bounds.
    pub limits: Limits,
    /// How many shards there are.
    pub shards: u16,
    /// Keys hashes and the identifiers we assign.
    pub seed: u64,
    /// What changed in the tree.
    pub epochs: Epochs,
    tree: RwLock<Tree>,
    retained: RwLock<RetainedStore>,
    /// Messages that came so far.
    arrivals: AtomicU64,
    /// Which sessions last.
    pub lasting: Lasting,
    /// Messages in all session queues.
    pub queued_messages: AtomicU64,
    /// Bytes in all session queues.
    pub queued_bytes: AtomicU64,
    /// Sessions on all shards.
    pub sessions: AtomicU64,
    /// Client Identifiers assigned.
    assigned: AtomicU64,
    client_hash: foldhash::quality::FixedState,
}

impl Shared {
    /// For `shards` shards; `seed` keys hashes and assigned identifiers.
    pub fn new(limits: Limits, shards: u16, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            limits,
            shards: shards.max(1),
            seed,
            epochs: Epochs::new(seed),
            tree: RwLock::default(),
            retained: RwLock::default(),
            arrivals: AtomicU64::new(0),
            lasting: Lasting::new(shards.max(1)),
            queued_messages: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            assigned: AtomicU64::new(0),
            client_hash: foldhash::quality::FixedState::with_seed(seed),
        })
    }

    /// The tree, to read. A shard that panicked under the lock ends the broker; until then what
    /// it left is used.
    pub fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tree, to change.
    pub fn tree_mut(&self) -> RwLockWriteGuard<'_, Tree> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The retained store, to read.
    pub fn retained_store(&self) -> RwLockReadGuard<'_, RetainedStore> {
        self.retained.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The retained store, to change.
    pub fn retained_store_mut(&self) -> RwLockWriteGuard<'_, RetainedStore> {
        self.retained.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Retained messages whose topic matches `filter`, mount points included, at most `max`.
    pub fn retained(&self, filter: &str, max: usize, now_ms: u64) -> Vec<HostMessage> {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let left = max - found.len();
            let mut steps = left.saturating_mul(8).max(1_024); // The lock is held briefly.
            from = self.retained_store().collect(filter, from, left, &mut steps, &mut found);
            found.retain(|message| !message.is_expired(now_ms));
            if from.is_none() || found.len() >= max {
                break;
            }
        }
        found
            .iter()
            .map(|message| HostMessage::from_publication(&message.publication(), now_ms))
            .collect()
    }

    /// Counts `bytes` among those of all queues until the charge is dropped; `None` at the limit.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let charge = self.hold(bytes);
        (self.queued_bytes.load(Ordering::Relaxed) <= self.limits.queued_bytes).then_some(charge)
    }

    /// Counts `bytes` the same way, at the limit too: for what is held in any case.
    pub fn hold(self: &Arc<Self>, bytes: u64) -> Charge {
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { shared: Arc::clone(self), bytes }
    }

    /// Whether queues, wills and messages under way are at their limit of bytes.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.queued_bytes.load(Ordering::Relaxed) >= self.limits.queued_bytes
    }

    /// The place of the next message in the order of arrival.
    #[inline]
    pub fn next_arrival(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The last arrival a retained message has that a subscription made just now may miss: those
    /// retained later find the subscription in the tree. The lock puts the two in order. With it
    /// the ticket of the last change; one call, for who holds the lock and asks for it again
    /// waits for ever where another shard waits to write.
    pub fn last_retained(&self) -> (u64, Ticket) {
        let store = self.retained_store();
        (self.arrivals.load(Ordering::Relaxed), store.last_change())
    }

    /// The shard a session lives on.
    pub fn shard_of(&self, key: &[u8]) -> u16 {
        let hash = self.client_hash.hash_one(key);
        u16::try_from(hash % u64::from(self.shards)).unwrap_or_default()
    }

    /// A Client Identifier nobody has: the run's seed hashed, and a count [MQTT-3.1.3-6].
    pub fn assign_client_id(&self) -> Box<str> {
        let count = self.assigned.fetch_add(1, Ordering::Relaxed);
        let salt = self.client_hash.hash_one((self.seed, count));
        format!("auto-{salt:016x}{count:x}").into()
    }
}

/// Bytes counted among those of all queues, as long as it lives.
#[derive(Debug)]
pub struct Charge {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shared.queued_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
