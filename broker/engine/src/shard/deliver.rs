//! One message to one session: straight into the output of its connection if it can take it,
//! else into its queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shard;
use super::route::Parcel;
use crate::codec::encode;
use crate::codec::packet::{PublishOut, Version};
use crate::connection::{Alias, Connection, Frames, OutputPool, SHARED_FROM, publish_header};
use crate::host::ConnectionRef;
use crate::limits::PACKET_SIZE_LARGEST;
use crate::message::{Publication, SharedMessage, expiry_left_s};
use crate::router::{GroupId, Overlap, QueueRef, SubscriptionOptions, Target};
use crate::session::{Body, Identifiers, NOT_STORED, Queued, Sent, Session, Stage};
use crate::shared::Shared;
use crate::store::{Change, MessageRef, Ticket};

/// Above this a session's messages wait in its queue, not in the output buffer.
pub(super) const HIGH_WATER: usize = 256 * 1024;

/// How one receiver gets a message.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// QoS: the lower of the message's and the subscription's.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// The shared group it came through.
    pub group: GroupId,
    /// Subscription Identifiers.
    pub identifiers: Identifiers,
    /// What it waits for at QoS 2.
    pub ticket: Ticket,
}

/// A frame about to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub publication: &'a Publication<'a>,
    pub message: Option<&'a SharedMessage>,
    pub mount_len: usize,
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub packet_id: u16,
    pub identifiers: &'a [u32],
}

