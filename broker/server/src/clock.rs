//! The time the engine is told: milliseconds that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// Where the time comes from.
#[derive(Debug)]
pub(crate) enum Clock {
    /// `CLOCK_BOOTTIME`: intervals count while the machine sleeps.
    Boot,
    /// Moved by hand.
    Manual(AtomicU64),
}

impl Clock {
    pub(crate) fn new(manual: bool) -> Self {
        if manual { Self::Manual(AtomicU64::new(0)) } else { Self::Boot }
    }

    /// Milliseconds now.
    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Self::Boot => {
                let time = clock_gettime(ClockId::Boottime);
                let milliseconds = time.tv_sec * 1_000 + time.tv_nsec / 1_000_000;
                u64::try_from(milliseconds).unwrap_or(0)
            }
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    pub(crate) fn is_manual(&self) -> bool {
        matches!(self, Self::Manual(_))
    }

    /// Moves a manual clock forward; the real one cannot be moved.
    pub(crate) fn advance(&self, milliseconds: u64) {
        if let Self::Manual(now) = self {
            now.fetch_add(milliseconds, Ordering::SeqCst);
        }
    }
}
