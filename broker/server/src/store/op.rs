//! One statement of a group: what a change comes to in the file. Ops own what they write, so that
//! a group can be applied again after a failure; applying one twice does what once does.

use engine::message::SharedMessage;
use engine::router::SubscriptionOptions;
use engine::store::StoredWill;
use rusqlite::{Connection, ToSql};

use super::segment::Finished;

/// A statement with its values; the names are those of schema.rs.
#[derive(Debug, Clone)]
pub(super) enum Op {
    PutSession { id: u64, key: Box<[u8]>, user: Box<str>, expiry_s: u32 },
    LeaveSession { id: u64, expiry_s: u32, left_ms: i64 },
    EndSession { id: u64 },
    PutSubscription { session: u64, filter: Box<str>, options: u8, identifier: u32 },
    DeleteSubscription { session: u64, filter: Box<str> },
    PutSet { id: u64, content: Vec<u8> },
    DeleteSet { id: u64 },
    PutSegment(Finished),
    DeleteSegment { first: u64, has_bits: bool },
    PutBits { first: u64, bits: Vec<u8> },
    PutOut { session: u64, number: u64, receiver: u32, packet_id: u16 },
    ReceiveOut { session: u64, number: u64, receiver: u32 },
    DeleteOut { session: u64, number: u64, receiver: u32 },
    PutIn { session: u64, packet_id: u16 },
    DeleteIn { session: u64, packet_id: u16 },
    PutRetained { topic: Box<[u8]>, message: SharedMessage, expires_ms: Option<u64> },
    DeleteRetained { topic: Box<[u8]> },
    PutWill { session: u64, will: Box<StoredWill> },
    DeleteWill { session: u64 },
}

const PUT_SESSION: &str = "INSERT INTO session (id, key, user, expiry_s, left_ms)
    VALUES (?1, ?2, ?3, ?4, NULL) ON CONFLICT (id) DO UPDATE
    SET key = ?2, user = ?3, expiry_s = ?4, left_ms = NULL";
const LEAVE_SESSION: &str = "UPDATE session SET expiry_s = ?2, left_ms = ?3 WHERE id = ?1";
const PUT_SUBSCRIPTION: &str =
    "INSERT OR REPLACE INTO subscription (session, filter, options, identifier)
    VALUES (?1, ?2, ?3, ?4)";
const DELETE_SUBSCRIPTION: &str = "DELETE FROM subscription WHERE session = ?1 AND filter = ?2";
const PUT_SET: &str = "INSERT OR REPLACE INTO receiver_set (id, receivers) VALUES (?1, ?2)";
const PUT_SEGMENT: &str = "INSERT OR REPLACE INTO segment (first, head, body) VALUES (?1, ?2, ?3)";
const PUT_BITS: &str = "INSERT OR REPLACE INTO segment_done (segment, bits) VALUES (?1, ?2)";
const PUT_OUT: &str =
    "INSERT OR REPLACE INTO out_exchange (session, number, receiver, packet_id, stage)
    VALUES (?1, ?2, ?3, ?4, 0)";
const RECEIVE_OUT: &str =
    "UPDATE out_exchange SET stage = 1 WHERE session = ?1 AND number = ?2 AND receiver = ?3";
const DELETE_OUT: &str =
    "DELETE FROM out_exchange WHERE session = ?1 AND number = ?2 AND receiver = ?3";
const PUT_IN: &str = "INSERT OR IGNORE INTO in_exchange (session, packet_id) VALUES (?1, ?2)";
const DELETE_IN: &str = "DELETE FROM in_exchange WHERE session = ?1 AND packet_id = ?2";
const PUT_RETAINED: &str =
    "INSERT OR REPLACE INTO retained (topic, qos, expires_ms, properties, payload)
    VALUES (?1, ?2, ?3, ?4, ?5)";
