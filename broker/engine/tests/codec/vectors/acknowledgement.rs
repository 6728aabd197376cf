//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5 §3.4 to §3.7).

use engine::codec::encode;
use engine::codec::packet::{Acknowledgement, AcknowledgementKind, Packet, Version};
use engine::reason::ReasonCode;

use crate::vector::{Part, Vector, part};

use AcknowledgementKind::{Puback, Pubcomp, Pubrec, Pubrel};

/// A row of one of the four; the text is the Reason String that `encode` is given.
fn row(
    name: &'static str,
    version: Version,
    parts: &[Part],
    acknowledgement: Acknowledgement,
    text: Option<&str>,
) -> Vector {
    let Acknowledgement { kind, packet_id, reason } = acknowledgement;
    let packet = Packet::Acknowledgement(acknowledgement);
    Vector::both(name, version, parts, packet, |out| {
        encode::acknowledgement(out, version, kind, packet_id, reason, text);
    })
}

const fn of(kind: AcknowledgementKind, packet_id: u16, reason: u8) -> Acknowledgement {
    Acknowledgement { kind, packet_id, reason: ReasonCode(reason) }
}

pub fn vectors() -> Vec<Vector> {
    let mut vectors = short();
    vectors.extend(with_a_reason());
    vectors.extend(with_a_text());
    vectors.extend(from_a_client());
    vectors
}

/// Two bytes: all of 3.1 and 3.1.1, and Success in 5.
fn short() -> Vec<Vector> {
    let length = part(b"\x02", "Remaining Length");
    let packet_id = part(b"\x12\x34", "Packet Identifier");
    let rows = [
        ("puback-31", Version::V3_1, part(b"\x40", "PUBACK"), Puback),
        ("pubrec-31", Version::V3_1, part(b"\x50", "PUBREC"), Pubrec),
        ("pubrel-31", Version::V3_1, part(b"\x62", "PUBREL"), Pubrel),
        ("pubcomp-31", Version::V3_1, part(b"\x70", "PUBCOMP"), Pubcomp),
        ("puback-311", Version::V3_1_1, part(b"\x40", "PUBACK"), Puback),
        ("pubrec-311", Version::V3_1_1, part(b"\x50", "PUBREC"), Pubrec),
        ("pubrel-311", Version::V3_1_1, part(b"\x62", "PUBREL"), Pubrel),
        ("pubcomp-311", Version::V3_1_1, part(b"\x70", "PUBCOMP"), Pubcomp),
        ("puback-5", Version::V5, part(b"\x40", "PUBACK"), Puback),
        ("pubrec-5", Version::V5, part(b"\x50", "PUBREC"), Pubrec),
        ("pubrel-5", Version::V5, part(b"\x62", "PUBREL"), Pubrel),
        ("pubcomp-5", Version::V5, part(b"\x70", "PUBCOMP"), Pubcomp),
    ];
    rows.map(|(name, version, header, kind)| {
        row(name, version, &[header, length, packet_id], of(kind, 0x1234, 0), None)
    })
    .into()
}

/// Three bytes: the Property Length is left out.
fn with_a_reason() -> Vec<Vector> {
    let length = part(b"\x03", "Remaining Length");
    let packet_id = part(b"\x00\x01", "Packet Identifier").may_end();
    let quota = part(b"\x97", "Reason Code: Quota exceeded");
    let not_found = part(b"\x92", "Reason Code: Packet Identifier not found");
    let rows = [
        ("puback-5-reason", part(b"\x40", "PUBACK"), quota, of(Puback, 1, 0x97)),
        ("pubrec-5-reason", part(b"\x50", "PUBREC"), quota, of(Pubrec, 1, 0x97)),
        ("pubrel-5-reason", part(b"\x62", "PUBREL"), not_found, of(Pubrel, 1, 0x92)),
        ("pubcomp-5-reason", part(b"\x70", "PUBCOMP"), not_found, of(Pubcomp, 1, 0x92)),
    ];
    rows.map(|(name, header, reason, packet)| {
        row(name, Version::V5, &[header, length, packet_id, reason], packet, None)
    })
    .into()
}

/// With the Reason String that the broker may send.
fn with_a_text() -> Vec<Vector> {
    let length = part(b"\x09", "Remaining Length");
    let packet_id = part(b"\x00\x01", "Packet Identifier").may_end();
    let success = part(b"\x00", "Reason Code: Success").may_end();
    let properties = part(b"\x05", "Property Length");
    let text = part(b"\x1F\x00\x02ok", "Reason String");
    let rows = [
        ("puback-5-text", part(b"\x40", "PUBACK"), Puback),
        ("pubrec-5-text", part(b"\x50", "PUBREC"), Pubrec),
        ("pubrel-5-text", part(b"\x62", "PUBREL"), Pubrel),
        ("pubcomp-5-text", part(b"\x70", "PUBCOMP"), Pubcomp),
    ];
    rows.map(|(name, header, kind)| {
        let parts = [header, length, packet_id, success, properties, text];
        row(name, Version::V5, &parts, of(kind, 1, 0), Some("ok"))
    })
    .into()
}

/// With User Properties, and in 3.1 with DUP: the broker sends neither.
fn from_a_client() -> Vec<Vector> {
    let length = part(b"\x12", "Remaining Length");
    let packet_id = part(b"\x00\x02", "Packet Identifier").may_end();
    let properties = part(b"\x0E", "Property Length");
    let user = part(b"\x26\x00\x01k\x00\x01v", "User Property");
    let again = part(b"\x26\x00\x01k\x00\x01w", "User Property: the same name again");
    let reason = part(b"\x00", "Reason Code: Success").may_end();
    let rows = [
        ("puback-5-user-properties", part(b"\x40", "PUBACK"), Puback),
        ("pubrec-5-user-properties", part(b"\x50", "PUBREC"), Pubrec),
        ("pubrel-5-user-properties", part(b"\x62", "PUBREL"), Pubrel),
        ("pubcomp-5-user-properties", part(b"\x70", "PUBCOMP"), Pubcomp),
    ];
    let mut vectors = Vec::from(rows.map(|(name, header, kind)| {
        let parts = [header, length, packet_id, reason, properties, user, again];
        Vector::client(name, Version::V5, &parts, Packet::Acknowledgement(of(kind, 2, 0)))
    }));
    vectors.push(Vector::client(
        "pubrel-31-dup",
        Version::V3_1,
        &[
            part(b"\x6A", "PUBREL, DUP: sent again"),
            part(b"\x02", "Remaining Length"),
            part(b"\x00\x02", "Packet Identifier"),
        ],
        Packet::Acknowledgement(of(Pubrel, 2, 0)),
    ));
    vectors
}
