//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5 §3.8, §3.10).

use super::ZERO_PACKET_ID;
use crate::codec::packet::{Filters, Requests, Subscribe, Unsubscribe, Version};
use crate::codec::property::{self, Place, Properties, Value};
use crate::codec::reader::Reader;
use crate::violation::Violation;

pub(super) fn subscribe(version: Version, body: &[u8]) -> Result<Subscribe<'_>, Violation> {
    let mut reader = Reader::new(body);
    let packet_id = packet_id(&mut reader)?;
    let mut subscription_identifier = None;
    if version == Version::V5 {
        let mut properties = Properties::read(&mut reader, Place::Subscribe)?;
        while let Some((identifier, value)) = properties.next()? {
            if let (property::SUBSCRIPTION_IDENTIFIER, Value::Variable(value)) = (identifier, value)
            {
                subscription_identifier = Some(value);
            }
        }
    }
    let requests = Requests(reader.rest());
    while !reader.is_empty() {
        check_request(version, &mut reader)?;
    }
    if requests.0.is_empty() {
        let detail = "a SUBSCRIBE without a Topic Filter";
        return Err(Violation::protocol("MQTT-3.8.3-2", detail)); // [MQTT-3.8.3-2]
    }
    Ok(Subscribe { packet_id, subscription_identifier, requests })
}

fn check_request(version: Version, reader: &mut Reader<'_>) -> Result<(), Violation> {
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
    Ok(())
}

pub(super) fn unsubscribe(version: Version, body: &[u8]) -> Result<Unsubscribe<'_>, Violation> {
    let mut reader = Reader::new(body);
    let packet_id = packet_id(&mut reader)?;
    if version == Version::V5 {
        Properties::read(&mut reader, Place::Unsubscribe)?.check()?;
    }
    let filters = Filters(reader.rest());
    while !reader.is_empty() {
        reader.string()?; // [MQTT-3.10.3-1]
    }
    if filters.0.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::packet::SubscriptionRequest;

    #[test]
    fn requests_and_filters_are_read_one_by_one() {
        let body = b"\0\x01\0\0\x01a\x2D\0\x02b/\x12\0\0\x01";
        let packet = subscribe(Version::V5, body).unwrap();

        let request = |filter, qos, rest: (bool, bool, u8)| SubscriptionRequest {
            filter,
            qos,
            no_local: rest.0,
            retain_as_published: rest.1,
            retain_handling: rest.2,
        };
        let expected = [
            request("a", 1, (true, true, 2)),
            request("b/", 2, (false, false, 1)),
            request("", 1, (false, false, 0)),
        ];
        assert!(packet.requests.iter().eq(expected));

        let packet = unsubscribe(Version::V3_1_1, b"\0\x01\0\x01a\0\0\0\x02b/").unwrap();
        assert!(packet.filters.iter().eq(["a", "", "b/"]));
    }
}
