//! Profiles: what a commit costs and what it survives.

use std::time::Duration;

/// How the store writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Each group is synchronised: survives kill -9 and a power cut.
    #[default]
    Safe,
    /// The same promise for SD cards: groups are gathered for half a second, pages are small, and
    /// the write-ahead log grows longer before it is copied, so that less is written.
    Card,
    /// Not synchronised at each commit: survives kill -9, not a power cut.
    Fast,
}

impl Profile {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Card => "card",
            Self::Fast => "fast",
        }
    }

    /// How long a group is gathered.
    pub(super) fn window(self) -> Duration {
        match self {
            Self::Safe | Self::Fast => Duration::ZERO,
            Self::Card => Duration::from_millis(500),
        }
    }

    /// How long bits and rows that may be late wait for a commit: what a crash makes come again.
    pub(super) fn settle_after(self) -> Duration {
        match self {
            Self::Safe | Self::Fast => Duration::from_millis(200),
            Self::Card => Duration::from_secs(1),
        }
    }

    /// Of a new file.
    pub(super) fn page_bytes(self) -> u32 {
        match self {
            Self::Safe | Self::Fast => 4_096,
            Self::Card => 1_024,
        }
    }

    /// For `PRAGMA synchronous`.
    pub(super) fn synchronous(self) -> &'static str {
        match self {
            Self::Safe | Self::Card => "FULL",
            Self::Fast => "NORMAL",
        }
    }

    /// How long the write-ahead log gets before it is copied into the file: long enough that a
    /// page changed often is copied once.
    pub(super) fn checkpoint_bytes(self) -> u64 {
        match self {
            Self::Safe | Self::Fast => 16 << 20,
            Self::Card => 96 << 20,
        }
    }
}
