//! Connections: how they are opened, and the row that says which commit was the last.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::clock::Stamp;
use super::op::row_id;
use super::profile::Profile;

/// Prepared statements that are kept: there are about thirty.
const STATEMENTS: usize = 64;

/// Opens the database for the writer; makes it if it is not there.
pub(super) fn open_writer(path: &Path, profile: Profile) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Both only matter for a file without pages, and only before the journal mode is set.
    connection.pragma_update(None, "page_size", profile.page_bytes())?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", profile.synchronous())?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens the database for reading beside the writer.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // KiB, negative: 4 MiB of pages; what is read once is not worth more on a small machine.
    connection.pragma_update(None, "cache_size", -4_096)?;
    // After a failed fsync nothing may be written or synchronised by closing.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// The row of `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// The last group of which something is committed.
    pub(super) group: u64,
    /// How many pieces of it are.
    pub(super) part: usize,
    pub(super) next_number: u64,
    pub(super) next_session: u64,
    pub(super) next_set: u64,
    pub(super) stamp: Stamp,
}

impl State {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT grp, part, next_number, next_session, next_set, store_ms, wall_ms,
            is_synchronised FROM state";
        connection.query_row(sql, [], |row| {
            let number = |index: usize| -> rusqlite::Result<u64> {
                Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or(0))
            };
            Ok(Self {
                group: number(0)?,
                part: usize::try_from(number(1)?).unwrap_or(0),
                next_number: number(2)?,
                next_session: number(3)?,
                next_set: number(4)?,
                stamp: Stamp {
                    store_ms: row.get(5)?,
                    wall_ms: row.get(6)?,
                    is_synchronised: row.get(7)?,
                },
            })
        })
    }

    /// Within the transaction of what it says.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE state SET grp = ?1, part = ?2, next_number = ?3, next_session = ?4,
            next_set = ?5, store_ms = ?6, wall_ms = ?7, is_synchronised = ?8";
        connection.prepare_cached(sql)?.execute(rusqlite::params![
            row_id(self.group),
            row_id(self.part as u64),
            row_id(self.next_number),
            row_id(self.next_session),
            row_id(self.next_set),
            self.stamp.store_ms,
            self.stamp.wall_ms,
            self.stamp.is_synchronised,
        ])?;
        Ok(())
    }
}

/// The bytes of the write-ahead log whose frames count, and whether all of it is in the file, after
/// copying what can be copied without waiting for anyone.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(u64, bool)> {
    let page_bytes: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let (busy, frames, copied): (i64, i64, i64) =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    // A checkpoint that a reader holds up still says that it was not busy: the numbers tell.
    let is_whole = busy == 0 && frames == copied;
    let bytes = frames.max(0).saturating_mul(page_bytes + 24);
    Ok((u64::try_from(bytes).unwrap_or(0), is_whole))
}
