//! The protocol error: what a peer broke, and what goes on the wire for it.

use crate::reason::ReasonCode;

/// A peer broke the specification; the connection ends with `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail} [{statement}]")]
pub struct Violation {
    /// Sent in CONNACK or DISCONNECT.
    pub reason: ReasonCode,
    /// The normative statement, "MQTT-3.3.2-2", or the section, "MQTT 5 §2.1.4".
    pub statement: &'static str,
    /// What was wrong, for the log and the Reason String.
    pub detail: &'static str,
}

impl Violation {
    /// A packet that cannot be parsed (MQTT 5 §1.2, Malformed Packet).
    pub const fn malformed(statement: &'static str, detail: &'static str) -> Self {
        Self { reason: ReasonCode::MALFORMED, statement, detail }
    }

    /// A packet that parses and is not allowed here (MQTT 5 §1.2, Protocol Error).
    pub const fn protocol(statement: &'static str, detail: &'static str) -> Self {
        Self { reason: ReasonCode::PROTOCOL_ERROR, statement, detail }
    }
}
