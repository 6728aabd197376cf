//! Topic Aliases of one connection, both ways (MQTT 5 §3.3.2.3.4).

use hashbrown::HashMap;

use crate::reason::ReasonCode;
use crate::violation::Violation;

const INVALID: Violation = Violation {
    reason: ReasonCode::TOPIC_ALIAS_INVALID,
    statement: "MQTT-3.3.2-9",
    detail: "the Topic Alias is 0 or above the Topic Alias Maximum",
};

const UNKNOWN: Violation = Violation {
    reason: ReasonCode::PROTOCOL_ERROR,
    statement: "MQTT 5 §3.3.2.3.4",
    detail: "the Topic Alias has no Topic Name yet",
};

/// All topics of one connection's aliases together; two of the longest fit.
const INBOUND_BYTES_MAX: usize = 128 * 1024;

/// The same for ours: longer topics are sent in full.
const OUTBOUND_BYTES_MAX: usize = 16 * 1024;

const TOO_LARGE: Violation = Violation {
    reason: ReasonCode::QUOTA_EXCEEDED,
    statement: "MQTT 5 §3.3.2.3.4",
    detail: "the topics of all aliases exceed 128 KiB",
};

/// What the client's aliases stand for.
#[derive(Debug, Default)]
pub struct InboundAliases {
    topics: Vec<Option<Box<[u8]>>>,
    bytes: usize,
}

impl InboundAliases {
    /// The topic of a PUBLISH that carries `alias`: an empty `topic` is looked up, another is kept.
    ///
    /// # Errors
    /// The alias is out of range, or stands for nothing.
    pub fn resolve(&mut self, alias: u16, topic: &[u8], maximum: u16) -> Result<&[u8], Violation> {
        if alias == 0 || alias > maximum {
            return Err(INVALID); // [MQTT-3.3.2-9]
        }
        let at = usize::from(alias) - 1;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        let slot = self.topics.get_mut(at).ok_or(INVALID)?;
        if !topic.is_empty() && slot.as_deref() != Some(topic) {
            self.bytes -= slot.as_ref().map_or(0, |held| held.len());
            self.bytes += topic.len();
            if self.bytes > INBOUND_BYTES_MAX {
                return Err(TOO_LARGE);
            }
            *slot = Some(topic.into());
        }
        slot.as_deref().ok_or(UNKNOWN)
    }
}

/// The aliases we use towards the client: the first topics get one, until all are given.
#[derive(Debug)]
pub struct OutboundAliases {
    maximum: u16,
    bytes: usize,
    aliases: HashMap<Box<[u8]>, u16, foldhash::fast::RandomState>,
}

/// What to write for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// The topic in full, no alias.
    None,
    /// The topic in full with its new alias.
    New(u16),
    /// The alias alone.
    Known(u16),
}

impl OutboundAliases {
    /// At most `maximum` aliases, above 0.
    pub fn new(maximum: u16) -> Self {
        Self { maximum, bytes: 0, aliases: HashMap::default() }
    }

    /// The alias for `topic`, which is about to be sent.
    pub fn alias(&mut self, topic: &[u8]) -> Alias {
        if let Some(alias) = self.aliases.get(topic) {
            return Alias::Known(*alias);
        }
        let given = u16::try_from(self.aliases.len()).unwrap_or(u16::MAX);
        // An alias costs three bytes more the first time, and saves the topic from then on.
        let fits = self.bytes + topic.len() <= OUTBOUND_BYTES_MAX;
        if given >= self.maximum || topic.len() < 4 || !fits {
            return Alias::None;
        }
        self.bytes += topic.len();
        self.aliases.insert(topic.into(), given + 1);
        Alias::New(given + 1)
    }
}
