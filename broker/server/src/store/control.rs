//! What the server asks of an open store besides the shards' changes.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::counters::StoreStats;
use super::error::StoreError;
use super::lock::FolderLock;
use super::shared::Shared;

/// What the writer is asked to do between two groups.
#[derive(Debug)]
pub(super) enum Order {
    /// Copy the database to this file, and say how it went.
    Backup(PathBuf, Sender<Result<(), StoreError>>),
}

/// The store as the server sees it. Dropping it stops the store.
#[derive(Debug)]
pub struct StoreControl {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Given back when the threads have ended.
    lock: Mutex<Option<FolderLock>>,
}

impl StoreControl {
    pub(super) fn new(
        shared: Arc<Shared>,
        orders: Sender<Order>,
        threads: Vec<JoinHandle<()>>,
        lock: FolderLock,
    ) -> Self {
        Self { shared, orders, threads: Mutex::new(threads), lock: Mutex::new(Some(lock)) }
    }

    /// What it counted.
    pub fn stats(&self) -> StoreStats {
        let pending = self.shared.pending_bytes.load(Ordering::Relaxed);
        self.shared.counters.read(pending as u64)
    }

    /// So much waits for a commit that no more should be read from publishers.
    pub fn is_behind(&self) -> bool {
        self.shared.is_behind()
    }

    /// Waits until nothing waits for a commit or for the reader; whether that was so at once.
    pub fn wait_idle(&self) -> bool {
        self.shared.wait_idle()
    }

    /// Copies the database to a file while the broker goes on; waits until it is done.
    ///
    /// # Errors
    /// It cannot be written, or the store has stopped.
    pub fn backup(&self, to: PathBuf) -> Result<(), StoreError> {
        let (sender, answer) = channel();
        self.orders.send(Order::Backup(to, sender)).map_err(|_| StoreError::Stopped)?;
        self.shared.wake_writer();
        answer.recv().map_err(|_| StoreError::Stopped)?
    }

    /// Commits what was written, ends the threads and gives the folder back. When nothing can be
    /// committed it gives up after one attempt.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake_writer();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let current = std::thread::current().id();
        for thread in threads {
            if thread.thread().id() == current {
                continue; // The store's own word was what held the server last.
            }
            // A thread that panicked has told standard error why; there is nothing left to save.
            drop(thread.join());
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for StoreControl {
    fn drop(&mut self) {
        self.stop();
    }
}
