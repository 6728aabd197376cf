//! The largest and the smallest: lengths at their bounds, and packets that are too large.

use engine::codec::decode;
use engine::codec::encode;
use engine::codec::frame::{Framing, frame};
use engine::codec::packet::{Connack, Packet, PublishOut, Version};
use engine::reason::ReasonCode;

const LARGEST: u32 = 268_435_455;

/// MQTT 5 §1.5.5, table 1-1: the bounds of each number of bytes.
#[test]
fn a_remaining_length_has_one_to_four_bytes() {
    let bounds: [(u32, &[u8]); 8] = [
        (0, b"\x00"),
        (127, b"\x7F"),
        (128, b"\x80\x01"),
        (16_383, b"\xFF\x7F"),
        (16_384, b"\x80\x80\x01"),
        (2_097_151, b"\xFF\xFF\x7F"),
        (2_097_152, b"\x80\x80\x80\x01"),
        (LARGEST, b"\xFF\xFF\xFF\x7F"),
    ];
    for (value, bytes) in bounds {
        let whole = 1 + bytes.len() + value as usize;
        let header = [b"\x30", bytes].concat();
        let maximum = u32::try_from(whole).unwrap();

        if value > 0 {
            let total = Some(whole);
            assert_eq!(frame(&header, maximum), Ok(Framing::Incomplete { total }), "{value}");
        }
        assert_eq!(
            frame(&header, maximum - 1).unwrap_err().reason,
            ReasonCode::PACKET_TOO_LARGE,
            "{value}"
        );
    }
}

/// [MQTT-3.2.2-15]: said when the length is known, before the packet is there.
#[test]
fn a_packet_that_is_too_large_is_refused_at_its_header() {
    assert!(matches!(frame(b"\x30\x05", 7), Ok(Framing::Incomplete { total: Some(7) })));
    assert_eq!(frame(b"\x30\x06", 7).unwrap_err().reason, ReasonCode::PACKET_TOO_LARGE);
    assert_eq!(
        frame(b"\x30\xFF\xFF\xFF\x7F", 1_048_576).unwrap_err().reason,
        ReasonCode::PACKET_TOO_LARGE
    );
}

/// [MQTT-1.5.5-1]
#[test]
fn a_remaining_length_is_in_its_shortest_form() {
    let malformed: [&[u8]; 6] = [
        b"\x30\x80\x00",
        b"\x30\xFF\x00",
        b"\x30\x80\x80\x00",
        b"\x30\x80\x80\x80\x00",
        b"\x30\xFF\xFF\xFF\xFF",
        b"\x30\x80\x80\x80\x80\x01",
    ];
    for bytes in malformed {
        assert_eq!(frame(bytes, u32::MAX).unwrap_err().reason, ReasonCode::MALFORMED, "{bytes:?}");
    }
}

/// [MQTT-4.7.3-3]: names of 65,535 bytes pass in both directions.
#[test]
fn a_topic_name_and_a_filter_may_have_65535_bytes() {
    let topic = "ü".repeat(32_767) + "x";
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        let packet = PublishOut { topic: topic.as_bytes(), payload: b"x", ..PublishOut::default() };
        let mut bytes = Vec::new();

        encode::publish(&mut bytes, version, &packet);

        let Ok(Framing::Complete { header, body, length }) = frame(&bytes, u32::MAX) else {
            panic!("the frame is whole");
        };
        assert_eq!(length, bytes.len());
        let publish = decode::publish(version, header, body).unwrap();
        assert_eq!(publish.topic, topic.as_bytes());

        let properties: &[u8] = if version == Version::V5 { b"\0" } else { b"" };
        let name = [b"\xFF\xFF", topic.as_bytes()].concat();
        let subscribe = [b"\0\x01", properties, &name, b"\0"].concat();
        let Ok(Packet::Subscribe(subscribe)) = decode::decode(version, 0x82, &subscribe) else {
            panic!("the SUBSCRIBE is valid");
        };
        assert_eq!(subscribe.requests.iter().next().map(|request| request.filter), Some(&*topic));
    }
}

/// [MQTT-1.5.4-1]: a text of the host that no string can hold is cut between characters.
#[test]
fn a_text_that_is_too_long_is_cut_between_characters() {
    let connack = Connack { reason_string: Some("ü".repeat(40_000).into()), ..Connack::default() };
    let mut bytes = Vec::new();

    encode::connack(&mut bytes, Version::V5, &connack);

    let Ok(Framing::Complete { body, .. }) = frame(&bytes, u32::MAX) else {
        panic!("the frame is whole");
    };
    // Flags, reason, a Property Length of three bytes, the identifier, the string's length.
    assert_eq!(body[5..8], [0x1F, 0xFF, 0xFE]);
    assert_eq!(std::str::from_utf8(&body[8..]).unwrap().chars().count(), 32_767);
}

/// Properties in their thousands are read one by one, in order.
#[test]
fn thousands_of_user_properties_keep_their_order() {
    let mut section = Vec::new();
    for number in 0..5_000_u16 {
        section.extend_from_slice(b"&\0\x02");
        section.extend_from_slice(&[b'a' + u8::try_from(number % 26).unwrap(), b'x']);
        section.extend_from_slice(b"\0\x01v");
    }
    let length = section.len(); // 40,000: three bytes.
    let length = [
        u8::try_from(length & 0x7F).unwrap() | 0x80,
        u8::try_from(length >> 7 & 0x7F).unwrap() | 0x80,
        u8::try_from(length >> 14).unwrap(),
    ];
    let body = [b"\0\x04MQTT\x05\x02\0\0", &length[..], &section, b"\0\x01c"].concat();

    let Ok(Packet::Connect(connect)) = decode::decode(Version::V5, 0x10, &body) else {
        panic!("the CONNECT is valid");
    };

    assert_eq!(connect.user_properties.len(), 5_000);
    assert_eq!(*connect.user_properties[4_999].0, *"hx");
}
