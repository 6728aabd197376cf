//! What a shard is handed by the other shards and by the host: one lock per hand-off, and a wake
//! only if the shard may be asleep.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use engine::host::HostCommand;
use engine::shard::{HandOver, Mail};
use engine::store::{Fetched, Ticket};
use mio::Waker;

use crate::transport::Transport;

/// Mail that waits for one shard; above it the others read no more from their sockets.
const MAIL_BYTES_MAX: usize = 16 << 20;

/// A connection on its way to the shard of its session.
pub(crate) struct Moved {
    pub(crate) hand_over: HandOver,
    pub(crate) transport: Transport,
}

/// What the server asks of a shard.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Handle what there is, then report to the rendezvous under this number.
    Report(u64),
    /// Say goodbye to everyone and end, at the latest then.
    Stop(Instant),
}

/// The contents of a mailbox.
#[derive(Default)]
pub(crate) struct Letters {
    pub(crate) mail: Mail,
    pub(crate) moved: Vec<Moved>,
    pub(crate) commands: Vec<HostCommand>,
    pub(crate) orders: Vec<Order>,
    /// The store's last commit, if there was one since the last letters.
    pub(crate) committed: Option<Ticket>,
    /// Messages that queues of this shard asked for.
    pub(crate) fetched: Vec<Fetched>,
    /// The store's health changed.
    pub(crate) store_changed: bool,
}

/// One shard's mailbox.
pub(crate) struct Mailbox {
    letters: Mutex<Letters>,
    /// Something was put in since the last `take`.
    waiting: AtomicBool,
    /// Of the mail that waits.
    mail_bytes: AtomicUsize,
    /// The shard is in, or about to enter, its poll: who posts must wake it.
    asleep: AtomicBool,
    waker: Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            letters: Mutex::default(),
            waiting: AtomicBool::new(false),
            mail_bytes: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            waker,
        }
    }

    /// Puts something in, and wakes the shard if it sleeps.
    ///
    /// # Errors
    /// The kernel's, from the wake; the letter is in the box all the same.
    pub(crate) fn post(&self, put: impl FnOnce(&mut Letters)) -> io::Result<()> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        put(&mut letters);
        self.mail_bytes.store(letters.mail.bytes(), Ordering::Relaxed);
        drop(letters);
        // With `fall_asleep` these are a store and a load each in the opposite order, all SeqCst:
        // at least one side sees the other.
        self.waiting.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            return self.waker.wake();
        }
        Ok(())
    }

    /// Exchanges the contents for `empty`; false if there was nothing.
    pub(crate) fn take(&self, empty: &mut Letters) -> bool {
        if !self.waiting.load(Ordering::Relaxed) {
            return false;
        }
        self.waiting.store(false, Ordering::SeqCst);
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *letters, empty);
        self.mail_bytes.store(0, Ordering::Relaxed);
        true
    }

    /// So much mail waits that no more should be made for this shard.
    pub(crate) fn is_full(&self) -> bool {
        self.mail_bytes.load(Ordering::Relaxed) > MAIL_BYTES_MAX
    }

    /// The shard is about to wait; false if it must not, because something is in the box.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) {
            self.asleep.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// The shard is awake; who posts need not wake it.
    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
