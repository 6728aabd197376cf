//! Reads everything but payloads back: the engine's state, and the writer's memory of the file.

use std::collections::HashMap;
use std::sync::Arc;

use engine::message::{Message, Publication, SharedMessage};
use engine::store::{
    Recovered, SessionId, StoredDelivery, StoredExchange, StoredSession, StoredStage, StoredTerms,
    StoredWill,
};
use rusqlite::{Connection, Row};

use super::clock::StoreClock;
use super::database::State;
use super::ledger::{Bits, Segment};
use super::log::Log;
use super::op::{Op, options_of};
use super::receivers::{ReceiverSets, decode_list, read_terms};
use super::segment::{Entry, Head, To};

/// A list of receivers: whose session it is, and the terms.
type List = Vec<(SessionId, Arc<StoredTerms>)>;

/// An exchange as its row has it.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    session: u64,
    packet_id: u16,
    stage: StoredStage,
    /// No other of the session has its identifier and a higher number.
    stands: bool,
}

/// Reads the file.
pub(super) fn recover(
    connection: &Connection,
    clock: StoreClock,
    state: &State,
) -> rusqlite::Result<(Log, Recovered)> {
    let mut recovery = Recovery {
        connection,
        log: Log::new(clock, ReceiverSets::new(state.next_set), state.next_number),
        sessions: Vec::new(),
        places: HashMap::new(),
        lists: HashMap::new(),
        terms: HashMap::new(),
        exchanges: HashMap::new(),
        done: Vec::new(),
    };
    recovery.read_sessions()?;
    recovery.read_subscriptions()?;
    recovery.read_wills()?;
    recovery.read_in_exchanges()?;
    recovery.read_out_exchanges()?;
    recovery.read_sets()?;
    recovery.read_segments()?;
    recovery.finish_exchanges();
    let retained = recovery.read_retained()?;
    for (number, receiver) in recovery.done {
        recovery.log.ledger.done(number, receiver);
    }
    Ok((recovery.log, Recovered { sessions: recovery.sessions, retained }))
}

struct Recovery<'a> {
    connection: &'a Connection,
    log: Log,
    sessions: Vec<StoredSession>,
    /// By session, its place in `sessions`.
    places: HashMap<u64, usize>,
    /// By id of `receiver_set`.
    lists: HashMap<u64, List>,
    /// Terms by their stored bytes, each once.
    terms: HashMap<Box<[u8]>, Arc<StoredTerms>>,
    /// By message and receiver.
    exchanges: HashMap<(u64, u32), Exchange>,
    /// Deliveries that turn out to be done.
    done: Vec<(u64, u32)>,
}

