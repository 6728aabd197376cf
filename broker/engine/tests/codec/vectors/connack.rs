//! CONNACK (MQTT 5 §3.2, MQTT 3.1.1 §3.2).

use engine::codec::encode;
use engine::codec::packet::{Connack, Version};

use crate::vector::{Vector, part};

pub fn vectors() -> Vec<Vector> {
    let mut vectors = below_5();
    vectors.extend(version_5());
    vectors
}

fn below_5() -> Vec<Vector> {
    let connack = |version, session_present, reason| {
        move |out: &mut Vec<u8>| {
            let connack = Connack { session_present, reason, ..Connack::default() };
            encode::connack(out, version, &connack);
        }
    };
    let header = part(b"\x20", "CONNACK");
    let length = part(b"\x02", "Remaining Length");
    vec![
        Vector::server(
            "connack-31",
            Version::V3_1,
            &[
                header,
                length,
                part(b"\x00", "reserved: 3.1 knows no Session Present"),
                part(b"\x00", "return code: accepted"),
            ],
            connack(Version::V3_1, true, 0x00),
        ),
        Vector::server(
            "connack-311-session-present",
            Version::V3_1_1,
            &[
                header,
                length,
                part(b"\x01", "Session Present"),
                part(b"\x00", "return code: accepted"),
            ],
            connack(Version::V3_1_1, true, 0x00),
        ),
        Vector::server(
            "connack-311-refused",
            Version::V3_1_1,
            &[
                header,
                length,
                part(b"\x00", "Session Present: never with an error"),
                part(b"\x05", "return code: not authorized"),
            ],
            connack(Version::V3_1_1, true, 0x87),
        ),
    ]
}

fn version_5() -> Vec<Vector> {
    vec![
        Vector::server(
            "connack-5",
            Version::V5,
            &[
                part(b"\x20", "CONNACK"),
                part(b"\x03", "Remaining Length"),
                part(b"\x00", "Connect Acknowledge Flags: Session Present is never with an error"),
                part(b"\x89", "Connect Reason Code: Server busy"),
                part(b"\x00", "Property Length"),
            ],
            |out| {
                let connack = Connack { session_present: true, reason: 0x89, ..Connack::default() };
                encode::connack(out, Version::V5, &connack);
            },
        ),
        Vector::server(
            "connack-5-everything",
            Version::V5,
            &[
                part(b"\x20", "CONNACK"),
                part(b"\x39", "Remaining Length"),
                part(b"\x01", "Connect Acknowledge Flags: Session Present"),
                part(b"\x00", "Connect Reason Code: Success"),
                part(b"\x36", "Property Length"),
                part(b"\x11\x00\x00\x00\x0A", "Session Expiry Interval"),
                part(b"\x21\x00\x14", "Receive Maximum"),
                part(b"\x24\x01", "Maximum QoS"),
                part(b"\x25\x00", "Retain Available"),
                part(b"\x27\x00\x00\x04\x00", "Maximum Packet Size"),
                part(b"\x12\x00\x02id", "Assigned Client Identifier"),
                part(b"\x22\x00\x10", "Topic Alias Maximum"),
                part(b"\x1F\x00\x02ok", "Reason String"),
                part(b"\x13\x00\x3C", "Server Keep Alive"),
                part(b"\x1A\x00\x02r/", "Response Information"),
                part(b"\x1C\x00\x01s", "Server Reference"),
                part(b"\x15\x00\x05SCRAM", "Authentication Method"),
                part(b"\x16\x00\x01\xFF", "Authentication Data"),
            ],
            |out| encode::connack(out, Version::V5, &everything()),
        ),
    ]
}

fn everything() -> Connack {
    Connack {
        session_present: true,
        reason: 0,
        session_expiry_s: Some(10),
        receive_maximum: Some(20),
        maximum_qos: Some(1),
        retain_available: Some(false),
        maximum_packet_size: Some(1_024),
        assigned_client_id: Some("id".into()),
        topic_alias_maximum: Some(16),
        reason_string: Some("ok".into()),
        server_keep_alive_s: Some(60),
        response_information: Some("r/".into()),
        server_reference: Some("s".into()),
        authentication_method: Some("SCRAM".into()),
        authentication_data: Some([0xFF].into()),
    }
}
