//! Messages, and a message as one receiver is to get it.

use engine::codec::packet::Version;

use crate::wire::Publish;

/// Index in the model's list of messages.
pub type MessageId = usize;

/// A message that was published.
#[derive(Debug, Clone)]
pub struct Message {
    /// With its mount point.
    pub topic: String,
    pub payload: Vec<u8>,
    pub properties: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub born_ms: u64,
    pub expires_ms: Option<u64>,
    /// The client, or nothing if it is the host's.
    pub publisher: Option<usize>,
    /// What its publisher's acknowledgement waits for.
    pub ticket: u64,
}

impl Message {
    /// What is left of its Message Expiry Interval, in seconds.
    pub fn left_s(&self, now_ms: u64) -> Option<u32> {
        let left_ms = self.expires_ms?.saturating_sub(now_ms);
        Some(u32::try_from(left_ms.div_ceil(1_000)).unwrap())
    }

    /// Whether its time is over. An interval of 0 is over at once, and still passes through.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }
}

/// A message that a session is to get.
#[derive(Debug, Clone)]
pub struct Owed {
    pub message: MessageId,
    pub qos: u8,
    pub retain: bool,
    /// Subscription Identifiers in order.
    pub identifiers: Vec<u32>,
    /// It may be dropped: a limit allows it.
    pub is_optional: bool,
}

impl Owed {
    /// Whether a packet has this one's terms.
    pub fn is_sent_as(&self, publish: &Publish, version: Version) -> bool {
        self.qos == publish.qos
            && self.retain == publish.retain
            && (version != Version::V5 || self.identifiers == publish.identifiers)
    }

    /// How large the packet is, without Topic Alias.
    pub fn size(&self, message: &Message, mount_len: usize, version: Version) -> usize {
        let mut rest = 2 + message.topic.len() - mount_len + message.payload.len();
        rest += if self.qos > 0 { 2 } else { 0 };
        if version == Version::V5 {
            let mut properties = message.properties.len();
            properties += if message.expires_ms.is_some() { 5 } else { 0 };
            properties += self.identifiers.iter().map(|id| 1 + length(*id as usize)).sum::<usize>();
            rest += properties + length(properties);
        }
        1 + length(rest) + rest
    }
}

/// Bytes of a Variable Byte Integer.
fn length(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}
