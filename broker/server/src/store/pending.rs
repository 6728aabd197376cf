//! A shard's pending list: what it wrote since the writer last took the list.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use engine::store::Change;

/// The changes of one shard, in the order of what happened.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) changes: Vec<Change>,
    /// From where to before where changes commit together.
    pub(super) units: Vec<(usize, usize)>,
    /// What they take in memory, about.
    pub(super) bytes: usize,
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Empty again, with the memory it has.
    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.units.clear();
        self.bytes = 0;
    }
}

#[derive(Debug, Default)]
struct State {
    /// The group that the list will be committed with.
    group: u64,
    list: List,
    /// Units that are open, one in the other, and where the first began.
    open: u32,
    open_at: usize,
}

/// The list behind its lock.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    closed: Condvar,
}

impl Pending {
    /// Empty; what comes first commits with this group.
    pub(super) fn new(group: u64) -> Self {
        let pending = Self::default();
        pending.lock().group = group;
        pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a change; gives the group that commits it.
    pub(super) fn push(&self, change: Change, bytes: usize) -> u64 {
        let mut state = self.lock();
        state.list.changes.push(change);
        state.list.bytes += bytes;
        state.group
    }

    /// What comes from now on commits together.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        if state.open == 0 {
            state.open_at = state.list.changes.len();
        }
        state.open += 1;
    }

    /// Up to here.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        if state.open > 0 {
            return;
        }
        let unit = (state.open_at, state.list.changes.len());
        if unit.1 - unit.0 > 1 {
            state.list.units.push(unit);
        }
        drop(state);
        self.closed.notify_one();
    }

    /// The shard is gone, perhaps in the middle of a unit: the writer is not to wait for its end.
    pub(super) fn abandon(&self) {
        self.lock().open = 0;
        self.closed.notify_one();
    }

    /// Whether nothing waits, and all that did is in groups up to `told`.
    pub(super) fn is_told(&self, told: u64) -> bool {
        let state = self.lock();
        state.list.is_empty() && state.group <= told + 1
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().list.is_empty()
    }

    /// Exchanges the list for `empty`, once no unit is open; what comes from now on commits with
    /// `next_group`.
    pub(super) fn take(&self, empty: &mut List, next_group: u64) {
        let mut state = self.lock();
        while state.open > 0 {
            state = self.closed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.list, empty);
        state.group = next_group;
    }
}
