//! A message as queues, the retained store and the log keep it: immutable, shared, stored once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::router::QueueRef;

/// No expiry.
pub const NEVER: u64 = u64::MAX;

/// An Application Message with what is sent on with it.
#[derive(Debug)]
pub struct Message {
    /// Its place in the order of arrival of this run; 0 for one of an earlier run.
    pub arrival: u64,
    /// Its number in the log; 0 until the store's writer gives it one.
    number: AtomicU64,
    /// Deliveries that are not done, with `TAKEN` and `PINNED`.
    ledger: AtomicU32,
    /// Topic Name, properties and payload, one after the other.
    bytes: Box<[u8]>,
    topic_len: u32,
    properties_len: u32,
    /// When it expires, in engine milliseconds; `NEVER` if it does not.
    pub expires_at_ms: u64,
    /// The QoS it was published with.
    pub qos: u8,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// The session that published it, whose acknowledgement may wait for it.
    pub publisher: Option<QueueRef>,
}

/// The writer has taken the message.
const TAKEN: u32 = 1 << 31;
/// The message is written in any case.
const PINNED: u32 = 1 << 30;
/// How many deliveries are left.
const COUNT: u32 = PINNED - 1;

/// A message that several hold.
pub type SharedMessage = Arc<Message>;

impl Message {
    /// Copies the parts into one allocation.
    pub fn new(publication: &Publication<'_>) -> Self {
        let Publication { topic, properties, payload, .. } = *publication;
        let mut bytes = Vec::with_capacity(topic.len() + properties.len() + payload.len());
        bytes.extend_from_slice(topic);
        bytes.extend_from_slice(properties);
        bytes.extend_from_slice(payload);
        Self {
            arrival: 0,
            number: AtomicU64::new(0),
            ledger: AtomicU32::new(0),
            bytes: bytes.into_boxed_slice(),
            topic_len: length(topic),
            properties_len: length(properties),
            expires_at_ms: publication.expires_at_ms,
            qos: publication.qos,
            retain: publication.retain,
            publisher: None,
        }
    }

    /// With its place in the order of arrival, and the session that published it.
    #[must_use]
    pub fn arriving(mut self, arrival: u64, publisher: Option<QueueRef>) -> Self {
        (self.arrival, self.publisher) = (arrival, publisher);
        self
    }

    /// The same, read back from the log under its number.
    pub fn stored(number: u64, publication: &Publication<'_>) -> Self {
        let message = Self::new(publication);
        message.number.store(number, Ordering::Relaxed);
        // Whatever is taken off, it stays one that is in the log.
        message.ledger.store(TAKEN | PINNED | COUNT >> 1, Ordering::Relaxed);
        message
    }

    /// Its number in the log; 0 as long as the store's writer has not taken it.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The writer gives it its number, once.
    pub fn set_number(&self, number: u64) {
        self.number.store(number, Ordering::Release);
    }

    /// It is about to be appended for so many receivers. Pinned: it is written in any case.
    #[inline]
    pub fn expect(&self, receivers: u32, is_pinned: bool) {
        let pinned = if is_pinned { PINNED } else { 0 };
        self.ledger.store(receivers.min(COUNT) | pinned, Ordering::Release);
    }

    /// A receiver is done with it. `false`: nobody is left and it is not written, nor will it be;
    /// else the store is to be told.
    #[inline]
    #[must_use]
    pub fn done(&self) -> bool {
        let before = self.ledger.fetch_sub(1, Ordering::AcqRel);
        before & (TAKEN | PINNED) != 0 || before & COUNT > 1
    }

    /// The writer takes it. `false`: it is not to be written, everyone was done before.
    #[must_use]
    pub fn take(&self) -> bool {
        let before = self.ledger.fetch_or(TAKEN, Ordering::AcqRel);
        before & PINNED != 0 || before & COUNT != 0
    }

    /// Whether everyone was done before the writer took it: it is not in the log.
    #[inline]
    pub fn is_never_written(&self) -> bool {
        self.ledger.load(Ordering::Acquire) & (PINNED | COUNT) == 0 && self.number() == 0
    }

    /// Topic Name, with its mount point.
    #[inline]
    pub fn topic(&self) -> &[u8] {
        self.bytes.get(..self.topic_len as usize).unwrap_or_default()
    }

    /// Properties as a PUBLISH carries them, without expiry, alias and Subscription Identifiers.
    #[inline]
    pub fn properties(&self) -> &[u8] {
        let start = self.topic_len as usize;
        self.bytes.get(start..start + self.properties_len as usize).unwrap_or_default()
    }

    /// Application Message.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        let start = self.topic_len as usize + self.properties_len as usize;
        self.bytes.get(start..).unwrap_or_default()
    }

    /// What it counts for in limits: topic, properties and payload.
    #[inline]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether it is past its expiry.
    #[inline]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        now_ms >= self.expires_at_ms
    }

    /// The message as something to publish.
    pub fn publication(&self) -> Publication<'_> {
        Publication {
            topic: self.topic(),
            properties: self.properties(),
            payload: self.payload(),
            qos: self.qos,
            retain: self.retain,
            expires_at_ms: self.expires_at_ms,
        }
    }
}

fn length(part: &[u8]) -> u32 {
    // A packet is at most 256 MiB, so its parts fit.
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}

/// Seconds left until `expires_at_ms`, rounded up, as Message Expiry Interval; `None` if it never
/// expires (MQTT 5 §3.3.2.3.3).
#[inline]
pub fn expiry_left_s(expires_at_ms: u64, now_ms: u64) -> Option<u32> {
    if expires_at_ms == NEVER {
        return None;
    }
    let left_ms = expires_at_ms.saturating_sub(now_ms);
    Some(u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX))
}

/// A message on its way through the router, borrowed from where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// Topic Name, with its mount point.
    pub topic: &'a [u8],
    /// Properties sent on as they came.
    pub properties: &'a [u8],
    /// Application Message.
    pub payload: &'a [u8],
    /// QoS: 0, 1 or 2.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// When it expires, in engine milliseconds; `NEVER` if it does not.
    pub expires_at_ms: u64,
}
