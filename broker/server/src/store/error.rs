//! Why a store does not open, and what the failure of a statement means for what comes next.

use std::io;
use std::path::PathBuf;

use rusqlite::ffi;

/// The store cannot be opened, or cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another broker has the data folder.
    #[error(
        "store {folder}: another broker{holder} uses this data folder; stop it, or choose \
         another folder"
    )]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// " (process N)", or nothing.
        holder: String,
    },
    /// The file is damaged, and the configuration says not to go on.
    #[error(
        "store {path}: the file is damaged ({why}); restore a backup, or set on_damage = \"start\""
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// The file was made by a newer version.
    #[error(
        "store {path}: schema version {found} is newer than this program's {known}; use \
         the newer program"
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// In the file.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// SQLite refused.
    #[error("store {path}: cannot {what}: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The system refused.
    #[error("store {path}: cannot {what}: {source}")]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The store has stopped.
    #[error("store: it has stopped")]
    Stopped,
}

impl StoreError {
    /// For `map_err`: SQLite refused `what`.
    pub(super) fn sqlite(
        path: &std::path::Path,
        what: &'static str,
    ) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Sqlite { path, what, source }
    }

    /// For `map_err`: the system refused `what`.
    pub(super) fn system<E: Into<io::Error>>(
        path: &std::path::Path,
        what: &'static str,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::System { path, what, source: source.into() }
    }

    /// Whether SQLite failed, and in this way.
    pub(super) fn is(&self, trouble: Trouble) -> bool {
        matches!(self, Self::Sqlite { source, .. } if Trouble::of(source) == trouble)
    }
}

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No room: give up the reserve.
    Full,
    /// Somebody else holds a lock.
    Busy,
    /// The connection cannot be believed any more: close it, open another, read back.
    Lost,
    /// The file is damaged.
    Damaged,
}

impl Trouble {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error() else { return Self::Lost };
        match (code.extended_code & 0xFF, code.extended_code) {
            (ffi::SQLITE_FULL, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            (ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED, _) => Self::Busy,
            (ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB, _) => Self::Damaged,
            _ => Self::Lost,
        }
    }
}
