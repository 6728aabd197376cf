//! CONNECT (MQTT 5 §3.1, MQTT 3.1.1 §3.1).

use crate::codec::packet::{Connect, UserProperties, Version, Will};
use crate::codec::property::{self, Place, Properties, Value};
use crate::codec::reader::Reader;
use crate::reason::ReasonCode;
use crate::violation::Violation;

/// A CONNECT that is not accepted, and how to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectRefusal {
    /// How to write the CONNACK; `None`: close without one.
    pub version: Option<Version>,
    /// What was wrong.
    pub violation: Violation,
}

const USERNAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// Decodes the body of a CONNECT.
///
/// # Errors
/// It is malformed, or speaks a version we do not.
pub fn connect(body: &[u8]) -> Result<Connect, ConnectRefusal> {
    let mut reader = Reader::new(body);
    let version = protocol(&mut reader)?;
    fields(&mut reader, version)
        .map_err(|violation| ConnectRefusal { version: Some(version), violation })
}

fn protocol(reader: &mut Reader<'_>) -> Result<Version, ConnectRefusal> {
    let silent = |violation| ConnectRefusal { version: None, violation };
    let name = reader.string().map_err(silent)?;
    if name != "MQTT" && name != "MQIsdp" {
        let detail = "the protocol name is neither MQTT nor MQIsdp";
        return Err(silent(unsupported("MQTT-3.1.2-1", detail))); // [MQTT-3.1.2-1]
    }
    let level = reader.byte().map_err(silent)?;
    match (name, level) {
        ("MQIsdp", 3) => Ok(Version::V3_1),
        ("MQTT", 4) => Ok(Version::V3_1_1),
        ("MQTT", 5) => Ok(Version::V5),
        _ => {
            // Bridges of mosquitto set the highest bit of 3 and 4 and go on without it when they
            // get the return code of their version.
            let answer = match (name, level & 0x7F) {
                ("MQIsdp", _) => Version::V3_1,
                (_, 0..=4) => Version::V3_1_1,
                _ => Version::V5,
            };
            let detail = "the broker speaks MQTT 3.1, 3.1.1 and 5";
            let violation = unsupported("MQTT-3.1.2-2", detail); // [MQTT-3.1.2-2]
            Err(ConnectRefusal { version: Some(answer), violation })
        }
    }
}

fn unsupported(statement: &'static str, detail: &'static str) -> Violation {
    Violation { reason: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, statement, detail }
}

fn fields(reader: &mut Reader<'_>, version: Version) -> Result<Connect, Violation> {
    let flags = reader.byte()?;
    check_flags(version, flags)?;
    let mut connect = Connect {
        version,
        clean_start: flags & CLEAN_START != 0,
        keep_alive_s: reader.u16()?,
        client_id: "".into(),
        is_assigned: false,
        will: None,
        username: None,
        password: None,
        session_expiry_s: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        user_properties: Vec::new(),
        authentication_method: None,
        authentication_data: None,
    };
    if version == Version::V5 {
        properties(&mut connect, reader)?;
    }
    connect.client_id = reader.string()?.into(); // [MQTT-3.1.3-4]
    if version == Version::V3_1 && connect.client_id.is_empty() {
        return Err(Violation {
            reason: ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            statement: "MQTT 3.1 §3.1",
            detail: "the Client Identifier is empty",
        });
    }
    if flags & WILL != 0 {
        connect.will = Some(will(version, flags, reader)?);
    }
    // In 3.1 the Remaining Length takes precedence over these two flags (MQTT 3.1 §3.1).
    let may_lack = version == Version::V3_1;
    if flags & USERNAME != 0 && !(may_lack && reader.is_empty()) {
        connect.username = Some(reader.string()?.into()); // [MQTT-3.1.2-17] [MQTT-3.1.3-12]
    }
    if flags & PASSWORD != 0 && !(may_lack && reader.is_empty()) {
        connect.password = Some(reader.binary()?.into()); // [MQTT-3.1.2-19]
    }
    reader.finish()?;
    Ok(connect)
}

