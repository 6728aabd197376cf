//! Links: one transport's conversation, and what the broker is to say on it.

use std::collections::{HashMap, VecDeque};

use engine::codec::packet::{AcknowledgementKind, Version};

use super::message::Owed;
use super::session::SessionId;

/// How far a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Open,
    Closing,
}

/// An answer that the broker is to give, once its ticket is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited<T> {
    pub answer: T,
    pub ticket: u64,
}

/// The answers of one kind keep their order.
pub type Queue<T> = VecDeque<Awaited<T>>;

/// One transport's conversation.
#[derive(Debug)]
pub struct Link {
    pub client: usize,
    pub version: Version,
    pub profile: usize,
    pub phase: Phase,
    /// `None` while it moves to another shard.
    pub shard: Option<usize>,
    pub session: Option<SessionId>,
    /// The session it had when it ended.
    pub left: Option<SessionId>,
    pub opened_ms: u64,
    pub heard_ms: u64,
    /// 0: none.
    pub keep_alive_ms: u64,
    pub receive_maximum: usize,
    pub maximum_packet_size: usize,
    pub topic_alias_maximum: u16,
    /// Aliases of the client.
    pub aliases_in: HashMap<u16, String>,
    /// Aliases of the broker.
    pub aliases_out: HashMap<u16, String>,
    /// (Session Present, Reason Code).
    pub connack: Option<Awaited<(bool, u8)>>,
    /// CONNACK was sent.
    pub is_greeted: bool,
    /// (Packet Identifier, Reason Codes that are right), by kind.
    pub acknowledgements: [Queue<(u16, Vec<u8>)>; 4],
    pub subacks: Queue<(u16, Vec<u8>)>,
    pub unsubacks: Queue<(u16, Vec<u8>)>,
    pub pings: usize,
    /// QoS 0 messages that are to come at once.
    pub passing: Vec<Owed>,
    /// Reason Code of the DISCONNECT that is to come.
    pub goodbye: Option<u8>,
}

impl Link {
    /// A link that has said nothing.
    pub fn new(client: usize, version: Version, profile: usize, shard: usize, now: u64) -> Self {
        Self {
            client,
            version,
            profile,
            phase: Phase::Connecting,
            shard: Some(shard),
            session: None,
            left: None,
            opened_ms: now,
            heard_ms: now,
            keep_alive_ms: 0,
            receive_maximum: usize::from(u16::MAX),
            maximum_packet_size: usize::MAX,
            topic_alias_maximum: 0,
            aliases_in: HashMap::new(),
            aliases_out: HashMap::new(),
            connack: None,
            is_greeted: false,
            acknowledgements: Default::default(),
            subacks: VecDeque::new(),
            unsubacks: VecDeque::new(),
            pings: 0,
            passing: Vec::new(),
            goodbye: None,
        }
    }

    /// Expects PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub fn expect(
        &mut self,
        kind: AcknowledgementKind,
        packet_id: u16,
        reasons: Vec<u8>,
        ticket: u64,
    ) {
        // Below MQTT 5 there are no Reason Codes.
        let reasons = if self.version == Version::V5 { reasons } else { vec![0] };
        let awaited = Awaited { answer: (packet_id, reasons), ticket };
        self.acknowledgements[index(kind)].push_back(awaited);
    }

    /// The answers of this kind.
    pub fn awaited(&mut self, kind: AcknowledgementKind) -> &mut Queue<(u16, Vec<u8>)> {
        &mut self.acknowledgements[index(kind)]
    }

    /// Nothing more is to come but the goodbye.
    pub fn close(&mut self, goodbye: Option<u8>) {
        self.phase = Phase::Closing;
        self.goodbye = goodbye.filter(|_| self.version == Version::V5);
        self.session = None;
        self.acknowledgements = Default::default();
        self.subacks.clear();
        self.unsubacks.clear();
        self.passing.clear();
        self.pings = 0;
    }
}

fn index(kind: AcknowledgementKind) -> usize {
    match kind {
        AcknowledgementKind::Puback => 0,
        AcknowledgementKind::Pubrec => 1,
        AcknowledgementKind::Pubrel => 2,
        AcknowledgementKind::Pubcomp => 3,
    }
}
