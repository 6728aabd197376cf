//! Messages of shared groups whose member is gone: QoS 1 goes to another member, QoS 2 stays
//! with the member it was sent to [MQTT-4.8.2-4] [MQTT-4.8.2-5].

use super::Shard;
use super::deliver::Terms;
use super::deliver::{count_out, queued};
use super::route::Parcel;
use crate::message::SharedMessage;
use crate::router::{GroupId, NO_GROUP, QueueRef, Target};
use crate::session::{Queued, Stage};

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

    fn hand_back(&mut self, queue: QueueRef, ends: bool, now_ms: u64) {
        let Some(session) = self.session_mut(queue) else { return };
        let sent = session
            .inflight
            .take_where(|sent| sent.group != NO_GROUP && sent.stage == Stage::Puback);
        let mut waiting = Vec::new();
        let mut kept = Vec::new();
        while let Some(held) = session.queue.pop() {
            // A QoS 2 message that was never sent is still free to go to another.
            if held.group == NO_GROUP { kept.push(held) } else { waiting.push(held) }
        }
        for held in kept {
            session.queue.push(held);
        }
        let sent = sent.into_iter().filter_map(|sent| {
            let message = sent.message?;
            let (retain, group) = (sent.retain, sent.group);
            Some(Queued { message, qos: 1, retain, group, identifiers: sent.identifiers })
        });
        let mut back = Vec::new();
        for (held, was_queued) in
            sent.map(|held| (held, false)).chain(waiting.into_iter().map(|held| (held, true)))
        {
            if was_queued {
                count_out(&self.shared, &held.message);
            }
            if let Some(target) = self.other_member(held.group, queue, ends) {
                self.pass_on(&held.message, &target, now_ms);
            } else {
                back.push(held);
            }
        }
        for held in back {
            if ends {
                self.counters.dropped_shared += 1;
            } else {
                let Queued { message, qos, retain, group, identifiers } = held;
                self.enqueue(queue, queued(message, Terms { qos, retain, group, identifiers }));
            }
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
        self.pass_on(&message, &other, now_ms);
        true
    }

    /// Another member of the group: one that is connected, or any if the message has no home.
    fn other_member(&self, group: GroupId, except: QueueRef, any: bool) -> Option<Target> {
        self.shared.tree().group(group)?.choose(any, Some(except))
    }

    fn pass_on(&mut self, message: &SharedMessage, target: &Target, now_ms: u64) {
        let publication = message.publication();
        let mut parcel =
            Parcel::new(&publication, None).with_message(Some(SharedMessage::clone(message)));
        self.dispatch(target, &mut parcel, now_ms);
    }
}