fn check_flags(version: Version, flags: u8) -> Result<(), Violation> {
    if flags & RESERVED != 0 {
        let detail = "the reserved Connect Flag is set";
        return Err(Violation::malformed("MQTT-3.1.2-3", detail)); // [MQTT-3.1.2-3]
    }
    if flags & WILL_QOS == WILL_QOS {
        return Err(Violation::malformed("MQTT-3.1.2-12", "the Will QoS is 3")); // [MQTT-3.1.2-12]
    }
    if flags & WILL == 0 && flags & WILL_QOS != 0 {
        let detail = "a Will QoS without a will";
        return Err(Violation::malformed("MQTT-3.1.2-11", detail)); // [MQTT-3.1.2-11]
    }
    if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
        let detail = "Will Retain without a will";
        return Err(Violation::malformed("MQTT-3.1.2-13", detail)); // [MQTT-3.1.2-13]
    }
    if version != Version::V5 && flags & PASSWORD != 0 && flags & USERNAME == 0 {
        let detail = "a password without a user name";
        return Err(Violation::malformed("MQTT3-3.1.2-22", detail)); // [MQTT3-3.1.2-22]
    }
    Ok(())
}

fn properties(connect: &mut Connect, reader: &mut Reader<'_>) -> Result<(), Violation> {
    let mut properties = Properties::read(reader, Place::Connect)?;
    while let Some((identifier, value)) = properties.next()? {
        match (identifier, value) {
            (property::SESSION_EXPIRY_INTERVAL, Value::Four(value)) => {
                connect.session_expiry_s = value;
            }
            (property::RECEIVE_MAXIMUM, Value::Two(value)) => connect.receive_maximum = value,
            (property::MAXIMUM_PACKET_SIZE, Value::Four(value)) => {
                connect.maximum_packet_size = Some(value);
            }
            (property::TOPIC_ALIAS_MAXIMUM, Value::Two(value)) => {
                connect.topic_alias_maximum = value;
            }
            (property::REQUEST_RESPONSE_INFORMATION, Value::Byte(value)) => {
                connect.request_response_information = value == 1;
            }
            (property::REQUEST_PROBLEM_INFORMATION, Value::Byte(value)) => {
                connect.request_problem_information = value == 1;
            }
            (property::AUTHENTICATION_METHOD, Value::Text(value)) => {
                connect.authentication_method = Some(value.into());
            }
            (property::AUTHENTICATION_DATA, Value::Binary(value)) => {
                connect.authentication_data = Some(value.into());
            }
            (property::USER_PROPERTY, Value::Pair(name, value)) => {
                push(&mut connect.user_properties, name, value);
            }
            _ => {}
        }
    }
    if connect.authentication_data.is_some() && connect.authentication_method.is_none() {
        let detail = "Authentication Data without a method";
        return Err(Violation::protocol("MQTT 5 §3.1.2.11.10", detail));
    }
    Ok(())
}

pub(super) fn push(list: &mut UserProperties, name: &str, value: &str) {
    list.push((name.into(), value.into()));
}

fn will(version: Version, flags: u8, reader: &mut Reader<'_>) -> Result<Will, Violation> {
    let mut delay_interval_s = 0;
    let mut message_expiry_s = None;
    let mut kept = Vec::new();
    if version == Version::V5 {
        let mut properties = Properties::read(reader, Place::Will)?;
        loop {
            let before = properties.raw();
            let Some((identifier, value)) = properties.next()? else { break };
            let length = before.len() - properties.raw().len();
            match (identifier, value) {
                (property::WILL_DELAY_INTERVAL, Value::Four(value)) => delay_interval_s = value,
                (property::MESSAGE_EXPIRY_INTERVAL, Value::Four(value)) => {
                    message_expiry_s = Some(value);
                }
                _ => kept.extend_from_slice(before.get(..length).unwrap_or_default()),
            }
        }
    }
    let topic = reader.string()?; // [MQTT-3.1.3-11]
    let payload = reader.binary()?;
    Ok(Will {
        topic: topic.as_bytes().into(),
        payload: payload.into(),
        qos: (flags & WILL_QOS) >> 3,
        retain: flags & WILL_RETAIN != 0,
        delay_interval_s,
        message_expiry_s,
        properties: kept.into(),
    })
}
