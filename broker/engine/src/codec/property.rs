//! Properties: which there are, what type they have, in which packets (MQTT 5 §2.2.2).

use super::reader::Reader;
use crate::reason::ReasonCode;
use crate::topic::check_topic_name;
use crate::violation::Violation;

/// Packets of clients as the table of properties knows them: bits of a set.
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

/// A property's data type, and what its value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Byte: 0 or 1.
    Flag,
    /// Two Byte Integer.
    Two,
    /// Two Byte Integer, not 0.
    TwoPositive,
    /// Two Byte Integer, not 0: with a Reason Code of its own.
    Alias,
    /// Four Byte Integer.
    Four,
    /// Four Byte Integer, not 0.
    FourPositive,
    /// Variable Byte Integer, not 0.
    Identifier,
    /// UTF-8 Encoded String.
    Text,
    /// UTF-8 Encoded String that is a Topic Name.
    TopicName,
    /// Binary Data.
    Binary,
    /// UTF-8 String Pair; the one property that may stand more than once.
    Pair,
}

/// What the standard says about a property.
#[derive(Debug, Clone, Copy)]
struct Rule {
    kind: Kind,
    /// A sum of `Place`s.
    places: u16,
    /// Where its value and its number are ruled.
    section: &'static str,
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

const CONNECT: u16 = Place::Connect as u16;
const MESSAGE: u16 = Place::Publish as u16 | Place::Will as u16;
const EVERYWHERE: u16 = 0xFF;
const ANSWERS: u16 = Place::Acknowledgement as u16 | Place::Disconnect as u16 | Place::Auth as u16;

/// The table of properties that a client may send (MQTT 5 §2.2.2.2).
#[inline]
const fn rule(identifier: u8) -> Option<Rule> {
    let (kind, places, section) = match identifier {
        PAYLOAD_FORMAT_INDICATOR => (Kind::Flag, MESSAGE, "MQTT 5 §3.3.2.3.2"),
        MESSAGE_EXPIRY_INTERVAL => (Kind::Four, MESSAGE, "MQTT 5 §3.3.2.3.3"),
        CONTENT_TYPE => (Kind::Text, MESSAGE, "MQTT 5 §3.3.2.3.9"),
        RESPONSE_TOPIC => (Kind::TopicName, MESSAGE, "MQTT 5 §3.3.2.3.5"),
        CORRELATION_DATA => (Kind::Binary, MESSAGE, "MQTT 5 §3.3.2.3.6"),
        SUBSCRIPTION_IDENTIFIER => {
            let places = Place::Publish as u16 | Place::Subscribe as u16;
            (Kind::Identifier, places, "MQTT 5 §3.8.2.1.2")
        }
        SESSION_EXPIRY_INTERVAL => {
            (Kind::Four, CONNECT | Place::Disconnect as u16, "MQTT 5 §3.1.2.11.2")
        }
        AUTHENTICATION_METHOD => (Kind::Text, CONNECT | Place::Auth as u16, "MQTT 5 §3.1.2.11.9"),
        AUTHENTICATION_DATA => (Kind::Binary, CONNECT | Place::Auth as u16, "MQTT 5 §3.1.2.11.10"),
        REQUEST_PROBLEM_INFORMATION => (Kind::Flag, CONNECT, "MQTT 5 §3.1.2.11.7"),
        WILL_DELAY_INTERVAL => (Kind::Four, Place::Will as u16, "MQTT 5 §3.1.3.2.2"),
        REQUEST_RESPONSE_INFORMATION => (Kind::Flag, CONNECT, "MQTT 5 §3.1.2.11.6"),
        SERVER_REFERENCE => (Kind::Text, Place::Disconnect as u16, "MQTT 5 §3.14.2.2.5"),
        REASON_STRING => (Kind::Text, ANSWERS, "MQTT 5 §3.4.2.2.2"),
        RECEIVE_MAXIMUM => (Kind::TwoPositive, CONNECT, "MQTT 5 §3.1.2.11.3"),
        TOPIC_ALIAS_MAXIMUM => (Kind::Two, CONNECT, "MQTT 5 §3.1.2.11.5"),
        TOPIC_ALIAS => (Kind::Alias, Place::Publish as u16, "MQTT 5 §3.3.2.3.4"),
        USER_PROPERTY => (Kind::Pair, EVERYWHERE, "MQTT 5 §2.2.2.2"),
        MAXIMUM_PACKET_SIZE => (Kind::FourPositive, CONNECT, "MQTT 5 §3.1.2.11.4"),
        _ => return None,
    };
    Some(Rule { kind, places, section })
}

const NOT_HERE: Violation =
    Violation::malformed("MQTT 5 §2.2.2.2", "a property that this packet cannot have");
const ALIAS_0: Violation = Violation {
    reason: ReasonCode::TOPIC_ALIAS_INVALID, // MQTT 5 §3.3.4
    statement: "MQTT-3.3.2-8",
    detail: "the Topic Alias is 0",
};

/// Reads the properties of one packet: each allowed there, once, and with a value it may have.
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
        let length = body.variable()?; // [MQTT-2.2.2-1]
        Ok(Self::whole(body.bytes(length as usize)?, place))
    }

    /// A section whose length is known: `raw` is all of it.
    #[inline]
    pub fn whole(raw: &'a [u8], place: Place) -> Self {
        Self { reader: Reader::new(raw), place, seen: 0 }
    }

    /// What is left of the section.
    #[inline]
    pub fn raw(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The next property.
    pub fn next(&mut self) -> Result<Option<(u8, Value<'a>)>, Violation> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        // The identifier is a Variable Byte Integer; all there are fit its first byte.
        let identifier = u8::try_from(self.reader.variable()?).map_err(|_| NOT_HERE)?;
        let rule = rule(identifier).ok_or(NOT_HERE)?;
        if rule.places & self.place as u16 == 0 {
            return Err(NOT_HERE);
        }
        let bit = 1 << (identifier & 63);
        if self.seen & bit != 0 && rule.kind != Kind::Pair {
            return Err(Violation::protocol(rule.section, "a property that stands twice"));
        }
        self.seen |= bit;
        Ok(Some((identifier, read_value(rule, &mut self.reader)?)))
    }

    /// Checks all that are left.
    pub fn check(mut self) -> Result<(), Violation> {
        while self.next()?.is_some() {}
        Ok(())
    }
}

