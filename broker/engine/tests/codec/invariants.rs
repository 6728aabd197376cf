//! What holds for any bytes: the fuzzers and the mutation test ask the same.

use engine::codec::frame::{Framing, frame};
use engine::codec::packet::{Acknowledgement, Packet, Publish, PublishOut, Version};
use engine::codec::{decode, encode};
use engine::topic::{check_topic_name, matches, parse_filter};
use engine::violation::Violation;

/// A limit that mutated lengths fall on both sides of.
const MAXIMUM_PACKET_SIZE: u32 = 4_096;

/// The first byte picks a version, the rest are packets one after the other.
pub fn decode_any(input: &[u8]) {
    let Some((version, mut rest)) = input.split_first() else { return };
    let version = match version % 3 {
        0 => Version::V3_1,
        1 => Version::V3_1_1,
        _ => Version::V5,
    };
    loop {
        match frame(rest, MAXIMUM_PACKET_SIZE) {
            Ok(Framing::Complete { header, body, length }) => {
                decode_body(version, header, body);
                rest = &rest[length..];
            }
            Ok(Framing::Incomplete { .. }) => return,
            Err(violation) => return check_violation(&violation),
        }
    }
}

/// The bytes of a connection, arriving one by one or at once.
pub fn frame_any(input: &[u8]) {
    let mut rest = input;
    while let Ok(Framing::Complete { header, body, length }) = frame(rest, MAXIMUM_PACKET_SIZE) {
        assert_eq!(header, rest[0]);
        assert_eq!(&rest[length - body.len()..length], body);
        for end in 0..length.min(8) {
            match frame(&rest[..end], MAXIMUM_PACKET_SIZE) {
                Ok(Framing::Incomplete { total: None }) => assert!(end < length - body.len()),
                Ok(Framing::Incomplete { total }) => assert_eq!(total, Some(length)),
                other => panic!("{end} of {length} bytes: {other:?}"),
            }
        }
        assert!(length <= MAXIMUM_PACKET_SIZE as usize);
        rest = &rest[length..];
    }
    if let Err(violation) = frame(rest, MAXIMUM_PACKET_SIZE) {
        check_violation(&violation);
    }
}

/// A filter, a NUL, a Topic Name.
pub fn topic_any(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (filter, topic) = text.split_once('\0').unwrap_or((text, ""));
    let parsed = match parse_filter(filter) {
        Ok(parsed) => parsed,
        Err(violation) => return check_violation(&violation),
    };
    assert!(!parsed.filter.is_empty());
    assert_eq!(parsed.wildcard, parsed.filter.contains(['+', '#']));
    if let Some(share) = parsed.share {
        assert!(!share.is_empty() && !share.contains(['/', '+', '#']));
        assert_eq!(filter, format!("$share/{share}/{}", parsed.filter));
    }
    if check_topic_name(topic.as_bytes()).is_ok() {
        if parsed.wildcard {
            assert_eq!(matches("#", topic), !topic.starts_with('$'));
        } else {
            assert_eq!(matches(parsed.filter, topic), parsed.filter == topic);
        }
    }
    let _ = matches(parsed.filter, topic);
}

fn decode_body(version: Version, header: u8, body: &[u8]) {
    match decode::decode(version, header, body) {
        Ok(Packet::Publish(publish)) => publish_again(version, &publish),
        Ok(Packet::Acknowledgement(acknowledgement)) => {
            acknowledge_again(version, acknowledgement);
        }
        Ok(Packet::Subscribe(subscribe)) => {
            let requests = subscribe.requests.iter().count();
            assert!(requests > 0);
            assert!(requests * 3 <= body.len());
        }
        Ok(Packet::Unsubscribe(unsubscribe)) => {
            let filters = unsubscribe.filters.iter().count();
            assert!(filters > 0);
            assert!(filters * 2 <= body.len());
        }
        Ok(Packet::Connect(connect)) => {
            assert!(connect.user_properties.len() * 5 <= body.len());
            if let Some(will) = &connect.will {
                assert!(will.properties.len() <= body.len());
            }
        }
        Ok(Packet::Pingreq | Packet::Disconnect(_) | Packet::Auth(_)) => {}
        Err(violation) => check_violation(&violation),
    }
}

fn check_violation(violation: &Violation) {
    assert!(violation.reason.is_error(), "{violation}");
    assert!(violation.statement.starts_with("MQTT"), "{violation}");
}

/// decode → encode → decode is the same packet, and its length is known before.
fn publish_again(version: Version, publish: &Publish<'_>) {
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
        subscription_identifiers: &[],
        properties: &properties,
        payload: publish.payload,
    };
    let mut bytes = Vec::new();
    encode::publish(&mut bytes, version, &packet);
    assert_eq!(bytes.len(), encode::publish_size(version, &packet));

    let Ok(Framing::Complete { header, body, length }) = frame(&bytes, u32::MAX) else {
        panic!("what is encoded is a frame");
    };
    assert_eq!(length, bytes.len());
    let again = decode::publish(version, header, body).expect("what is encoded is decoded");
    let mut properties_again = Vec::new();
    decode::forwardable(&again.properties, &mut properties_again);
    assert_eq!(properties_again, properties);
    // The sections differ where expiry and alias stood elsewhere; all else is equal.
    let mut comparable = again;
    comparable.properties.raw = publish.properties.raw;
    assert_eq!(comparable, *publish);
}

fn acknowledge_again(version: Version, acknowledgement: Acknowledgement) {
    let Acknowledgement { kind, packet_id, reason } = acknowledgement;
    let mut bytes = Vec::new();
    encode::acknowledgement(&mut bytes, version, kind, packet_id, reason, None);
    let Ok(Framing::Complete { header, body, .. }) = frame(&bytes, u32::MAX) else {
        panic!("what is encoded is a frame");
    };
    assert_eq!(decode::acknowledgement(version, header, body), Ok(acknowledgement));
}
