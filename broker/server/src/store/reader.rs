//! The thread that brings messages back from disk, on a connection of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::message::{Message, Publication, SharedMessage};
use engine::store::Fetched;
use rusqlite::{Connection, OptionalExtension};

use super::clock::StoreClock;
use super::database::open_reader;
use super::error::Trouble;
use super::fetches::Asked;
use super::op::row_id;
use super::outlet::Notice;
use super::segment::Head;
use super::shared::Shared;

/// Segments that are kept: queues that are drained side by side read the same ones.
const CACHE_BYTES: usize = 4 << 20;
/// After a failure to read.
const PAUSE: Duration = Duration::from_millis(200);

/// The reader's connection. The writer closes it when the file is to be opened anew: SQLite keeps a
/// file open, and would use it again, as long as another connection of the process has it.
#[derive(Debug)]
pub(super) struct ReaderSlot {
    path: std::path::PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl ReaderSlot {
    pub(super) fn new(path: std::path::PathBuf) -> Self {
        Self { path, connection: Mutex::new(None) }
    }

    /// The connection, or none until it is needed; it is not opened while this is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One row of the log.
#[derive(Debug)]
struct Row {
    first: u64,
    last: u64,
    head: Vec<u8>,
    body: Vec<u8>,
}

/// Answers fetches.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    slot: Arc<ReaderSlot>,
    clock: StoreClock,
    /// The last used comes last. What is in a row never changes; a message that is done may still
    /// be found here, which nobody asks for.
    cache: Vec<Row>,
    /// What was last said of a failure.
    complaint: String,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, slot: Arc<ReaderSlot>, clock: StoreClock) -> Self {
        Self { shared, slot, clock, cache: Vec::new(), complaint: String::new() }
    }

    /// Until the store stops.
    pub(super) fn run(mut self) {
        while let Some(asked) = self.shared.fetches.next() {
            while !self.shared.is_stopping() {
                match self.answer(&asked) {
                    Ok(fetched) => {
                        self.shared.outlet().fetched(asked.shard, fetched);
                        break;
                    }
                    Err(error) => self.recover(&error),
                }
            }
        }
    }

    fn recover(&mut self, error: &rusqlite::Error) {
        let text = format!("stored messages cannot be read: {error}; it is tried again");
        if self.complaint != text {
            self.complaint.clone_from(&text);
            self.shared.notice(Notice::trouble("store_unreadable", text));
        }
        *self.slot.lock() = None;
        self.shared.fetches.pause(PAUSE);
    }

    fn answer(&mut self, asked: &Asked) -> rusqlite::Result<Fetched> {
        let slot = Arc::clone(&self.slot);
        let mut guard = slot.lock();
        if guard.is_none() {
            *guard = Some(open_reader(&slot.path)?);
        }
        let mut messages = Vec::with_capacity(asked.fetch.numbers.len());
        if let Some(connection) = &*guard {
            // One snapshot: a message that is moved meanwhile is found where it was.
            connection.prepare_cached("BEGIN")?.execute([])?;
            let found = self.find_all(connection, &asked.fetch.numbers, &mut messages);
            connection.prepare_cached("COMMIT")?.execute([])?;
            found?;
        }
        Ok(Fetched { queue: asked.fetch.queue, messages })
    }

    fn find_all(
        &mut self,
        connection: &Connection,
        numbers: &[u64],
        messages: &mut Vec<(u64, Option<SharedMessage>)>,
    ) -> rusqlite::Result<()> {
        let mut rest = numbers;
        while let Some((number, _)) = rest.split_first() {
            match self.load(connection, *number) {
                Ok(true) => {}
                Ok(false) => {
                    messages.push((*number, None));
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                Err(error) if Trouble::of(&error) == Trouble::Damaged => {
                    let text = format!("message {number} is lost: {error}");
                    self.shared.notice(Notice::trouble("store_damaged", text));
                    messages.push((*number, None));
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                Err(error) => return Err(error),
            }
            let Some(row) = self.cache.last() else { break };
            let count = rest.iter().take_while(|number| **number <= row.last).count().max(1);
            let (here, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            pick(row, &self.clock, here, messages);
            rest = later;
        }
        Ok(())
    }

    /// Brings the row that a number would be in to the end of the cache; false if there is none.
    fn load(&mut self, connection: &Connection, number: u64) -> rusqlite::Result<bool> {
        let holds = |row: &Row| row.first <= number && number <= row.last;
        if let Some(place) = self.cache.iter().rposition(holds) {
            let row = self.cache.remove(place);
            self.cache.push(row);
            return Ok(true);
        }
        let sql = "SELECT first, head, body FROM segment WHERE first <= ?1
            ORDER BY first DESC LIMIT 1";
        let row = connection
            .prepare_cached(sql)?
            .query_row([row_id(number)], |row| {
                let first = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
                Ok(Row { first, last: first, head: row.get(1)?, body: row.get(2)? })
            })
            .optional()?;
        let Some(mut row) = row else { return Ok(false) };
        let last = Head::read(row.first, &row.head).and_then(Iterator::last);
        row.last = last.map_or(row.first, |entry| entry.number);
        if row.last < number {
            return Ok(false);
        }
        let mut bytes: usize = self.cache.iter().map(|row| row.body.len()).sum();
        while bytes > CACHE_BYTES {
            bytes -= self.cache.remove(0).body.len();
        }
        self.cache.push(row);
        Ok(true)
    }
}

/// The messages with these numbers, ascending, out of one row.
fn pick(
    row: &Row,
    clock: &StoreClock,
    numbers: &[u64],
    messages: &mut Vec<(u64, Option<SharedMessage>)>,
) {
    let mut entries = Head::read(row.first, &row.head).into_iter().flatten().peekable();
    for number in numbers {
        while entries.next_if(|entry| entry.number < *number).is_some() {}
        let entry = entries.peek().filter(|entry| entry.number == *number);
        let message = entry.and_then(|entry| {
            let (topic, properties, payload) = entry.parts(&row.body)?;
            Some(Arc::new(Message::stored(
                *number,
                &Publication {
                    topic,
                    properties,
                    payload,
                    qos: entry.qos,
                    retain: entry.retain,
                    expires_at_ms: clock.expiry_to_engine(entry.expires_ms),
                },
            )))
        });
        messages.push((*number, message));
    }
}
