//! What the writer knows of the file without reading it, and how changes become statements.

use std::collections::{HashMap, HashSet};

use engine::message::Message;
use engine::store::{Change, MessageRef, Receivers};

use super::clock::StoreClock;
use super::exchange::{Delivery, Exchanges};
use super::ledger::{Ledger, Outcome, Segment};
use super::op::{Op, options_byte};
use super::pending::List;
use super::receivers::{ReceiverSets, put_terms};
use super::segment::{Finished, Parts, SegmentWriter, To};

/// A piece of a group is closed at about this: one transaction when a whole group does not fit.
const PIECE_BYTES: usize = 1 << 20;
/// Topics whose last retained change is known: above it the older half is forgotten.
const RETAINED_MAX: usize = 64 << 10;

/// The writer's memory.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) clock: StoreClock,
    pub(super) ledger: Ledger,
    pub(super) sets: ReceiverSets,
    pub(super) exchanges: Exchanges,
    /// The lasting sessions.
    pub(super) sessions: HashSet<u64>,
    /// The next message's.
    pub(super) next_number: u64,
    /// Statements that recovery left: rows that nothing needs any more.
    pub(super) leftover: Vec<Op>,
    retained: RetainedOrder,
    /// Changes that name a message which no list has brought yet.
    aside: Vec<Change>,
    /// Messages that nobody wanted any more when they were taken.
    pub(super) never_written: u64,
    /// Of topics, properties and payloads written.
    pub(super) appended_bytes: u64,
}

/// The pieces of a group: each commits as a whole.
pub(super) type Pieces = Vec<Vec<Op>>;

impl Log {
    /// Over what recovery found.
    pub(super) fn new(clock: StoreClock, sets: ReceiverSets, next_number: u64) -> Self {
        Self {
            clock,
            ledger: Ledger::default(),
            sets,
            exchanges: Exchanges::default(),
            sessions: HashSet::new(),
            next_number,
            leftover: Vec::new(),
            retained: RetainedOrder::default(),
            aside: Vec::new(),
            never_written: 0,
            appended_bytes: 0,
        }
    }

    /// The statements for what the shards wrote; the lists are empty afterwards.
    pub(super) fn draft(&mut self, lists: &mut [List]) -> Pieces {
        self.number(lists);
        let mut draft = Draft::default();
        for list in lists {
            let mut units = list.units.drain(..).peekable();
            for (index, change) in list.changes.drain(..).enumerate() {
                while units.next_if(|unit| unit.1 <= index).is_some() {}
                let is_inside = units.peek().is_some_and(|unit| unit.0 < index);
                if draft.bytes >= PIECE_BYTES && !is_inside {
                    self.close(&mut draft);
                }
                self.apply(change, &mut draft);
            }
            drop(units);
            list.clear();
        }
        for change in std::mem::take(&mut self.aside) {
            self.apply(change, &mut draft);
        }
        for delivery in std::mem::take(&mut draft.moved) {
            self.give_away(delivery, &mut draft);
        }
        self.close(&mut draft);
        for (number, receiver) in draft.done {
            self.ledger.done(number, receiver);
        }
        draft.pieces
    }

    /// Gives each message that is to be written its number: in the order of the lists.
    fn number(&mut self, lists: &[List]) {
        for change in lists.iter().flat_map(|list| &list.changes) {
            let Change::Appended { message, .. } = change else { continue };
            if message.take() {
                message.set_number(self.next_number);
                self.next_number += 1;
            } else {
                self.never_written += 1;
            }
        }
    }

    fn apply(&mut self, change: Change, draft: &mut Draft) {
        match change {
            Change::Appended { message, receivers } => self.append(&message, &receivers, draft),
            Change::Consumed { message, receiver } => match Place::of(&message) {
                Place::Number(number) => draft.done.push((number, receiver)),
                Place::Later => self.aside.push(Change::Consumed { message, receiver }),
                Place::Nowhere => {}
            },
            Change::Moved { message, receiver } => match Place::of(&message) {
                Place::Number(number) => self.give_away((number, receiver), draft),
                Place::Later => self.aside.push(Change::Moved { message, receiver }),
                Place::Nowhere => {}
            },
            Change::Sent { id, packet_id, message, receiver } => match Place::of(&message) {
                Place::Number(number) if self.sessions.contains(&id.0) => {
                    self.exchanges.sent(id.0, packet_id, (number, receiver), &mut draft.ops);
                }
                Place::Later => self.aside.push(Change::Sent { id, packet_id, message, receiver }),
                Place::Number(_) | Place::Nowhere => {}
            },
            Change::ReceivedByPeer { id, packet_id } => {
                draft.done.extend(self.exchanges.received(id.0, packet_id, &mut draft.ops));
            }
            Change::Completed { id, packet_id } => self.exchanges.completed(id.0, packet_id),
            Change::Retained { sequence, topic, message } => {
                if self.retained.is_newest(&topic, sequence) {
                    draft.bytes += message.as_ref().map_or(0, |message| weight(message));
                    let clock = &self.clock;
                    draft.retain(
                        topic,
                        message.map(|message| {
                            let expires_ms = clock.expiry_to_store(message.expires_at_ms);
                            (message, expires_ms)
                        }),
                    );
                }
            }
            other => self.apply_session(other, draft),
        }
    }

