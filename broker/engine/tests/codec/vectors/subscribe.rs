//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (MQTT 5 §3.8 to §3.11).

use engine::codec::encode;
use engine::codec::packet::{Filters, Packet, Requests, Subscribe, Unsubscribe, Version};
use engine::reason::ReasonCode;

use crate::vector::{Vector, part};

/// The payload of a SUBSCRIBE: each filter with its options.
fn subscribe(packet_id: u16, requests: &[(&str, u8)]) -> Subscribe<'static> {
    let mut payload = Vec::new();
    for (filter, options) in requests {
        put(&mut payload, filter);
        payload.push(*options);
    }
    let requests = Requests(payload.leak());
    Subscribe { packet_id, subscription_identifier: None, requests }
}

fn unsubscribe(packet_id: u16, filters: &[&str]) -> Packet<'static> {
    let mut payload = Vec::new();
    for filter in filters {
        put(&mut payload, filter);
    }
    Packet::Unsubscribe(Unsubscribe { packet_id, filters: Filters(payload.leak()) })
}

fn put(payload: &mut Vec<u8>, filter: &str) {
    payload.extend_from_slice(&u16::try_from(filter.len()).unwrap().to_be_bytes());
    payload.extend_from_slice(filter.as_bytes());
}

pub fn vectors() -> Vec<Vector> {
    let mut vectors = subscribe_below_5();
    vectors.extend(subscribe_5());
    vectors.extend(suback());
    vectors.extend(unsubscribes());
    vectors.extend(unsuback());
    vectors
}

fn subscribe_below_5() -> Vec<Vector> {
    vec![
        Vector::client(
            "subscribe-31-dup",
            Version::V3_1,
            &[
                part(b"\x8A", "SUBSCRIBE, DUP: sent again"),
                part(b"\x06", "Remaining Length"),
                part(b"\x00\x01", "Packet Identifier"),
                part(b"\x00\x01#", "Topic Filter"),
                part(b"\x02", "Requested QoS"),
            ],
            Packet::Subscribe(subscribe(1, &[("#", 2)])),
        ),
        Vector::client(
            "subscribe-311",
            Version::V3_1_1,
            &[
                part(b"\x82", "SUBSCRIBE"),
                part(b"\x0C", "Remaining Length"),
                part(b"\x00\x0A", "Packet Identifier"),
                part(b"\x00\x03a/b", "Topic Filter"),
                part(b"\x01", "Requested QoS").may_end(),
                part(b"\x00\x01+", "Topic Filter"),
                part(b"\x00", "Requested QoS"),
            ],
            Packet::Subscribe(subscribe(10, &[("a/b", 1), ("+", 0)])),
        ),
    ]
}

fn subscribe_5() -> Vec<Vector> {
    vec![
        Vector::client(
            "subscribe-5",
            Version::V5,
            &[
                part(b"\x82", "SUBSCRIBE"),
                part(b"\x07", "Remaining Length"),
                part(b"\x00\x01", "Packet Identifier"),
                part(b"\x00", "Property Length"),
                part(b"\x00\x01t", "Topic Filter"),
                part(b"\x00", "Subscription Options"),
            ],
            Packet::Subscribe(subscribe(1, &[("t", 0)])),
        ),
        Vector::client(
            "subscribe-5-everything",
            Version::V5,
            &[
                part(b"\x82", "SUBSCRIBE"),
                part(b"\x22", "Remaining Length"),
                part(b"\xFF\xFF", "Packet Identifier"),
                part(b"\x0C", "Property Length"),
                part(b"\x0B\xFF\xFF\xFF\x7F", "Subscription Identifier: the largest"),
                part(b"\x26\x00\x01k\x00\x01v", "User Property"),
                part(b"\x00\x03a/#", "Topic Filter"),
                part(b"\x2D", "Subscription Options: Retain Handling 2, both flags, QoS 1")
                    .may_end(),
                part(b"\x00\x0A$share/g/+", "Topic Filter: shared"),
                part(b"\x12", "Subscription Options: Retain Handling 1, QoS 2"),
            ],
            Packet::Subscribe(Subscribe {
                subscription_identifier: Some(268_435_455),
                ..subscribe(65_535, &[("a/#", 0x2D), ("$share/g/+", 0x12)])
            }),
        ),
    ]
}

