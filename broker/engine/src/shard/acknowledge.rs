//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client (MQTT 5 §4.3).

use super::Shard;
use crate::codec::encode;
use crate::codec::packet::{Acknowledgement, AcknowledgementKind, Version};
use crate::host::ConnectionRef;
use crate::reason::ReasonCode;
use crate::router::QueueRef;
use crate::session::{NOT_STORED, Stage};
use crate::store::{Change, Ticket};
use crate::violation::Violation;

const WRONG_KIND: Violation = Violation::protocol(
    "MQTT 5 §4.3",
    "an acknowledgement that does not follow in the exchange it names",
);

impl Shard {
    /// A client acknowledges.
    #[inline]
    pub(super) fn on_acknowledgement(
        &mut self,
        reference: ConnectionRef,
        acknowledgement: Acknowledgement,
        now_ms: u64,
    ) -> Result<(), Violation> {
        let Some(connection) = self.connection(reference) else { return Ok(()) };
        let (Some(queue), version) = (connection.session, connection.version) else {
            return Ok(());
        };
        let Acknowledgement { kind, packet_id, .. } = acknowledgement;
        match kind {
            AcknowledgementKind::Puback => {
                if self.stage(queue, packet_id).is_some_and(|stage| stage != Stage::Puback) {
                    return Err(WRONG_KIND);
                }
                self.complete(queue, packet_id, now_ms);
            }
            AcknowledgementKind::Pubrec => {
                self.on_pubrec(reference, queue, acknowledgement, now_ms)?;
            }
            AcknowledgementKind::Pubcomp => {
                if self.stage(queue, packet_id).is_some_and(|stage| stage != Stage::Pubcomp) {
                    return Err(WRONG_KIND); // [MQTT-4.3.3-3]
                }
                self.complete(queue, packet_id, now_ms);
            }
            AcknowledgementKind::Pubrel => {
                let (was_taken, ticket) = self.release_id(queue, packet_id);
                let reason = found_reason(version, was_taken);
                // [MQTT-4.3.3-11]
                self.send_committed(reference, ticket, |out| {
                    let kind = AcknowledgementKind::Pubcomp;
                    encode::acknowledgement(out, version, kind, packet_id, reason, None);
                });
            }
        }
        Ok(())
    }

    fn on_pubrec(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        acknowledgement: Acknowledgement,
        now_ms: u64,
    ) -> Result<(), Violation> {
        let Acknowledgement { packet_id, reason, .. } = acknowledgement;
        let version = self.connection(reference).map_or(Version::V5, |held| held.version);
        let stage = self.stage(queue, packet_id);
        if stage == Some(Stage::Puback) {
            return Err(WRONG_KIND);
        }
        if reason.is_error() {
            // The client does not take the message: the exchange is over [MQTT-4.3.3-4].
            self.complete(queue, packet_id, now_ms);
            return Ok(());
        }
        let mut ticket = Ticket::default();
        if let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) {
            if let Some((before, receiver)) = session.inflight.received(packet_id) {
                let is_stored = receiver != NOT_STORED && session.is_lasting();
                if is_stored && before != Stage::Pubcomp {
                    let id = session.id;
                    ticket = self.store.write(Change::ReceivedByPeer { id, packet_id });
                    session.exchange_ticket = ticket.max(session.exchange_ticket);
                } else if is_stored {
                    // PUBREC came again: PUBREL still waits for the same.
                    ticket = session.exchange_ticket;
                }
            }
        }
        let reason = found_reason(version, stage.is_some());
        self.send_committed(reference, ticket, |out| {
            let kind = AcknowledgementKind::Pubrel;
            encode::acknowledgement(out, version, kind, packet_id, reason, None);
        });
        Ok(())
    }

    fn stage(&mut self, queue: QueueRef, packet_id: u16) -> Option<Stage> {
        self.session_mut(queue)?.inflight.stage(packet_id)
    }

    /// A message has arrived: its identifier is free, and the next may go.
    #[inline]
    fn complete(&mut self, queue: QueueRef, packet_id: u16, now_ms: u64) {
        if self.end_exchange(queue, packet_id) {
            self.note_window(queue);
            self.pump(queue, now_ms);
        }
    }

    /// Gives an identifier free, and tells the store; whether it was taken.
    #[inline]
    pub(super) fn end_exchange(&mut self, queue: QueueRef, packet_id: u16) -> bool {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else {
            return false;
        };
        let Some(sent) = session.inflight.complete(packet_id) else { return false };
        if sent.receiver == NOT_STORED {
            return true;
        }
        if sent.stage != Stage::Puback && session.is_lasting() {
            let id = session.id;
            self.store.write(Change::Completed { id, packet_id });
        }
        if let Some(body) = sent.message {
            self.consumed(body.reference(), sent.receiver);
        }
        true
    }
}

/// 0x92 in MQTT 5 for an identifier nobody knows.
fn found_reason(version: Version, found: bool) -> ReasonCode {
    if found || version != Version::V5 {
        ReasonCode::SUCCESS
    } else {
        ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
    }
}
