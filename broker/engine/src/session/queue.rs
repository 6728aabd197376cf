//! Messages that wait for one session, in order of arrival, bounded in number and bytes.

use std::collections::VecDeque;

use crate::message::SharedMessage;
use crate::router::GroupId;
use crate::store::{MessageRef, Ticket};

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

/// A message, in memory or in the store.
#[derive(Debug, Clone)]
pub enum Body {
    /// In memory.
    Held(SharedMessage),
    /// To be fetched before it is sent.
    Stored {
        /// Its number in the log.
        number: u64,
        /// What it counts for in limits.
        size: u32,
    },
}

impl Body {
    /// What it counts for in limits: topic, properties and payload, in bytes.
    #[inline]
    pub fn size(&self) -> u64 {
        match self {
            Self::Held(message) => message.size(),
            Self::Stored { size, .. } => u64::from(*size),
        }
    }

    /// Its place in the order of arrival of this run; 0 if it left the memory, which it does not
    /// while that counts.
    #[inline]
    pub fn arrival(&self) -> u64 {
        self.held().map_or(0, |message| message.arrival)
    }

    /// The message, if it is in memory.
    #[inline]
    pub fn held(&self) -> Option<&SharedMessage> {
        match self {
            Self::Held(message) => Some(message),
            Self::Stored { .. } => None,
        }
    }

    /// As changes of the store name it.
    pub fn reference(&self) -> MessageRef {
        match self {
            Self::Held(message) => MessageRef::Held(SharedMessage::clone(message)),
            Self::Stored { number, .. } => MessageRef::Number(*number),
        }
    }
}

/// The index in a message's receivers of a delivery that the store does not know.
pub const NOT_STORED: u32 = u32::MAX;

/// A message and the terms on which this session gets it.
#[derive(Debug, Clone)]
pub struct Queued {
    /// The message.
    pub body: Body,
    /// Index in its receivers, or `NOT_STORED`.
    pub receiver: u32,
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
        self.body.size() + self.identifiers.bytes()
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

    /// Numbers of the first messages that are not in memory: at most `max`, at most `bytes_max`
    /// together, but at least one if there is one.
    pub fn wanted(&self, max: usize, bytes_max: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        let mut bytes = 0;
        for queued in self.0.iter().flat_map(|waiting| &waiting.messages) {
            let Body::Stored { number, size } = queued.body else { continue };
            bytes += u64::from(size);
            if !numbers.is_empty() && (numbers.len() >= max || bytes > bytes_max) {
                break;
            }
            numbers.push(number);
        }
        numbers
    }

    /// Takes fetched messages in, which come by number; gives out what the store has no more.
    pub fn fill(&mut self, fetched: &[(u64, Option<SharedMessage>)]) -> Vec<Queued> {
        let Some(waiting) = &mut self.0 else { return Vec::new() };
        let mut is_complete = true;
        let mut left = fetched.len();
        for queued in &mut waiting.messages {
            if left == 0 {
                break;
            }
            let Body::Stored { number, .. } = queued.body else { continue };
            let Ok(at) = fetched.binary_search_by_key(&number, |(found, _)| *found) else {
                continue;
            };
            left -= 1;
            match fetched.get(at) {
                Some((_, Some(message))) => {
                    waiting.bytes = waiting.bytes - queued.body.size() + message.size();
                    queued.body = Body::Held(SharedMessage::clone(message));
                }
                _ => is_complete = false,
            }
        }
        if is_complete { Vec::new() } else { self.drop_missing(fetched) }
    }

    /// Takes out what was asked for and is still not in memory.
    fn drop_missing(&mut self, fetched: &[(u64, Option<SharedMessage>)]) -> Vec<Queued> {
        let mut gone = Vec::new();
        for queued in std::mem::take(self) {
            let is_gone = match queued.body {
                Body::Held(_) => false,
                Body::Stored { number, .. } => {
                    fetched.binary_search_by_key(&number, |(found, _)| *found).is_ok()
                }
            };
            if is_gone {
                gone.push(queued);
            } else {
                self.push(queued);
            }
        }
        gone
    }

    /// Lets go of messages in memory that the store has, from the end: all but the first
    /// `keep`.
    pub fn unload(&mut self, keep: usize) {
        let Some(waiting) = &mut self.0 else { return };
        let mut back = waiting.messages.len();
        while back > keep {
            back -= 1;
            let Some(queued) = waiting.messages.get_mut(back) else { break };
            let Body::Held(message) = &queued.body else { break };
            let number = message.number();
            if number == 0 || queued.receiver == NOT_STORED {
                continue;
            }
            let Ok(size) = u32::try_from(message.size()) else { continue };
            queued.body = Body::Stored { number, size };
        }
    }
}

impl IntoIterator for Queue {
    type Item = Queued;
    type IntoIter = std::collections::vec_deque::IntoIter<Queued>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(|waiting| waiting.messages).unwrap_or_default().into_iter()
    }
}
