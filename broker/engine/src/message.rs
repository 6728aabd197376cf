//! A message as queues, the retained store and the log keep it: immutable, shared, stored once.

use std::sync::Arc;

/// No expiry.
pub const NEVER: u64 = u64::MAX;

/// An Application Message with what is sent on with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the log; never given twice.
    pub number: u64,
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
}

/// A message that several hold.
pub type SharedMessage = Arc<Message>;

impl Message {
    /// Copies the parts into one allocation.
    pub fn new(number: u64, publication: &Publication<'_>) -> Self {
        let Publication { topic, properties, payload, .. } = *publication;
        let mut bytes = Vec::with_capacity(topic.len() + properties.len() + payload.len());
        bytes.extend_from_slice(topic);
        bytes.extend_from_slice(properties);
        bytes.extend_from_slice(payload);
        Self {
            number,
            bytes: bytes.into_boxed_slice(),
            topic_len: length(topic),
            properties_len: length(properties),
            expires_at_ms: publication.expires_at_ms,
            qos: publication.qos,
            retain: publication.retain,
        }
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
