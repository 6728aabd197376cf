//! A damaged file: set aside under another name with what belongs to it, and what can be read of
//! it saved into a new one. Only SQLite's word that a file is damaged counts as damage.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// What belongs to a database.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];
/// A file of this name says that damage was found while the broker ran.
const MARK: &str = "-damaged";

/// The file's name with this behind it.
fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Notes that the file is damaged, for the next start.
pub(super) fn mark(path: &Path) {
    // If it cannot be noted, the next start finds it out as this one did.
    drop(File::create(with(path, MARK)));
}

/// Whether the file was marked.
pub(super) fn is_marked(path: &Path) -> bool {
    with(path, MARK).exists()
}

/// Renames the database, its write-ahead log and its index; gives the database's new name.
pub(super) fn set_aside(path: &Path, wall_ms: i64) -> Result<PathBuf, StoreError> {
    let mut aside = with(path, &format!(".damaged-{}", wall_ms / 1_000));
    for attempt in 1_u32.. {
        if !aside.exists() {
            break;
        }
        aside = with(path, &format!(".damaged-{}-{attempt}", wall_ms / 1_000));
    }
    for suffix in SUFFIXES {
        let from = with(path, suffix);
        if from.exists() {
            std::fs::rename(&from, with(&aside, suffix))
                .map_err(StoreError::system(&from, "set the damaged file aside"))?;
        }
    }
    drop(std::fs::remove_file(with(path, MARK)));
    let folder = path.parent().unwrap_or(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::system(folder, "synchronise the data folder"))?;
    Ok(aside)
}
