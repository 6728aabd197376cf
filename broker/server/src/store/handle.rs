//! A shard's handle on the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::store::{Change, Fetch, Health, SessionId, Store, Ticket};

use super::shared::Shared;

/// What a change takes in memory besides what it points to.
const CHANGE_BYTES: usize = 96;

/// The store as one shard sees it.
#[derive(Debug)]
pub(super) struct ShardStore {
    index: u16,
    shared: Arc<Shared>,
    /// Something was written since the last flush.
    has_written: bool,
}

impl ShardStore {
    pub(super) fn new(index: u16, shared: Arc<Shared>) -> Self {
        Self { index, shared, has_written: false }
    }
}

impl Store for ShardStore {
    fn keeps(&self) -> bool {
        true
    }

    fn write(&mut self, change: Change) -> Ticket {
        let Some(pending) = self.shared.pending(self.index) else { return Ticket::default() };
        let bytes = bytes_of(&change);
        self.shared.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.has_written = true;
        Ticket(pending.push(change, bytes))
    }

    fn begin(&mut self) {
        if let Some(pending) = self.shared.pending(self.index) {
            pending.begin();
        }
    }

    fn end(&mut self) {
        if let Some(pending) = self.shared.pending(self.index) {
            pending.end();
        }
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.has_written) {
            self.shared.wake_writer();
        }
    }

    fn fetch(&mut self, fetch: Fetch) {
        let started = self.shared.started.load(Ordering::SeqCst);
        self.shared.fetches.ask(self.index, fetch, started);
    }

    fn new_session(&mut self) -> SessionId {
        SessionId(self.shared.next_session.fetch_add(1, Ordering::Relaxed))
    }

    fn health(&self) -> Health {
        self.shared.health()
    }
}

impl Drop for ShardStore {
    fn drop(&mut self) {
        if let Some(pending) = self.shared.pending(self.index) {
            pending.abandon();
        }
    }
}

/// What a change takes in memory, about.
fn bytes_of(change: &Change) -> usize {
    let size = |message: &engine::message::Message| usize::try_from(message.size()).unwrap_or(0);
    CHANGE_BYTES
        + match change {
            Change::Appended { message, .. } => size(message),
            Change::Retained { topic, message, .. } => {
                topic.len() + message.as_ref().map_or(0, |message| size(message))
            }
            Change::Will { will: Some(will), .. } => size(&will.message),
            Change::Subscribed { filter, .. } | Change::Unsubscribed { filter, .. } => filter.len(),
            Change::Session { key, user, .. } => key.len() + user.len(),
            _ => 0,
        }
}
