//! Packets of the broker, as bytes appended to an output buffer.

mod connack;
mod property;
mod publish;

pub use connack::connack;
pub use publish::{publish, publish_head, publish_size};

use super::packet::{AcknowledgementKind, Version};
use super::property as id;
use crate::reason::ReasonCode;

/// Appends a Variable Byte Integer (MQTT 5 §1.5.5).
#[inline]
pub(super) fn variable(out: &mut Vec<u8>, mut value: usize) {
    debug_assert!(value < 1 << 28, "a Variable Byte Integer has four bytes");
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// How many bytes a Variable Byte Integer takes.
#[inline]
pub(super) const fn variable_size(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a string or Binary Data. Longer than 65,535 bytes none gets here from a packet.
pub(super) fn binary(out: &mut Vec<u8>, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(content.get(..usize::from(length)).unwrap_or_default());
}

/// Appends a Fixed Header and the body.
fn packet(out: &mut Vec<u8>, header: u8, body: &[u8]) {
    out.push(header);
    variable(out, body.len());
    out.extend_from_slice(body);
}

/// A property section that holds a Reason String, or nothing.
fn reason_string(body: &mut Vec<u8>, text: Option<&str>) {
    let mut section = Vec::new();
    property::text(&mut section, id::REASON_STRING, text);
    property::section(body, &section);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP; below MQTT 5 without reason (MQTT 5 §3.4 to §3.7).
#[inline]
pub fn acknowledgement(
    out: &mut Vec<u8>,
    version: Version,
    kind: AcknowledgementKind,
    packet_id: u16,
    reason: ReasonCode,
    text: Option<&str>,
) {
    let header = match kind {
        AcknowledgementKind::Puback => 0x40,
        AcknowledgementKind::Pubrec => 0x50,
        AcknowledgementKind::Pubrel => 0x62, // [MQTT-3.6.1-1]
        AcknowledgementKind::Pubcomp => 0x70,
    };
    let [high, low] = packet_id.to_be_bytes();
    if version != Version::V5 || (reason == ReasonCode::SUCCESS && text.is_none()) {
        out.extend_from_slice(&[header, 2, high, low]);
    } else if text.is_none() {
        out.extend_from_slice(&[header, 3, high, low, reason.0]);
    } else {
        let mut body = vec![high, low, reason.0];
        reason_string(&mut body, text);
        packet(out, header, &body);
    }
}

/// SUBACK; below MQTT 5 errors are 0x80 (MQTT 5 §3.9).
pub fn suback(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    reasons: &[ReasonCode],
    text: Option<&str>,
) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        reason_string(&mut body, text);
    }
    body.extend(reasons.iter().map(|reason| match version {
        Version::V5 => reason.0,
        _ if reason.is_error() => 0x80,
        _ => reason.0,
    }));
    packet(out, 0x90, &body);
}

/// UNSUBACK; below MQTT 5 without reasons (MQTT 5 §3.11).
pub fn unsuback(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    reasons: &[ReasonCode],
    text: Option<&str>,
) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        reason_string(&mut body, text);
        body.extend(reasons.iter().map(|reason| reason.0));
    }
    packet(out, 0xB0, &body);
}

/// PINGRESP (MQTT 5 §3.13).
pub fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// DISCONNECT; MQTT 5 only (MQTT 5 §3.14).
pub fn disconnect(
    out: &mut Vec<u8>,
    reason: ReasonCode,
    text: Option<&str>,
    server_reference: Option<&str>,
) {
    if text.is_none() && server_reference.is_none() {
        out.extend_from_slice(&[0xE0, 1, reason.0]);
        return;
    }
    let mut section = Vec::new();
    property::text(&mut section, id::REASON_STRING, text);
    property::text(&mut section, id::SERVER_REFERENCE, server_reference);
    let mut body = vec![reason.0];
    property::section(&mut body, &section);
    packet(out, 0xE0, &body);
}

/// AUTH; MQTT 5 only (MQTT 5 §3.15).
pub fn auth(
    out: &mut Vec<u8>,
    reason: ReasonCode,
    method: &str,
    data: Option<&[u8]>,
    text: Option<&str>,
) {
    let mut section = Vec::new();
    property::text(&mut section, id::AUTHENTICATION_METHOD, Some(method));
    property::bytes(&mut section, id::AUTHENTICATION_DATA, data);
    property::text(&mut section, id::REASON_STRING, text);
    let mut body = vec![reason.0];
    property::section(&mut body, &section);
    packet(out, 0xF0, &body);
}
