//! What the event loops of one server share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use engine::stats::Counters;

use crate::clock::Clock;
use crate::host_queue::HostQueue;
use crate::listener::Listener;
use crate::mailbox::Mailbox;
use crate::rendezvous::Rendezvous;
use crate::store::StoreControl;

/// Shared by all shards and the server.
pub(crate) struct Hub {
    pub(crate) clock: Clock,
    pub(crate) host: HostQueue,
    pub(crate) listeners: Vec<Listener>,
    /// By shard.
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) rendezvous: Rendezvous,
    /// By shard, as of the end of its last round.
    pub(crate) counters: Vec<Mutex<Counters>>,
    pub(crate) max_connections: u32,
    /// Sockets of clients that are open, the lingering ones too.
    pub(crate) connections: AtomicU32,
    /// The store, if one keeps anything.
    pub(crate) store: OnceLock<StoreControl>,
    /// Connections that the engines know or that are on their way between two of them.
    pub(crate) attached: AtomicU32,
}

impl Hub {
    /// The counters of all shards and of the server itself.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for counters in &self.counters {
            sum.add(&counters.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let refused =
            self.listeners.iter().map(|listener| listener.refused.load(Ordering::Relaxed));
        sum.connections_refused += refused.sum::<u64>();
        sum.dropped_events += self.host.dropped_events();
        sum
    }

    /// So much waits for the store that no more may be read.
    pub(crate) fn is_store_behind(&self) -> bool {
        self.store.get().is_some_and(StoreControl::is_behind)
    }

    /// Takes a place for one connection through `listener`; false if there is none.
    pub(crate) fn admit(&self, listener: &Listener) -> bool {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.max_connections {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if listener.connections.fetch_add(1, Ordering::Relaxed) >= listener.max_connections {
            self.release(listener);
            return false;
        }
        true
    }

    /// Gives the place back: the socket is closed.
    pub(crate) fn release(&self, listener: &Listener) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        listener.release();
    }
}
