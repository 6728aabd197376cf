//! Messages of shared groups whose member is gone: QoS 1 goes to another member, QoS 2 stays
//! with the member it was sent to [MQTT-4.8.2-4] [MQTT-4.8.2-5].

use super::Shard;
use super::deliver::count_out;
use super::route::Parcel;
use crate::message::SharedMessage;
use crate::router::{GroupId, NO_GROUP, QueueRef, Target};
use crate::session::{Queue, Stage};
use crate::store::Ticket;

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
        let given_up = session
            .inflight
            .drain()
            .into_iter()
            .filter(|sent| sent.group != NO_GROUP && sent.stage != Stage::Puback)
            .count();
        self.counters.dropped_shared += given_up as u64;
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
            let held = sent.message.map(|message| (message, sent.ticket));
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
            if queued.group == NO_GROUP || target.is_none() && !ends {
                kept.push(queued);
                continue;
            }
            count_out(&self.shared, &queued);
            self.give(Some((queued.message, queued.ticket)), target, now_ms);
        }
        if let Some(session) = self.session_mut(queue) {
            session.queue = kept;
        }
    }

    fn give(&mut self, held: Option<(SharedMessage, Ticket)>, target: Option<Target>, now_ms: u64) {
        match (held, target) {
            (Some((message, _)), _) if message.is_expired(now_ms) => {
                self.counters.dropped_expired += 1; // [MQTT-3.3.2-5]
            }
            (Some((message, ticket)), Some(target)) => {
                self.pass_on(&message, ticket, &target, now_ms);
            }
            _ => self.counters.dropped_shared += 1,
        }
    }

    /// A message came to a member that is gone (`ends`: with its session) and goes to another,
    /// if there is one.
    #[cold]
    pub(super) fn hand_on(
        &mut self,
        target: &Target,
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
        self.pass_on(&message, parcel.ticket, &other, now_ms);
        true
    }

    /// Another member of the group: one that is connected, or any if the message has no home.
    fn other_member(&mut self, group: GroupId, except: QueueRef, any: bool) -> Option<Target> {
        self.shared.tree().group(group)?.choose(any, Some(except), &mut self.work)
    }

    fn pass_on(&mut self, message: &SharedMessage, ticket: Ticket, target: &Target, now_ms: u64) {
        let publication = message.publication();
        let mut parcel =
            Parcel::new(&publication, None).with_message(Some(SharedMessage::clone(message)));
        parcel.ticket = ticket;
        self.dispatch(target, &mut parcel, now_ms);
    }
}
