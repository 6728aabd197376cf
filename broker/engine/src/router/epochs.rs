//! Epochs: what changed in the tree since a match was cached. One per first topic level (by
//! hash), and one for filters that begin with a wildcard, so that churn in one place does not
//! empty the cache for all.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// 4,096: two levels share an epoch rarely enough, at 32 KiB.
const EPOCHS: usize = 4_096;

/// The epochs of one tree, read without its lock.
#[derive(Debug)]
pub struct Epochs {
    levels: Box<[AtomicU64]>,
    wildcard: AtomicU64,
    hasher: foldhash::fast::FixedState,
}

/// The epochs a cached match was made under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    level: u64,
    wildcard: u64,
}

impl Stamp {
    /// Whether nothing changed but filters that begin with a wildcard.
    pub fn is_same_level(self, other: Self) -> bool {
        self.level == other.level
    }
}

impl Epochs {
    /// All at zero; `seed` keys the hash of levels.
    pub fn new(seed: u64) -> Self {
        Self {
            levels: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
            wildcard: AtomicU64::new(0),
            hasher: foldhash::fast::FixedState::with_seed(seed),
        }
    }

    /// Which epoch the topics and filters with this first level share.
    pub fn index(&self, topic: &[u8]) -> usize {
        let first = topic.split(|byte| *byte == b'/').next().unwrap_or_default();
        let hash = self.hasher.hash_one(first);
        usize::try_from(hash).unwrap_or_default() % EPOCHS
    }

    /// Notes that a subscription to `filter` came or went. Call it before the tree's lock is
    /// given back: whoever is told of the change then finds it.
    pub fn touch(&self, filter: &str) {
        if filter.starts_with(['+', '#']) {
            self.wildcard.fetch_add(1, Ordering::SeqCst);
        } else if let Some(level) = self.levels.get(self.index(filter.as_bytes())) {
            level.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The epochs that a match for `index` depends on.
    #[inline]
    pub fn stamp(&self, index: usize) -> Stamp {
        Stamp {
            level: self.levels.get(index).map_or(0, |level| level.load(Ordering::Acquire)),
            wildcard: self.wildcard.load(Ordering::Acquire),
        }
    }
}
