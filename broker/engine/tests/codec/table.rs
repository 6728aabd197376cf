//! What the table says holds: decoding, encoding, truncation, and that nothing is missing in it.

use std::collections::BTreeSet;

use engine::codec::decode;
use engine::codec::encode;
use engine::codec::frame::{Framing, frame};
use engine::codec::packet::{Packet, PublishOut, Version};
use engine::reason::ReasonCode;

use crate::vectors::vectors;

const NO_LIMIT: u32 = u32::MAX;

/// [MQTT-1.5.5-1] [MQTT-2.1.3-1]: the first byte and the Remaining Length delimit each packet.
#[test]
fn every_packet_of_the_table_is_framed() {
    for vector in vectors() {
        let bytes = vector.bytes();
        let body = vector.body();

        let framing = frame(&bytes, NO_LIMIT).unwrap();

        let expected =
            Framing::Complete { header: vector.header(), body: &body, length: bytes.len() };
        assert_eq!(framing, expected, "{}", vector.describe());
    }
}

/// [MQTT-1.5.4-3] [MQTT-3.1.3-1] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1]
#[test]
fn every_packet_a_client_sends_is_decoded() {
    for vector in vectors() {
        let Some(expected) = &vector.decoded else { continue };

        let body = vector.body();
        let decoded = decode::decode(vector.version, vector.header(), &body);

        assert_eq!(decoded.as_ref(), Ok(expected), "{}", vector.describe());
    }
}

/// [MQTT-2.2.1-5] [MQTT-2.2.1-6] [MQTT-2.2.2-1] [MQTT-3.2.2-6] [MQTT-3.14.2-2]
#[test]
fn every_packet_the_broker_sends_is_encoded() {
    for vector in vectors() {
        let Some(encoded) = &vector.encoded else { continue };

        assert_eq!(
            encoded.escape_ascii().to_string(),
            vector.bytes().escape_ascii().to_string(),
            "{}",
            vector.describe()
        );
    }
}

/// MQTT 5 §2.1.2: packets that flow from the server alone are a Protocol Error from a client.
#[test]
fn packets_of_servers_are_refused() {
    for vector in vectors() {
        if !matches!(vector.packet_type(), 2 | 9 | 11 | 13) {
            continue;
        }

        let body = vector.body();
        let refused = decode::decode(vector.version, vector.header(), &body);

        let reason = refused.expect_err(&vector.describe()).reason;
        assert_eq!(reason, ReasonCode::PROTOCOL_ERROR, "{}", vector.describe());
    }
}

#[test]
fn every_prefix_of_a_packet_is_incomplete() {
    for vector in vectors() {
        let bytes = vector.bytes();
        let header = 1 + vector.parts[1].bytes.len();

        for length in 0..bytes.len() {
            let total = (length >= header).then_some(bytes.len());
            assert_eq!(
                frame(&bytes[..length], NO_LIMIT),
                Ok(Framing::Incomplete { total }),
                "{length} bytes of {}",
                vector.describe()
            );
        }
    }
}

/// A body that is cut short is a violation, but for the places the table names: there it is another
/// packet.
#[test]
fn every_truncated_body_is_refused() {
    for vector in vectors() {
        let Some(whole) = &vector.decoded else { continue };
        let body = vector.body();
        let ends = vector.ends();

        for length in 0..body.len() {
            let decoded = decode::decode(vector.version, vector.header(), &body[..length]);

            let at = format!("{length} bytes of the body of {}", vector.describe());
            match decoded {
                Ok(packet) => {
                    assert!(ends.contains(&length), "accepted {at}");
                    let is_payload = matches!(packet, Packet::Publish(_));
                    assert!(is_payload || packet != *whole || has_defaults(whole), "{at}");
                }
                Err(violation) => {
                    assert!(!ends.contains(&length), "{violation}: {at}");
                    let malformed = [ReasonCode::MALFORMED, ReasonCode::PROTOCOL_ERROR];
                    assert!(malformed.contains(&violation.reason), "{violation}: {at}");
                }
            }
        }
    }
}

