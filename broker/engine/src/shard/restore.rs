//! The store's side of a shard: what it found at start, what it brings back into memory, and what
//! happens while it takes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shard;
use super::log::identifiers;
use super::subscribe::mounted;
use crate::codec::packet::Version;
use crate::host::ConnectionRef;
use crate::message::SharedMessage;
use crate::router::{GroupId, NO_GROUP, QueueRef};
use crate::session::{Body, EXPIRY_NEVER, Queued, Sent, Session, SessionWill, Stage, Subscription};
use crate::store::{
    Fetch, Fetched, Health, StoredDelivery, StoredExchange, StoredSession, StoredStage, StoredWill,
    Ticket,
};
use crate::topic::parse_filter;

/// Messages asked back at a time.
const FETCH_MESSAGES: usize = 256;
/// Their bytes, but for a single one that is larger.
const FETCH_BYTES: u64 = 256 << 10;
/// First messages of a queue that stay in memory.
const KEPT: usize = 64;

impl Shard {
    /// Takes up a session of an earlier run; it must belong on this shard.
    pub fn restore(&mut self, stored: StoredSession, now_ms: u64) {
        let StoredSession { id, key, user, expiry_s, gone_ms, .. } = stored;
        let mut session = Session::new(key.clone(), user, Version::V5);
        (session.id, session.expiry_s, session.stored_expiry_s) = (id, expiry_s, expiry_s);
        session.ends_at_ms = match expiry_s {
            EXPIRY_NEVER => 0,
            expiry_s => (now_ms + u64::from(expiry_s) * 1_000).saturating_sub(gone_ms).max(1),
        };
        let received: Vec<u16> = stored.received;
        if !received.is_empty() {
            let ids = session.received.get_or_insert_with(Box::default);
            for packet_id in received {
                ids.insert(packet_id);
            }
        }
        let (slot, generation) = self.sessions.insert(session);
        let queue = QueueRef { shard: self.id, slot, generation };
        self.keys.insert(&key, queue, &self.sessions);
        self.shared.sessions.fetch_add(1, Ordering::Relaxed);
        self.shared.lasting.set(queue, id);
        if let Some(session) = self.session_mut(queue) {
            session.queue_ref = queue;
        }
        for (filter, options, identifier) in stored.subscriptions {
            self.restore_subscription(queue, &filter, Subscription { options, identifier });
        }
        self.restore_exchanges(queue, stored.exchanges);
        for delivery in stored.deliveries {
            self.restore_delivery(queue, &delivery);
        }
        if let Some(will) = stored.will {
            self.restore_will(queue, will, now_ms);
        }
        self.set_session_timer(queue);
    }

    fn restore_subscription(&mut self, queue: QueueRef, filter: &str, subscription: Subscription) {
        let Ok(parsed) = parse_filter(filter) else { return };
        let Some(session) = self.session_mut(queue) else { return };
        let mount_point = session.names().0.to_owned();
        session.subscriptions.insert(filter, subscription);
        self.attach(queue, &parsed, &mounted(&mount_point, parsed.filter), subscription);
    }

    fn restore_exchanges(&mut self, queue: QueueRef, exchanges: Vec<StoredExchange>) {
        let entries = exchanges.into_iter().map(|exchange| {
            let StoredDelivery { number, receiver, size, terms, .. } = exchange.delivery;
            let is_sent = exchange.stage == StoredStage::Sent;
            let sent = Sent {
                message: is_sent.then_some(Body::Stored { number, size }),
                receiver,
                identifiers: identifiers(&terms.identifiers),
                group: self.group_of(&terms.group),
                stage: if is_sent { Stage::Pubrec } else { Stage::Pubcomp },
                retain: terms.retain,
                ticket: Ticket::default(),
                is_counted: false,
                charge: is_sent.then(|| self.shared.hold(u64::from(size))),
            };
            (exchange.packet_id, sent)
        });
        let entries = entries.collect();
        if let Some(session) = self.session_mut(queue) {
            session.inflight.restore(entries);
            session.has_unfetched = !session.inflight.wanted().is_empty();
        }
    }

