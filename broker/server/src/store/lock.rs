//! One broker a data folder: a lock file that is held for as long as the store is open.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::StoreError;

/// Its name in the data folder.
const NAME: &str = "quantummq.lock";

/// The lock, given back when it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder's lock; makes the folder if it is not there.
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        make_folder(folder).map_err(StoreError::system(folder, "make the data folder"))?;
        let path = folder.join(NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::system(&path, "open the lock file"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Only for the message: if it cannot be read, the message says less.
                drop((&mut file).take(20).read_to_string(&mut holder));
                let holder = match holder.trim() {
                    "" => String::new(),
                    process => format!(" (process {process})"),
                };
                return Err(StoreError::Locked { folder: folder.to_owned(), holder });
            }
            Err(error) => return Err(StoreError::system(&path, "lock it")(error)),
        }
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // On a full disk the lock holds without a name in it.
        drop(write(&mut file));
        Ok(Self { _file: file })
    }
}

/// Makes a folder and those it is in. What names each is synchronised, whoever made it and
/// whenever that was, or a power cut could take the folder with everything in it. A folder above
/// that may not be opened was there before us.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for parent in folder.canonicalize()?.ancestors().skip(1) {
        drop(File::open(parent).and_then(|parent| parent.sync_all()));
    }
    Ok(())
}