const DELETE_RETAINED: &str = "DELETE FROM retained WHERE topic = ?1";
const PUT_WILL: &str = "INSERT OR REPLACE INTO will
    (session, delay_s, expiry_s, qos, retain, topic, properties, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
/// A session goes with everything that is its own.
const END_SESSION: [&str; 5] = [
    "DELETE FROM session WHERE id = ?1",
    "DELETE FROM subscription WHERE session = ?1",
    "DELETE FROM out_exchange WHERE session = ?1",
    "DELETE FROM in_exchange WHERE session = ?1",
    DELETE_WILL,
];
const DELETE_WILL: &str = "DELETE FROM will WHERE session = ?1";

/// A number as SQLite has it: ours stay below 2^63, which takes 292 years at a billion a second.
pub(super) fn row_id(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Subscription Options as they are stored.
pub(super) fn options_byte(options: SubscriptionOptions) -> u8 {
    options.qos()
        | u8::from(options.no_local()) << 2
        | u8::from(options.retain_as_published()) << 3
        | u8::from(options.is_wildcard_first()) << 4
}

/// The Subscription Options that were stored.
pub(super) fn options_of(byte: u8) -> SubscriptionOptions {
    let options = SubscriptionOptions::new(byte & 3, byte & 4 != 0, byte & 8 != 0);
    if byte & 16 == 0 { options } else { options.with_wildcard_first() }
}

impl Op {
    /// Runs the statement.
    pub(super) fn run(&self, connection: &Connection) -> rusqlite::Result<()> {
        let run = |sql: &str, values: &[&dyn ToSql]| {
            connection.prepare_cached(sql)?.execute(values).map(drop)
        };
        match self {
            Self::PutSession { id, key, user, expiry_s } => {
                run(PUT_SESSION, &[&row_id(*id), key, user, expiry_s])
            }
            Self::LeaveSession { id, expiry_s, left_ms } => {
                run(LEAVE_SESSION, &[&row_id(*id), expiry_s, left_ms])
            }
            Self::EndSession { id } => {
                END_SESSION.iter().try_for_each(|sql| run(sql, &[&row_id(*id)]))
            }
            Self::PutSubscription { session, filter, options, identifier } => {
                run(PUT_SUBSCRIPTION, &[&row_id(*session), filter, options, identifier])
            }
            Self::DeleteSubscription { session, filter } => {
                run(DELETE_SUBSCRIPTION, &[&row_id(*session), filter])
            }
            Self::PutIn { session, packet_id } => run(PUT_IN, &[&row_id(*session), packet_id]),
            Self::DeleteIn { session, packet_id } => {
                run(DELETE_IN, &[&row_id(*session), packet_id])
            }
            Self::PutRetained { topic, message, expires_ms } => {
                let expires_ms = expires_ms.map(row_id);
                let (properties, payload) = (message.properties(), message.payload());
                run(PUT_RETAINED, &[topic, &message.qos, &expires_ms, &properties, &payload])
            }
            Self::DeleteRetained { topic } => run(DELETE_RETAINED, &[topic]),
            Self::PutWill { session, will } => put_will(*session, will, run),
            Self::DeleteWill { session } => run(DELETE_WILL, &[&row_id(*session)]),
            Self::PutSet { .. }
            | Self::DeleteSet { .. }
            | Self::PutSegment(_)
            | Self::DeleteSegment { .. }
            | Self::PutBits { .. }
            | Self::PutOut { .. }
            | Self::ReceiveOut { .. }
            | Self::DeleteOut { .. } => self.run_log(run),
        }
    }

    /// Runs a statement about the log and its deliveries.
    fn run_log(
        &self,
        run: impl Fn(&str, &[&dyn ToSql]) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        match self {
            Self::PutSet { id, content } => run(PUT_SET, &[&row_id(*id), content]),
            Self::DeleteSet { id } => {
                run("DELETE FROM receiver_set WHERE id = ?1", &[&row_id(*id)])
            }
            Self::PutSegment(segment) => {
                run(PUT_SEGMENT, &[&row_id(segment.first), &segment.head, &segment.body])
            }
            Self::DeleteSegment { first, has_bits } => {
                run("DELETE FROM segment WHERE first = ?1", &[&row_id(*first)])?;
                if *has_bits {
                    run("DELETE FROM segment_done WHERE segment = ?1", &[&row_id(*first)])?;
                }
                Ok(())
            }
            Self::PutBits { first, bits } => run(PUT_BITS, &[&row_id(*first), bits]),
            Self::PutOut { session, number, receiver, packet_id } => {
                run(PUT_OUT, &[&row_id(*session), &row_id(*number), receiver, packet_id])
            }
            Self::ReceiveOut { session, number, receiver } => {
                run(RECEIVE_OUT, &[&row_id(*session), &row_id(*number), receiver])
            }
            Self::DeleteOut { session, number, receiver } => {
                run(DELETE_OUT, &[&row_id(*session), &row_id(*number), receiver])
            }
            _ => Ok(()),
        }
    }
}

fn put_will(
    session: u64,
    will: &StoredWill,
    run: impl Fn(&str, &[&dyn ToSql]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let message = &will.message;
    let parts = (message.topic(), message.properties(), message.payload());
    let (delay_s, expiry_s, qos, retain) =
        (&will.delay_s, &will.expiry_s, &message.qos, &message.retain);
    run(PUT_WILL, &[&row_id(session), delay_s, expiry_s, qos, retain, &parts.0, &parts.1, &parts.2])
}
