//! Properties: which there are, what type they have, in which packets (MQTT 5 §2.2.2).

use super::reader::Reader;
use crate::violation::Violation;

/// Packets as property tables know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Place {
    Connect = 1,
    Will = 2,
    Publish = 4,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Acknowledgement = 8,
    Subscribe = 16,
    Unsubscribe = 32,
    Disconnect = 64,
    Auth = 128,
}

/// A property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Byte(u8),
    Two(u16),
    Four(u32),
    Variable(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

pub(super) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
pub(super) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
pub(super) const CONTENT_TYPE: u8 = 0x03;
pub(super) const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const CORRELATION_DATA: u8 = 0x09;
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(super) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
pub(super) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(super) const AUTHENTICATION_METHOD: u8 = 0x15;
pub(super) const AUTHENTICATION_DATA: u8 = 0x16;
pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(super) const WILL_DELAY_INTERVAL: u8 = 0x18;
pub(super) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(super) const RESPONSE_INFORMATION: u8 = 0x1A;
pub(super) const SERVER_REFERENCE: u8 = 0x1C;
pub(super) const REASON_STRING: u8 = 0x1F;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const MAXIMUM_QOS: u8 = 0x24;
pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
pub(super) const USER_PROPERTY: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// The packets of clients that may carry a property, as a sum of `Place`s.
const fn places(identifier: u8) -> u16 {
    use Place::{
        Acknowledgement, Auth, Connect, Disconnect, Publish, Subscribe, Unsubscribe, Will,
    };
    match identifier {
        PAYLOAD_FORMAT_INDICATOR
        | MESSAGE_EXPIRY_INTERVAL
        | CONTENT_TYPE
        | RESPONSE_TOPIC
        | CORRELATION_DATA => Publish as u16 | Will as u16,
        SUBSCRIPTION_IDENTIFIER => Publish as u16 | Subscribe as u16,
        SESSION_EXPIRY_INTERVAL => Connect as u16 | Disconnect as u16,
        AUTHENTICATION_METHOD | AUTHENTICATION_DATA => Connect as u16 | Auth as u16,
        REQUEST_PROBLEM_INFORMATION
        | REQUEST_RESPONSE_INFORMATION
        | RECEIVE_MAXIMUM
        | TOPIC_ALIAS_MAXIMUM
        | MAXIMUM_PACKET_SIZE => Connect as u16,
        WILL_DELAY_INTERVAL => Will as u16,
        REASON_STRING => Acknowledgement as u16 | Disconnect as u16 | Auth as u16,
        TOPIC_ALIAS => Publish as u16,
        USER_PROPERTY => {
            Connect as u16
                | Will as u16
                | Publish as u16
                | Acknowledgement as u16
                | Subscribe as u16
                | Unsubscribe as u16
                | Disconnect as u16
                | Auth as u16
        }
        _ => 0,
    }
}

/// Reads the properties of one packet: each allowed there, and once.
#[derive(Debug)]
pub(super) struct Properties<'a> {
    reader: Reader<'a>,
    place: Place,
    /// A bit for each identifier seen; all are below 64.
    seen: u64,
}

impl<'a> Properties<'a> {
    /// Takes the section out of `body`, its length first.
    #[inline]
    pub fn read(body: &mut Reader<'a>, place: Place) -> Result<Self, Violation> {
        let length = body.variable()?;
        let reader = Reader::new(body.bytes(length as usize)?);
        Ok(Self { reader, place, seen: 0 })
    }

    /// A section whose length is known: `raw` is all of it.
    pub fn whole(raw: &'a [u8], place: Place) -> Self {
        Self { reader: Reader::new(raw), place, seen: 0 }
    }

    /// What is left of the section.
    pub fn raw(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The next property.
    pub fn next(&mut self) -> Result<Option<(u8, Value<'a>)>, Violation> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let identifier = self.reader.variable()?;
        let identifier = u8::try_from(identifier).unwrap_or(u8::MAX);
        if places(identifier) & self.place as u16 == 0 {
            return Err(if is_known(identifier) {
                Violation::protocol("MQTT 5 §2.2.2.2", "a property that this packet cannot have")
            } else {
                Violation::malformed("MQTT 5 §2.2.2.2", "an unknown property")
            });
        }
        let bit = 1 << (identifier & 63);
        if identifier != USER_PROPERTY && self.seen & bit != 0 {
            return Err(Violation::protocol("MQTT 5 §2.2.2.2", "a property that stands twice"));
        }
        self.seen |= bit;
        let value = read_value(identifier, &mut self.reader)?;
        check_value(identifier, value)?;
        Ok(Some((identifier, value)))
    }
}

/// Properties that only a server sends are known, and wrong in a client's packet.
fn is_known(identifier: u8) -> bool {
    places(identifier) != 0
        || matches!(
            identifier,
            ASSIGNED_CLIENT_IDENTIFIER
                | SERVER_KEEP_ALIVE
                | RESPONSE_INFORMATION
                | SERVER_REFERENCE
                | MAXIMUM_QOS
                | RETAIN_AVAILABLE
                | 0x28..=0x2A
        )
}

fn read_value<'a>(identifier: u8, reader: &mut Reader<'a>) -> Result<Value<'a>, Violation> {
    Ok(match identifier {
        PAYLOAD_FORMAT_INDICATOR | REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION => {
            Value::Byte(reader.byte()?)
        }
        RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => Value::Two(reader.u16()?),
        MESSAGE_EXPIRY_INTERVAL
        | SESSION_EXPIRY_INTERVAL
        | WILL_DELAY_INTERVAL
        | MAXIMUM_PACKET_SIZE => Value::Four(reader.u32()?),
        SUBSCRIPTION_IDENTIFIER => Value::Variable(reader.variable()?),
        CORRELATION_DATA | AUTHENTICATION_DATA => Value::Binary(reader.binary()?),
        USER_PROPERTY => Value::Pair(reader.string()?, reader.string()?),
        _ => Value::Text(reader.string()?),
    })
}

/// Values that the standard names as protocol errors.
fn check_value(identifier: u8, value: Value<'_>) -> Result<(), Violation> {
    let (wrong, statement, detail) = match (identifier, value) {
        (
            PAYLOAD_FORMAT_INDICATOR | REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION,
            Value::Byte(byte),
        ) => (byte > 1, "MQTT 5 §2.2.2.2", "a property that is 0 or 1 is neither"),
        (RECEIVE_MAXIMUM, Value::Two(0)) => (true, "MQTT 5 §3.1.2.11.3", "Receive Maximum is 0"),
        (MAXIMUM_PACKET_SIZE, Value::Four(0)) => {
            (true, "MQTT 5 §3.1.2.11.4", "Maximum Packet Size is 0")
        }
        (SUBSCRIPTION_IDENTIFIER, Value::Variable(0)) => {
            (true, "MQTT 5 §3.8.2.1.2", "Subscription Identifier is 0")
        }
        (RESPONSE_TOPIC, Value::Text(topic)) => {
            (topic.contains(['+', '#']), "MQTT-3.3.2-14", "the Response Topic holds a wildcard")
        }
        _ => (false, "", ""),
    };
    if wrong { Err(Violation::protocol(statement, detail)) } else { Ok(()) }
}
