//! A session loses its connection, and later, or at once, ends.

use std::sync::atomic::Ordering;

use super::Shard;
use super::deliver::count_out;
use super::end::WillFate;
use super::subscribe::mounted;
use crate::host::{ConnectionRef, EventKind};
use crate::reason::ReasonCode;
use crate::router::{MemberState, QueueRef};
use crate::session::EXPIRY_NEVER;
use crate::store::{Change, SessionId, Ticket};
use crate::topic::parse_filter;

impl Shard {
    /// Parts an open connection from its session.
    pub(super) fn leave_session(
        &mut self,
        reference: ConnectionRef,
        fate: WillFate,
        reason: ReasonCode,
        text: &str,
        now_ms: u64,
    ) {
        self.tell(reference, EventKind::Disconnected, reason, text, now_ms);
        let Some(connection) = self.connection_mut(reference) else { return };
        let Some(queue) = connection.session.take() else { return };
        self.counters.clients_connected -= 1;
        let Some(session) = self.session_mut(queue) else { return };
        session.connection = None;
        if fate == WillFate::Discarded {
            session.will = None;
        }
        if let Some(state) = &session.group_state {
            state.set(MemberState::Away);
        }
        let expiry_s = session.expiry_s;
        session.ends_at_ms = match expiry_s {
            0 | EXPIRY_NEVER => 0,
            expiry_s => now_ms + u64::from(expiry_s) * 1_000,
        };
        self.redistribute(queue, now_ms);
        self.store_left(queue, fate, now_ms);
        if expiry_s == 0 {
            self.end_session(queue, now_ms); // MQTT 5 §3.1.2.11.2
        } else {
            self.start_will(queue, now_ms);
            self.set_session_timer(queue);
        }
    }

    /// Tells the store what a DISCONNECT changed: the expiry, and that the will is gone.
    fn store_left(&mut self, queue: QueueRef, fate: WillFate, now_ms: u64) {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else { return };
        if !self.store.keeps() || !session.is_lasting() {
            return;
        }
        let (id, expiry_s) = (session.id, session.expiry_s);
        session.stored_expiry_s = expiry_s;
        self.store.write(Change::SessionLeft { id, expiry_s, now_ms });
        if fate == WillFate::Discarded {
            self.store.write(Change::Will { id, will: None });
        }
    }

    /// Ends a session that has no connection: its will, its subscriptions, its queue.
    pub(super) fn end_session(&mut self, queue: QueueRef, now_ms: u64) -> Ticket {
        self.publish_will(queue, now_ms); // [MQTT-3.1.3-9]
        self.end_subscriptions(queue);
        self.redistribute_all(queue, now_ms);
        if let Some(session) = self.session_mut(queue) {
            session.ends_at_ms = 0;
            session.will = None;
        }
        self.set_session_timer(queue);
        let Some(mut session) = self.sessions.remove(queue.slot, queue.generation) else {
            return Ticket::default();
        };
        while let Some(queued) = session.queue.pop() {
            count_out(&self.shared, &queued);
            self.consumed(queued.body.reference(), queued.receiver);
        }
        for sent in session.inflight.drain() {
            if let Some(body) = sent.message {
                self.consumed(body.reference(), sent.receiver);
            }
        }
        self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
        self.keys.remove(&session.key, queue);
        self.tell_session_ended(&session, now_ms);
        self.forget_stored(queue, session.id)
    }

    /// The store forgets a session that lasted.
    pub(super) fn forget_stored(&mut self, queue: QueueRef, id: SessionId) -> Ticket {
        if id == SessionId::default() {
            return Ticket::default();
        }
        self.shared.lasting.set(queue, SessionId::default());
        self.store.write(Change::SessionEnded { id })
    }

    fn end_subscriptions(&mut self, queue: QueueRef) {
        let Some(session) = self.session_mut(queue) else { return };
        let subscriptions = std::mem::take(&mut session.subscriptions);
        let mount_point = session.names().0.to_owned();
        for (filter, _) in subscriptions.iter() {
            if let Ok(parsed) = parse_filter(filter) {
                self.detach_filter(queue, &parsed, &mounted(&mount_point, parsed.filter));
            }
        }
    }
}
