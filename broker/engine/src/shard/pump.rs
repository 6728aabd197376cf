//! What waits in a session, sent as far as credit and output allow: first what an earlier
//! connection left unacknowledged, then the queue, then retained messages for new subscriptions.

use std::ops::Bound;
use std::sync::Arc;

use super::Shard;
use super::deliver::{Delivery, HIGH_WATER, Terms, plain_packet, sent, write};
use super::publish::mount_len;
use crate::codec::encode;
use crate::codec::packet::AcknowledgementKind;
use crate::host::ConnectionRef;
use crate::message::SharedMessage;
use crate::reason::ReasonCode;
use crate::router::{MemberState, NO_GROUP, QueueRef};
use crate::session::{Body, Identifiers, Queued, Replay, Resend, Stage};
use crate::shared::Shared;
use crate::store::{MessageRef, Ticket};

/// Topics looked at while the lock is held once.
const READ_STEPS: usize = 1_024;

/// Topics that new subscriptions may make a shard look at in one round, some ten milliseconds: a
/// filter that matches nothing looks at all there are, and one client may have 100,000 of them.
pub(super) const ROUND_STEPS: usize = 64 * 1_024;

/// Retained messages read from the store at once.
const REPLAY_BATCH: usize = 64;

/// And no more than this, or a single message: what was read stays in memory until the client
/// takes it, whatever becomes of it in the store.
const REPLAY_BYTES: u64 = 256 * 1024;

impl Shard {
    /// A session got its connection: what is under way is sent again [MQTT-4.4.0-1].
    pub(super) fn restart_session(&mut self, queue: QueueRef, now_ms: u64) {
        self.note_window(queue);
        self.pump(queue, now_ms);
    }

    /// Sends what waits in a session, as far as it may.
    pub(super) fn pump(&mut self, queue: QueueRef, now_ms: u64) {
        let Some(session) = self.session(queue) else { return };
        let idle = session.queue.is_empty()
            && session.replays.is_none()
            && !session.inflight.is_resending();
        let Some(reference) = session.connection else { return };
        if idle {
            return;
        }
        while self.has_room(reference) {
            if !self.resend(queue, reference, now_ms) && !self.send_next(queue, reference, now_ms) {
                break;
            }
        }
        self.note_window(queue);
    }

    fn has_room(&self, reference: ConnectionRef) -> bool {
        let Some(connection) = self.connection(reference) else { return false };
        !connection.awaits_connack && self.takes_messages(connection.output.len(), HIGH_WATER)
    }

    /// Sends one message of an earlier connection again; whether there was one.
    fn resend(&mut self, queue: QueueRef, reference: ConnectionRef, now_ms: u64) -> bool {
        let Some(session) = self.session_mut(queue) else { return false };
        if session.has_unfetched && session.inflight.is_resending() {
            if !session.inflight.wanted().is_empty() {
                self.fetch(queue); // What is to be sent again comes from the store first.
                return false;
            }
            session.has_unfetched = false;
        }
        let version = session.version;
        let ticket = session.exchange_ticket;
        let Some((packet_id, sent)) = session.inflight.resend_next() else { return false };
        let Resend { message, identifiers, stage, retain } = sent;
        match (stage, message) {
            (Stage::Pubcomp, _) => self.send_committed(reference, ticket, |out| {
                let kind = AcknowledgementKind::Pubrel;
                encode::acknowledgement(out, version, kind, packet_id, ReasonCode::SUCCESS, None);
            }),
            (_, Some(Body::Held(message))) => {
                let mount_len = mount_len(session, message.topic());
                let delivery = Delivery {
                    publication: &message.publication(),
                    message: Some(&message),
                    mount_len,
                    dup: true, // [MQTT-3.3.1-1]
                    qos: if stage == Stage::Pubrec { 2 } else { 1 },
                    retain,
                    packet_id,
                    identifiers: identifiers.as_slice(),
                };
                if stage == Stage::Pubrec && ticket > self.committed {
                    self.send_again(reference, queue, (&delivery, ticket), now_ms);
                } else {
                    self.write_to(reference, queue, &delivery, now_ms);
                }
            }
            // The session did not last when it was sent, or the store has it no more: nothing is
            // left to send.
            _ => {
                self.end_exchange(queue, packet_id);
            }
        }
        true
    }

