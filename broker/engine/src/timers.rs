//! Deadlines of connections and sessions: one each, exact, removed when it no longer counts.

use std::collections::BTreeSet;

/// Whose deadline it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKey {
    /// Connect timeout, decision timeout or keep alive of a connection: (slot, generation).
    Connection(u32, u32),
    /// Will delay or expiry of a session: (slot, generation).
    Session(u32, u32),
}

/// All deadlines of a shard; at most one an owner, so bounded by their number.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeSet<(u64, TimerKey)>,
}

impl Timers {
    /// Moves a deadline from `*held` (0: none) to `at_ms` (0: none).
    pub fn set(&mut self, key: TimerKey, held: &mut u64, at_ms: u64) {
        if *held == at_ms {
            return;
        }
        if *held != 0 {
            self.queue.remove(&(*held, key));
        }
        if at_ms != 0 {
            self.queue.insert((at_ms, key));
        }
        *held = at_ms;
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<u64> {
        self.queue.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the earliest deadline that is due; its owner must set its `held` to 0.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<TimerKey> {
        let (at_ms, key) = *self.queue.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.queue.pop_first();
        Some(key)
    }
}