#[inline]
fn read_value<'a>(rule: Rule, reader: &mut Reader<'a>) -> Result<Value<'a>, Violation> {
    let zero = || Violation::protocol(rule.section, "a property that is 0 and must not be");
    let value = match rule.kind {
        Kind::Flag => match reader.byte()? {
            value @ 0..=1 => Value::Byte(value),
            _ => return Err(Violation::protocol(rule.section, "a property is neither 0 nor 1")),
        },
        Kind::Two => Value::Two(reader.u16()?),
        Kind::TwoPositive => match reader.u16()? {
            0 => return Err(zero()),
            value => Value::Two(value),
        },
        Kind::Alias => match reader.u16()? {
            0 => return Err(ALIAS_0), // [MQTT-3.3.2-8]
            value => Value::Two(value),
        },
        Kind::Four => Value::Four(reader.u32()?),
        Kind::FourPositive => match reader.u32()? {
            0 => return Err(zero()),
            value => Value::Four(value),
        },
        Kind::Identifier => match reader.variable()? {
            0 => return Err(zero()),
            value => Value::Variable(value),
        },
        Kind::Text => Value::Text(reader.string()?),
        Kind::TopicName => {
            let topic = reader.string()?; // [MQTT-3.3.2-13]
            if check_topic_name(topic.as_bytes()).is_err() {
                let detail = "the Response Topic is not a Topic Name";
                return Err(Violation::protocol("MQTT-3.3.2-14", detail)); // [MQTT-3.3.2-14]
            }
            Value::Text(topic)
        }
        Kind::Binary => Value::Binary(reader.binary()?),
        Kind::Pair => Value::Pair(reader.string()?, reader.string()?), // [MQTT-1.5.7-1]
    };
    Ok(value)
}