impl Recovery<'_> {
    fn each(
        connection: &Connection,
        sql: &str,
        mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    }

    fn session(&mut self, id: u64) -> Option<&mut StoredSession> {
        self.sessions.get_mut(*self.places.get(&id)?)
    }

    fn read_sessions(&mut self) -> rusqlite::Result<()> {
        // Of two with one key, which no sequence of changes leads to, the younger is the session.
        let sql = "SELECT id, key, user, expiry_s, left_ms FROM session
            WHERE id IN (SELECT max(id) FROM session GROUP BY key)";
        Self::each(self.connection, sql, |row| {
            let id = unsigned(row, 0)?;
            let left_ms: Option<i64> = row.get(4)?;
            self.places.insert(id, self.sessions.len());
            self.log.sessions.insert(id);
            self.sessions.push(StoredSession {
                id: SessionId(id),
                key: row.get::<_, Vec<u8>>(1)?.into(),
                user: row.get::<_, String>(2)?.into(),
                expiry_s: row.get(3)?,
                gone_ms: left_ms.map_or(0, |left_ms| self.log.clock.gone_ms(left_ms)),
                subscriptions: Vec::new(),
                deliveries: Vec::new(),
                exchanges: Vec::new(),
                received: Vec::new(),
                will: None,
            });
            Ok(())
        })
    }

    fn read_subscriptions(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT session, filter, options, identifier FROM subscription";
        Self::each(self.connection, sql, |row| {
            let subscription =
                (row.get::<_, String>(1)?.into(), options_of(row.get(2)?), row.get(3)?);
            if let Some(session) = self.session(unsigned(row, 0)?) {
                session.subscriptions.push(subscription);
            }
            Ok(())
        })
    }

    fn read_wills(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT session, delay_s, expiry_s, qos, retain, topic, properties, payload
            FROM will";
        Self::each(self.connection, sql, |row| {
            let message = Message::new(&Publication {
                topic: row.get_ref(5)?.as_blob()?,
                properties: row.get_ref(6)?.as_blob()?,
                payload: row.get_ref(7)?.as_blob()?,
                qos: row.get(3)?,
                retain: row.get(4)?,
                expires_at_ms: engine::message::NEVER,
            });
            let (delay_s, expiry_s) = (row.get(1)?, row.get(2)?);
            if let Some(session) = self.session(unsigned(row, 0)?) {
                session.will = Some(StoredWill { message: Arc::new(message), expiry_s, delay_s });
            }
            Ok(())
        })
    }

    fn read_in_exchanges(&mut self) -> rusqlite::Result<()> {
        Self::each(self.connection, "SELECT session, packet_id FROM in_exchange", |row| {
            let packet_id = row.get(1)?;
            if let Some(session) = self.session(unsigned(row, 0)?) {
                session.received.push(packet_id);
            }
            Ok(())
        })
    }

    /// Of two rows of one session with one identifier the higher number stands; the other is over,
    /// and its row is there because it says that its delivery is done.
    fn read_out_exchanges(&mut self) -> rusqlite::Result<()> {
        let mut standing: HashMap<(u64, u16), (u64, u32)> = HashMap::new();
        let sql = "SELECT session, number, receiver, packet_id, stage FROM out_exchange
            ORDER BY number, receiver";
        Self::each(self.connection, sql, |row| {
            let (session, delivery) = (unsigned(row, 0)?, (unsigned(row, 1)?, row.get(2)?));
            let packet_id = row.get(3)?;
            let is_sent = row.get::<_, i64>(4)? == 0;
            let stage = if is_sent { StoredStage::Sent } else { StoredStage::ReceivedByPeer };
            if let Some(before) = standing.insert((session, packet_id), delivery) {
                if let Some(exchange) = self.exchanges.get_mut(&before) {
                    exchange.stands = false;
                }
            }
            let stands = self.places.contains_key(&session);
            self.exchanges.insert(delivery, Exchange { session, packet_id, stage, stands });
            Ok(())
        })?;
        for (delivery, exchange) in &self.exchanges {
            if exchange.stands {
                self.log.exchanges.insert(exchange.session, exchange.packet_id, *delivery);
            } else {
                self.log.exchanges.insert_finished(exchange.session, *delivery);
            }
            if !exchange.stands || exchange.stage == StoredStage::ReceivedByPeer {
                self.done.push(*delivery);
            }
        }
        Ok(())
    }

    fn read_sets(&mut self) -> rusqlite::Result<()> {
        Self::each(self.connection, "SELECT id, receivers FROM receiver_set", |row| {
            let id = unsigned(row, 0)?;
            let content = row.get_ref(1)?.as_blob()?;
            self.log.sets.insert(id, content);
            let mut list = List::new();
            for (session, terms) in decode_list(content).unwrap_or_default() {
                list.push((session, intern(&mut self.terms, terms)));
            }
            self.lists.insert(id, list);
            Ok(())
        })
    }

    fn read_segments(&mut self) -> rusqlite::Result<()> {
        // The body comes last in its row and is not read.
        let sql = "SELECT first, head, bits FROM segment
            LEFT JOIN segment_done ON segment = first ORDER BY first";
        Self::each(self.connection, sql, |row| {
            let first = unsigned(row, 0)?;
            let head = row.get_ref(1)?.as_blob()?;
            let bits = row.get_ref(2)?.as_blob_or_null()?;
            let Some(segment) = Segment::read(first, head, bits) else { return Ok(()) };
            for id in &segment.lists {
                self.log.sets.hold(*id);
            }
            for entry in Head::read(first, head).into_iter().flatten() {
                self.deliver(&entry, segment.done());
            }
            self.log.ledger.insert(first, segment);
            Ok(())
        })?;
        let delete = |id| Op::DeleteSet { id };
        self.log.leftover.extend(self.log.sets.unused().into_iter().map(delete));
        Ok(())
    }

    /// Hands a message's deliveries that are not done to their sessions.
    fn deliver(&mut self, entry: &Entry<'_>, done: &Bits) {
        match entry.to {
            To::One(session, terms) => {
                if !done.get(entry.delivery) {
                    let terms = intern(&mut self.terms, terms);
                    self.deliver_one(entry, 0, session, terms);
                }
            }
            To::List(id, count) => {
                // Taken out and put back: `self` is borrowed meanwhile.
                let Some(list) = self.lists.remove(&id) else { return };
                for (receiver, (session, terms)) in (0..count).zip(&list) {
                    if !done.get(entry.delivery + receiver) {
                        self.deliver_one(entry, receiver, *session, Arc::clone(terms));
                    }
                }
                self.lists.insert(id, list);
            }
        }
    }

    fn deliver_one(
        &mut self,
        entry: &Entry<'_>,
        receiver: u32,
        session: SessionId,
        terms: Arc<StoredTerms>,
    ) {
        let delivery = StoredDelivery {
            number: entry.number,
            receiver,
            size: u32::try_from(entry.size()).unwrap_or(u32::MAX),
            expires_at_ms: self.log.clock.expiry_to_engine(entry.expires_ms),
            terms,
        };
        let exchange = if self.exchanges.is_empty() {
            None
        } else {
            self.exchanges.remove(&(entry.number, receiver))
        };
        let Some(place) = self.places.get(&session.0) else {
            self.done.push((entry.number, receiver)); // The session is gone.
            return;
        };
        let Some(stored) = self.sessions.get_mut(*place) else { return };
        match exchange {
            None => stored.deliveries.push(delivery),
            Some(Exchange { packet_id, stage, stands: true, .. }) => {
                stored.exchanges.push(StoredExchange { packet_id, stage, delivery });
            }
            Some(_) => {}
        }
    }

    /// Exchanges whose message is gone: PUBREL is still to be sent; a PUBLISH cannot be.
    fn finish_exchanges(&mut self) {
        for ((number, receiver), exchange) in std::mem::take(&mut self.exchanges) {
            let Exchange { session, packet_id, stage, stands } = exchange;
            if !stands {
                continue;
            }
            if stage == StoredStage::Sent {
                self.log.exchanges.completed(session, packet_id);
                continue;
            }
            let (size, expires_at_ms) = (0, engine::message::NEVER);
            let terms = Arc::new(StoredTerms { qos: 2, ..StoredTerms::default() });
            let delivery = StoredDelivery { number, receiver, size, expires_at_ms, terms };
            if let Some(session) = self.session(session) {
                session.exchanges.push(StoredExchange { packet_id, stage, delivery });
            }
        }
        for session in &mut self.sessions {
            session
                .exchanges
                .sort_by_key(|exchange| (exchange.delivery.number, exchange.delivery.receiver));
        }
    }

    fn read_retained(&self) -> rusqlite::Result<Vec<SharedMessage>> {
        let mut retained = Vec::new();
        let sql = "SELECT topic, qos, expires_ms, properties, payload FROM retained";
        Self::each(self.connection, sql, |row| {
            let expires_ms: Option<i64> = row.get(2)?;
            let expires_ms = expires_ms.map(|expires_ms| u64::try_from(expires_ms).unwrap_or(0));
            retained.push(Arc::new(Message::new(&Publication {
                topic: row.get_ref(0)?.as_blob()?,
                properties: row.get_ref(3)?.as_blob()?,
                payload: row.get_ref(4)?.as_blob()?,
                qos: row.get(1)?,
                retain: true,
                expires_at_ms: self.log.clock.expiry_to_engine(expires_ms),
            })));
            Ok(())
        })?;
        Ok(retained)
    }
}

/// The terms with these bytes; each is made once.
fn intern(known: &mut HashMap<Box<[u8]>, Arc<StoredTerms>>, bytes: &[u8]) -> Arc<StoredTerms> {
    if let Some(terms) = known.get(bytes) {
        return Arc::clone(terms);
    }
    let terms = Arc::new(read_terms(bytes).unwrap_or_default());
    known.insert(bytes.into(), Arc::clone(&terms));
    terms
}

fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(index)?).unwrap_or(0))
}
