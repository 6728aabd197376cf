//! Packets that break the standard: the Reason Code they are answered with and the statement.

use engine::codec::decode;
use engine::codec::frame::{Framing, frame};
use engine::codec::packet::Version;
use engine::reason::ReasonCode;

use crate::corpus::packet;

mod connect;
mod publish;
mod rest;

/// A wrong packet.
#[derive(Debug, Clone)]
pub struct Malformed {
    /// Words joined by `-`: the name of its file in the corpus.
    pub name: &'static str,
    pub version: Version,
    /// The first byte.
    pub header: u8,
    /// What follows the Fixed Header.
    pub body: Vec<u8>,
    pub reason: ReasonCode,
    pub statement: &'static str,
}

/// A Malformed Packet.
fn malformed(
    name: &'static str,
    version: Version,
    header: u8,
    body: impl AsRef<[u8]>,
    statement: &'static str,
) -> Malformed {
    Malformed {
        name,
        version,
        header,
        body: body.as_ref().to_vec(),
        reason: ReasonCode::MALFORMED,
        statement,
    }
}

/// A Protocol Error.
fn error(
    name: &'static str,
    version: Version,
    header: u8,
    body: impl AsRef<[u8]>,
    statement: &'static str,
) -> Malformed {
    Malformed {
        name,
        version,
        header,
        body: body.as_ref().to_vec(),
        reason: ReasonCode::PROTOCOL_ERROR,
        statement,
    }
}

/// Every wrong packet.
pub fn all() -> Vec<Malformed> {
    let mut all = connect::rows();
    all.extend(publish::rows());
    all.extend(rest::rows());
    all
}

/// A property section with its length before it, which fits one byte.
fn section(properties: &[u8]) -> Vec<u8> {
    let length = u8::try_from(properties.len()).unwrap();
    assert!(length < 0x80, "one byte of Property Length");
    [&[length], properties].concat()
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.5-1] [MQTT-1.5.7-1] [MQTT-2.1.3-1] [MQTT-2.2.1-3]
/// [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.3-4]
/// [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.3.2-1] [MQTT-3.3.2-2]
/// [MQTT-3.3.2-8] [MQTT-3.3.2-13] [MQTT-3.3.2-14] [MQTT-3.3.2-19] [MQTT-3.3.4-6] [MQTT-3.4.2-1]
/// [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.8.3-2] [MQTT-3.8.3-4] [MQTT-3.8.3-5]
/// [MQTT-3.10.3-2] [MQTT-3.14.2-1] [MQTT-3.15.2-1] [MQTT-4.7.3-1]
#[test]
fn every_wrong_packet_is_answered_with_its_reason() {
    for wrong in all() {
        let bytes = packet(wrong.header, &wrong.body);

        let violation = match frame(&bytes, u32::MAX) {
            Err(violation) => violation,
            Ok(Framing::Complete { header, body, .. }) => {
                decode::decode(wrong.version, header, body).expect_err(wrong.name)
            }
            Ok(Framing::Incomplete { .. }) => panic!("{}: the frame is whole", wrong.name),
        };

        assert_eq!(violation.reason, wrong.reason, "{}: {violation}", wrong.name);
        assert_eq!(violation.statement, wrong.statement, "{}: {violation}", wrong.name);
    }
}

/// [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT3-3.1.2-1] [MQTT3-3.1.2-2]: the CONNACK is in the client's
/// version as far as it is known, and there is none for what is not MQTT.
#[test]
fn a_wrong_connect_is_answered_in_its_version() {
    let cases: [(&[u8], Option<Version>); 12] = [
        (b"", None),
        (b"\0", None),
        (b"\0\x04HTTP\x05", None),
        (b"\0\x04MQTT", None),
        (b"\0\x04mqtt\x05", None),
        (b"\0\x04MQTT\x03\x02\0\0\0\0", Some(Version::V3_1_1)),
        (b"\0\x04MQTT\x84\x02\0\0\0\0", Some(Version::V3_1_1)),
        (b"\0\x04MQTT\x06\x02\0\0\0\0", Some(Version::V5)),
        (b"\0\x06MQIsdp\x04\x02\0\0\0\0", Some(Version::V3_1)),
        (b"\0\x06MQIsdp\x03\x01", Some(Version::V3_1)),
        (b"\0\x04MQTT\x04\x01", Some(Version::V3_1_1)),
        (b"\0\x04MQTT\x05\x01", Some(Version::V5)),
    ];
    for (body, version) in cases {
        let refusal = decode::connect(body).unwrap_err();

        assert_eq!(refusal.version, version, "{}", body.escape_ascii());
    }
}
