//! CONNECT (MQTT 5 §3.1, MQTT 3.1.1 §3.1).

use engine::codec::packet::{Connect, Packet, Version, Will};

use crate::vector::{Vector, part};

/// A CONNECT with nothing but a Client Identifier.
fn plain(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive_s: 60,
        client_id: client_id.into(),
        is_assigned: false,
        will: None,
        username: None,
        password: None,
        session_expiry_s: 0,
        receive_maximum: 65_535,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        user_properties: vec![],
        authentication_method: None,
        authentication_data: None,
    }
}

fn packet(connect: Connect) -> Packet<'static> {
    Packet::Connect(Box::new(connect))
}

pub fn vectors() -> Vec<Vector> {
    let mut vectors = version_3_1();
    vectors.extend(version_3_1_1());
    vectors.extend(version_5());
    vectors.push(everything());
    vectors
}

fn version_3_1() -> Vec<Vector> {
    let old_name = part(b"\x00\x06MQIsdp", "Protocol Name of 3.1");
    let old_level = part(b"\x03", "Protocol Level");
    let keep_alive = part(b"\x00\x3C", "Keep Alive");
    let client_id = part(b"\x00\x01a", "Client Identifier");
    vec![
        Vector::client(
            "connect-31",
            Version::V3_1,
            &[
                part(b"\x10", "CONNECT"),
                part(b"\x0F", "Remaining Length"),
                old_name,
                old_level,
                part(b"\x02", "Connect Flags: Clean Session"),
                keep_alive,
                client_id,
            ],
            packet(plain(Version::V3_1, "a")),
        ),
        Vector::client(
            "connect-31-names-flagged-and-left-out",
            Version::V3_1,
            &[
                part(b"\x10", "CONNECT"),
                part(b"\x12", "Remaining Length"),
                old_name,
                old_level,
                part(b"\xC2", "Connect Flags: User Name, Password, Clean Session"),
                keep_alive,
                client_id.may_end(),
                part(b"\x00\x01u", "User Name; the password is left out"),
            ],
            packet(Connect { username: Some("u".into()), ..plain(Version::V3_1, "a") }),
        ),
    ]
}

fn version_3_1_1() -> Vec<Vector> {
    let will = |topic: &[u8], payload: &[u8], qos, retain| Will {
        topic: topic.into(),
        payload: payload.into(),
        qos,
        retain,
        delay_interval_s: 0,
        message_expiry_s: None,
        properties: [].into(),
    };
    let name = part(b"\x00\x04MQTT", "Protocol Name");
    let level = part(b"\x04", "Protocol Level");
    let client_id = part(b"\x00\x01a", "Client Identifier");
    vec![
        Vector::client(
            "connect-311",
            Version::V3_1_1,
            &[
                part(b"\x10", "CONNECT"),
                part(b"\x0C", "Remaining Length"),
                name,
                level,
                part(b"\x02", "Connect Flags: Clean Session"),
                part(b"\x00\x3C", "Keep Alive"),
                part(b"\x00\x00", "Client Identifier: empty"),
            ],
            packet(plain(Version::V3_1_1, "")),
        ),
        Vector::client(
            "connect-311-everything",
            Version::V3_1_1,
            &[
                part(b"\x10", "CONNECT"),
                part(b"\x1B", "Remaining Length"),
                name,
                level,
                part(b"\xF4", "Connect Flags: all but Clean Session; Will QoS 2, Will Retain"),
                part(b"\xFF\xFF", "Keep Alive"),
                client_id,
                part(b"\x00\x03w/t", "Will Topic"),
                part(b"\x00\x00", "Will Message: empty"),
                part(b"\x00\x02\xC3\xBC", "User Name"),
                part(b"\x00\x01\xFF", "Password: binary"),
            ],
            packet(Connect {
                clean_start: false,
                keep_alive_s: 65_535,
                will: Some(will(b"w/t", b"", 2, true)),
                username: Some("ü".into()),
                password: Some([0xFF].into()),
                ..plain(Version::V3_1_1, "a")
            }),
        ),
    ]
}

