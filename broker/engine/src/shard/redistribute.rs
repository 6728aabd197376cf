//! Messages of shared groups whose member is gone: QoS 1 goes to another member, QoS 2 stays
//! with the member it was sent to [MQTT-4.8.2-4] [MQTT-4.8.2-5].

use super::Shard;
use super::deliver::count_out;
use super::route::Parcel;
use crate::message::SharedMessage;
use crate::router::{GroupId, NO_GROUP, QueueRef, Target};
use crate::session::{Body, NOT_STORED, Queue, Stage};
use crate::store::{MessageRef, Ticket};

impl Shard {
    /// A member lost its connection: what it had of QoS 1 goes to others who are connected. With
    /// nobody else there, it stays and waits for the member.
    pub(super) fn redistribute(&mut self, queue: QueueRef, now_ms: u64) {
        let is_member = self.session(queue).is_some_and(|session| session.group_state.is_some());
        if is_member {
            self.hand_back(queue, false, now_ms);
        }
    }

    /// A member's session ends: all that others may still get goes to them. QoS 2 messages that
    /// were sent are given up, and counted.
    pub(super) fn redistribute_all(&mut self, queue: QueueRef, now_ms: u64) {
        let is_member = self.session(queue).is_some_and(|session| session.group_state.is_some());
        if !is_member {
            return;
        }
        self.hand_back(queue, true, now_ms);
        let Some(session) = self.session_mut(queue) else { return };
        let given_up =
            session.inflight.find(|sent| sent.group != NO_GROUP && sent.stage != Stage::Puback);
        self.counters.dropped_shared += given_up.len() as u64;
        for (packet_id, _) in given_up {
            self.end_exchange(queue, packet_id);
        }
    }

    /// Gives to other members what they may get. What nobody takes stays where it is: under its
    /// identifier if it was sent [MQTT-4.4.0-1], or in its place in the queue.
    fn hand_back(&mut self, queue: QueueRef, ends: bool, now_ms: u64) {
        let Some(session) = self.session(queue) else { return };
        let sent =
            session.inflight.find(|sent| sent.group != NO_GROUP && sent.stage == Stage::Puback);
        for (packet_id, group) in sent {
            let target = self.other_member(group, queue, ends);
            if target.is_none() && !ends {
                continue;
            }
            let Some(session) = self.session_mut(queue) else { return };
            let Some(sent) = session.inflight.complete(packet_id) else { continue };
            let held = sent.message.map(|body| (body, sent.receiver, sent.ticket));
            self.give(held, target, now_ms);
        }
        let Some(session) = self.session_mut(queue) else { return };
        let mut kept = Queue::default();
        for queued in std::mem::take(&mut session.queue) {
            // A QoS 2 message that was never sent is still free to go to another.
            let target = match queued.group {
                NO_GROUP => None,
                group => self.other_member(group, queue, ends),
            };
            // What is not in memory stays: it is fetched with its member's return.
            let is_here = queued.body.held().is_some();
            if queued.group == NO_GROUP || (target.is_none() || !is_here) && !ends {
                kept.push(queued);
                continue;
            }
            count_out(&self.shared, &queued);
            self.give(Some((queued.body, queued.receiver, queued.ticket)), target, now_ms);
        }
        if let Some(session) = self.session_mut(queue) {
            session.queue = kept;
        }
    }

    fn give(&mut self, held: Option<(Body, u32, Ticket)>, target: Option<Target>, now_ms: u64) {
        let Some((body, receiver, ticket)) = held else {
            self.counters.dropped_shared += 1;
            return;
        };
        match (body.held(), target) {
            (Some(message), _) if message.is_expired(now_ms) => {
                self.counters.dropped_expired += 1; // [MQTT-3.3.2-5]
            }
            (Some(message), Some(target)) => {
                let message = SharedMessage::clone(message);
                self.pass_on((&message, receiver), ticket, &target, now_ms);
                return;
            }
            _ => self.counters.dropped_shared += 1,
        }
        self.consumed(body.reference(), receiver);
    }

    /// A message came to a member that is gone (`ends`: with its session) and goes to another,
    /// if there is one.
    #[cold]
    pub(super) fn hand_on(
        &mut self,
        (target, receiver): (&Target, u32),
        parcel: &mut Parcel<'_>,
        ends: bool,
        now_ms: u64,
    ) -> bool {
        if target.group == NO_GROUP || parcel.publication.qos == 0 {
            return false;
        }
        let Some(other) = self.other_member(target.group, target.queue, ends) else {
            return false;
        };
        let message = parcel.message(&self.shared);
        self.pass_on((&message, receiver), parcel.ticket, &other, now_ms);
        true
    }

    /// Another member of the group: one that is connected, or any if the message has no home.
    fn other_member(&mut self, group: GroupId, except: QueueRef, any: bool) -> Option<Target> {
        self.shared.tree().group(group)?.choose(any, Some(except), &mut self.work)
    }

    /// Gives the message to another member; the store has it as a new one, and from the same
    /// commit on not as the old one.
    fn pass_on(
        &mut self,
        (message, from): (&SharedMessage, u32),
        ticket: Ticket,
        target: &Target,
        now_ms: u64,
    ) {
        let publication = message.publication();
        let mut parcel = Parcel::new(&publication, None);
        parcel.ticket = ticket;
        let mut receiver = NOT_STORED;
        self.store.begin();
        if publication.qos > 0 && self.store.keeps() {
            self.append(&mut parcel, &[], &[*target]);
            receiver = parcel.receivers.as_ref().map_or(NOT_STORED, |_| 0);
        } else {
            parcel = parcel.with_message(Some(SharedMessage::clone(message)));
        }
        self.moved(MessageRef::Held(SharedMessage::clone(message)), from);
        self.store.end();
        self.dispatch(target, receiver, &mut parcel, now_ms);
    }
}
