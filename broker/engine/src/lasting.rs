//! Which sessions last, and what the store calls them: said by the session's shard, read by
//! whoever publishes, since a message is appended by the publisher's shard for all of them.

use std::sync::{PoisonError, RwLock};

use crate::router::QueueRef;
use crate::store::SessionId;

/// By shard and slot of the session.
#[derive(Debug, Default)]
pub struct Lasting {
    shards: Box<[RwLock<Vec<Entry>>]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    generation: u32,
    session: SessionId,
    /// Its queue is at its limit.
    is_full: bool,
}

impl Lasting {
    /// For so many shards.
    pub fn new(shards: u16) -> Self {
        Self { shards: (0..shards).map(|_| RwLock::default()).collect() }
    }

    /// What the store calls a session; `None` if it does not last.
    #[inline]
    pub fn get(&self, queue: QueueRef) -> Option<SessionId> {
        let entries = self.shards.get(usize::from(queue.shard))?;
        let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(queue.slot as usize)?;
        let is_it = entry.generation == queue.generation && entry.session != SessionId::default();
        is_it.then_some(entry.session)
    }

    /// Whether the queue of a session that lasts is at its limit, as its shard said last.
    pub fn is_full(&self, queue: QueueRef) -> bool {
        let Some(entries) = self.shards.get(usize::from(queue.shard)) else { return false };
        let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(queue.slot as usize)
            .is_some_and(|entry| entry.generation == queue.generation && entry.is_full)
    }

    /// The queue of a session is at its limit, or no more.
    pub fn set_full(&self, queue: QueueRef, is_full: bool) {
        let Some(entries) = self.shards.get(usize::from(queue.shard)) else { return };
        let mut entries = entries.write().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(queue.slot as usize);
        if let Some(entry) = entry.filter(|entry| entry.generation == queue.generation) {
            entry.is_full = is_full;
        }
    }

    /// A session lasts from now on, or (`SessionId(0)`) no more.
    pub fn set(&self, queue: QueueRef, session: SessionId) {
        let Some(entries) = self.shards.get(usize::from(queue.shard)) else { return };
        let mut entries = entries.write().unwrap_or_else(PoisonError::into_inner);
        let slot = queue.slot as usize;
        if slot >= entries.len() {
            if session == SessionId::default() {
                return;
            }
            entries.resize(slot + 1, Entry::default());
        }
        if let Some(entry) = entries.get_mut(slot) {
            *entry = Entry { generation: queue.generation, session, is_full: false };
        }
    }
}
