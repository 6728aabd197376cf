//! PUBACK, PUBREC, PUBREL and PUBCOMP: one shape (MQTT 5 §3.4 to §3.7).

use super::{ZERO_PACKET_ID, check_flags};
use crate::codec::packet::{Acknowledgement, AcknowledgementKind, Version};
use crate::codec::property::{Place, Properties};
use crate::codec::reader::Reader;
use crate::reason::ReasonCode;
use crate::violation::Violation;

/// Decodes the body of one of the four.
///
/// # Errors
/// It is malformed, or its Reason Code is not one of that packet.
#[inline]
pub fn acknowledgement(
    version: Version,
    header: u8,
    body: &[u8],
) -> Result<Acknowledgement, Violation> {
    let (kind, flags) = match header >> 4 {
        4 => (AcknowledgementKind::Puback, 0),
        5 => (AcknowledgementKind::Pubrec, 0),
        6 => (AcknowledgementKind::Pubrel, 2), // [MQTT-3.6.1-1]
        _ => (AcknowledgementKind::Pubcomp, 0),
    };
    check_flags(version, header & 0x0F, flags)?;
    let mut reader = Reader::new(body);
    let packet_id = reader.u16()?;
    if packet_id == 0 {
        return Err(ZERO_PACKET_ID); // [MQTT-2.2.1-3] [MQTT-2.2.1-5]
    }
    let mut reason = ReasonCode::SUCCESS;
    if version == Version::V5 && !reader.is_empty() {
        reason = ReasonCode(reader.byte()?);
        check_reason(kind, reason)?;
        if !reader.is_empty() {
            Properties::read(&mut reader, Place::Acknowledgement)?.check()?;
        }
    }
    reader.finish()?;
    Ok(Acknowledgement { kind, packet_id, reason })
}

/// The Reason Codes that each of the four may have.
#[inline]
fn check_reason(kind: AcknowledgementKind, reason: ReasonCode) -> Result<(), Violation> {
    let known = match kind {
        AcknowledgementKind::Puback | AcknowledgementKind::Pubrec => {
            matches!(reason.0, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        AcknowledgementKind::Pubrel | AcknowledgementKind::Pubcomp => {
            matches!(reason.0, 0x00 | 0x92)
        }
    };
    if known {
        Ok(())
    } else {
        let detail = "a Reason Code that this acknowledgement cannot have";
        let statement = match kind {
            AcknowledgementKind::Puback => "MQTT-3.4.2-1",
            AcknowledgementKind::Pubrec => "MQTT-3.5.2-1",
            AcknowledgementKind::Pubrel => "MQTT-3.6.2-1",
            AcknowledgementKind::Pubcomp => "MQTT-3.7.2-1",
        };
        Err(Violation::protocol(statement, detail))
    }
}
