//! The tables, their version, and the way from each version to the next.
//!
//! | table | a row is |
//! |---|---|
//! | `state` | the last commit: its group, the next numbers, its time. One row |
//! | `session` | a lasting session; `left_ms`: when it lost its connection, in store time |
//! | `subscription` | one of its subscriptions |
//! | `receiver_set` | a list of two or more receivers of messages |
//! | `segment` | consecutive messages of the log, see segment.rs |
//! | `segment_done` | a bit per delivery of a segment: done |
//! | `out_exchange` | a QoS 2 message on its way to a session; `stage` 1: PUBREC came |
//! | `in_exchange` | a Packet Identifier of a QoS 2 message from a session |
//! | `will` | the will of a session |
//! | `retained` | the retained message of a topic |
//!
//! Topics are BLOBs: they are compared byte for byte, and never read as anything else.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::StoreError;

const VERSION_1: &str = "
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    grp INTEGER NOT NULL,
    part INTEGER NOT NULL,
    next_number INTEGER NOT NULL,
    next_session INTEGER NOT NULL,
    next_set INTEGER NOT NULL,
    store_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    is_synchronised INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, 0, 0, 1, 1, 1, 0, 0, 0);
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    user TEXT NOT NULL,
    expiry_s INTEGER NOT NULL,
    left_ms INTEGER
) STRICT;
CREATE TABLE subscription (
    session INTEGER NOT NULL,
    filter TEXT NOT NULL,
    options INTEGER NOT NULL,
    identifier INTEGER NOT NULL,
    PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;
CREATE TABLE receiver_set (
    id INTEGER PRIMARY KEY,
    receivers BLOB NOT NULL
) STRICT;
CREATE TABLE segment (
    first INTEGER PRIMARY KEY,
    head BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE segment_done (
    segment INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;
CREATE TABLE out_exchange (
    session INTEGER NOT NULL,
    number INTEGER NOT NULL,
    receiver INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    PRIMARY KEY (session, number, receiver)
) STRICT, WITHOUT ROWID;
CREATE TABLE in_exchange (
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE will (
    session INTEGER PRIMARY KEY,
    delay_s INTEGER NOT NULL,
    expiry_s INTEGER,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    topic BLOB NOT NULL,
    properties BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE retained (
    topic BLOB PRIMARY KEY,
    qos INTEGER NOT NULL,
    expires_ms INTEGER,
    properties BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
";

/// The way to each version from the one before: version 1 from an empty file.
const STEPS: [&str; 1] = [VERSION_1];

/// Every table, those that others name first.
pub(super) const TABLES: [&str; 10] = [
    "state",
    "session",
    "subscription",
    "receiver_set",
    "segment",
    "segment_done",
    "out_exchange",
    "in_exchange",
    "will",
    "retained",
];

/// Brings the file to this program's version. A file with something in it is copied first.
///
/// # Errors
/// It is newer than this program, or SQLite refused.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<Option<PathBuf>, StoreError> {
    migrate_by(connection, path, &STEPS)
}

fn migrate_by(
    connection: &Connection,
    path: &Path,
    steps: &[&str],
) -> Result<Option<PathBuf>, StoreError> {
    let refused = |what| StoreError::sqlite(path, what);
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(refused("read its schema version"))?;
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(None);
    }
    let backup = if found == 0 { None } else { Some(back_up(connection, path, found)?) };
    let done = usize::try_from(found).unwrap_or(0);
    for (index, step) in steps.iter().enumerate().skip(done) {
        let sql = format!("BEGIN IMMEDIATE; {step} PRAGMA user_version = {}; COMMIT;", index + 1);
        if let Err(error) = connection.execute_batch(&sql) {
            // Closing would roll back as well; the error to tell is the first.
            drop(connection.execute_batch("ROLLBACK"));
            return Err(refused("change its schema")(error));
        }
    }
    Ok(backup)
}

/// Copies the file as it is, beside it; a copy that is there already is of the same version.
fn back_up(connection: &Connection, path: &Path, version: i64) -> Result<PathBuf, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".version-{version}"));
    let backup = PathBuf::from(name);
    let mut partial = backup.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    drop(std::fs::remove_file(&partial));
    connection
        .execute("VACUUM INTO ?1", [partial.to_string_lossy()])
        .map_err(StoreError::sqlite(path, "copy it before its schema changes"))?;
    std::fs::File::open(&partial)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&partial, &backup))
        .map_err(StoreError::system(&backup, "keep the copy of the store there"))?;
    Ok(backup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_older_version_is_copied_and_then_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let connection = Connection::open(&path).expect("opens");
        migrate(&connection, &path).expect("version 1");
        connection.execute("DELETE FROM state", []).expect("a change");
        let next = "ALTER TABLE session ADD COLUMN tenant TEXT;";

        let backup = migrate_by(&connection, &path, &[VERSION_1, next]).expect("version 2");

        let copy = Connection::open(backup.expect("a copy")).expect("opens");
        let rows = |connection: &Connection| -> (i64, i64) {
            let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
            let states = connection.query_row("SELECT count(*) FROM state", [], |row| row.get(0));
            (version.expect("a version"), states.expect("a count"))
        };
        assert_eq!((rows(&copy), rows(&connection)), ((1, 0), (2, 0)));
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let connection = Connection::open(&path).expect("opens");
        connection.execute_batch("PRAGMA user_version = 2").expect("a version");

        let refused = migrate(&connection, &path);

        assert!(matches!(refused, Err(StoreError::TooNew { found: 2, known: 1, .. })));
    }
}