/// Whether a packet says the same when its optional tail is left out.
fn has_defaults(packet: &Packet<'_>) -> bool {
    match packet {
        Packet::Acknowledgement(packet) => packet.reason == ReasonCode::SUCCESS,
        _ => false,
    }
}

/// [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
#[test]
fn no_first_byte_but_those_of_the_standard_is_framed() {
    for header in 0..=255_u8 {
        let (kind, flags) = (header >> 4, header & 0x0F);
        let allowed = match kind {
            0 => false,
            3 => flags & 0x06 != 0x06,
            // With DUP as 3.1 has it; `decode` refuses that in later versions.
            6 | 8 | 10 => flags & 0x07 == 0x02,
            _ => flags == 0,
        };

        for input in [&[header][..], &[header, 0]] {
            let framed = frame(input, NO_LIMIT);

            match framed {
                Ok(_) => assert!(allowed, "accepted {header:#04x}"),
                Err(violation) => {
                    assert!(!allowed, "refused {header:#04x}");
                    assert_eq!(violation.reason, ReasonCode::MALFORMED, "{header:#04x}");
                }
            }
        }
    }
}

/// [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT3-3.6.1-1] [MQTT3-3.8.1-1]
/// [MQTT3-3.10.1-1]: the flags a type has in one version are wrong in another.
#[test]
fn dup_is_part_of_other_packets_in_3_1_alone() {
    for vector in vectors() {
        if !matches!(vector.header(), 0x62 | 0x82 | 0xA2) || vector.version == Version::V3_1 {
            continue;
        }

        let (header, body) = (vector.header() | 0x08, vector.body());
        let refused = decode::decode(vector.version, header, &body);

        let reason = refused.expect_err(&vector.describe()).reason;
        assert_eq!(reason, ReasonCode::MALFORMED, "{}", vector.describe());
    }
}

/// The offset that a receiver's copy is patched at, the size without encoding, and the head that a
/// shared payload follows.
#[test]
fn a_publish_is_measured_and_split_as_it_is_written() {
    for vector in vectors() {
        let Some(Packet::Publish(publish)) = &vector.decoded else { continue };
        let mut properties = Vec::new();
        decode::forwardable(&publish.properties, &mut properties);
        let packet = PublishOut {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic,
            packet_id: publish.packet_id,
            message_expiry_s: publish.properties.message_expiry_s,
            topic_alias: publish.properties.topic_alias,
            properties: &properties,
            payload: publish.payload,
            ..PublishOut::default()
        };
        let before = b"bytes of another packet";
        let (mut whole, mut head) = (before.to_vec(), before.to_vec());

        let at = encode::publish(&mut whole, vector.version, &packet);
        let head_at = encode::publish_head(&mut head, vector.version, &packet);

        let whole = &whole[before.len()..];
        let text = vector.describe();
        assert_eq!(encode::publish_size(vector.version, &packet), whole.len(), "{text}");
        assert_eq!([&head[before.len()..], publish.payload].concat(), whole, "{text}");
        assert_eq!(at, head_at, "{text}");
        if publish.qos == 0 {
            assert_eq!(at, 0, "{text}");
        } else {
            assert_eq!(whole[at..at + 2], publish.packet_id.to_be_bytes(), "{text}");
        }
    }
}

/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
#[test]
fn alias_and_expiry_alone_are_not_sent_on() {
    let kept: [&[u8]; 4] = [b"\x01\x01", b"&\0\x01k\0\x01v", b"\x03\0\x01c", b"&\0\x01k\0\0"];
    let expiry: &[u8] = b"\x02\0\0\0\x3C";
    let alias: &[u8] = b"\x23\0\x01";
    let section = [kept[0], alias, kept[1], kept[2], expiry, kept[3]].concat();
    let length = u8::try_from(section.len()).unwrap();
    let body = [b"\0\x01t", &[length][..], &section, b"payload"].concat();

    let publish = decode::publish(Version::V5, 0x30, &body).unwrap();
    let mut forwarded = b"before ".to_vec();
    decode::forwardable(&publish.properties, &mut forwarded);

    assert!(!publish.properties.verbatim);
    assert_eq!(forwarded, [b"before ", kept.concat().as_slice()].concat());
}

