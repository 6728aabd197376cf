//! Answers no larger than the client's Maximum Packet Size: what a packet can do without goes
//! first, and where that is not enough the client is told so (MQTT 5 §3.1.2.11.4).

use super::input::Next;
use super::{Flow, Shard};
use crate::codec::encode;
use crate::codec::packet::{Connack, Version};
use crate::connection::Phase;
use crate::host::ConnectionRef;
use crate::reason::ReasonCode;
use crate::store::Ticket;

impl Shard {
    /// The bytes of a CONNACK that the client takes, if there are any; without Reason String,
    /// Response Information and Server Reference if it must be.
    pub(super) fn fitting_connack(
        &self,
        reference: ConnectionRef,
        version: Version,
        connack: &mut Connack,
    ) -> Option<Vec<u8>> {
        let limit = self.packet_limit(reference);
        let mut out = Vec::new();
        encode::connack(&mut out, version, connack);
        if out.len() > limit {
            connack.reason_string = None; // [MQTT-3.2.2-19]
            connack.response_information = None;
            out.clear();
            encode::connack(&mut out, version, connack);
        }
        if out.len() > limit && ReasonCode(connack.reason).is_error() {
            connack.server_reference = None;
            out.clear();
            encode::connack(&mut out, version, connack);
        }
        (out.len() <= limit).then_some(out) // [MQTT-3.1.2-24]
    }

    /// Sends an answer after `ticket`; if the client does not take one as large, the connection
    /// ends, since it would wait for the answer for ever.
    pub(super) fn send_whole(
        &mut self,
        reference: ConnectionRef,
        ticket: Ticket,
        packet: &[u8],
        now_ms: u64,
    ) {
        if packet.len() <= self.packet_limit(reference) {
            self.send_committed(reference, ticket, |out| out.extend_from_slice(packet));
            return;
        }
        let text = "the answer is larger than the Maximum Packet Size"; // [MQTT-3.1.2-24]
        self.refuse(reference, (ReasonCode::PACKET_TOO_LARGE, Some(text.into())), now_ms);
    }

    /// Whether what follows in the input is read, after an answer that may have ended it.
    pub(super) fn next_of(&self, reference: ConnectionRef) -> Next {
        match self.connection(reference) {
            Some(connection) if connection.phase == Phase::Open => Next::Packet,
            _ => Next::Stop(Flow::Close),
        }
    }

    /// The client's Maximum Packet Size.
    pub(super) fn packet_limit(&self, reference: ConnectionRef) -> usize {
        self.connection(reference)
            .map_or(usize::MAX, |connection| connection.maximum_packet_size as usize)
    }
}

/// The reason as a CONNACK may give it: DISCONNECT has reasons that are not in its table
/// (MQTT 5 §3.2.2.2) [MQTT-3.2.2-8].
pub(super) const fn connect_reason(reason: ReasonCode) -> ReasonCode {
    match reason.0 {
        0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F => reason,
        0x8B => ReasonCode::SERVER_UNAVAILABLE,
        _ => ReasonCode::UNSPECIFIED,
    }
}

/// The reason as a server's DISCONNECT may give it (MQTT 5 §3.14.2.1) [MQTT-3.14.2-1].
pub(super) const fn disconnect_reason(reason: ReasonCode) -> ReasonCode {
    match reason.0 {
        0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2 => reason,
        0x88 => ReasonCode::SERVER_BUSY,
        0x86 | 0x8A | 0x8C => ReasonCode::NOT_AUTHORIZED,
        _ => ReasonCode::UNSPECIFIED,
    }
}
