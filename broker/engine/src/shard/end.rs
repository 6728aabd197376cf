//! How connections end: DISCONNECT from either side, violations, takeover, a lost transport.

use super::input::Next;
use super::{Flow, Shard};
use crate::codec::encode;
use crate::codec::packet::{Disconnect, Version};
use crate::connection::{Connection, Phase};
use crate::host::{ConnectionRef, EventKind};
use crate::reason::ReasonCode;
use crate::router::QueueRef;
use crate::violation::Violation;

/// What happens to the will when a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WillFate {
    /// It is published, after its delay [MQTT-3.1.2-8].
    Published,
    /// It is forgotten [MQTT-3.14.4-3].
    Discarded,
}

impl Shard {
    /// The transport ended or failed, or a closing connection was flushed and closed.
    pub fn lost(&mut self, reference: ConnectionRef, now_ms: u64) {
        self.last_now_ms = now_ms;
        let Some(connection) = self.connection(reference) else { return };
        match connection.phase {
            Phase::Open => {
                let reason = ReasonCode::UNSPECIFIED;
                self.leave_session(
                    reference,
                    WillFate::Published,
                    reason,
                    "connection lost",
                    now_ms,
                );
            }
            Phase::Connecting | Phase::Authenticating | Phase::Leaving => {
                let reason = ReasonCode::UNSPECIFIED;
                let text = "the connection ended before CONNECT was complete";
                self.tell(reference, EventKind::Aborted, reason, text, now_ms);
            }
            Phase::Closing => {}
        }
        self.remove_connection(reference);
    }

    /// A layer below MQTT cannot go on: TLS, WebSocket or the PROXY header was not as it must be.
    pub fn fault(&mut self, reference: ConnectionRef, why: &str, now_ms: u64) {
        self.last_now_ms = now_ms;
        let reason = ReasonCode::UNSPECIFIED;
        match self.connection(reference).map(|connection| connection.phase) {
            Some(Phase::Open) => {
                self.leave_session(reference, WillFate::Published, reason, why, now_ms);
            }
            Some(Phase::Connecting | Phase::Authenticating | Phase::Leaving) => {
                self.tell(reference, EventKind::Aborted, reason, why, now_ms);
            }
            Some(Phase::Closing) | None => return,
        }
        self.begin_closing(reference);
    }

    /// DISCONNECT 0x8B to everyone; sessions are kept.
    pub fn shutdown(&mut self, now_ms: u64) {
        self.is_stopping = true;
        let all: Vec<ConnectionRef> = self
            .connections
            .iter()
            .filter(|(_, _, connection)| connection.phase != Phase::Closing)
            .map(|(slot, generation, _)| ConnectionRef { slot, generation })
            .collect();
        for reference in all {
            let reason = ReasonCode::SERVER_SHUTTING_DOWN;
            match self.connection(reference).map(|connection| connection.phase) {
                // A CONNACK answers a CONNECT, and none came [MQTT-3.2.0-1].
                Some(Phase::Connecting) => {
                    self.abort(reference, reason, "the server stops", now_ms);
                }
                _ => self.refuse(reference, (reason, None), now_ms),
            }
        }
    }

    /// A peer broke the specification: it is told how, and the connection ends.
    pub(super) fn violate(
        &mut self,
        reference: ConnectionRef,
        violation: &Violation,
        now_ms: u64,
    ) -> Flow {
        self.counters.violations += 1;
        let text = violation.to_string();
        match self.connection(reference).map(|connection| connection.phase) {
            Some(Phase::Open) => self.disconnect(reference, violation.reason, &text, now_ms),
            Some(Phase::Authenticating) => {
                // Before CONNACK a CONNACK says it (MQTT 5 §4.13.1).
                let reason = violation.reason;
                self.refuse(reference, (reason, Some(text.into())), now_ms);
            }
            // What came is not MQTT, or not yet: nothing is sent (MQTT 5 §4.13.1).
            Some(_) => self.abort(reference, violation.reason, &text, now_ms),
            None => {}
        }
        Flow::Close
    }