    fn apply_session(&mut self, change: Change, draft: &mut Draft) {
        let ops = &mut draft.ops;
        match change {
            Change::Session { id, key, user, expiry_s } => {
                self.sessions.insert(id.0);
                ops.push(Op::PutSession { id: id.0, key, user, expiry_s });
            }
            Change::SessionLeft { id, expiry_s, now_ms } => {
                let left_ms = self.clock.to_store(now_ms);
                ops.push(Op::LeaveSession { id: id.0, expiry_s, left_ms });
            }
            Change::SessionEnded { id } => {
                self.sessions.remove(&id.0);
                self.exchanges.ended(id.0);
                ops.push(Op::EndSession { id: id.0 });
            }
            Change::Subscribed { id, filter, options, identifier } => {
                let options = options_byte(options);
                ops.push(Op::PutSubscription { session: id.0, filter, options, identifier });
            }
            Change::Unsubscribed { id, filter } => {
                ops.push(Op::DeleteSubscription { session: id.0, filter });
            }
            Change::Received { id, packet_id } => {
                ops.push(Op::PutIn { session: id.0, packet_id });
            }
            Change::Released { id, packet_id } => {
                ops.push(Op::DeleteIn { session: id.0, packet_id });
            }
            Change::Will { id, will: Some(will) } => {
                draft.bytes += weight(&will.message);
                ops.push(Op::PutWill { session: id.0, will });
            }
            Change::Will { id, will: None } => ops.push(Op::DeleteWill { session: id.0 }),
            // What `apply` took.
            Change::Appended { .. }
            | Change::Consumed { .. }
            | Change::Moved { .. }
            | Change::Sent { .. }
            | Change::ReceivedByPeer { .. }
            | Change::Completed { .. }
            | Change::Retained { .. } => {}
        }
    }

    fn append(&mut self, message: &Message, receivers: &Receivers, draft: &mut Draft) {
        let number = message.number();
        if number == 0 {
            return; // It is not to be written.
        }
        let mut terms = std::mem::take(&mut draft.terms);
        terms.clear();
        let to = match &**receivers {
            [receiver] => {
                put_terms(&mut terms, &receiver.terms);
                To::One(receiver.session, &terms)
            }
            several => {
                let count = u32::try_from(several.len()).unwrap_or(u32::MAX);
                To::List(self.sets.intern(receivers, &mut draft.ops), count)
            }
        };
        let parts = Parts {
            number,
            qos: message.qos,
            retain: message.retain,
            expires_ms: self.clock.expiry_to_store(message.expires_at_ms),
            to,
            topic: message.topic(),
            properties: message.properties(),
            payload: message.payload(),
        };
        if draft.segment.is_full_for(&parts) {
            self.finish(draft);
        }
        draft.bytes += parts.size();
        self.appended_bytes += parts.size() as u64;
        draft.segment.push(&parts);
        draft.terms = terms;
    }

    /// A delivery is done, which its bit says in this very transaction.
    fn give_away(&mut self, (number, receiver): Delivery, draft: &mut Draft) {
        if !self.ledger.has(number) {
            self.finish(draft);
        }
        if !self.ledger.has(number) {
            draft.moved.push((number, receiver)); // Another shard's list brings the message.
        } else if let Some((first, bits)) = self.ledger.done_now(number, receiver) {
            draft.set_bits(first, bits);
        }
    }

    /// Closes the segment in the making.
    fn finish(&mut self, draft: &mut Draft) {
        if let Some(finished) = draft.segment.finish() {
            self.put_segment(finished, None, &mut draft.ops);
        }
    }

