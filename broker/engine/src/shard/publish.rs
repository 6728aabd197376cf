//! PUBLISH from a client: limits, aliases, mount point, QoS 2 once, and the acknowledgement.

use super::input::Next;
use super::{Flow, Promise, Shard};
use crate::codec::packet::{AcknowledgementKind, Publish, Version};
use crate::codec::{decode, encode};
use crate::host::ConnectionRef;
use crate::message::{NEVER, Publication};
use crate::reason::ReasonCode;
use crate::router::QueueRef;
use crate::session::Session;
use crate::store::{Change, Health, Ticket};
use crate::topic::TOPIC_BYTES_MAX;
use crate::violation::Violation;

const QOS_TOO_HIGH: Violation = Violation {
    reason: ReasonCode::QOS_NOT_SUPPORTED,
    statement: "MQTT-3.2.2-11",
    detail: "the QoS is above the Maximum QoS",
};
const NO_RETAIN: Violation = Violation {
    reason: ReasonCode::RETAIN_NOT_SUPPORTED,
    statement: "MQTT-3.2.2-14",
    detail: "retained messages are not available here",
};
const TOO_MANY: Violation = Violation {
    reason: ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
    statement: "MQTT-3.3.4-7",
    detail: "more unacknowledged messages than the Receive Maximum",
};

