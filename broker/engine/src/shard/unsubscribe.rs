//! UNSUBSCRIBE and UNSUBACK (MQTT 5 §3.10).

use super::Shard;
use super::subscribe::mounted;
use crate::codec::encode;
use crate::codec::packet::{Unsubscribe, Version};
use crate::host::{ConnectionRef, EventKind};
use crate::reason::ReasonCode;
use crate::router::QueueRef;
use crate::store::{Change, Health, SessionId, Ticket};
use crate::topic::parse_filter;

impl Shard {
    /// A client unsubscribes.
    pub(super) fn on_unsubscribe(
        &mut self,
        reference: ConnectionRef,
        unsubscribe: &Unsubscribe<'_>,
        now_ms: u64,
    ) {
        let Some(connection) = self.connection(reference) else { return };
        let version = connection.version;
        let Some(queue) = connection.session else { return };
        let mut reasons = Vec::new();
        let mut ticket = Ticket::default();
        for filter in unsubscribe.filters.iter() {
            let (reason, committed_by) = self.unsubscribe_one(queue, filter);
            reasons.push(reason);
            ticket = ticket.max(committed_by);
            if reason == ReasonCode::SUCCESS {
                self.tell(reference, EventKind::Unsubscribed, reason, filter, now_ms);
            }
        }
        self.work += reasons.len();
        // [MQTT-3.10.4-4] [MQTT-3.11.3-1]
        let mut unsuback = Vec::new();
        encode::unsuback(&mut unsuback, version, unsubscribe.packet_id, &reasons, None);
        self.send_whole(reference, ticket, &unsuback, now_ms);
        self.pump(queue, now_ms); // What waited behind retained messages may go now.
    }

    fn unsubscribe_one(&mut self, queue: QueueRef, filter: &str) -> (ReasonCode, Ticket) {
        let Ok(parsed) = parse_filter(filter) else {
            return (ReasonCode::TOPIC_FILTER_INVALID, Ticket::default());
        };
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else {
            return (ReasonCode::UNSPECIFIED, Ticket::default());
        };
        let lasts = session.id != SessionId::default();
        if lasts && self.store.health() != Health::Sound && session.version == Version::V5 {
            self.counters.store_refused += 1;
            return (ReasonCode::IMPLEMENTATION_SPECIFIC, Ticket::default());
        }
        if !session.subscriptions.remove(filter) {
            return (ReasonCode::NO_SUBSCRIPTION_EXISTED, Ticket::default());
        }
        let mount_point = session.names().0.to_owned();
        let ticket = if session.id == SessionId::default() {
            Ticket::default()
        } else {
            self.store.write(Change::Unsubscribed { id: session.id, filter: filter.into() })
        };
        let filter = mounted(&mount_point, parsed.filter);
        self.detach_filter(queue, &parsed, &filter);
        if parsed.share.is_none() {
            self.end_replay(queue, &filter);
        }
        (ReasonCode::SUCCESS, ticket)
    }
}