impl Shard {
    /// Gives a message to a session of this shard; `receiver` is its index in the store's list.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        (target, receiver): (&Target, u32),
        overlap: Option<&Overlap>,
        parcel: &mut Parcel<'_>,
        now_ms: u64,
    ) {
        let taken = self.deliver_to(target, receiver, overlap, parcel, now_ms);
        if !taken && receiver != NOT_STORED {
            self.consumed(MessageRef::Held(parcel.message(&self.shared)), receiver);
        }
    }

    /// Whether the session took the message up, and says itself when it is done, or another did.
    #[inline]
    fn deliver_to(
        &mut self,
        target: &Target,
        receiver: u32,
        overlap: Option<&Overlap>,
        parcel: &mut Parcel<'_>,
        now_ms: u64,
    ) -> bool {
        let QueueRef { slot, generation, .. } = target.queue;
        let Some(session) = self.sessions.get_mut(slot, generation) else {
            return self.hand_on((target, receiver), parcel, true, now_ms);
        };
        let is_own = parcel.from == Some(target.queue);
        let hidden = is_hidden_inside(session, parcel.publication.topic);
        let Some(terms) = terms(target, overlap, parcel, (is_own, hidden)) else {
            return false;
        };
        if session.host.is_some() {
            self.deliver_to_host(target.queue, parcel.publication, terms.retain, now_ms);
            return false;
        }
        let Some(reference) = session.connection else {
            let keeps = terms.qos > 0 && session.is_lasting();
            let is_passed_on = self.hand_on((target, receiver), parcel, !keeps, now_ms);
            if keeps && !is_passed_on {
                let body = Body::Held(parcel.message(&self.shared));
                self.enqueue(target.queue, queued(body, receiver, terms));
            }
            return keeps || is_passed_on;
        };
        let is_stored = session.is_lasting() && self.store.keeps();
        let has_replay = session.replays.is_some();
        // QoS 0 waits only behind retained messages, and what waits there already.
        let must_queue_qos_0 = has_replay || session.queue.holds_qos_0();
        let must_queue = !session.queue.is_empty()
            || has_replay
            || session.inflight.is_resending()
            || !session.inflight.has_credit();
        let is_full = session.is_lasting() && self.shared.is_full();
        let connections = &self.connections;
        let Some(connection) = connections.get(reference.slot, reference.generation) else {
            return false;
        };
        let output_len = connection.output.len();
        let waits = connection.waiting.is_some();
        let begins = connection.awaits_connack;
        if terms.qos == 0 && !must_queue_qos_0 && !begins {
            let own_max = self.shared.limits.output_bytes as usize;
            if !self.takes_messages(output_len, own_max) {
                self.counters.dropped_output_full += 1;
                self.count_dropped(target.queue);
                return false;
            }
        } else if must_queue || begins || is_full || !self.takes_messages(output_len, HIGH_WATER) {
            let body = Body::Held(parcel.message(&self.shared));
            self.enqueue(target.queue, queued(body, receiver, terms));
            if is_full && !begins {
                // Nothing else may be under way that would send it when there is room again.
                self.pump(target.queue, now_ms);
            }
            return true;
        }
        // QoS 2 waits for commits; it takes the way of answers that do.
        if terms.qos == 2 && (is_stored || waits || parcel.ticket > self.committed) {
            let message = parcel.message(&self.shared);
            self.send_when_committed(target.queue, (&message, receiver), &terms, now_ms);
            return true;
        }
        self.deliver_now((target.queue, receiver), reference, &terms, parcel, now_ms);
        true
    }

    /// Writes a message into the output of a connection that can take it.
    #[inline]
    fn deliver_now(
        &mut self,
        (queue, receiver): (QueueRef, u32),
        reference: ConnectionRef,
        terms: &Terms,
        parcel: &mut Parcel<'_>,
        now_ms: u64,
    ) {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else { return };
        let connections = &mut self.connections;
        let Some(connection) = connections.get_mut(reference.slot, reference.generation) else {
            return;
        };
        let mut packet_id = 0;
        if terms.qos > 0 {
            let keeps = session.is_lasting() || terms.group != crate::router::NO_GROUP;
            let message = keeps.then(|| Body::Held(parcel.message(&self.shared)));
            packet_id = session.inflight.push(sent(&self.shared, terms, message, receiver));
        }
        let delivery = Delivery {
            publication: parcel.publication,
            message: parcel.existing(),
            mount_len: super::publish::mount_len(session, parcel.publication.topic),
            dup: false,
            qos: terms.qos,
            retain: terms.retain,
            packet_id,
            identifiers: terms.identifiers.as_slice(),
        };
        let shareable = parcel.is_shared.then_some(&mut self.frames);
        let written = write(connection, &mut self.pool, shareable, &delivery, now_ms);
        if terms.qos > 0 {
            self.note_window(queue);
        }
        self.after_write(queue, packet_id, written);
        self.mark_dirty(reference);
    }

    /// Books what a write did: a message that is too large counts as delivered [MQTT-3.1.2-25].
    #[inline]
    pub(super) fn after_write(&mut self, queue: QueueRef, packet_id: u16, written: bool) {
        if written {
            self.counters.messages_sent += 1;
            return;
        }
        self.counters.dropped_too_large += 1;
        self.count_dropped(queue);
        if packet_id != 0 {
            self.end_exchange(queue, packet_id);
        }
    }

    /// Sends a QoS 2 message once its ticket is committed, under an identifier taken now.
    pub(super) fn send_when_committed(
        &mut self,
        queue: QueueRef,
        (message, receiver): (&SharedMessage, u32),
        terms: &Terms,
        now_ms: u64,
    ) {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else { return };
        let Some(reference) = session.connection else { return };
        let mount_len = super::publish::mount_len(session, message.topic());
        let version = session.version;
        let publication = message.publication();
        let mut packet = PublishOut {
            qos: terms.qos,
            retain: terms.retain,
            topic: publication.topic.get(mount_len..).unwrap_or_default(),
            message_expiry_s: match version {
                Version::V5 => expiry_left_s(publication.expires_at_ms, now_ms),
                _ => None,
            },
            subscription_identifiers: terms.identifiers.as_slice(),
            properties: publication.properties,
            payload: publication.payload,
            ..PublishOut::default()
        };
        if encode::publish_size(version, &packet) > self.packet_limit(reference) {
            self.after_write(queue, 0, false); // [MQTT-3.1.2-24]
            self.consumed(MessageRef::Held(Arc::clone(message)), receiver);
            return;
        }
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else { return };
        let body = Body::Held(Arc::clone(message));
        packet.packet_id = session.inflight.push(sent(&self.shared, terms, Some(body), receiver));
        let mut ticket = terms.ticket;
        if receiver != NOT_STORED && session.is_lasting() {
            let (id, packet_id) = (session.id, packet.packet_id);
            let message = MessageRef::Held(Arc::clone(message));
            let change = Change::Sent { id, packet_id, message, receiver };
            ticket = ticket.max(self.store.write(change));
            session.exchange_ticket = ticket.max(session.exchange_ticket);
        }
        self.note_window(queue);
        self.counters.messages_sent += 1;
        self.send_committed(reference, ticket, |out| {
            encode::publish(out, version, &packet);
        });
    }
}

