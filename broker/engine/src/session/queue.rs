//! Messages that wait for one session, in order of arrival, bounded in number and bytes.

use std::collections::VecDeque;

use crate::message::SharedMessage;
use crate::router::GroupId;
use crate::store::Ticket;

/// Subscription Identifiers that go with a delivery; nearly always none or one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// None.
    #[default]
    None,
    /// One.
    One(u32),
    /// Overlapping subscriptions have several (MQTT 5 §3.3.4).
    Many(Box<[u32]>),
}

impl Identifiers {
    /// As a slice.
    #[inline]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(identifier) => std::slice::from_ref(identifier),
            Self::Many(identifiers) => identifiers,
        }
    }

    /// Bytes they take beyond themselves: tens of thousands of subscriptions may overlap.
    #[inline]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Many(identifiers) => size_of_val::<[u32]>(identifiers) as u64,
        }
    }

    /// From a Subscription Identifier, 0 for none.
    #[inline]
    pub const fn from_one(identifier: u32) -> Self {
        if identifier == 0 { Self::None } else { Self::One(identifier) }
    }
}

/// A message and the terms on which this session gets it.
#[derive(Debug, Clone)]
pub struct Queued {
    /// The message.
    pub message: SharedMessage,
    /// QoS it is delivered with.
    pub qos: u8,
    /// RETAIN flag it is delivered with.
    pub retain: bool,
    /// The shared group it came through, or `NO_GROUP`.
    pub group: GroupId,
    /// Subscription Identifiers.
    pub identifiers: Identifiers,
    /// What it waits for at QoS 2: the commit that its publisher's PUBREC waits for.
    pub ticket: Ticket,
}

impl Queued {
    /// What it takes of the limits of bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        self.message.size() + self.identifiers.bytes()
    }
}

/// A session's queue; while nothing waits it holds no memory.
#[derive(Debug, Default)]
pub struct Queue(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Queued>,
    bytes: u64,
    /// How many have QoS 0: they wait only behind retained messages.
    at_qos_0: u32,
}

impl Queue {
    /// How many wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.messages.len())
    }

    /// Whether none waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes of topics, properties, payloads and Subscription Identifiers.
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Whether QoS 0 messages wait: then later ones wait behind them.
    #[inline]
    pub fn holds_qos_0(&self) -> bool {
        self.0.as_ref().is_some_and(|waiting| waiting.at_qos_0 > 0)
    }

    /// Appends a message; the limits are the caller's to keep.
    pub fn push(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += queued.size();
        waiting.at_qos_0 += u32::from(queued.qos == 0);
        waiting.messages.push_back(queued);
    }

    /// The oldest message.
    pub fn front(&self) -> Option<&Queued> {
        self.0.as_ref()?.messages.front()
    }

    /// Takes the oldest message.
    pub fn pop(&mut self) -> Option<Queued> {
        let waiting = self.0.as_mut()?;
        let queued = waiting.messages.pop_front()?;
        waiting.bytes -= queued.size();
        waiting.at_qos_0 -= u32::from(queued.qos == 0);
        if waiting.messages.is_empty() {
            self.0 = None;
        }
        Some(queued)
    }
}

impl IntoIterator for Queue {
    type Item = Queued;
    type IntoIter = std::collections::vec_deque::IntoIter<Queued>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(|waiting| waiting.messages).unwrap_or_default().into_iter()
    }
}
