//! The reserve: a file that holds room on the disk and is given up when the disk is full, so that
//! the group under way, acknowledgements and deletes still commit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// Its name in the data folder.
const NAME: &str = "quantummq.reserve";

/// The file, or the wish for it.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_held: bool,
}

impl Reserve {
    /// The reserve of this folder, of so many bytes; it is not made yet.
    pub(super) fn new(folder: &Path, bytes: u64) -> Self {
        Self { path: folder.join(NAME), bytes, is_held: false }
    }

    /// Gives the room back to the disk; false if there was none.
    pub(super) fn give_up(&mut self) -> bool {
        std::mem::take(&mut self.is_held) && std::fs::remove_file(&self.path).is_ok()
    }

    /// Removes what an earlier run left of it; false if there was nothing.
    pub(super) fn discard(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held || self.bytes == 0
    }

    /// Whether the disk has room for the reserve and as much again to go on with.
    pub(super) fn has_room(&self) -> bool {
        let wanted = self.bytes.max(1 << 20) * 2;
        let folder = self.path.parent().unwrap_or(&self.path);
        statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= wanted)
    }

    /// Makes the file, with blocks behind all of it.
    pub(super) fn make(&mut self) -> io::Result<()> {
        if self.is_held() {
            return Ok(());
        }
        let made = self.allocate();
        if made.is_err() {
            // What was allocated of it would only make the disk fuller.
            drop(std::fs::remove_file(&self.path));
        }
        self.is_held = made.is_ok();
        made
    }

    fn allocate(&self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        if file.metadata()?.len() > self.bytes {
            file.set_len(self.bytes)?;
        }
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&mut file, self.bytes),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where the file system cannot allocate, zeros do it.
fn fill(file: &mut File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..length).unwrap_or_default())?;
        left -= length as u64;
    }
    file.sync_all()
}