const GRANTED_AND_NOT: [ReasonCode; 3] =
    [ReasonCode::GRANTED_QOS_2, ReasonCode::SUCCESS, ReasonCode::QUOTA_EXCEEDED];

fn suback() -> Vec<Vector> {
    let old = [("suback-31", Version::V3_1), ("suback-311", Version::V3_1_1)];
    let mut vectors = Vec::from(old.map(|(name, version)| {
        Vector::server(
            name,
            version,
            &[
                part(b"\x90", "SUBACK"),
                part(b"\x05", "Remaining Length"),
                part(b"\x00\x0A", "Packet Identifier"),
                part(b"\x02\x00\x80", "return codes: QoS 2, QoS 0, failure"),
            ],
            |out| encode::suback(out, version, 10, &GRANTED_AND_NOT, Some("left out")),
        )
    }));
    vectors.push(Vector::server(
        "suback-5",
        Version::V5,
        &[
            part(b"\x90", "SUBACK"),
            part(b"\x0B", "Remaining Length"),
            part(b"\x00\x0A", "Packet Identifier"),
            part(b"\x05", "Property Length"),
            part(b"\x1F\x00\x02no", "Reason String"),
            part(b"\x02\x00\x97", "Reason Codes: QoS 2, QoS 0, Quota exceeded"),
        ],
        |out| encode::suback(out, Version::V5, 10, &GRANTED_AND_NOT, Some("no")),
    ));
    vectors
}

fn unsubscribes() -> Vec<Vector> {
    vec![
        Vector::client(
            "unsubscribe-31-dup",
            Version::V3_1,
            &[
                part(b"\xAA", "UNSUBSCRIBE, DUP: sent again"),
                part(b"\x05", "Remaining Length"),
                part(b"\x00\x01", "Packet Identifier"),
                part(b"\x00\x01#", "Topic Filter"),
            ],
            unsubscribe(1, &["#"]),
        ),
        Vector::client(
            "unsubscribe-311",
            Version::V3_1_1,
            &[
                part(b"\xA2", "UNSUBSCRIBE"),
                part(b"\x08", "Remaining Length"),
                part(b"\x00\x01", "Packet Identifier"),
                part(b"\x00\x01a", "Topic Filter").may_end(),
                part(b"\x00\x01b", "Topic Filter"),
            ],
            unsubscribe(1, &["a", "b"]),
        ),
        Vector::client(
            "unsubscribe-5",
            Version::V5,
            &[
                part(b"\xA2", "UNSUBSCRIBE"),
                part(b"\x10", "Remaining Length"),
                part(b"\x00\x01", "Packet Identifier"),
                part(b"\x07", "Property Length"),
                part(b"\x26\x00\x01k\x00\x01v", "User Property"),
                part(b"\x00\x01a", "Topic Filter").may_end(),
                part(b"\x00\x01+", "Topic Filter"),
            ],
            unsubscribe(1, &["a", "+"]),
        ),
    ]
}

fn unsuback() -> Vec<Vector> {
    let reasons = [ReasonCode::SUCCESS, ReasonCode::NO_SUBSCRIPTION_EXISTED];
    let old = [("unsuback-31", Version::V3_1), ("unsuback-311", Version::V3_1_1)];
    let mut vectors = Vec::from(old.map(|(name, version)| {
        Vector::server(
            name,
            version,
            &[
                part(b"\xB0", "UNSUBACK"),
                part(b"\x02", "Remaining Length"),
                part(b"\x00\x0A", "Packet Identifier"),
            ],
            |out| encode::unsuback(out, version, 10, &reasons, Some("left out")),
        )
    }));
    vectors.push(Vector::server(
        "unsuback-5",
        Version::V5,
        &[
            part(b"\xB0", "UNSUBACK"),
            part(b"\x0A", "Remaining Length"),
            part(b"\x00\x0A", "Packet Identifier"),
            part(b"\x05", "Property Length"),
            part(b"\x1F\x00\x02no", "Reason String"),
            part(b"\x00\x11", "Reason Codes: Success, No subscription existed"),
        ],
        |out| encode::unsuback(out, Version::V5, 10, &reasons, Some("no")),
    ));
    vectors
}