    /// Takes a segment into the ledger and writes it.
    pub(super) fn put_segment(
        &mut self,
        finished: Finished,
        bits: Option<&[u8]>,
        ops: &mut Vec<Op>,
    ) {
        if let Some(segment) = Segment::read(finished.first, &finished.head, bits) {
            for id in &segment.lists {
                self.sets.hold(*id);
            }
            self.ledger.insert(finished.first, segment);
        }
        ops.push(Op::PutSegment(finished));
    }

    fn close(&mut self, draft: &mut Draft) {
        self.finish(draft);
        draft.retained_at.clear();
        draft.bits_at.clear();
        draft.bytes = 0;
        if !draft.ops.is_empty() {
            draft.pieces.push(std::mem::take(&mut draft.ops));
        }
    }

    /// Whether there is something that was left for later.
    pub(super) fn has_unsettled(&self) -> bool {
        self.ledger.has_changed() || self.exchanges.has_finished() || !self.leftover.is_empty()
    }

    /// The statements for what was left for later: bits, done segments, rows of exchanges over.
    pub(super) fn settle(&mut self, ops: &mut Vec<Op>) {
        for (first, outcome) in self.ledger.settle() {
            match outcome {
                Outcome::Bits(bits) => ops.push(Op::PutBits { first, bits }),
                Outcome::Done(lists, has_bits) => {
                    ops.push(Op::DeleteSegment { first, has_bits });
                    for id in lists {
                        self.sets.release(id, ops);
                    }
                }
            }
        }
        self.exchanges.settle(ops);
        ops.append(&mut self.leftover);
    }
}

/// Where a message is that a change names.
enum Place {
    /// In the log.
    Number(u64),
    /// In a list that the writer has not taken.
    Later,
    /// It was never written.
    Nowhere,
}

impl Place {
    fn of(message: &MessageRef) -> Self {
        match (message.number(), message) {
            (0, MessageRef::Held(held)) if held.is_never_written() => Self::Nowhere,
            (0, MessageRef::Held(_)) => Self::Later,
            (0, MessageRef::Number(_)) => Self::Nowhere,
            (number, _) => Self::Number(number),
        }
    }
}

/// A group in the making.
#[derive(Debug, Default)]
struct Draft {
    pieces: Pieces,
    ops: Vec<Op>,
    segment: SegmentWriter,
    /// Of the piece, about.
    bytes: usize,
    /// Deliveries that are done.
    done: Vec<Delivery>,
    /// Deliveries that went to others before their message was seen.
    moved: Vec<Delivery>,
    /// Where in `ops` a topic's retained change is.
    retained_at: HashMap<Box<[u8]>, usize>,
    /// Where in `ops` the bits of a segment are.
    bits_at: HashMap<u64, usize>,
    /// For the terms of one receiver.
    terms: Vec<u8>,
}

impl Draft {
    /// Of a segment's bits the last are written.
    fn set_bits(&mut self, first: u64, bits: Vec<u8>) {
        let op = Op::PutBits { first, bits };
        let at = *self.bits_at.entry(first).or_insert(self.ops.len());
        if let Some(before) = self.ops.get_mut(at) {
            *before = op;
        } else {
            self.ops.push(op);
        }
    }

    /// Of several changes of one topic the last is written.
    fn retain(
        &mut self,
        topic: Box<[u8]>,
        message: Option<(engine::message::SharedMessage, Option<u64>)>,
    ) {
        let op = match message {
            Some((message, expires_ms)) => {
                Op::PutRetained { topic: topic.clone(), message, expires_ms }
            }
            None => Op::DeleteRetained { topic: topic.clone() },
        };
        let at = *self.retained_at.entry(topic).or_insert(self.ops.len());
        if let Some(before) = self.ops.get_mut(at) {
            *before = op;
        } else {
            self.ops.push(op);
        }
    }
}

/// The last change of each topic's retained message, so that one that comes late does not undo it.
/// Late is milliseconds: what is older than so many changes may be forgotten.
#[derive(Debug, Default)]
struct RetainedOrder {
    newer: HashMap<Box<[u8]>, u64>,
    older: HashMap<Box<[u8]>, u64>,
}

impl RetainedOrder {
    fn is_newest(&mut self, topic: &[u8], sequence: u64) -> bool {
        let known = self.newer.get(topic).or_else(|| self.older.get(topic));
        if known.is_some_and(|known| *known >= sequence) {
            return false;
        }
        if self.newer.len() >= RETAINED_MAX / 2 {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(topic.into(), sequence);
        true
    }
}

fn weight(message: &Message) -> usize {
    usize::try_from(message.size()).unwrap_or(0)
}
