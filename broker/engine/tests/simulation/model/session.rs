//! Sessions: subscriptions, what is owed, what is under way, the will.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::codec::packet::Version;

use super::message::{Message, MessageId, Owed};
use crate::wire::Publish;

/// Names one life of a session: a new one under the same key has another.
pub type SessionId = u64;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Puback,
    Pubrec,
    Pubcomp,
}

/// A QoS 1 or 2 message that was sent and not acknowledged.
#[derive(Debug, Clone)]
pub struct Flying {
    pub packet_id: u16,
    pub owed: Owed,
    /// Index of the copy, if it came through a shared group.
    pub copy: Option<usize>,
    pub stage: Stage,
    /// It is to be sent again on the present connection.
    pub must_resend: bool,
    /// It was sent as PUBLISH on the present connection, and uses up Receive Maximum.
    pub counts: bool,
}

/// Terms of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub qos: u8,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub identifier: u32,
}

/// A retained message that a new subscription is to get.
#[derive(Debug, Clone)]
pub struct Replay {
    pub topic: String,
    /// The filter as the client wrote it.
    pub filter: String,
    pub terms: Terms,
    pub message: MessageId,
    pub is_optional: bool,
    /// The subscription ended: it may come out of the call at hand, and not later.
    pub is_over: bool,
}

impl Replay {
    /// How it is to come: RETAIN is set [MQTT-3.3.1-8].
    pub fn owed(&self, message: &Message) -> Owed {
        let identifier = Some(self.terms.identifier).filter(|identifier| *identifier != 0);
        Owed {
            message: self.message,
            qos: self.terms.qos.min(message.qos),
            retain: true,
            identifiers: identifier.into_iter().collect(),
            is_optional: false,
        }
    }
}

/// A will.
#[derive(Debug, Clone)]
pub struct Will {
    /// With its mount point.
    pub topic: String,
    pub message: Publish,
    pub delay_s: u32,
    /// When the delay runs out, once the connection is gone.
    pub due_ms: Option<u64>,
}

/// What is kept of a client.
#[derive(Debug)]
pub struct Session {
    pub key: Vec<u8>,
    pub client: usize,
    pub user: String,
    pub shard: usize,
    pub version: Version,
    pub mount_point: String,
    pub expiry_s: u32,
    pub link: Option<usize>,
    /// By the filter as the client wrote it.
    pub subscriptions: BTreeMap<String, Terms>,
    /// All terms it ever had in a group, by group.
    pub group_terms: Vec<(String, Terms)>,
    /// QoS 1 and 2, in order of arrival.
    pub owed: VecDeque<Owed>,
    pub flying: Vec<Flying>,
    pub replays: Vec<Replay>,
    /// QoS 2 identifiers of the client that are not released.
    pub received: BTreeSet<u16>,
    /// How many of them came on the present connection.
    pub outstanding: u16,
    pub will: Option<Will>,
    pub ends_ms: Option<u64>,
}

impl Session {
    /// Whether it outlives its connection.
    pub fn is_lasting(&self) -> bool {
        self.expiry_s > 0
    }

    /// A filter with the mount point.
    pub fn mounted(&self, filter: &str) -> String {
        format!("{}{filter}", self.mount_point)
    }

    /// Whether a filter inside its mount point matches a full topic.
    pub fn matches(&self, filter: &str, topic: &str) -> bool {
        let inner = topic.strip_prefix(&*self.mount_point);
        inner.is_some_and(|inner| super::matches(filter, inner))
            && super::matches(&self.mounted(filter), topic)
    }

    /// A QoS 2 identifier of the client is free again; whether it was taken.
    pub fn release(&mut self, packet_id: u16) -> bool {
        let was_taken = self.received.remove(&packet_id);
        self.outstanding = self.outstanding.saturating_sub(u16::from(was_taken));
        was_taken
    }

    /// Retained messages for a filter are not to come any more.
    pub fn end_replays(&mut self, filter: &str) {
        let replays = self.replays.iter_mut();
        replays.filter(|replay| replay.filter == filter).for_each(|replay| replay.is_over = true);
    }

    /// Whether something may wait in its queue; which messages of groups do is not known.
    pub fn may_hold(&self, window: usize) -> bool {
        let outstanding = self.flying.iter().filter(|flying| flying.counts).count();
        !self.replays.is_empty()
            || !self.owed.is_empty()
            || !self.group_terms.is_empty()
            || outstanding >= window
            || self.flying.iter().any(|flying| flying.must_resend)
    }

    /// A message comes in; more than `most` push the oldest out.
    pub fn enqueue(&mut self, owed: Owed, most: usize) {
        self.owed.push_back(owed);
        let over = self.owed.len().saturating_sub(most);
        self.owed.range_mut(..over).for_each(|owed| owed.is_optional = true);
    }

    /// The message under way with this identifier.
    pub fn flying(&mut self, packet_id: u16) -> Option<&mut Flying> {
        self.flying.iter_mut().find(|flying| flying.packet_id == packet_id)
    }

    /// Takes the message with this identifier out.
    pub fn land(&mut self, packet_id: u16) -> Option<Flying> {
        let at = self.flying.iter().position(|flying| flying.packet_id == packet_id)?;
        Some(self.flying.remove(at))
    }
}
