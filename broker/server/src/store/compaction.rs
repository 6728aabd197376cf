//! Space between survivors: an old segment of which less than half is wanted is rewritten. What is
//! left of it goes, with its numbers, into a cold segment, so that one session that is long away
//! does not hold everything else's space. Runs of small segments, which groups of one message
//! make, are merged in the same way: each segment costs memory and a row.

use rusqlite::{Connection, OptionalExtension};

use super::log::Log;
use super::op::{Op, row_id};
use super::segment::{Finished, Head, Parts, SegmentWriter};

/// The newest segments are left alone: most of what is in them is done in a moment.
const TAIL_BYTES: u64 = 2 << 20;
/// Read for one commit at most: some milliseconds.
const WORK_BYTES: u64 = 16 << 20;
/// Free pages are given back to the file system above this many, and above a quarter of the file.
const FREE_PAGES_MIN: i64 = 2_048;
/// Given back at a time.
const FREE_PAGES_STEP: i64 = 1_024;

/// Cold segments in the making.
#[derive(Debug)]
struct Rewriting {
    segment: SegmentWriter,
    /// Of the deliveries in `segment`.
    bits: Vec<bool>,
    finished: Vec<(Finished, Option<Vec<u8>>)>,
}

impl Rewriting {
    fn finish(&mut self) {
        if let Some(finished) = self.segment.finish() {
            let bits = pack(&self.bits);
            self.finished.push((finished, bits));
        }
        self.bits.clear();
    }
}

impl Log {
    /// Rewrites sparse segments before the tail, or merges small ones, a bounded number; gives the
    /// bytes rewritten.
    ///
    /// # Errors
    /// SQLite's, while reading them; nothing has changed then.
    pub(super) fn compact(
        &mut self,
        connection: &Connection,
        ops: &mut Vec<Op>,
    ) -> rusqlite::Result<u64> {
        let tail = self.ledger.tail(TAIL_BYTES);
        let mut chosen = self.ledger.sparse(tail, WORK_BYTES);
        if chosen.is_empty() {
            chosen = self.ledger.small(tail);
        }
        let mut rewriting =
            Rewriting { segment: SegmentWriter::new(true), bits: Vec::new(), finished: Vec::new() };
        for (first, follows) in &chosen {
            if !follows {
                // Another segment is between: numbers on both sides of it cannot be in one.
                rewriting.finish();
            }
            self.rewrite(connection, *first, &mut rewriting)?;
        }
        rewriting.finish();
        let mut lists = Vec::new();
        for (first, _) in &chosen {
            let Some(segment) = self.ledger.remove(*first) else { continue };
            ops.push(Op::DeleteSegment { first: *first, has_bits: segment.has_row });
            lists.extend(segment.lists);
        }
        let mut bytes = 0;
        for (finished, bits) in rewriting.finished {
            bytes += finished.body.len() as u64;
            let first = finished.first;
            self.put_segment(finished, bits.as_deref(), ops);
            ops.extend(bits.map(|bits| Op::PutBits { first, bits }));
        }
        for id in lists {
            self.sets.release(id, ops);
        }
        Ok(bytes)
    }

    /// Copies what is wanted of one segment.
    fn rewrite(
        &self,
        connection: &Connection,
        first: u64,
        into: &mut Rewriting,
    ) -> rusqlite::Result<()> {
        let sql = "SELECT head, body FROM segment WHERE first = ?1";
        let row: Option<(Vec<u8>, Vec<u8>)> = connection
            .prepare_cached(sql)?
            .query_row([row_id(first)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some(((head, body), segment)) = row.zip(self.ledger.get(first)) else {
            return Ok(());
        };
        let done = segment.done();
        for entry in Head::read(first, &head).into_iter().flatten() {
            let end = entry.delivery + entry.to.count();
            if done.are_set(entry.delivery, end) {
                continue;
            }
            let Some((topic, properties, payload)) = entry.parts(&body) else { continue };
            let parts = Parts {
                number: entry.number,
                qos: entry.qos,
                retain: entry.retain,
                expires_ms: entry.expires_ms,
                to: entry.to,
                topic,
                properties,
                payload,
            };
            if into.segment.is_full_for(&parts) {
                into.finish();
            }
            into.segment.push(&parts);
            into.bits.extend((entry.delivery..end).map(|index| done.get(index)));
        }
        Ok(())
    }
}

/// Bits as they are stored; `None` if none is set.
fn pack(bits: &[bool]) -> Option<Vec<u8>> {
    bits.contains(&true).then(|| {
        let byte = |bits: &[bool]| {
            bits.iter().rev().fold(0_u8, |byte, is_set| byte << 1 | u8::from(*is_set))
        };
        bits.chunks(8).map(byte).collect()
    })
}

/// Gives some of the free pages at the end back to the file system, if there are many.
pub(super) fn give_back_pages(connection: &Connection) -> rusqlite::Result<()> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let free = count("PRAGMA freelist_count")?;
    if free < FREE_PAGES_MIN || free * 4 < count("PRAGMA page_count")? {
        return Ok(());
    }
    let mut statement =
        connection.prepare_cached(&format!("PRAGMA incremental_vacuum({FREE_PAGES_STEP})"))?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}
