//! PUBLISH: checked in place, nothing is allocated (MQTT 5 §3.3).

use super::ZERO_PACKET_ID;
use crate::codec::packet::{Publish, PublishProperties, Version};
use crate::codec::property::{self, Place, Properties, Value};
use crate::codec::reader::Reader;
use crate::violation::Violation;

const QOS_3: Violation = Violation::malformed("MQTT-3.3.1-4", "the QoS is 3");
const DUP_AT_QOS_0: Violation = Violation::malformed("MQTT-3.3.1-2", "DUP at QoS 0");
const EMPTY_TOPIC: Violation =
    Violation::protocol("MQTT-4.7.3-1", "the Topic Name is empty and no alias stands for it");

/// Decodes the body of a PUBLISH.
///
/// # Errors
/// It is malformed.
#[inline]
pub fn publish(version: Version, header: u8, body: &[u8]) -> Result<Publish<'_>, Violation> {
    let qos = header >> 1 & 3;
    let dup = header & 0x08 != 0;
    if qos == 3 {
        return Err(QOS_3); // [MQTT-3.3.1-4]
    }
    if dup && qos == 0 && version != Version::V3_1 {
        return Err(DUP_AT_QOS_0); // [MQTT-3.3.1-2]
    }
    let mut reader = Reader::new(body);
    let topic = reader.topic_name()?; // [MQTT-3.3.2-1] [MQTT-3.3.2-2]
    let packet_id = if qos > 0 { reader.u16()? } else { 0 };
    if qos > 0 && packet_id == 0 {
        return Err(ZERO_PACKET_ID); // [MQTT-2.2.1-3]
    }
    let mut properties = PublishProperties { verbatim: true, ..PublishProperties::default() };
    if version == Version::V5 {
        properties = read_properties(&mut reader)?;
    }
    if topic.is_empty() && properties.topic_alias.is_none() {
        return Err(EMPTY_TOPIC); // [MQTT-4.7.3-1]
    }
    let retain = header & 1 != 0;
    Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload: reader.rest() })
}

#[inline]
fn read_properties<'a>(reader: &mut Reader<'a>) -> Result<PublishProperties<'a>, Violation> {
    let mut section = Properties::read(reader, Place::Publish)?;
    let raw = section.raw();
    let mut properties = PublishProperties { raw, verbatim: true, ..PublishProperties::default() };
    if raw.is_empty() {
        return Ok(properties);
    }
    while let Some((identifier, value)) = section.next()? {
        match (identifier, value) {
            (property::MESSAGE_EXPIRY_INTERVAL, Value::Four(value)) => {
                properties.message_expiry_s = Some(value);
                properties.verbatim = false;
            }
            (property::TOPIC_ALIAS, Value::Two(value)) => {
                properties.topic_alias = Some(value);
                properties.verbatim = false;
            }
            (property::PAYLOAD_FORMAT_INDICATOR, Value::Byte(value)) => {
                properties.payload_is_utf8 = value == 1;
            }
            (property::SUBSCRIPTION_IDENTIFIER, _) => {
                let detail = "a client cannot send a Subscription Identifier";
                return Err(Violation::protocol("MQTT-3.3.4-6", detail)); // [MQTT-3.3.4-6]
            }
            _ => {}
        }
    }
    Ok(properties)
}

/// Appends the properties a PUBLISH is sent on with: all but Message Expiry Interval and Topic
/// Alias, in their order.
pub fn forwardable(properties: &PublishProperties<'_>, out: &mut Vec<u8>) {
    if properties.verbatim {
        out.extend_from_slice(properties.raw);
        return;
    }
    let mut section = Properties::whole(properties.raw, Place::Publish);
    loop {
        let before = section.raw();
        let Ok(Some((identifier, _))) = section.next() else { return };
        if !matches!(identifier, property::MESSAGE_EXPIRY_INTERVAL | property::TOPIC_ALIAS) {
            let length = before.len() - section.raw().len();
            out.extend_from_slice(before.get(..length).unwrap_or_default());
        }
    }
}