/// Topics that clients cannot publish to: the broker's own, and names kept for its queues.
pub(super) fn is_reserved(topic: &[u8]) -> bool {
    const RESERVED: [&[u8]; 6] = [b"$SYS", b"$share", b"$queue", b"$delayed", b"$replay", b"$dead"];
    topic.first() == Some(&b'$')
        && RESERVED.iter().any(|name| {
            topic.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
}

impl Shard {
    /// A client publishes.
    #[inline]
    pub(super) fn on_publish(
        &mut self,
        reference: ConnectionRef,
        publish: &Publish<'_>,
        now_ms: u64,
    ) -> Result<Next, Violation> {
        self.counters.messages_received += 1;
        let Some(connection) = self.connections.get_mut(reference.slot, reference.generation)
        else {
            return Ok(Next::Stop(Flow::Close));
        };
        let Some(queue) = connection.session else { return Ok(Next::Stop(Flow::Close)) };
        if publish.qos > connection.profile.maximum_qos {
            return Err(QOS_TOO_HIGH); // [MQTT-3.2.2-11]
        }
        if publish.retain && !connection.profile.retain_available {
            return Err(NO_RETAIN); // [MQTT-3.2.2-14]
        }
        if publish.properties.topic_alias.is_none()
            && connection.profile.mount_point.is_empty()
            && publish.properties.verbatim
        {
            return self.publish_as(reference, queue, publish, publish.topic, now_ms);
        }
        self.publish_rewritten(reference, queue, publish, now_ms)
    }

    /// The way of those with an alias, a mount point or properties that are not sent on.
    fn publish_rewritten(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        publish: &Publish<'_>,
        now_ms: u64,
    ) -> Result<Next, Violation> {
        let Some(connection) = self.connection_mut(reference) else {
            return Ok(Next::Stop(Flow::Close));
        };
        let mut topic = connection.profile.mount_point.as_bytes().to_vec();
        if let Some(alias) = publish.properties.topic_alias {
            let maximum = connection.profile.topic_alias_maximum;
            let aliases = connection.aliases_in.get_or_insert_with(Box::default);
            topic.extend_from_slice(aliases.resolve(alias, publish.topic, maximum)?);
        } else {
            topic.extend_from_slice(publish.topic);
        }
        if publish.properties.verbatim {
            return self.publish_as(reference, queue, publish, &topic, now_ms);
        }
        let mut properties = Vec::new();
        decode::forwardable(&publish.properties, &mut properties);
        let mut publish = *publish;
        publish.properties.raw = &properties;
        self.publish_as(reference, queue, &publish, &topic, now_ms)
    }

    /// Routes under the full topic, and acknowledges.
    #[inline]
    fn publish_as(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        publish: &Publish<'_>,
        topic: &[u8],
        now_ms: u64,
    ) -> Result<Next, Violation> {
        let publication = Publication {
            topic,
            properties: publish.properties.raw,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            expires_at_ms: match publish.properties.message_expiry_s {
                Some(left_s) => now_ms + u64::from(left_s) * 1_000,
                None => NEVER,
            },
        };
        if publish.qos > 0 && self.store.health() != Health::Sound {
            if let Some(next) = self.publish_unwell(reference, queue, publish) {
                return Ok(next);
            }
        }
        // The identifier and the message belong into one commit.
        if publish.qos == 2 {
            self.store.begin();
        }
        let result = self.publish_routed(reference, queue, publish, &publication, now_ms);
        if publish.qos == 2 {
            self.store.end();
        }
        result
    }

    /// The store is not well: who cannot be promised anything is told so before anything is
    /// changed, or, before MQTT 5, held back. `None`: nothing has to be stored for it.
    fn publish_unwell(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        publish: &Publish<'_>,
    ) -> Option<Next> {
        let version = self.connection(reference)?.version;
        let session = self.session(queue)?;
        let is_known = session.received.as_ref().is_some_and(|ids| ids.contains(publish.packet_id));
        let needs_id = publish.qos == 2 && session.is_lasting() && !is_known;
        if version != Version::V5 {
            self.stall(reference);
            return Some(Next::Again);
        }
        if !needs_id {
            return None;
        }
        self.counters.store_refused += 1;
        let (packet_id, reason) = (publish.packet_id, ReasonCode::QUOTA_EXCEEDED);
        self.send_committed(reference, Ticket::default(), |out| {
            let kind = AcknowledgementKind::Pubrec;
            encode::acknowledgement(out, version, kind, packet_id, reason, None);
        });
        Some(Next::Packet)
    }

    /// Takes the identifier of QoS 2, routes and acknowledges.
    #[inline]
    fn publish_routed(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        publish: &Publish<'_>,
        publication: &Publication<'_>,
        now_ms: u64,
    ) -> Result<Next, Violation> {
        let topic = publication.topic;
        let received = if publish.qos == 2 {
            match self.receive_once(reference, queue, publish.packet_id)? {
                Some(ticket) => ticket,
                None => return Ok(Next::Packet),
            }
        } else {
            Ticket::default()
        };
        let is_mounted = topic.len() != publish.topic.len();
        if (is_mounted || topic.first() == Some(&b'$')) && self.is_unusable(reference, topic) {
            self.acknowledge_publish(
                reference,
                queue,
                publish,
                ReasonCode::TOPIC_NAME_INVALID,
                received.into(),
            );
            return Ok(Next::Packet);
        }
        let routed = self.route(publication, (Some(queue), received), now_ms);
        if routed.is_rejected && self.session(queue).is_some_and(|held| held.version != Version::V5)
        {
            // Its acknowledgements cannot say no, so there is none.
            let text = "the queue of a receiver is full";
            self.disconnect(reference, routed.reason, text, now_ms);
            return Ok(Next::Stop(Flow::Close));
        }
        if publish.qos > 0 {
            let mut promise = routed.promise;
            promise.ticket = promise.ticket.max(received);
            if publish.qos == 2 {
                if let Some(session) = self.session_mut(queue) {
                    session.exchange_ticket = promise.ticket.max(session.exchange_ticket);
                }
            }
            self.acknowledge_publish(reference, queue, publish, routed.reason, promise);
        }
        Ok(Next::Packet)
    }

    /// Whether clients of this connection's listener cannot publish to a mounted topic: it is the
    /// broker's, or with its mount point too long to be told to others [MQTT-4.7.3-3].
    fn is_unusable(&self, reference: ConnectionRef, topic: &[u8]) -> bool {
        let mount_len =
            self.connection(reference).map_or(0, |connection| connection.profile.mount_point.len());
        topic.len() > TOPIC_BYTES_MAX || is_reserved(topic.get(mount_len..).unwrap_or_default())
    }

    /// Takes a QoS 2 identifier up; `None` if the message came before: it is answered, and not
    /// delivered again [MQTT-4.3.3-10].
    fn receive_once(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        packet_id: u16,
    ) -> Result<Option<Ticket>, Violation> {
        // Below MQTT 5 nobody is told of a Receive Maximum; identifiers are bound enough.
        let maximum = self
            .connection(reference)
            .filter(|connection| connection.version == Version::V5)
            .map_or(u16::MAX, |connection| connection.profile.receive_maximum);
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else {
            return Ok(None);
        };
        let received = session.received.get_or_insert_with(Box::default);
        if received.contains(packet_id) {
            let (version, ticket) = (session.version, session.exchange_ticket);
            self.send_committed(reference, ticket, |out| {
                let kind = AcknowledgementKind::Pubrec;
                encode::acknowledgement(out, version, kind, packet_id, ReasonCode::SUCCESS, None);
            });
            return Ok(None);
        }
        if received.outstanding() >= maximum {
            // The identifier stays free: when the message comes again, it is not a second one.
            return Err(TOO_MANY); // [MQTT-3.3.4-7]
        }
        received.insert(packet_id);
        let ticket = if session.is_lasting() {
            let id = session.id;
            self.store.write(Change::Received { id, packet_id })
        } else {
            Ticket::default()
        };
        Ok(Some(ticket))
    }

    /// PUBACK or PUBREC, after `ticket`; nothing at QoS 0.
    #[inline]
    fn acknowledge_publish(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        publish: &Publish<'_>,
        reason: ReasonCode,
        promise: Promise,
    ) {
        let kind = match publish.qos {
            0 => return,
            1 => AcknowledgementKind::Puback,
            _ => AcknowledgementKind::Pubrec,
        };
        let packet_id = publish.packet_id;
        if publish.qos == 2 && reason.is_error() {
            // A PUBREC with an error ends the exchange: the identifier is free again.
            self.release_id(queue, packet_id);
        }
        let Some(version) = self.connection(reference).map(|connection| connection.version) else {
            return;
        };
        self.send_committed(reference, promise, |out| {
            encode::acknowledgement(out, version, kind, packet_id, reason, None);
        });
    }

    /// Gives a QoS 2 identifier of the client free: (whether it was taken, what the answer waits
    /// for).
    pub(super) fn release_id(&mut self, queue: QueueRef, packet_id: u16) -> (bool, Ticket) {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else {
            return (false, Ticket::default());
        };
        let was_taken = session.received.as_mut().is_some_and(|ids| ids.remove(packet_id));
        if !was_taken || !session.is_lasting() {
            return (was_taken, Ticket::default());
        }
        let id = session.id;
        (true, self.store.write(Change::Released { id, packet_id }))
    }
}

/// The mount point of a session's key is in front of all its topics.
pub(super) fn mount_len(session: &Session, topic: &[u8]) -> usize {
    if topic.starts_with(b"$SYS/") {
        return 0; // These are the same for all listeners.
    }
    session.key.iter().position(|byte| *byte == 0).unwrap_or(0)
}
