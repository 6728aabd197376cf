//! A connection: what is known of one transport's MQTT conversation, apart from its session.

mod aliases;
mod frames;
mod output;

use std::collections::VecDeque;
use std::sync::Arc;

pub use aliases::{Alias, InboundAliases, OutboundAliases};
pub use frames::{Frames, publish_header};
pub use output::{Output, OutputPool, SHARED_FROM};

use crate::codec::packet::{Connect, Version};
use crate::host::Peer;
use crate::limits::{ListenerProfile, PACKET_SIZE_LARGEST};
use crate::router::QueueRef;
use crate::shard::Promise;

/// How far a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// CONNECT has not come yet, or not in full.
    Connecting,
    /// CONNECT came; the host decides, or an AUTH exchange is under way.
    Authenticating,
    /// Allowed under a Client Identifier whose session lives on another shard.
    Leaving,
    /// CONNACK with Success was sent.
    Open,
    /// Over: what is in the output is written, then the transport is closed.
    Closing,
}

/// Packets that wait for commits, each with what it promises.
pub type Waiting = VecDeque<(Promise, Vec<u8>)>;

/// The host let a CONNECT in.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Whose session it is.
    pub user: Box<str>,
    /// Authentication Data for CONNACK.
    pub data: Option<Box<[u8]>>,
}

/// One transport's conversation.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says another thing; none excludes another")]
pub struct Connection {
    /// How far it is.
    pub phase: Phase,
    /// The host decides about it: nothing is read meanwhile.
    pub is_parked: bool,
    /// It does not read its answers: nothing is read from it until it does.
    pub is_choked: bool,
    /// The store takes nothing of it: nothing is read meanwhile.
    pub is_held: bool,
    /// It is in the list of connections whose answers wait for commits.
    pub is_listed: bool,
    /// It made enough work for one round: the packets that it has sent wait for the next.
    pub is_resting: bool,
    /// It is in the list of connections that want attention.
    pub is_dirty: bool,
    /// CONNACK waits for a commit: until it is sent, nothing else is [MQTT-3.2.0-1].
    pub awaits_connack: bool,
    /// From CONNECT on; 5 before.
    pub version: Version,
    /// CONNECT asked for a Session Expiry Interval above 0, granted or not.
    pub asked_to_last: bool,
    /// Request Problem Information (MQTT 5 §3.1.2.11.7).
    pub problem_information: bool,
    /// The session, while `Open`.
    pub session: Option<QueueRef>,
    /// What its listener grants.
    pub profile: Arc<ListenerProfile>,
    /// Who is at the other end.
    pub peer: Peer,
    /// An incomplete packet, or what came while parked.
    pub tail: Vec<u8>,
    /// What is to be written.
    pub output: Output,
    /// What of `output` is counted in the shard's total.
    pub output_counted: usize,
    /// What of `tail` is counted in the shard's total.
    pub tail_counted: usize,
    /// Answers that wait for a commit, in order.
    pub waiting: Option<Box<Waiting>>,
    /// One and a half times the Keep Alive in milliseconds, or 0 [MQTT-3.1.2-22].
    pub keep_alive_ms: u64,
    /// When a packet came, or much of a large one.
    pub heard_at_ms: u64,
    /// Until when CONNECT must be complete, or the host must have decided; 0: none runs.
    pub deadline_ms: u64,
    /// The deadline held in the timers, or 0.
    pub timer_ms: u64,
    /// The client's Maximum Packet Size; at most that of all packets.
    pub maximum_packet_size: u32,
    /// Topic Aliases of the client.
    pub aliases_in: Option<Box<InboundAliases>>,
    /// Topic Aliases of ours.
    pub aliases_out: Option<Box<OutboundAliases>>,
    /// The CONNECT, until it is decided.
    pub pending: Option<Box<Connect>>,
    /// The host's verdict, while `Leaving`.
    pub allowed: Option<Box<Allowed>>,
    /// Authentication Method, if one is used.
    pub method: Option<Box<str>>,
    /// A re-authentication is under way.
    pub is_reauthenticating: bool,
}

impl Connection {
    /// A connection that has said nothing yet.
    pub fn new(peer: Peer, profile: Arc<ListenerProfile>, now_ms: u64) -> Self {
        Self {
            phase: Phase::Connecting,
            is_parked: false,
            is_choked: false,
            is_held: false,
            is_listed: false,
            is_resting: false,
            is_dirty: false,
            awaits_connack: false,
            version: Version::V5,
            problem_information: true,
            asked_to_last: false,
            session: None,
            deadline_ms: now_ms + profile.connect_timeout_ms,
            profile,
            peer,
            tail: Vec::new(),
            output: Output::default(),
            output_counted: 0,
            tail_counted: 0,
            waiting: None,
            keep_alive_ms: 0,
            heard_at_ms: now_ms,
            timer_ms: 0,
            maximum_packet_size: PACKET_SIZE_LARGEST,
            aliases_in: None,
            aliases_out: None,
            pending: None,
            allowed: None,
            method: None,
            is_reauthenticating: false,
        }
    }

    /// Whether nothing is read from it now.
    pub fn is_waiting(&self) -> bool {
        self.is_parked || self.is_choked || self.is_resting || self.is_held
    }

    /// The deadline that counts now, or 0.
    pub fn next_deadline(&self) -> u64 {
        if self.deadline_ms != 0 {
            return self.deadline_ms;
        }
        if self.phase == Phase::Open && self.keep_alive_ms != 0 && !self.is_parked && !self.is_held
        {
            return self.heard_at_ms + self.keep_alive_ms;
        }
        0
    }
}
