//! PINGREQ, PINGRESP, DISCONNECT and AUTH (MQTT 5 §3.12 to §3.15).

use engine::codec::encode;
use engine::codec::packet::{Auth, Disconnect, Packet, Version};
use engine::reason::ReasonCode;

use crate::vector::{Vector, part};

const VERSIONS: [(Version, [&str; 3]); 3] = [
    (Version::V3_1, ["pingreq-31", "pingresp-31", "disconnect-31"]),
    (Version::V3_1_1, ["pingreq-311", "pingresp-311", "disconnect-311"]),
    (Version::V5, ["pingreq-5", "pingresp-5", "disconnect-5"]),
];

fn disconnect(reason: ReasonCode, session_expiry_s: Option<u32>) -> Packet<'static> {
    Packet::Disconnect(Disconnect { reason, session_expiry_s })
}

pub fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let empty = part(b"\x00", "Remaining Length");
    for (version, [pingreq, pingresp, end]) in VERSIONS {
        let parts = [part(b"\xC0", "PINGREQ"), empty];
        vectors.push(Vector::client(pingreq, version, &parts, Packet::Pingreq));
        let parts = [part(b"\xD0", "PINGRESP"), empty];
        vectors.push(Vector::server(pingresp, version, &parts, encode::pingresp));
        let parts = [part(b"\xE0", "DISCONNECT"), empty];
        vectors.push(Vector::client(end, version, &parts, disconnect(ReasonCode::SUCCESS, None)));
    }
    vectors.extend(disconnects());
    vectors.extend(auths());
    vectors
}

fn disconnects() -> Vec<Vector> {
    let header = part(b"\xE0", "DISCONNECT");
    vec![
        Vector::both(
            "disconnect-5-reason",
            Version::V5,
            &[
                header,
                part(b"\x01", "Remaining Length").may_end(),
                part(b"\x98", "Reason Code: Administrative action"),
            ],
            disconnect(ReasonCode::ADMINISTRATIVE_ACTION, None),
            |out| encode::disconnect(out, ReasonCode::ADMINISTRATIVE_ACTION, None, None),
        ),
        Vector::client(
            "disconnect-5-everything",
            Version::V5,
            &[
                header,
                part(b"\x13", "Remaining Length").may_end(),
                part(b"\x04", "Reason Code: Disconnect with Will Message").may_end(),
                part(b"\x11", "Property Length"),
                part(b"\x11\xFF\xFF\xFF\xFF", "Session Expiry Interval: never"),
                part(b"\x1F\x00\x02hm", "Reason String"),
                part(b"\x26\x00\x01k\x00\x01v", "User Property"),
            ],
            disconnect(ReasonCode::DISCONNECT_WITH_WILL, Some(u32::MAX)),
        ),
        Vector::server(
            "disconnect-5-server-moved",
            Version::V5,
            &[
                header,
                part(b"\x0E", "Remaining Length"),
                part(b"\x9D", "Reason Code: Server moved"),
                part(b"\x0C", "Property Length"),
                part(b"\x1F\x00\x02go", "Reason String"),
                part(b"\x1C\x00\x04host", "Server Reference"),
            ],
            |out| encode::disconnect(out, ReasonCode::SERVER_MOVED, Some("go"), Some("host")),
        ),
    ]
}

fn auths() -> Vec<Vector> {
    let auth = |reason, data: Option<&[u8]>| {
        let data = data.map(Box::from);
        Packet::Auth(Auth { reason, method: Some("SCRAM".into()), data })
    };
    let header = part(b"\xF0", "AUTH");
    let method = part(b"\x15\x00\x05SCRAM", "Authentication Method");
    vec![
        Vector::both(
            "auth-5-continue",
            Version::V5,
            &[
                header,
                part(b"\x13", "Remaining Length"),
                part(b"\x18", "Reason Code: Continue authentication"),
                part(b"\x11", "Property Length"),
                method,
                part(b"\x16\x00\x01\x00", "Authentication Data"),
                part(b"\x1F\x00\x02on", "Reason String"),
            ],
            auth(ReasonCode::CONTINUE_AUTHENTICATION, Some(&[0])),
            |out| {
                let reason = ReasonCode::CONTINUE_AUTHENTICATION;
                encode::auth(out, reason, "SCRAM", Some(&[0]), Some("on"));
            },
        ),
        Vector::client(
            "auth-5-again",
            Version::V5,
            &[
                header,
                part(b"\x11", "Remaining Length"),
                part(b"\x19", "Reason Code: Re-authenticate"),
                part(b"\x0F", "Property Length"),
                part(b"\x26\x00\x01k\x00\x01v", "User Property"),
                method,
            ],
            auth(ReasonCode::REAUTHENTICATE, None),
        ),
        Vector::server(
            "auth-5-success",
            Version::V5,
            &[
                header,
                part(b"\x0A", "Remaining Length"),
                part(b"\x00", "Reason Code: Success"),
                part(b"\x08", "Property Length"),
                method,
            ],
            |out| encode::auth(out, ReasonCode::SUCCESS, "SCRAM", None, None),
        ),
    ]
}
