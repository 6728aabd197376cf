//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5 §3.8, §3.10).

use super::ZERO_PACKET_ID;
use super::connect::push;
use crate::codec::packet::{Subscribe, SubscriptionRequest, Unsubscribe, Version};
use crate::codec::property::{self, Place, Properties, Value};
use crate::codec::reader::Reader;
use crate::violation::Violation;

pub(super) fn subscribe(version: Version, body: &[u8]) -> Result<Subscribe, Violation> {
    let mut reader = Reader::new(body);
    let packet_id = packet_id(&mut reader)?;
    let mut subscription_identifier = None;
    let mut user_properties = Vec::new();
    if version == Version::V5 {
        let mut properties = Properties::read(&mut reader, Place::Subscribe)?;
        while let Some((identifier, value)) = properties.next()? {
            match (identifier, value) {
                (property::SUBSCRIPTION_IDENTIFIER, Value::Variable(value)) => {
                    subscription_identifier = Some(value);
                }
                (property::USER_PROPERTY, Value::Pair(name, value)) => {
                    push(&mut user_properties, name, value);
                }
                _ => {}
            }
        }
    }
    let mut requests = Vec::new();
    while !reader.is_empty() {
        requests.push(request(version, &mut reader)?);
    }
    if requests.is_empty() {
        let detail = "a SUBSCRIBE without a Topic Filter";
        return Err(Violation::protocol("MQTT-3.8.3-2", detail)); // [MQTT-3.8.3-2]
    }
    Ok(Subscribe { packet_id, subscription_identifier, user_properties, requests })
}

fn request(version: Version, reader: &mut Reader<'_>) -> Result<SubscriptionRequest, Violation> {
    let filter = reader.string()?; // [MQTT-3.8.3-1]
    let options = reader.byte()?;
    let qos = options & 3;
    let (reserved, statement) = match version {
        Version::V5 => (0xC0, "MQTT-3.8.3-5"),
        _ => (0xFC, "MQTT3-3-8.3-4"),
    };
    if options & reserved != 0 {
        let detail = "reserved Subscription Options are set";
        return Err(Violation::malformed(statement, detail)); // [MQTT-3.8.3-5]
    }
    if qos == 3 {
        let detail = "the QoS asked for is 3";
        return Err(match version {
            Version::V5 => Violation::protocol("MQTT 5 §3.8.3.1", detail),
            _ => Violation::malformed(statement, detail),
        });
    }
    let no_local = options & 4 != 0;
    if no_local && (filter == "$share" || filter.starts_with("$share/")) {
        let detail = "No Local on a shared subscription";
        return Err(Violation::protocol("MQTT-3.8.3-4", detail)); // [MQTT-3.8.3-4]
    }
    let retain_handling = options >> 4 & 3;
    if retain_handling == 3 {
        return Err(Violation::protocol("MQTT 5 §3.8.3.1", "Retain Handling is 3"));
    }
    Ok(SubscriptionRequest {
        filter: filter.into(),
        qos,
        no_local,
        retain_as_published: options & 8 != 0,
        retain_handling,
    })
}

pub(super) fn unsubscribe(version: Version, body: &[u8]) -> Result<Unsubscribe, Violation> {
    let mut reader = Reader::new(body);
    let packet_id = packet_id(&mut reader)?;
    if version == Version::V5 {
        Properties::read(&mut reader, Place::Unsubscribe)?.check()?;
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(reader.string()?.into()); // [MQTT-3.10.3-1]
    }
    if filters.is_empty() {
        let detail = "an UNSUBSCRIBE without a Topic Filter";
        return Err(Violation::protocol("MQTT-3.10.3-2", detail)); // [MQTT-3.10.3-2]
    }
    Ok(Unsubscribe { packet_id, filters })
}

fn packet_id(reader: &mut Reader<'_>) -> Result<u16, Violation> {
    match reader.u16()? {
        0 => Err(ZERO_PACKET_ID), // [MQTT-2.2.1-3]
        packet_id => Ok(packet_id),
    }
}
