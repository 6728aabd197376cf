//! Store time: milliseconds that go on across restarts. Engine time begins anew with each boot, so
//! what is stored (expiry, when a session left) is in store time, which runs like the engine's
//! while the broker runs and takes up again at the next start.

use std::fmt::Debug;
use std::sync::Arc;

use engine::message::NEVER;

/// The clocks the store reads.
pub trait Times: Send + Sync + Debug {
    /// Engine time in milliseconds.
    fn engine_ms(&self) -> u64;

    /// Milliseconds since 1970 by the wall clock.
    fn wall_ms(&self) -> i64;

    /// Whether the wall clock can be believed: the kernel says it is synchronised (`adjtimex`).
    fn is_synchronised(&self) -> bool;
}

/// What each commit stores of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    pub(super) store_ms: i64,
    pub(super) wall_ms: i64,
    pub(super) is_synchronised: bool,
}

/// Store time against the clocks of this run.
#[derive(Debug, Clone)]
pub(super) struct StoreClock {
    times: Arc<dyn Times>,
    /// Store time less engine time.
    offset_ms: i64,
}

impl StoreClock {
    /// Goes on after the last commit. The time off is what the wall clock says, never negative;
    /// none at all if the clock could not be believed then or cannot now: late rather than early.
    pub(super) fn resume(times: Arc<dyn Times>, last: Stamp) -> Self {
        let is_known = last.is_synchronised && times.is_synchronised();
        let off_ms = if is_known { (times.wall_ms() - last.wall_ms).max(0) } else { 0 };
        let offset_ms = last.store_ms + off_ms - signed(times.engine_ms());
        Self { times, offset_ms }
    }

    /// For the next commit.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            store_ms: signed(self.times.engine_ms()) + self.offset_ms,
            wall_ms: self.times.wall_ms(),
            is_synchronised: self.times.is_synchronised(),
        }
    }

    /// A point of engine time in store time.
    pub(super) fn to_store(&self, engine_ms: u64) -> i64 {
        signed(engine_ms).saturating_add(self.offset_ms)
    }

    /// An expiry in store time; `None` for never.
    pub(super) fn expiry_to_store(&self, expires_at_ms: u64) -> Option<u64> {
        let expires = || u64::try_from(self.to_store(expires_at_ms)).unwrap_or(0);
        (expires_at_ms != NEVER).then(expires)
    }

    /// An expiry in engine time; what expired before this boot expired at 0.
    pub(super) fn expiry_to_engine(&self, expires_ms: Option<u64>) -> u64 {
        let engine_ms = |expires: u64| signed(expires).saturating_sub(self.offset_ms);
        expires_ms.map_or(NEVER, |expires| u64::try_from(engine_ms(expires)).unwrap_or(0))
    }

    /// How long ago a point of store time is.
    pub(super) fn gone_ms(&self, store_ms: i64) -> u64 {
        u64::try_from(self.stamp().store_ms.saturating_sub(store_ms)).unwrap_or(0)
    }
}

fn signed(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}