/// The standard's table of properties (MQTT 5 §2.2.2.2): each with the packets it may be in.
const PROPERTIES: &[(u8, &str, &[u8])] = &[
    (0x01, "Payload Format Indicator", &[1, 3]),
    (0x02, "Message Expiry Interval", &[1, 3]),
    (0x03, "Content Type", &[1, 3]),
    (0x08, "Response Topic", &[1, 3]),
    (0x09, "Correlation Data", &[1, 3]),
    (0x0B, "Subscription Identifier", &[3, 8]),
    (0x11, "Session Expiry Interval", &[1, 2, 14]),
    (0x12, "Assigned Client Identifier", &[2]),
    (0x13, "Server Keep Alive", &[2]),
    (0x15, "Authentication Method", &[1, 2, 15]),
    (0x16, "Authentication Data", &[1, 2, 15]),
    (0x17, "Request Problem Information", &[1]),
    (0x18, "Will Delay Interval", &[1]),
    (0x19, "Request Response Information", &[1]),
    (0x1A, "Response Information", &[2]),
    (0x1C, "Server Reference", &[2, 14]),
    (0x1F, "Reason String", &[2, 4, 5, 6, 7, 9, 11, 14, 15]),
    (0x21, "Receive Maximum", &[1, 2]),
    (0x22, "Topic Alias Maximum", &[1, 2]),
    (0x23, "Topic Alias", &[3]),
    (0x24, "Maximum QoS", &[2]),
    (0x25, "Retain Available", &[2]),
    (0x26, "User Property of the will", &[1]),
    (0x26, "User Property", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15]),
    (0x27, "Maximum Packet Size", &[1, 2]),
    (0x28, "Wildcard Subscription Available", &[2]),
    (0x29, "Subscription Identifier Available", &[2]),
    (0x2A, "Shared Subscription Available", &[2]),
];

/// What the broker has no use for: it adds no User Properties of its own, and it has all three
/// kinds of subscriptions, which is what leaving these out says.
const NEVER_SENT: &[(u8, u8)] =
    &[(0x26, 2), (0x26, 9), (0x26, 11), (0x28, 2), (0x29, 2), (0x2A, 2)];

#[test]
fn the_table_has_every_property_in_every_packet_it_may_be_in() {
    let vectors = vectors();
    for (identifier, name, kinds) in PROPERTIES {
        for kind in *kinds {
            let present = vectors
                .iter()
                .filter(|vector| vector.packet_type() == *kind && vector.version == Version::V5)
                .flat_map(|vector| &vector.parts[2..])
                .any(|part| part.bytes[0] == *identifier && part.note.starts_with(name));

            let expected = !NEVER_SENT.contains(&(*identifier, *kind));
            assert_eq!(present, expected, "{name} in packet type {kind}");
        }
    }
}

#[test]
fn the_table_has_every_packet_type_in_every_version() {
    let present: BTreeSet<_> =
        vectors().iter().map(|vector| (vector.version, vector.packet_type())).collect();

    let mut expected = BTreeSet::new();
    for kind in 1..=15 {
        expected.insert((Version::V5, kind));
        if kind != 15 {
            expected.insert((Version::V3_1, kind));
            expected.insert((Version::V3_1_1, kind));
        }
    }
    assert_eq!(present, expected);
}

#[test]
fn the_rows_of_the_table_have_names_of_their_own() {
    let vectors = vectors();
    let names: BTreeSet<_> = vectors.iter().map(|vector| vector.name).collect();

    assert_eq!(names.len(), vectors.len());
}
