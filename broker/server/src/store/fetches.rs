//! What shards want back from disk, in the order asked, each with the commit it comes after.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::store::Fetch;

/// One that waits.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) shard: u16,
    pub(super) fetch: Fetch,
    /// A message has its number from this group or an earlier one.
    group: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Asked>,
    committed: u64,
    /// The reader is at one.
    is_answering: bool,
    is_stopping: bool,
}

/// The queue between the shards and the reader. It is bounded by the sessions: each asks for a
/// bounded number of messages, and for the next when those are there.
#[derive(Debug)]
pub(super) struct Fetches {
    state: Mutex<State>,
    changed: Condvar,
}

impl Fetches {
    /// Empty; this group is committed.
    pub(super) fn new(committed: u64) -> Self {
        let state = State { committed, ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard wants messages whose groups had started.
    pub(super) fn ask(&self, shard: u16, fetch: Fetch, group: u64) {
        self.lock().waiting.push_back(Asked { shard, fetch, group });
        self.changed.notify_one();
    }

    /// Everything up to this group is in the file.
    pub(super) fn committed(&self, group: u64) {
        let mut state = self.lock();
        state.committed = group;
        if !state.waiting.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Whether nothing is asked for that is not answered.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && !state.is_answering
    }

    /// The reader is to end.
    pub(super) fn stop(&self) {
        self.lock().is_stopping = true;
        self.changed.notify_one();
    }

    /// Waits for so long, or for the end.
    pub(super) fn pause(&self, time: Duration) {
        let state = self.lock();
        let goes_on = |state: &mut State| !state.is_stopping;
        drop(self.changed.wait_timeout_while(state, time, goes_on));
    }

    /// Waits for the next that can be answered; `None` at the end.
    pub(super) fn next(&self) -> Option<Asked> {
        let mut state = self.lock();
        state.is_answering = false;
        loop {
            if state.is_stopping {
                return None;
            }
            if state.waiting.front().is_some_and(|asked| asked.group <= state.committed) {
                state.is_answering = true;
                return state.waiting.pop_front();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
