//! The packets as values: what `decode` gives and `encode` takes. No rules of sessions live here.

use super::reader::Reader;
use crate::reason::ReasonCode;

/// Which MQTT a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1, protocol level 3, name "MQIsdp".
    V3_1,
    /// MQTT 3.1.1, protocol level 4.
    V3_1_1,
    /// MQTT 5, protocol level 5.
    V5,
}

/// User Properties in the order in which they came (MQTT 5 §3.1.2.11.8 and others).
pub type UserProperties = Vec<(Box<str>, Box<str>)>;

/// A will as CONNECT carries it (MQTT 5 §3.1.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Topic Name.
    pub topic: Box<[u8]>,
    /// Will Payload.
    pub payload: Box<[u8]>,
    /// Will QoS: 0, 1 or 2.
    pub qos: u8,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds; 0 if absent.
    pub delay_interval_s: u32,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// The will's other properties, encoded as a PUBLISH carries them, in the order in which
    /// they came.
    pub properties: Box<[u8]>,
}

/// CONNECT (MQTT 5 §3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of the packet, each of its own")]
pub struct Connect {
    /// From Protocol Name and Protocol Version.
    pub version: Version,
    /// Clean Start, or Clean Session in 3.1 and 3.1.1.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive_s: u16,
    /// Client Identifier; may be empty.
    pub client_id: Box<str>,
    /// The Client Identifier was empty and is the server's choice; never set by `decode`.
    pub is_assigned: bool,
    /// The will, if the Will Flag is set.
    pub will: Option<Will>,
    /// User Name.
    pub username: Option<Box<str>>,
    /// Password: binary data.
    pub password: Option<Box<[u8]>>,
    /// Session Expiry Interval in seconds; absent is 0, 0xFFFFFFFF never expires.
    pub session_expiry_s: u32,
    /// Receive Maximum; absent is 65,535.
    pub receive_maximum: u16,
    /// Maximum Packet Size in bytes; absent is no limit.
    pub maximum_packet_size: Option<u32>,
    /// Topic Alias Maximum; absent is 0.
    pub topic_alias_maximum: u16,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information; absent is true.
    pub request_problem_information: bool,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Authentication Method.
    pub authentication_method: Option<Box<str>>,
    /// Authentication Data.
    pub authentication_data: Option<Box<[u8]>>,
}

/// PUBLISH, borrowed from the read buffer (MQTT 5 §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// DUP flag.
    pub dup: bool,
    /// QoS: 0, 1 or 2.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// Topic Name, checked to be UTF-8 without wildcards and NUL; empty only with a Topic Alias.
    pub topic: &'a [u8],
    /// Packet Identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// The properties.
    pub properties: PublishProperties<'a>,
    /// Application Message.
    pub payload: &'a [u8],
}

/// Properties of an inbound PUBLISH, checked (MQTT 5 §3.3.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishProperties<'a> {
    /// The whole property section, without its length.
    pub raw: &'a [u8],
    /// Whether `raw` holds nothing but what is forwarded as it stands: no alias and no expiry.
    pub verbatim: bool,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// Topic Alias: 1 to 65,535.
    pub topic_alias: Option<u16>,
    /// Payload Format Indicator is 1: the payload must be UTF-8 if it is to be checked.
    pub payload_is_utf8: bool,
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT 5 §3.4 to §3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which of the four.
    pub kind: AcknowledgementKind,
    /// Packet Identifier; never 0.
    pub packet_id: u16,
    /// Reason Code; 0x00 if left out.
    pub reason: ReasonCode,
}

/// The four packets that share one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcknowledgementKind {
    /// QoS 1 acknowledged.
    Puback,
    /// QoS 2 received.
    Pubrec,
    /// QoS 2 released.
    Pubrel,
    /// QoS 2 complete.
    Pubcomp,
}

/// One Topic Filter of a SUBSCRIBE with its options (MQTT 5 §3.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionRequest<'a> {
    /// Topic Filter; UTF-8, but not yet checked further.
    pub filter: &'a str,
    /// Requested QoS: 0, 1 or 2.
    pub qos: u8,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling: 0, 1 or 2.
    pub retain_handling: u8,
}

