//! PUBLISH (MQTT 5 §3.3, MQTT 3.1.1 §3.3).

use engine::codec::encode;
use engine::codec::packet::{Packet, Publish, PublishOut, PublishProperties, Version};

use crate::vector::{Vector, part};

/// A PUBLISH at QoS 0 that a client may send.
fn plain(topic: &'static [u8], payload: &'static [u8]) -> Publish<'static> {
    Publish {
        dup: false,
        qos: 0,
        retain: false,
        topic,
        packet_id: 0,
        properties: PublishProperties { verbatim: true, ..PublishProperties::default() },
        payload,
    }
}

/// What is sent on of it, if it is sent on as it came.
fn same(publish: &Publish<'static>) -> PublishOut<'static> {
    PublishOut {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        properties: publish.properties.raw,
        payload: publish.payload,
        ..PublishOut::default()
    }
}

/// A row whose bytes both sides write.
fn row(
    name: &'static str,
    version: Version,
    parts: &[crate::vector::Part],
    publish: Publish<'static>,
) -> Vector {
    let out = same(&publish);
    Vector::both(name, version, parts, Packet::Publish(publish), |bytes| {
        encode::publish(bytes, version, &out);
    })
}

pub fn vectors() -> Vec<Vector> {
    let mut vectors = below_5();
    vectors.extend(version_5());
    vectors.extend([everything(), alias_alone(), from_a_server()]);
    vectors
}

fn below_5() -> Vec<Vector> {
    vec![
        row(
            "publish-31-dup-at-qos-0",
            Version::V3_1,
            &[
                part(b"\x38", "PUBLISH, DUP: 3.1 does not forbid it at QoS 0"),
                part(b"\x04", "Remaining Length"),
                part(b"\x00\x01t", "Topic Name").may_end(),
                part(b"x", "payload"),
            ],
            Publish { dup: true, ..plain(b"t", b"x") },
        ),
        row(
            "publish-311",
            Version::V3_1_1,
            &[
                part(b"\x30", "PUBLISH"),
                part(b"\x09", "Remaining Length"),
                part(b"\x00\x04a//b", "Topic Name with an empty level").may_end(),
                part(b"\x00\xFF\x80", "payload").may_end_anywhere(),
            ],
            plain(b"a//b", b"\x00\xFF\x80"),
        ),
        row(
            "publish-311-qos-1-dup-retain",
            Version::V3_1_1,
            &[
                part(b"\x3B", "PUBLISH, DUP, QoS 1, RETAIN"),
                part(b"\x06", "Remaining Length"),
                part(b"\x00\x02t2", "Topic Name"),
                part(b"\xFF\xFF", "Packet Identifier"),
            ],
            Publish { dup: true, qos: 1, retain: true, packet_id: 65_535, ..plain(b"t2", b"") },
        ),
    ]
}

fn version_5() -> Vec<Vector> {
    const LONG: &[u8] = &[b'x'; 130];
    vec![
        row(
            "publish-5",
            Version::V5,
            &[
                part(b"\x30", "PUBLISH"),
                part(b"\x06", "Remaining Length"),
                part(b"\x00\x01t", "Topic Name"),
                part(b"\x00", "Property Length").may_end(),
                part(b"hi", "payload").may_end_anywhere(),
            ],
            plain(b"t", b"hi"),
        ),
        row(
            "publish-5-qos-2",
            Version::V5,
            &[
                part(b"\x34", "PUBLISH, QoS 2"),
                part(b"\x93\x01", "Remaining Length: two bytes"),
                part(b"\x00\x0Cb\xC3\xBCro/\xE6\xB8\xA9\xE5\xBA\xA6", "Topic Name beyond ASCII"),
                part(b"\x00\x01", "Packet Identifier"),
                part(b"\x00", "Property Length").may_end(),
                part(LONG, "payload").may_end_anywhere(),
            ],
            Publish { qos: 2, packet_id: 1, ..plain("büro/温度".as_bytes(), LONG) },
        ),
        row(
            "publish-5-sent-on-as-it-is",
            Version::V5,
            &[
                part(b"\x31", "PUBLISH, RETAIN"),
                part(b"\x0E", "Remaining Length"),
                part(b"\x00\x02$x", "Topic Name"),
                part(b"\x09", "Property Length"),
                part(b"\x26\x00\x01a\x00\x01b", "User Property"),
                part(b"\x01\x00", "Payload Format Indicator: bytes"),
            ],
            Publish {
                retain: true,
                properties: PublishProperties {
                    raw: b"\x26\x00\x01a\x00\x01b\x01\x00",
                    verbatim: true,
                    ..PublishProperties::default()
                },
                ..plain(b"$x", b"")
            },
        ),
    ]
}

const FORWARDED: &[u8] =
    b"\x01\x01\x03\x00\x01c\x08\x00\x02r/\x09\x00\x02\x00\xFF&\x00\x01k\x00\x01v\
    &\x00\x00\x00\x00";

/// Each property that a client may send, in the order in which the broker writes them.
fn everything() -> Vector {
    let publish = Publish {
        dup: true,
        qos: 1,
        retain: true,
        topic: b"t",
        packet_id: 256,
        properties: PublishProperties {
            raw: b"\x02\x00\x00\x00\x3C\x23\x00\x07\x01\x01\x03\x00\x01c\x08\x00\x02r/\
                \x09\x00\x02\x00\xFF&\x00\x01k\x00\x01v&\x00\x00\x00\x00",
            verbatim: false,
            message_expiry_s: Some(60),
            topic_alias: Some(7),
            payload_is_utf8: true,
        },
        payload: b"!",
    };
    let out = PublishOut {
        message_expiry_s: Some(60),
        topic_alias: Some(7),
        properties: FORWARDED,
        ..same(&publish)
    };
    Vector::both(
        "publish-5-everything",
        Version::V5,
        &[
            part(b"\x3B", "PUBLISH, DUP, QoS 1, RETAIN"),
            part(b"\x2B", "Remaining Length"),
            part(b"\x00\x01t", "Topic Name"),
            part(b"\x01\x00", "Packet Identifier"),
            part(b"\x24", "Property Length"),
            part(b"\x02\x00\x00\x00\x3C", "Message Expiry Interval"),
            part(b"\x23\x00\x07", "Topic Alias"),
            part(b"\x01\x01", "Payload Format Indicator: UTF-8"),
            part(b"\x03\x00\x01c", "Content Type"),
            part(b"\x08\x00\x02r/", "Response Topic"),
            part(b"\x09\x00\x02\x00\xFF", "Correlation Data"),
            part(b"\x26\x00\x01k\x00\x01v", "User Property"),
            part(b"\x26\x00\x00\x00\x00", "User Property: empty").may_end(),
            part(b"!", "payload"),
        ],
        Packet::Publish(publish),
        |bytes| {
            encode::publish(bytes, Version::V5, &out);
        },
    )
}

/// The Topic Name is left out: its alias stands for it.
fn alias_alone() -> Vector {
    let publish = Publish {
        properties: PublishProperties {
            raw: b"\x23\xFF\xFF",
            verbatim: false,
            topic_alias: Some(65_535),
            ..PublishProperties::default()
        },
        ..plain(b"", b"x")
    };
    let out = PublishOut { topic_alias: Some(65_535), properties: &[], ..same(&publish) };
    Vector::both(
        "publish-5-alias-alone",
        Version::V5,
        &[
            part(b"\x30", "PUBLISH"),
            part(b"\x07", "Remaining Length"),
            part(b"\x00\x00", "Topic Name: empty"),
            part(b"\x03", "Property Length"),
            part(b"\x23\xFF\xFF", "Topic Alias").may_end(),
            part(b"x", "payload"),
        ],
        Packet::Publish(publish),
        |bytes| {
            encode::publish(bytes, Version::V5, &out);
        },
    )
}

/// With Subscription Identifiers, of one byte and of four.
fn from_a_server() -> Vector {
    Vector::server(
        "publish-5-subscription-identifiers",
        Version::V5,
        &[
            part(b"\x30", "PUBLISH"),
            part(b"\x0C", "Remaining Length"),
            part(b"\x00\x01t", "Topic Name"),
            part(b"\x07", "Property Length"),
            part(b"\x0B\x01", "Subscription Identifier"),
            part(b"\x0B\xFF\xFF\xFF\x7F", "Subscription Identifier: the largest"),
            part(b"x", "payload"),
        ],
        |bytes| {
            let out = PublishOut {
                topic: b"t",
                subscription_identifiers: &[1, 268_435_455],
                payload: b"x",
                ..PublishOut::default()
            };
            encode::publish(bytes, Version::V5, &out);
        },
    )
}
