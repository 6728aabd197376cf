//! What the shards' handles, the writer and the reader share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use engine::store::{Health, Ticket};

use super::counters::Counters;
use super::database::State;
use super::fetches::Fetches;
use super::outlet::{Notice, Outlet};
use super::pending::Pending;

/// Who waits for an idle store looks this often,
const IDLE_LOOK: Duration = Duration::from_micros(200);
/// and so many times: two seconds.
const IDLE_LOOKS_MAX: u32 = 10_000;

/// Between all threads that have to do with one store.
#[derive(Debug)]
pub(super) struct Shared {
    /// By shard.
    pub(super) pendings: Vec<Pending>,
    /// Of what was written and is not committed.
    pub(super) pending_bytes: AtomicUsize,
    pub(super) pending_bytes_max: usize,
    pub(super) next_session: AtomicU64,
    /// The group whose lists are being, or were last, taken.
    pub(super) started: AtomicU64,
    pub(super) fetches: Fetches,
    /// The last group whose commit was told.
    told: AtomicU64,
    pub(super) stopping: AtomicBool,
    pub(super) counters: Counters,
    health: AtomicU8,
    outlet: Arc<dyn Outlet>,
    writer: OnceLock<Thread>,
}

impl Shared {
    /// For so many shards, after the last commit.
    pub(super) fn new(
        shards: u16,
        state: &State,
        pending_bytes_max: usize,
        outlet: Arc<dyn Outlet>,
    ) -> Self {
        let group = state.group;
        Self {
            pendings: (0..shards).map(|_| Pending::new(group + 1)).collect(),
            pending_bytes: AtomicUsize::new(0),
            pending_bytes_max,
            next_session: AtomicU64::new(state.next_session),
            started: AtomicU64::new(group),
            fetches: Fetches::new(group),
            told: AtomicU64::new(group),
            stopping: AtomicBool::new(false),
            counters: Counters::default(),
            health: AtomicU8::new(0),
            outlet,
            writer: OnceLock::new(),
        }
    }

    pub(super) fn pending(&self, shard: u16) -> Option<&Pending> {
        self.pendings.get(usize::from(shard))
    }

    /// The thread that `wake_writer` wakes.
    pub(super) fn set_writer(&self, thread: Thread) {
        drop(self.writer.set(thread));
    }

    pub(super) fn wake_writer(&self) {
        if let Some(thread) = self.writer.get() {
            thread.unpark();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// So much waits that the shards should read no more from publishers.
    pub(super) fn is_behind(&self) -> bool {
        self.pending_bytes.load(Ordering::Relaxed) > self.pending_bytes_max
    }

    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            0 => Health::Sound,
            1 => Health::Full,
            _ => Health::Stopped,
        }
    }

    /// Says so, if it is new; with the reason.
    pub(super) fn set_health(&self, health: Health, notice: Notice) {
        if self.health() == health {
            return;
        }
        let byte = match health {
            Health::Sound => 0,
            Health::Full => 1,
            Health::Stopped => 2,
        };
        self.health.store(byte, Ordering::Release);
        self.outlet.notice(notice);
        self.outlet.health_changed(health);
    }

    /// A line of the log and an event.
    pub(super) fn notice(&self, notice: Notice) {
        self.outlet.notice(notice);
    }

    /// Everything up to this group is committed.
    pub(super) fn tell_committed(&self, group: u64) {
        self.outlet.committed(Ticket(group));
        self.told.store(group, Ordering::SeqCst);
        self.fetches.committed(group);
    }

    /// Waits until everything written is committed and told, and everything asked for fetched;
    /// whether that was so at once. It gives up after a while: the store may be stopped.
    pub(super) fn wait_idle(&self) -> bool {
        let is_idle = || {
            let told = self.told.load(Ordering::SeqCst);
            self.pendings.iter().all(|pending| pending.is_told(told)) && self.fetches.is_idle()
        };
        if is_idle() {
            return true;
        }
        for _ in 0..IDLE_LOOKS_MAX {
            std::thread::sleep(IDLE_LOOK);
            if is_idle() {
                break;
            }
        }
        false
    }

    pub(super) fn outlet(&self) -> &dyn Outlet {
        &*self.outlet
    }
}