    /// Ends an open connection from our side: DISCONNECT in MQTT 5, then close.
    pub(super) fn disconnect(
        &mut self,
        reference: ConnectionRef,
        reason: ReasonCode,
        text: &str,
        now_ms: u64,
    ) {
        let Some(connection) = self.connection(reference) else { return };
        // Nothing goes before a CONNACK that waits for its commit.
        if connection.version == Version::V5 && !connection.awaits_connack {
            let server_reference = connection.profile.server_reference.clone();
            let moves = matches!(reason, ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED);
            let server_reference =
                (moves && !server_reference.is_empty()).then_some(server_reference);
            let limit = connection.maximum_packet_size as usize;
            let text = (!text.is_empty()).then_some(text);
            self.send(reference, |out| {
                let start = out.len();
                encode::disconnect(out, reason, text, server_reference.as_deref());
                if out.len() - start > limit {
                    // The Reason String goes first when the client takes only small packets.
                    out.truncate(start);
                    encode::disconnect(out, reason, None, None); // [MQTT-3.14.2-3]
                }
            });
        }
        self.leave_session(reference, WillFate::Published, reason, text, now_ms);
        self.begin_closing(reference);
    }

    /// Ends a connection that never became one, without a word.
    pub(super) fn abort(
        &mut self,
        reference: ConnectionRef,
        reason: ReasonCode,
        text: &str,
        now_ms: u64,
    ) {
        self.tell(reference, EventKind::Aborted, reason, text, now_ms);
        self.begin_closing(reference);
    }

    /// A client says goodbye (MQTT 5 §3.14.4).
    pub(super) fn on_disconnect(
        &mut self,
        reference: ConnectionRef,
        disconnect: &Disconnect,
        now_ms: u64,
    ) -> Result<Next, Violation> {
        let (maximum, asked_to_last) = match self.connection(reference) {
            Some(connection) if connection.phase == Phase::Open => {
                (connection.profile.session_expiry_max_s, connection.asked_to_last)
            }
            _ => {
                self.begin_closing(reference);
                return Ok(Next::Stop(Flow::Close));
            }
        };
        if let (Some(session), Some(expiry_s)) =
            (self.session_of(reference), disconnect.session_expiry_s)
        {
            if !asked_to_last && expiry_s != 0 {
                return Err(Violation::protocol(
                    "MQTT 5 §3.14.2.2.2",
                    "a session that was to end with its connection cannot be kept",
                ));
            }
            session.expiry_s = expiry_s.min(maximum);
        }
        let fate = if disconnect.reason == ReasonCode::SUCCESS {
            WillFate::Discarded // [MQTT-3.14.4-3]
        } else {
            WillFate::Published
        };
        self.leave_session(reference, fate, disconnect.reason, "", now_ms);
        self.begin_closing(reference);
        Ok(Next::Stop(Flow::Close))
    }

    /// Ends the connection a session has now, because another takes it over [MQTT-3.1.4-3].
    pub(super) fn take_over(&mut self, queue: QueueRef, now_ms: u64) {
        if let Some(reference) = self.session(queue).and_then(|session| session.connection) {
            let text = "another connection uses this Client Identifier";
            self.disconnect(reference, ReasonCode::SESSION_TAKEN_OVER, text, now_ms);
        }
    }

    /// What is in the output is still written, then the server closes the transport.
    pub(super) fn begin_closing(&mut self, reference: ConnectionRef) {
        let Some(connection) = self.connection_mut(reference) else { return };
        let was_parked = std::mem::take(&mut connection.is_parked);
        connection.phase = Phase::Closing;
        connection.is_choked = false;
        connection.is_held = false;
        connection.is_resting = false;
        connection.deadline_ms = 0;
        connection.tail = Vec::new();
        connection.pending = None;
        connection.waiting = None;
        self.parked -= u32::from(was_parked);
        self.set_connection_timer(reference);
        self.mark_dirty(reference);
    }

    /// Forgets a connection.
    pub(super) fn remove_connection(&mut self, reference: ConnectionRef) -> Option<Connection> {
        let ConnectionRef { slot, generation } = reference;
        let connection = self.connections.get_mut(slot, generation)?;
        let was_parked = connection.is_parked;
        connection.phase = Phase::Closing;
        connection.deadline_ms = 0;
        self.set_connection_timer(reference);
        let mut connection = self.connections.remove(slot, generation)?;
        self.output_bytes -= connection.output_counted;
        self.input_bytes -= connection.tail_counted;
        self.pool.reclaim(&mut connection.output);
        self.parked -= u32::from(was_parked);
        self.counters.connections -= 1;
        Some(connection)
    }
}