    /// A QoS 2 message goes out again before the commit of the first time.
    fn send_again(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        (delivery, ticket): (&Delivery<'_>, Ticket),
        now_ms: u64,
    ) {
        let Some(connection) = self.connection(reference) else { return };
        match plain_packet(connection, delivery, now_ms) {
            Some(packet) => {
                self.counters.messages_sent += 1;
                self.send_committed(reference, ticket, |out| out.extend_from_slice(&packet));
            }
            None => self.after_write(queue, delivery.packet_id, false),
        }
    }

    /// Sends what waits behind those of an earlier connection; whether it may go on. Retained
    /// messages stand between what came before their subscription and what came after it, so
    /// that no topic goes back to an older value [MQTT-4.6.0-6].
    fn send_next(&mut self, queue: QueueRef, reference: ConnectionRef, now_ms: u64) -> bool {
        let Some(session) = self.session(queue) else { return false };
        if session.inflight.is_resending() {
            return false;
        }
        let after = session.replays.as_ref().and_then(|replays| replays.after());
        let first = session.queue.front().map(|queued| queued.body.arrival());
        match (after, first) {
            (Some(after), Some(first)) if first <= after => {
                self.send_queued(queue, reference, now_ms)
            }
            (Some(_), _) => self.send_retained(queue, reference, now_ms),
            (None, _) => self.send_queued(queue, reference, now_ms),
        }
    }

    /// Sends the oldest message of the queue; whether it may go on.
    fn send_queued(&mut self, queue: QueueRef, reference: ConnectionRef, now_ms: u64) -> bool {
        let Some(session) = self.session_mut(queue) else { return false };
        let Some(next) = session.queue.front() else { return false };
        if next.qos > 0 && !session.inflight.has_credit() {
            return false;
        }
        match session.queue.front().map(|queued| &queued.body) {
            None => return false,
            Some(Body::Stored { .. }) => {
                self.fetch(queue);
                return false;
            }
            Some(Body::Held(_)) => {}
        }
        let Some(queued) = self.dequeue(queue) else { return false };
        let Queued { body, receiver, qos, retain, group, identifiers, ticket } = queued;
        let Body::Held(message) = body else { return false };
        if message.is_expired(now_ms) {
            self.counters.dropped_expired += 1; // [MQTT-3.3.2-5]
            self.count_dropped(queue);
            self.consumed(MessageRef::Held(message), receiver);
            return true;
        }
        let terms = Terms { qos, retain, group, identifiers, ticket };
        self.send_message(queue, reference, (&message, receiver), &terms, now_ms);
        true
    }

    /// Sends a message that was stored, under an identifier if it needs one.
    fn send_message(
        &mut self,
        queue: QueueRef,
        reference: ConnectionRef,
        (message, receiver): (&SharedMessage, u32),
        terms: &Terms,
        now_ms: u64,
    ) {
        let QueueRef { slot, generation, .. } = queue;
        let waits = self.connection(reference).is_some_and(|held| held.waiting.is_some());
        let Some(session) = self.sessions.get_mut(slot, generation) else { return };
        let is_stored = session.is_lasting() && self.store.keeps();
        if terms.qos == 2 && (is_stored || waits || terms.ticket > self.committed) {
            return self.send_when_committed(queue, (message, receiver), terms, now_ms);
        }
        let mount_len = mount_len(session, message.topic());
        let mut packet_id = 0;
        if terms.qos > 0 {
            let keeps = session.is_lasting() || terms.group != NO_GROUP;
            let kept = keeps.then(|| Body::Held(Arc::clone(message)));
            packet_id = session.inflight.push(sent(&self.shared, terms, kept, receiver));
        }
        let delivery = Delivery {
            publication: &message.publication(),
            message: Some(message),
            mount_len,
            dup: false,
            qos: terms.qos,
            retain: terms.retain,
            packet_id,
            identifiers: terms.identifiers.as_slice(),
        };
        self.write_to(reference, queue, &delivery, now_ms);
    }

    fn write_to(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        delivery: &Delivery<'_>,
        now_ms: u64,
    ) {
        let connections = &mut self.connections;
        let Some(connection) = connections.get_mut(reference.slot, reference.generation) else {
            return;
        };
        let written = write(connection, &mut self.pool, None, delivery, now_ms);
        self.after_write(queue, delivery.packet_id, written);
        self.mark_dirty(reference);
    }

    /// Sends a retained message to a new subscription; whether it may go on.
    fn send_retained(&mut self, queue: QueueRef, reference: ConnectionRef, now_ms: u64) -> bool {
        let QueueRef { slot, generation, .. } = queue;
        let Some(session) = self.sessions.get_mut(slot, generation) else { return false };
        let has_credit = session.inflight.has_credit();
        let Some(replays) = &mut session.replays else { return false };
        let Some(replay) = replays.first() else { return false };
        if replay.ticket > self.committed {
            if !std::mem::replace(&mut replay.is_held, true) {
                self.held_replays.push(queue);
            }
            return false;
        }
        let Some(message) = replay.ready.front() else {
            if replay.is_read {
                replays.end_first();
                if replays.is_empty() {
                    session.replays = None;
                }
            } else {
                return self.read_retained(queue);
            }
            return true;
        };
        let qos = replay.options.qos().min(message.qos);
        if qos > 0 && !has_credit {
            return false;
        }
        let identifiers = Identifiers::from_one(replay.identifier);
        let after = replay.after;
        let Some(message) = replay.ready.pop_front() else { return false };
        if message.arrival <= after && !message.is_expired(now_ms) {
            // A retained message sent because of a subscription has RETAIN set [MQTT-3.3.1-8].
            let ticket = Ticket::default(); // It is committed, see above.
            let mut terms = Terms { qos, retain: true, group: NO_GROUP, identifiers, ticket };
            let message = self.append_retained(queue, message, &mut terms);
            self.send_message(queue, reference, (&message.0, message.1), &terms, now_ms);
        }
        true
    }

    /// A commit may have set the retained messages of a session free.
    pub(super) fn resume_replay(&mut self, queue: QueueRef, now_ms: u64) {
        let replays = self.session_mut(queue).and_then(|session| session.replays.as_mut());
        if let Some(replay) = replays.and_then(|replays| replays.first()) {
            replay.is_held = false;
        }
        self.pump(queue, now_ms);
    }

    /// Reads the next retained messages of the first replay; false if it must wait for its turn.
    fn read_retained(&mut self, queue: QueueRef) -> bool {
        let QueueRef { slot, generation, .. } = queue;
        let Some(session) = self.sessions.get_mut(slot, generation) else { return false };
        if self.steps_left == 0 {
            if !std::mem::replace(&mut session.is_reading, true) {
                self.reading.push_back(queue);
            }
            return false;
        }
        let mount_len = session.names().0.len();
        if let Some(replay) = session.replays.as_mut().and_then(|replays| replays.first()) {
            read_batch(&self.shared, replay, mount_len, REPLAY_BATCH, &mut self.steps_left);
        }
        true
    }

    /// A round begins: sessions that waited for it read on, in turn.
    pub(super) fn wake_reading(&mut self) {
        self.steps_left = ROUND_STEPS;
        for _ in 0..self.reading.len() {
            if self.steps_left == 0 {
                return;
            }
            let Some(queue) = self.reading.pop_front() else { return };
            if let Some(session) = self.session_mut(queue) {
                session.is_reading = false;
            }
            self.pump(queue, self.last_now_ms);
        }
    }

    /// Begins to send retained messages to a new subscription, if there are any.
    pub(super) fn begin_replay(&mut self, queue: QueueRef, mut replay: Replay) {
        let QueueRef { slot, generation, .. } = queue;
        let Some(session) = self.sessions.get_mut(slot, generation) else { return };
        // Behind others it is enough to know whether there are any.
        let max = if session.replays.is_some() { 1 } else { REPLAY_BATCH };
        let mount_len = session.names().0.len();
        read_batch(&self.shared, &mut replay, mount_len, max, &mut self.steps_left);
        if replay.is_read && replay.ready.is_empty() {
            self.end_replay(queue, &replay.filter);
        } else {
            session.replays.get_or_insert_with(Box::default).push(replay);
        }
    }

    /// Retained messages that are still to come for a filter are not sent any more.
    pub(super) fn end_replay(&mut self, queue: QueueRef, filter: &str) {
        let Some(session) = self.session_mut(queue) else { return };
        let Some(replays) = &mut session.replays else { return };
        replays.remove(filter);
        if replays.is_empty() {
            session.replays = None;
        }
    }

    /// Tells shared groups whether this session can take a message.
    #[inline]
    pub(super) fn note_window(&mut self, queue: QueueRef) {
        let Some(session) = self.session(queue) else { return };
        let Some(state) = &session.group_state else { return };
        state.set(if session.connection.is_none() {
            MemberState::Away
        } else if session.queue.is_empty() && session.inflight.has_credit() {
            MemberState::Ready
        } else {
            MemberState::Busy
        });
    }
}

/// Reads the next retained messages of a replay, and counts `steps_left` down.
fn read_batch(
    shared: &Shared,
    replay: &mut Replay,
    mount_len: usize,
    max: usize,
    steps_left: &mut usize,
) {
    let mut found = Vec::new();
    let from = replay.from.take();
    let allowed = READ_STEPS.min(*steps_left);
    let mut steps = allowed;
    let store = shared.retained_store();
    replay.from = store.collect(&replay.filter, from, max, &mut steps, &mut found);
    drop(store);
    *steps_left -= allowed - steps;
    let mut bytes = 0;
    let fits = |message: &&SharedMessage| {
        let is_first = bytes == 0;
        bytes += message.size();
        is_first || bytes <= REPLAY_BYTES
    };
    let count = found.iter().take_while(fits).count();
    if count < found.len() {
        found.truncate(count);
        replay.from = found.last().map(|last| Bound::Excluded(last.topic().to_vec()));
    }
    replay.is_read = replay.from.is_none();
    if replay.options.is_wildcard_first() {
        // [MQTT-4.7.2-1] [MQTT-4.7.3-1], behind the mount point.
        found.retain(|message| !matches!(message.topic().get(mount_len), None | Some(b'$')));
    }
    replay.ready.extend(found);
}
