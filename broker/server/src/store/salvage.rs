//! What can be read of a damaged file, copied into a new one.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::op::row_id;
use super::schema::TABLES;

/// Numbers go on so far above the highest that was found: those that were lost are not given
/// again.
const NUMBERS_AHEAD: u64 = 1 << 32;
/// Errors after which the rest of a table is given up.
const ERRORS_MAX: u32 = 1_000;

/// Copies every row that can be read. Says what that was.
pub(super) fn save(damaged: &Path, into: &Connection) -> rusqlite::Result<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut rows = 0_u64;
    into.execute_batch("BEGIN IMMEDIATE")?;
    if let Ok(from) = Connection::open_with_flags(damaged, flags) {
        // It stays as it is: closing it copies nothing into it.
        from.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        for table in TABLES {
            rows += copy(&from, into, table);
        }
    }
    let ahead = row_id(NUMBERS_AHEAD);
    into.execute_batch(&format!(
        "UPDATE state SET
            next_number = max(next_number, (SELECT ifnull(max(first), 0) FROM segment)) + {ahead},
            next_session = max(next_session, (SELECT ifnull(max(id), 0) FROM session)) + {ahead},
            next_set = max(next_set, (SELECT ifnull(max(id), 0) FROM receiver_set)) + {ahead};
        COMMIT"
    ))?;
    Ok(format!("{rows} rows of it could be read and are kept"))
}

/// Copies the rows of one table: forwards, then from behind what cannot be read.
fn copy(from: &Connection, into: &Connection, table: &str) -> u64 {
    let mut rows = 0;
    let key = match table {
        "state" => "one",
        "segment" => "first",
        "segment_done" => "segment",
        "session" | "receiver_set" => "id",
        "will" => "session",
        // No single number is their key.
        _ => {
            // What cannot be read, and what is behind it, is lost.
            let whole = copy_some(from, into, table, "", &mut rows);
            return whole.map_or(rows, |()| rows);
        }
    };
    let mut next = i64::MIN;
    let mut step = 1_i64;
    for _ in 0..ERRORS_MAX {
        let clause = format!("WHERE {key} >= {next} ORDER BY {key}");
        match copy_some(from, into, table, &clause, &mut rows) {
            Ok(()) => break,
            Err(Some(last)) => {
                next = last.saturating_add(1);
                step = 1;
            }
            // Nothing could be read from here on: further ahead, in growing steps.
            Err(None) => {
                next = next.max(0).saturating_add(step);
                step = step.saturating_mul(2);
                if step > i64::from(u32::MAX) {
                    break;
                }
            }
        }
    }
    rows
}

/// Copies until a row cannot be read: `Err` has the first column of the last that could be.
fn copy_some(
    from: &Connection,
    into: &Connection,
    table: &str,
    clause: &str,
    count: &mut u64,
) -> Result<(), Option<i64>> {
    let mut last = None;
    let mut read = || -> rusqlite::Result<()> {
        let mut statement = from.prepare(&format!("SELECT * FROM {table} {clause}"))?;
        let columns = statement.column_count();
        let marks = vec!["?"; columns].join(", ");
        let insert = format!("INSERT OR REPLACE INTO {table} VALUES ({marks})");
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let values: Vec<Value> =
                (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            if let Some(Value::Integer(key)) = values.first() {
                last = Some(*key);
            }
            into.prepare_cached(&insert)?.execute(rusqlite::params_from_iter(values))?;
            *count += 1;
        }
        Ok(())
    };
    read().map_err(|_| last)
}
