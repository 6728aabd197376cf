//! PINGREQ, DISCONNECT and AUTH (MQTT 5 §3.12, §3.14, §3.15).

use crate::codec::packet::{Auth, Disconnect, Version};
use crate::codec::property::{self, Place, Properties, Value};
use crate::codec::reader::Reader;
use crate::reason::ReasonCode;
use crate::violation::Violation;

pub(super) fn pingreq(body: &[u8]) -> Result<(), Violation> {
    Reader::new(body).finish()
}

pub(super) fn disconnect(version: Version, body: &[u8]) -> Result<Disconnect, Violation> {
    let mut disconnect = Disconnect { reason: ReasonCode::SUCCESS, session_expiry_s: None };
    let mut reader = Reader::new(body);
    if version != Version::V5 || reader.is_empty() {
        reader.finish()?;
        return Ok(disconnect);
    }
    disconnect.reason = ReasonCode(reader.byte()?);
    // Those that a client may send [MQTT-3.14.2-1].
    let known = matches!(
        disconnect.reason.0,
        0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99
    );
    if !known {
        let detail = "a Reason Code that a client's DISCONNECT cannot have";
        return Err(Violation::protocol("MQTT-3.14.2-1", detail));
    }
    if !reader.is_empty() {
        let mut properties = Properties::read(&mut reader, Place::Disconnect)?;
        while let Some((identifier, value)) = properties.next()? {
            if let (property::SESSION_EXPIRY_INTERVAL, Value::Four(value)) = (identifier, value) {
                disconnect.session_expiry_s = Some(value);
            }
        }
    }
    reader.finish()?;
    Ok(disconnect)
}

pub(super) fn auth(body: &[u8]) -> Result<Auth, Violation> {
    let mut reader = Reader::new(body);
    // An empty body stands for Success, which only a server sends (MQTT 5 §3.15.2.1).
    let reason = if reader.is_empty() { ReasonCode::SUCCESS } else { ReasonCode(reader.byte()?) };
    if !matches!(reason, ReasonCode::CONTINUE_AUTHENTICATION | ReasonCode::REAUTHENTICATE) {
        let detail = "a Reason Code that a client's AUTH cannot have";
        return Err(Violation::protocol("MQTT-3.15.2-1", detail)); // [MQTT-3.15.2-1]
    }
    let mut auth = Auth { reason, method: None, data: None };
    let mut properties = Properties::read(&mut reader, Place::Auth)?;
    while let Some((identifier, value)) = properties.next()? {
        match (identifier, value) {
            (property::AUTHENTICATION_METHOD, Value::Text(value)) => {
                auth.method = Some(value.into());
            }
            (property::AUTHENTICATION_DATA, Value::Binary(value)) => {
                auth.data = Some(value.into());
            }
            _ => {}
        }
    }
    reader.finish()?;
    if auth.method.is_none() {
        let detail = "AUTH without an Authentication Method";
        return Err(Violation::protocol("MQTT 5 §3.15.2.2.2", detail));
    }
    Ok(auth)
}
