//! Messages between shards: one block of bytes a hand-over, so that a message costs no
//! allocation on its way.

use std::sync::Arc;

use super::route::Parcel;
use crate::message::{Publication, SharedMessage};
use crate::router::{Matched, QueueRef, Target};
use crate::store::{Receivers, Ticket};

/// What each delivery of a set adds to the bytes: with a mailbox of 16 MiB, a shard that takes its
/// mail is busy with a million of them at most, some tenth of a second.
const DELIVERY_BYTES: usize = 16;

/// A block that outgrew this is given back once it is empty.
const ARENA_KEPT_MAX: usize = 1 << 20;

/// Publications on their way from one shard to another, in order.
#[derive(Debug, Default)]
pub struct Mail {
    items: Vec<Item>,
    /// Topics, properties and payloads of the items that hold no shared message.
    arena: Vec<u8>,
    /// Bytes of shared messages.
    shared_bytes: usize,
    /// Publishers there whose acknowledgements need not wait any more.
    pub(super) released: Vec<QueueRef>,
    /// What its sets give to do: subscriptions to look through.
    work: usize,
}

#[derive(Debug)]
pub(super) struct Item {
    pub route: MailRoute,
    pub from: Option<QueueRef>,
    message: Option<SharedMessage>,
    start: usize,
    topic_len: u32,
    properties_len: u32,
    payload_len: u32,
    expires_at_ms: u64,
    qos: u8,
    retain: bool,
    /// What a QoS 2 PUBLISH waits for.
    pub ticket: Ticket,
    /// The receivers of the message in the store, if it has any.
    pub receivers: Option<Receivers>,
}

/// Whom an item is for.
#[derive(Debug)]
pub(super) enum MailRoute {
    /// One queue, with its index among the receivers, or `NOT_STORED`.
    One(Target, u32),
    /// All targets of a match that live on the receiving shard.
    Set(Arc<Matched>),
}

impl Mail {
    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.released.is_empty()
    }

    /// How much memory its messages take, and a share for each delivery: what a mailbox's limit
    /// counts.
    pub fn bytes(&self) -> usize {
        let items = self.items.len() * size_of::<Item>();
        self.arena.len() + self.shared_bytes + items + self.work * DELIVERY_BYTES
    }

    /// Moves everything out of `other` behind what is here.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        self.released.append(&mut other.released);
        let offset = self.arena.len();
        self.arena.append(&mut other.arena);
        self.shared_bytes += std::mem::take(&mut other.shared_bytes);
        self.work += std::mem::take(&mut other.work);
        self.items.extend(other.items.drain(..).map(|mut item| {
            item.start += offset;
            item
        }));
    }

    /// Adds a publication.
    pub(super) fn push(&mut self, route: MailRoute, parcel: &Parcel<'_>) {
        let (publication, message) = (parcel.publication, parcel.existing());
        let start = self.arena.len();
        if let Some(message) = message {
            self.shared_bytes += publication.payload.len();
            debug_assert_eq!(message.topic(), publication.topic);
        } else {
            self.arena.extend_from_slice(publication.topic);
            self.arena.extend_from_slice(publication.properties);
            self.arena.extend_from_slice(publication.payload);
        }
        if let MailRoute::Set(matched) = &route {
            self.work += matched.work();
        }
        self.items.push(Item {
            route,
            from: parcel.from,
            message: message.map(Arc::clone),
            start,
            topic_len: length(publication.topic),
            properties_len: length(publication.properties),
            payload_len: length(publication.payload),
            expires_at_ms: publication.expires_at_ms,
            qos: publication.qos,
            retain: publication.retain,
            ticket: parcel.ticket,
            receivers: parcel.receivers.clone(),
        });
    }

    /// Takes the items out; `publication` reads them, `clear` ends it.
    pub(super) fn take_items(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    /// Gives the buffers back, empty.
    pub(super) fn reset(&mut self, mut items: Vec<Item>) {
        items.clear();
        self.items = items;
        self.arena.clear();
        if self.arena.capacity() > ARENA_KEPT_MAX {
            self.arena = Vec::new();
        }
        (self.shared_bytes, self.work) = (0, 0);
    }

    /// The publication of an item.
    pub(super) fn publication<'a>(&'a self, item: &'a Item) -> Publication<'a> {
        if let Some(message) = &item.message {
            let (qos, retain) = (item.qos, item.retain);
            return Publication { qos, retain, ..message.publication() };
        }
        let rest = self.arena.get(item.start..).unwrap_or_default();
        let (topic, rest) = rest.split_at_checked(item.topic_len as usize).unwrap_or_default();
        let (properties, rest) =
            rest.split_at_checked(item.properties_len as usize).unwrap_or_default();
        Publication {
            topic,
            properties,
            payload: rest.get(..item.payload_len as usize).unwrap_or_default(),
            qos: item.qos,
            retain: item.retain,
            expires_at_ms: item.expires_at_ms,
        }
    }
}

impl Item {
    /// The shared message, if the item came with one.
    pub(super) fn message(&self) -> Option<SharedMessage> {
        self.message.as_ref().map(Arc::clone)
    }
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::NEVER;
    use crate::router::SubscriptionOptions;

    #[test]
    fn a_message_for_many_weighs_as_many_deliveries() {
        let queue = QueueRef { shard: 1, slot: 0, generation: 1 };
        let target = Target::single(queue, SubscriptionOptions::new(0, false, false), 0);
        let matched = Arc::new(Matched { targets: vec![target; 10_000], ..Matched::default() });
        let publication = Publication {
            topic: b"t",
            properties: b"",
            payload: b"",
            qos: 0,
            retain: false,
            expires_at_ms: NEVER,
        };
        let mut mail = Mail::default();
        let mut other = Mail::default();
        for mail in [&mut mail, &mut other] {
            let route = MailRoute::Set(Arc::clone(&matched));
            mail.push(route, &Parcel::new(&publication, None));
        }

        mail.append(&mut other);

        assert!(mail.bytes() >= 2 * 10_000 * DELIVERY_BYTES);
        assert_eq!(other.bytes(), 0);
        let items = mail.take_items();
        mail.reset(items);
        assert_eq!(mail.bytes(), 0);
    }
}