/// A PUBLISH without a Topic Alias of ours, since it may be sent behind others that come later;
/// `None` if it does not fit the client's Maximum Packet Size.
pub(super) fn plain_packet(
    connection: &Connection,
    delivery: &Delivery<'_>,
    now_ms: u64,
) -> Option<Vec<u8>> {
    let packet = plain(delivery, now_ms);
    if !fits(connection, &packet) {
        return None; // [MQTT-3.1.2-24]
    }
    let mut out = Vec::new();
    encode::publish(&mut out, connection.version, &packet);
    Some(out)
}

fn plain<'a>(delivery: &Delivery<'a>, now_ms: u64) -> PublishOut<'a> {
    let publication = delivery.publication;
    PublishOut {
        dup: delivery.dup,
        qos: delivery.qos,
        retain: delivery.retain,
        topic: publication.topic.get(delivery.mount_len..).unwrap_or_default(),
        packet_id: delivery.packet_id,
        message_expiry_s: expiry_left_s(publication.expires_at_ms, now_ms),
        subscription_identifiers: delivery.identifiers,
        properties: publication.properties,
        payload: publication.payload,
        ..PublishOut::default()
    }
}

/// Whether a packet is within the client's Maximum Packet Size.
fn fits(connection: &Connection, packet: &PublishOut<'_>) -> bool {
    connection.maximum_packet_size == u32::MAX
        || encode::publish_size(connection.version, packet)
            <= connection.maximum_packet_size as usize
}

/// Takes a message out of the totals of all queues.
pub(super) fn count_out(shared: &Shared, queued: &Queued) {
    shared.queued_messages.fetch_sub(1, Ordering::Relaxed);
    shared.queued_bytes.fetch_sub(queued.size(), Ordering::Relaxed);
}

/// A message in the shape of a queue.
pub(super) fn queued(body: Body, receiver: u32, terms: Terms) -> Queued {
    let Terms { qos, retain, group, identifiers, ticket } = terms;
    Queued { body, receiver, qos, retain, group, identifiers, ticket }
}

/// A message in the shape of the window.
pub(super) fn sent(
    shared: &Arc<Shared>,
    terms: &Terms,
    message: Option<Body>,
    receiver: u32,
) -> Sent {
    let held = message.as_ref().map(|message| message.size() + terms.identifiers.bytes());
    let charge = held.map(|bytes| shared.hold(bytes));
    // Without the message they are of no use: it is never sent again.
    let kept = if message.is_some() { terms.identifiers.clone() } else { Identifiers::None };
    Sent {
        message,
        receiver,
        identifiers: kept,
        group: terms.group,
        stage: if terms.qos == 2 { Stage::Pubrec } else { Stage::Puback },
        retain: terms.retain,
        ticket: terms.ticket,
        is_counted: false,
        charge,
    }
}

/// Whether nothing is left of a topic behind the mount point of a session, or what begins with `$`.
#[inline]
fn is_hidden_inside(session: &Session, topic: &[u8]) -> bool {
    session.key.first() != Some(&0)
        && matches!(topic.get(super::publish::mount_len(session, topic)), None | Some(b'$'))
}

/// What the subscriptions of a session say about a message; `None` if it is not to get it.
#[inline]
pub(super) fn terms(
    target: &Target,
    overlap: Option<&Overlap>,
    parcel: &Parcel<'_>,
    (is_own, is_hidden): (bool, bool),
) -> Option<Terms> {
    let (publication, ticket) = (parcel.publication, parcel.ticket);
    let is_barred = |options: SubscriptionOptions| {
        // [MQTT-3.8.3-3] [MQTT-4.7.2-1]
        is_own && options.no_local() || is_hidden && options.is_wildcard_first()
    };
    let Some(overlap) = overlap else {
        if is_barred(target.options) {
            return None;
        }
        return Some(Terms {
            qos: target.options.qos().min(publication.qos),
            retain: publication.retain && target.options.retain_as_published(),
            group: target.group,
            identifiers: Identifiers::from_one(target.identifier),
            ticket,
        });
    };
    let mut qos = None;
    let mut keeps_retain = false;
    let mut identifiers = Vec::new();
    for (options, identifier) in overlap {
        if is_barred(*options) {
            continue;
        }
        qos = qos.max(Some(options.qos())); // [MQTT-3.3.4-2]
        keeps_retain |= options.retain_as_published();
        if *identifier != 0 {
            identifiers.push(*identifier); // [MQTT-3.3.4-4]
        }
    }
    Some(Terms {
        qos: qos?.min(publication.qos),
        retain: publication.retain && keeps_retain,
        group: target.group,
        identifiers: match identifiers.as_slice() {
            [] => Identifiers::None,
            [identifier] => Identifiers::One(*identifier),
            _ => Identifiers::Many(identifiers.into()),
        },
        ticket,
    })
}