/// SUBSCRIBE (MQTT 5 §3.8). Its User Properties are checked and not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet Identifier.
    pub packet_id: u16,
    /// Subscription Identifier: 1 to 268,435,455.
    pub subscription_identifier: Option<u32>,
    /// At least one.
    pub requests: Requests<'a>,
}

/// The payload of a SUBSCRIBE: a packet holds millions of filters, so they are read one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests<'a>(pub &'a [u8]);

impl<'a> Requests<'a> {
    /// In order, until the end or what does not conform; the decoder has seen to it that all does.
    pub fn iter(self) -> impl Iterator<Item = SubscriptionRequest<'a>> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || {
            let filter = reader.string().ok()?;
            let options = reader.byte().ok()?;
            Some(SubscriptionRequest {
                filter,
                qos: options & 3,
                no_local: options & 4 != 0,
                retain_as_published: options & 8 != 0,
                retain_handling: options >> 4 & 3,
            })
        })
    }
}

/// UNSUBSCRIBE (MQTT 5 §3.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet Identifier.
    pub packet_id: u16,
    /// At least one Topic Filter.
    pub filters: Filters<'a>,
}

/// The payload of an UNSUBSCRIBE, read one by one as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters<'a>(pub &'a [u8]);

impl<'a> Filters<'a> {
    /// In order, until the end or what does not conform; the decoder has seen to it that all does.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || reader.string().ok())
    }
}

/// DISCONNECT from a client (MQTT 5 §3.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Reason Code; 0x00 if left out.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds, if it is to change.
    pub session_expiry_s: Option<u32>,
}

/// AUTH (MQTT 5 §3.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// 0x00, 0x18 or 0x19.
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: Option<Box<str>>,
    /// Authentication Data.
    pub data: Option<Box<[u8]>>,
}

/// Any packet that a client may send, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNECT.
    Connect(Box<Connect>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Acknowledgement(Acknowledgement),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// PINGREQ.
    Pingreq,
    /// DISCONNECT.
    Disconnect(Disconnect),
    /// AUTH.
    Auth(Auth),
}

/// CONNACK as the broker sends it; a `None` leaves the property out (MQTT 5 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connack {
    /// Session Present; never with an error.
    pub session_present: bool,
    /// Reason Code; in 3.1 and 3.1.1 mapped to the nearest return code.
    pub reason: u8,
    /// Session Expiry Interval in seconds, if the server uses another than asked.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum.
    pub receive_maximum: Option<u16>,
    /// Maximum QoS: 0 or 1.
    pub maximum_qos: Option<u8>,
    /// Retain Available, if not.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size in bytes.
    pub maximum_packet_size: Option<u32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<Box<str>>,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String.
    pub reason_string: Option<Box<str>>,
    /// Server Keep Alive in seconds.
    pub server_keep_alive_s: Option<u16>,
    /// Response Information.
    pub response_information: Option<Box<str>>,
    /// Server Reference.
    pub server_reference: Option<Box<str>>,
    /// Authentication Method.
    pub authentication_method: Option<Box<str>>,
    /// Authentication Data.
    pub authentication_data: Option<Box<[u8]>>,
}

/// PUBLISH as the broker sends it (MQTT 5 §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishOut<'a> {
    /// DUP flag.
    pub dup: bool,
    /// QoS: 0, 1 or 2.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// Topic Name; empty if the alias stands for it.
    pub topic: &'a [u8],
    /// Packet Identifier, written if QoS > 0.
    pub packet_id: u16,
    /// Message Expiry Interval left, in seconds.
    pub message_expiry_s: Option<u32>,
    /// Topic Alias.
    pub topic_alias: Option<u16>,
    /// Subscription Identifiers, each 1 to 268,435,455.
    pub subscription_identifiers: &'a [u32],
    /// Properties sent on as they came, encoded.
    pub properties: &'a [u8],
    /// Application Message.
    pub payload: &'a [u8],
}
