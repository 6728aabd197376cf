//! What a store is told when it is opened.

use std::path::PathBuf;

use super::profile::Profile;

/// What happens when the file turns out to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// It is set aside, what can be read is saved, and the broker starts.
    #[default]
    Start,
    /// The broker does not start.
    Stop,
}

/// Where the store is and how it writes.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data folder; it is made if it is not there.
    pub folder: PathBuf,
    /// How it writes.
    pub profile: Profile,
    /// What happens when the file is damaged.
    pub on_damage: OnDamage,
    /// The file that is given up when the disk is full, in bytes; 0 for none.
    pub reserve_bytes: u64,
    /// The write-ahead log may grow to this, in bytes.
    pub wal_bytes_max: u64,
    /// What the shards wrote and the writer has not committed may take this, in bytes; above it
    /// they should read no more from publishers.
    pub pending_bytes_max: usize,
}

impl StoreConfig {
    /// The defaults, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            profile: Profile::Safe,
            on_damage: OnDamage::Start,
            reserve_bytes: 8 << 20,
            wal_bytes_max: 256 << 20,
            pending_bytes_max: 64 << 20,
        }
    }

    /// The database.
    pub fn path(&self) -> PathBuf {
        self.folder.join("quantummq.db")
    }
}
