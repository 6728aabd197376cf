//! A copy of the database while the broker runs: in steps between groups, on the writer's own
//! connection. What it commits meanwhile goes into the copy as well; a copy through another
//! connection would begin anew with each commit.

use std::path::Path;
use std::rc::Rc;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::control::Order;
use super::error::StoreError;
use super::writer::Writer;

/// Pages copied between two groups: a few milliseconds.
const PAGES: i32 = 256;

impl Writer {
    /// Does what the server asked for.
    pub(super) fn fulfil(&mut self, order: Order) {
        let Order::Backup(to, answer) = order;
        // Whoever asked may have gone; the copy is there all the same.
        drop(answer.send(self.back_up(&to)));
    }

    fn back_up(&mut self, to: &Path) -> Result<(), StoreError> {
        let refused = |what| StoreError::sqlite(to, what);
        let from = self.connection.clone().ok_or(StoreError::Stopped)?;
        let mut name = to.as_os_str().to_owned();
        name.push(".partial");
        let partial = Path::new(&name);
        drop(std::fs::remove_file(partial));
        let mut copy = Connection::open(partial).map_err(refused("make the copy"))?;
        {
            let backup = Backup::new(&from, &mut copy).map_err(refused("begin the copy"))?;
            loop {
                match backup.step(PAGES).map_err(refused("copy the store"))? {
                    StepResult::Done => break,
                    StepResult::More => {}
                    // A lock that somebody holds: tried again after the next group.
                    _ => std::thread::yield_now(),
                }
                if !self.round() || !self.is_connection(&from) || self.shared.is_stopping() {
                    return Err(StoreError::Stopped);
                }
            }
        }
        copy.close().map_err(|(_, error)| refused("close the copy")(error))?;
        std::fs::File::open(partial)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(partial, to))
            .map_err(StoreError::system(to, "keep the copy of the store there"))
    }

    fn is_connection(&self, connection: &Rc<Connection>) -> bool {
        self.connection.as_ref().is_some_and(|now| Rc::ptr_eq(now, connection))
    }
}
