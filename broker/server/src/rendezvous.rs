//! Where the server waits until every shard has done what there was to do: a manual clock moves
//! only between two such moments.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Reports of the shards under a number.
#[derive(Debug, Default)]
pub(crate) struct Rendezvous {
    state: Mutex<State>,
    arrived: Condvar,
    /// A shard ended; nobody may wait for it.
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    number: u64,
    reports: u16,
    /// A shard had something to do since its last report.
    moved: bool,
}

impl Rendezvous {
    /// Starts a new count; the shards are then told the number.
    pub(crate) fn call(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { number: state.number + 1, ..State::default() };
        state.number
    }

    /// A shard has handled what it had when it was told `number`.
    pub(crate) fn report(&self, number: u64, moved: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.number == number {
            state.reports += 1;
            state.moved |= moved;
            self.arrived.notify_all();
        }
    }

    /// Waits for all shards; returns whether one of them had something to do.
    pub(crate) fn wait(&self, number: u64, shards: u16) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.number == number
            && state.reports < shards
            && !self.broken.load(Ordering::SeqCst)
        {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.moved && !self.broken.load(Ordering::SeqCst)
    }

    /// Lets go whoever waits, from now on.
    pub(crate) fn break_up(&self) {
        let _state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.broken.store(true, Ordering::SeqCst);
        self.arrived.notify_all();
    }
}