/// Writes a PUBLISH into a connection's output; whether it fits the client's Maximum Packet Size.
#[inline]
pub(super) fn write(
    connection: &mut Connection,
    pool: &mut OutputPool,
    frames: Option<&mut Frames>,
    delivery: &Delivery<'_>,
    now_ms: u64,
) -> bool {
    let publication = delivery.publication;
    let version = connection.version;
    let message_expiry_s = match version {
        Version::V5 => expiry_left_s(publication.expires_at_ms, now_ms),
        _ => None,
    };
    pool.lend(&mut connection.output);
    let is_plain = delivery.identifiers.is_empty()
        && connection.aliases_out.is_none()
        && connection.maximum_packet_size == PACKET_SIZE_LARGEST
        && !is_huge(publication);
    if let (Some(frames), true) = (frames, is_plain) {
        let has_id = delivery.qos > 0;
        let (frame, packet_id_at) =
            frames.get(version, has_id, delivery.mount_len, publication, message_expiry_s);
        let out = connection.output.bytes_mut();
        let start = out.len();
        out.extend_from_slice(frame);
        patch(out, start, packet_id_at, delivery);
        finish_payload(connection, delivery);
        return true;
    }
    write_own(connection, delivery, message_expiry_s)
}

/// Whether a message may be too large for any packet, where it came in one with fewer properties.
#[inline]
fn is_huge(publication: &Publication<'_>) -> bool {
    publication.payload.len() + publication.properties.len() > PACKET_SIZE_LARGEST as usize / 2
}

/// Sets the first byte and the Packet Identifier of a copied frame.
#[inline]
fn patch(out: &mut [u8], start: usize, packet_id_at: usize, delivery: &Delivery<'_>) {
    if let Some(first) = out.get_mut(start) {
        *first = publish_header(delivery.dup, delivery.qos, delivery.retain);
    }
    if delivery.qos > 0 {
        let at = start + packet_id_at;
        if let Some(place) = out.get_mut(at..at + 2) {
            place.copy_from_slice(&delivery.packet_id.to_be_bytes());
        }
    }
}

/// Encodes for this receiver alone.
fn write_own(
    connection: &mut Connection,
    delivery: &Delivery<'_>,
    message_expiry_s: Option<u32>,
) -> bool {
    let publication = delivery.publication;
    let version = connection.version;
    let mut packet = PublishOut {
        dup: delivery.dup,
        qos: delivery.qos,
        retain: delivery.retain,
        topic: publication.topic.get(delivery.mount_len..).unwrap_or_default(),
        packet_id: delivery.packet_id,
        message_expiry_s,
        topic_alias: None,
        subscription_identifiers: delivery.identifiers,
        properties: publication.properties,
        payload: publication.payload,
    };
    if (connection.maximum_packet_size != PACKET_SIZE_LARGEST || is_huge(publication))
        && encode::publish_size(version, &packet) > connection.maximum_packet_size as usize
    {
        return false; // [MQTT-3.1.2-24]
    }
    if let Some(aliases) = &mut connection.aliases_out {
        // A new alias makes the packet three bytes longer; it must still pass.
        let longest = PublishOut { topic_alias: Some(1), ..packet };
        if encode::publish_size(version, &longest) <= connection.maximum_packet_size as usize {
            match aliases.alias(packet.topic) {
                Alias::None => {}
                Alias::New(alias) => packet.topic_alias = Some(alias),
                Alias::Known(alias) => {
                    packet.topic_alias = Some(alias);
                    packet.topic = &[];
                }
            }
        }
    }
    let out = connection.output.bytes_mut();
    if publication.payload.len() >= SHARED_FROM {
        encode::publish_head(out, version, &packet);
        finish_payload(connection, delivery);
    } else {
        encode::publish(out, version, &packet);
    }
    true
}

/// Appends a payload that the frame left out: shared where the message is, else copied.
#[inline]
fn finish_payload(connection: &mut Connection, delivery: &Delivery<'_>) {
    let payload = delivery.publication.payload;
    if payload.len() < SHARED_FROM {
        return;
    }
    match delivery.message {
        Some(message) => connection.output.push_payload(Arc::clone(message)),
        None => connection.output.bytes_mut().extend_from_slice(payload),
    }
}
