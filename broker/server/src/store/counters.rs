//! What the store counts, for `quantummq store stats` and for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by the store's threads, read by whoever asks.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) groups: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) never_written: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) log_messages: AtomicU64,
    pub(super) log_deliveries: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) rewritten_bytes: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) wal_bytes: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// The store's numbers at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Groups committed since the start.
    pub groups: u64,
    /// Messages written since the start.
    pub messages: u64,
    /// Messages that were not written, because all receivers had acknowledged them before.
    pub never_written: u64,
    /// Of topics, properties and payloads written since the start.
    pub bytes: u64,
    /// Segments in the log.
    pub segments: u64,
    /// Messages in the log that somebody wants, as of the last time bits were written.
    pub log_messages: u64,
    /// Deliveries that wait, likewise.
    pub log_deliveries: u64,
    /// Of the segments' bodies.
    pub log_bytes: u64,
    /// Of bodies rewritten to free the space between survivors.
    pub rewritten_bytes: u64,
    /// How often the write-ahead log was copied into the file.
    pub checkpoints: u64,
    /// The write-ahead log's frames that count, after the last look.
    pub wal_bytes: u64,
    /// Commits that failed.
    pub failures: u64,
    /// What shards wrote and the writer has not committed.
    pub pending_bytes: u64,
}

impl Counters {
    pub(super) fn read(&self, pending_bytes: u64) -> StoreStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            groups: load(&self.groups),
            messages: load(&self.messages),
            never_written: load(&self.never_written),
            bytes: load(&self.bytes),
            segments: load(&self.segments),
            log_messages: load(&self.log_messages),
            log_deliveries: load(&self.log_deliveries),
            log_bytes: load(&self.log_bytes),
            rewritten_bytes: load(&self.rewritten_bytes),
            checkpoints: load(&self.checkpoints),
            wal_bytes: load(&self.wal_bytes),
            failures: load(&self.failures),
            pending_bytes,
        }
    }
}

/// Adds to a counter that one thread writes.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Sets a figure.
pub(super) fn set(figure: &AtomicU64, value: u64) {
    figure.store(value, Ordering::Relaxed);
}