    fn restore_delivery(&mut self, queue: QueueRef, delivery: &StoredDelivery) {
        let StoredDelivery { number, receiver, size, ref terms, .. } = *delivery;
        let group = self.group_of(&terms.group);
        let queued = Queued {
            body: Body::Stored { number, size },
            receiver,
            qos: terms.qos,
            retain: terms.retain,
            group,
            identifiers: identifiers(&terms.identifiers),
            ticket: Ticket::default(),
        };
        self.shared.queued_messages.fetch_add(1, Ordering::Relaxed);
        self.shared.queued_bytes.fetch_add(queued.size(), Ordering::Relaxed);
        if let Some(session) = self.session_mut(queue) {
            session.queue.push(queued);
        }
    }

    /// The group of a stored delivery; `NO_GROUP` if its session has left it.
    fn group_of(&self, stored: &str) -> GroupId {
        let Some((name, filter)) = stored.split_once('/') else { return NO_GROUP };
        self.shared.tree().group_id(name, filter).unwrap_or(NO_GROUP)
    }

    /// Its delay counts from now on (design: late rather than early).
    fn restore_will(&mut self, queue: QueueRef, will: StoredWill, now_ms: u64) {
        let StoredWill { message, expiry_s, delay_s } = will;
        let charge = self.shared.hold(message.size());
        let due_at_ms = (now_ms + u64::from(delay_s) * 1_000).max(1);
        if let Some(session) = self.session_mut(queue) {
            session.will =
                Some(Box::new(SessionWill { message, expiry_s, delay_s, due_at_ms, charge }));
        }
    }

    /// Asks for the next messages of a session that are not in memory.
    pub(super) fn fetch(&mut self, queue: QueueRef) {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else { return };
        if session.is_fetching {
            return;
        }
        let mut numbers = if session.has_unfetched {
            session.inflight.wanted()
        } else {
            session.queue.wanted(FETCH_MESSAGES, FETCH_BYTES)
        };
        if numbers.is_empty() {
            return;
        }
        // Queues of several shards' publishers are not in the order of the log.
        numbers.sort_unstable();
        numbers.dedup();
        session.is_fetching = true;
        self.counters.store_fetched += numbers.len() as u64;
        self.store.fetch(Fetch { queue, numbers });
    }

    /// Messages asked for came.
    pub fn fetched(&mut self, fetched: &Fetched, now_ms: u64) {
        self.last_now_ms = now_ms;
        let queue = fetched.queue;
        let Some(session) = self.session_mut(queue) else { return };
        session.is_fetching = false;
        if std::mem::take(&mut session.has_unfetched) {
            session.inflight.fill(&fetched.messages);
        }
        let gone = session.queue.fill(&fetched.messages);
        for queued in gone {
            super::deliver::count_out(&self.shared, &queued);
        }
        self.pump(queue, now_ms);
    }

    /// Lets go of messages in memory that are committed, as long as they take too much of it.
    pub(super) fn unload_queues(&mut self) {
        for _ in 0..self.unloading.len() {
            let Some(queue) = self.unloading.pop_front() else { return };
            let Some(session) = self.session_mut(queue) else { continue };
            session.is_unloading = false;
            let keep = if session.connection.is_some() { KEPT } else { 0 };
            if session.replays.is_none() {
                session.queue.unload(keep);
            }
        }
    }

    /// Reads no more from a connection until the store takes something again.
    pub(super) fn stall(&mut self, reference: ConnectionRef) {
        let Some(connection) = self.connection_mut(reference) else { return };
        connection.is_held = true;
        self.stalled.push(reference);
        self.counters.store_stalled += 1;
    }

    /// A round is over: the store may take what was written.
    pub fn flush_store(&mut self) {
        self.store.flush();
    }

    /// The store's health may have changed: who was held back goes on.
    pub fn store_changed(&mut self, now_ms: u64) {
        self.last_now_ms = now_ms;
        if self.store.health() == Health::Sound {
            for reference in std::mem::take(&mut self.stalled) {
                self.let_go(reference);
            }
        }
    }

    /// Retained messages of an earlier run; one shard takes them up for all.
    pub fn restore_retained(&mut self, messages: Vec<SharedMessage>) {
        let shared = Arc::clone(&self.shared);
        let mut store = shared.retained_store_mut();
        for message in messages {
            store.insert(message);
        }
    }
}