fn version_5() -> Vec<Vector> {
    let name = part(b"\x00\x04MQTT", "Protocol Name");
    let level = part(b"\x05", "Protocol Version");
    let no_properties = part(b"\x00", "Property Length");
    vec![
        Vector::client(
            "connect-5",
            Version::V5,
            &[
                part(b"\x10", "CONNECT"),
                part(b"\x10", "Remaining Length"),
                name,
                level,
                part(b"\x02", "Connect Flags: Clean Start"),
                part(b"\x00\x3C", "Keep Alive"),
                no_properties,
                part(b"\x00\x03\xEF\xBB\xBF", "Client Identifier: U+FEFF, which stays"),
            ],
            packet(plain(Version::V5, "\u{FEFF}")),
        ),
        Vector::client(
            "connect-5-password-alone",
            Version::V5,
            &[
                part(b"\x10", "CONNECT"),
                part(b"\x11", "Remaining Length"),
                name,
                level,
                part(b"\x40", "Connect Flags: Password"),
                part(b"\x00\x00", "Keep Alive: off"),
                no_properties,
                part(b"\x00\x00", "Client Identifier: empty"),
                part(b"\x00\x02pw", "Password"),
            ],
            packet(Connect {
                clean_start: false,
                keep_alive_s: 0,
                password: Some((*b"pw").into()),
                ..plain(Version::V5, "")
            }),
        ),
    ]
}

/// Each property of CONNECT and of its will, each field of the payload.
fn everything() -> Vector {
    Vector::client(
        "connect-5-everything",
        Version::V5,
        &[
            part(b"\x10", "CONNECT"),
            part(b"\x73", "Remaining Length"),
            part(b"\x00\x04MQTT", "Protocol Name"),
            part(b"\x05", "Protocol Version"),
            part(b"\xEE", "Connect Flags: all; Will QoS 1, Will Retain"),
            part(b"\x00\x3C", "Keep Alive"),
            part(b"\x2E", "Property Length"),
            part(b"\x11\x00\x00\x0E\x10", "Session Expiry Interval"),
            part(b"\x21\x00\x14", "Receive Maximum"),
            part(b"\x27\x00\x01\x00\x00", "Maximum Packet Size"),
            part(b"\x22\x00\x0A", "Topic Alias Maximum"),
            part(b"\x19\x01", "Request Response Information"),
            part(b"\x17\x00", "Request Problem Information"),
            part(b"\x26\x00\x01k\x00\x01v", "User Property"),
            part(b"\x26\x00\x01k\x00\x00", "User Property: the same name again, an empty value"),
            part(b"\x15\x00\x05SCRAM", "Authentication Method"),
            part(b"\x16\x00\x02\x00\xFF", "Authentication Data"),
            part(b"\x00\x02id", "Client Identifier"),
            part(b"\x24", "Property Length of the will"),
            part(b"\x18\x00\x00\x00\x05", "Will Delay Interval"),
            part(b"\x01\x01", "Payload Format Indicator"),
            part(b"\x02\x00\x00\x00\x3C", "Message Expiry Interval"),
            part(b"\x03\x00\x01c", "Content Type"),
            part(b"\x08\x00\x02r/", "Response Topic"),
            part(b"\x09\x00\x03\x00+#", "Correlation Data: binary, no Topic Name"),
            part(b"\x26\x00\x01x\x00\x03y/z", "User Property of the will"),
            part(b"\x00\x04will", "Will Topic"),
            part(b"\x00\x03bye", "Will Payload"),
            part(b"\x00\x01u", "User Name"),
            part(b"\x00\x01p", "Password"),
        ],
        packet(everything_decoded()),
    )
}

fn everything_decoded() -> Connect {
    Connect {
        session_expiry_s: 3_600,
        receive_maximum: 20,
        maximum_packet_size: Some(65_536),
        topic_alias_maximum: 10,
        request_response_information: true,
        request_problem_information: false,
        user_properties: vec![("k".into(), "v".into()), ("k".into(), "".into())],
        authentication_method: Some("SCRAM".into()),
        authentication_data: Some([0, 0xFF].into()),
        will: Some(Will {
            topic: (*b"will").into(),
            payload: (*b"bye").into(),
            qos: 1,
            retain: true,
            delay_interval_s: 5,
            message_expiry_s: Some(60),
            properties: b"\x01\x01\x03\0\x01c\x08\0\x02r/\x09\0\x03\0+#&\0\x01x\0\x03y/z"
                .to_vec()
                .into(),
        }),
        username: Some("u".into()),
        password: Some((*b"p").into()),
        ..plain(Version::V5, "id")
    }
}
