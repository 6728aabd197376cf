//! The write-ahead log: copied into the file between groups, and not allowed to grow without end
//! when somebody else's snapshot holds it. Who that is, the kernel's list of locks says: opening
//! `-shm` here and closing it again would drop the locks that SQLite holds on it.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use engine::store::Health;
use rusqlite::Connection;

use super::config::StoreConfig;
use super::counters::{add, set};
use super::database::checkpoint;
use super::error::Trouble;
use super::outlet::Notice;
use super::writer::Writer;

/// The byte of `-shm` that a writer locks, and those that readers do.
const WRITE_LOCK: (u64, u64) = (120, 120);
const READ_LOCKS: (u64, u64) = (123, 127);

thread_local! {
    /// Frames that count in the write-ahead log after this thread's last commit.
    static FRAMES: Cell<u64> = const { Cell::new(0) };
}

/// Has the connection of this thread tell how long the write-ahead log is.
pub(super) fn count_frames(connection: &Connection) {
    connection.wal_hook(Some(|_, frames| {
        FRAMES.set(u64::try_from(frames).unwrap_or(0));
        Ok(())
    }));
}

/// What the writer knows of the write-ahead log.
#[derive(Debug)]
pub(super) struct Wal {
    database: PathBuf,
    page_bytes: u64,
    /// When it is copied into the file.
    checkpoint_bytes: u64,
    /// Above it nothing new is taken.
    bytes_max: u64,
    /// As long as it was after the last copy that was held up: the next is due some way above.
    held_bytes: u64,
    is_over: bool,
}

impl Wal {
    pub(super) fn new(config: &StoreConfig, connection: &Connection) -> Self {
        count_frames(connection);
        let page_bytes: i64 =
            connection.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap_or(4_096);
        Self {
            database: config.path(),
            page_bytes: u64::try_from(page_bytes).unwrap_or(4_096),
            checkpoint_bytes: config.profile.checkpoint_bytes().min(config.wal_bytes_max / 2),
            bytes_max: config.wal_bytes_max,
            held_bytes: 0,
            is_over: false,
        }
    }

    /// Its frames that count, in bytes.
    fn bytes(&self) -> u64 {
        FRAMES.get() * (self.page_bytes + 24)
    }

    /// Whether it is above its limit.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    fn is_due(&self) -> bool {
        self.is_over || self.bytes() >= self.held_bytes + self.checkpoint_bytes
    }

    /// For a foreign lock that keeps the writer from writing.
    pub(super) fn write_lock_text(&self) -> String {
        format!(
            "{} is locked for writing by {}: new messages, subscriptions and lasting sessions are \
             refused until it lets go",
            self.database.display(),
            self.holders(WRITE_LOCK)
        )
    }

    fn snapshot_text(&self) -> String {
        format!(
            "the write-ahead log of {} has {} MiB, because a snapshot is held open by {}: new \
             messages, subscriptions and lasting sessions are refused until it lets go",
            self.database.display(),
            self.bytes() >> 20,
            self.holders(READ_LOCKS)
        )
    }

    /// The processes that lock some of these bytes of `-shm`, for people.
    fn holders(&self, bytes: (u64, u64)) -> String {
        let mut path = self.database.clone().into_os_string();
        path.push("-shm");
        let inode = std::fs::metadata(path).map_or(0, |shm| shm.ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        match &*holders(&locks, inode, bytes, std::process::id()) {
            [] => "another process".to_owned(),
            pids => format!("process {}", pids.join(", ")),
        }
    }
}

/// The processes that lock some of these bytes of a file, out of `/proc/locks`:
/// `1: POSIX  ADVISORY  READ 4711 08:02:131 123 123`.
fn holders(locks: &str, inode: u64, bytes: (u64, u64), own: u32) -> Vec<String> {
    let mut found = Vec::new();
    for line in locks.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, kind, _, _, pid, file, start, end] = fields.as_slice() else { continue };
        let is_file = file.rsplit(':').next().is_some_and(|found| found.parse() == Ok(inode));
        let start: u64 = start.parse().unwrap_or(u64::MAX);
        let end: u64 = end.parse().unwrap_or(u64::MAX); // It may be `EOF`.
        let is_there = start <= bytes.1 && end >= bytes.0;
        if is_file
            && kind == "POSIX"
            && is_there
            && pid.parse() != Ok(own)
            && !found.iter().any(|other| other == pid)
        {
            found.push(pid.to_owned());
        }
    }
    found
}

impl Writer {
    /// Copies the write-ahead log into the file when it is time; says so when it cannot be.
    pub(super) fn checkpoint(&mut self) {
        if !self.wal.is_due() {
            return;
        }
        let Some(connection) = self.connection.clone() else { return };
        match checkpoint(&connection, "PASSIVE") {
            Ok((bytes, is_whole)) => {
                add(&self.shared.counters.checkpoints, 1);
                set(&self.shared.counters.wal_bytes, bytes);
                self.wal.held_bytes = if is_whole { 0 } else { bytes };
                if is_whole {
                    FRAMES.set(0);
                }
                self.wal.is_over = bytes > self.wal.bytes_max && !is_whole;
            }
            // The log keeps what it has, and the disk has no room for it in the file.
            Err(error) if Trouble::of(&error) == Trouble::Full => {
                self.give_up_reserve();
                self.wal.held_bytes = self.wal.bytes();
            }
            Err(error) if Trouble::of(&error) == Trouble::Busy => {
                self.wal.held_bytes = self.wal.bytes();
                self.wal.is_over = self.wal.bytes() > self.wal.bytes_max;
            }
            Err(error) => {
                let text = format!("the write-ahead log cannot be copied: {error}");
                self.shared.notice(Notice::trouble("store_checkpoint", text));
                self.connection = None; // It is opened anew for the next group.
            }
        }
        if self.wal.is_over && self.shared.health() == Health::Sound {
            let text = self.wal.snapshot_text();
            self.shared.set_health(Health::Full, Notice::trouble("store_held", text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_in_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  READ 4711 08:02:131 123 123\n\
            2: POSIX  ADVISORY  READ 99 08:02:131 124 124\n\
            3: POSIX  ADVISORY  WRITE 12 08:02:131 120 120\n\
            4: FLOCK  ADVISORY  WRITE 13 08:02:131 0 EOF\n\
            5: POSIX  ADVISORY  READ 14 08:02:7 123 123\n\
            5: -> POSIX  ADVISORY  READ 15 08:02:131 123 123\n";

        assert_eq!(holders(locks, 131, READ_LOCKS, 99), ["4711"]);
        assert_eq!(holders(locks, 131, WRITE_LOCK, 99), ["12"]);
    }
}
