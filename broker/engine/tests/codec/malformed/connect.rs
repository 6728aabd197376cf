//! Wrong CONNECT packets.

use engine::codec::packet::Version::{V3_1, V3_1_1, V5};
use engine::reason::ReasonCode;

use super::{Malformed, error, malformed, section};

const SHORT: &str = "MQTT 5 §1.2";
const NOT_HERE: &str = "MQTT 5 §2.2.2.2";

pub fn rows() -> Vec<Malformed> {
    let mut rows = protocol();
    rows.extend(flags());
    rows.extend(payload());
    rows.extend(properties());
    rows.extend(repeated());
    rows.extend(will_properties());
    rows
}

/// A CONNECT of version 5 with these flags and properties, and this behind them.
fn v5(flags: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    [b"\0\x04MQTT\x05", &[flags][..], b"\0\x3C", &section(properties), payload].concat()
}

/// A CONNECT of 3.1.1 with these flags and this payload.
fn v311(flags: u8, payload: &[u8]) -> Vec<u8> {
    [b"\0\x04MQTT\x04", &[flags][..], b"\0\x3C", payload].concat()
}

fn protocol() -> Vec<Malformed> {
    let unsupported = |name, body: &[u8], statement| Malformed {
        name,
        version: V5,
        header: 0x10,
        body: body.to_vec(),
        reason: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        statement,
    };
    vec![
        malformed("connect-flags-in-the-header", V5, 0x11, v5(2, b"", b"\0\x01a"), "MQTT-2.1.3-1"),
        malformed("connect-empty", V5, 0x10, b"", SHORT),
        malformed("connect-name-not-utf8", V5, 0x10, b"\0\x04MQ\xFFT\x05", "MQTT-1.5.4-1"),
        unsupported("connect-name-of-another", b"\0\x04HTTP\x05", "MQTT-3.1.2-1"),
        unsupported("connect-name-in-small-letters", b"\0\x04mqtt\x05", "MQTT-3.1.2-1"),
        unsupported("connect-level-3-as-mqtt", b"\0\x04MQTT\x03\x02\0\0\0\0", "MQTT-3.1.2-2"),
        unsupported("connect-level-6", b"\0\x04MQTT\x06\x02\0\0\0\0", "MQTT-3.1.2-2"),
        unsupported("connect-level-of-a-bridge", b"\0\x04MQTT\x84\x02\0\0\0\0", "MQTT-3.1.2-2"),
        unsupported("connect-level-4-as-mqisdp", b"\0\x06MQIsdp\x04\x02\0\0\0\0", "MQTT-3.1.2-2"),
    ]
}

fn flags() -> Vec<Malformed> {
    let id = b"\0\x01a";
    let old = b"\0\x06MQIsdp\x03\x03\0\0\0\x01a";
    vec![
        malformed("connect-31-reserved-flag", V3_1, 0x10, old, "MQTT-3.1.2-3"),
        malformed("connect-311-reserved-flag", V3_1_1, 0x10, v311(3, id), "MQTT-3.1.2-3"),
        malformed("connect-5-reserved-flag", V5, 0x10, v5(3, b"", id), "MQTT-3.1.2-3"),
        malformed("connect-311-will-qos-alone", V3_1_1, 0x10, v311(8, id), "MQTT-3.1.2-11"),
        malformed("connect-5-will-qos-alone", V5, 0x10, v5(0x10, b"", id), "MQTT-3.1.2-11"),
        malformed("connect-311-will-retain-alone", V3_1_1, 0x10, v311(0x20, id), "MQTT-3.1.2-13"),
        malformed("connect-5-will-retain-alone", V5, 0x10, v5(0x20, b"", id), "MQTT-3.1.2-13"),
        malformed("connect-311-will-qos-3", V3_1_1, 0x10, v311(0x1C, id), "MQTT-3.1.2-12"),
        malformed("connect-5-will-qos-3", V5, 0x10, v5(0x1C, b"", id), "MQTT-3.1.2-12"),
        malformed(
            "connect-311-password-alone",
            V3_1_1,
            0x10,
            v311(0x42, b"\0\x01a\0\x01p"),
            "MQTT3-3.1.2-22",
        ),
    ]
}

fn payload() -> Vec<Malformed> {
    let row = |name, flags, payload: &[u8], statement| {
        malformed(name, V3_1_1, 0x10, v311(flags, payload), statement)
    };
    vec![
        row("connect-without-client-id", 2, b"", SHORT),
        row("connect-client-id-cut-short", 2, b"\0\x05ab", SHORT),
        row("connect-client-id-not-utf8", 2, b"\0\x02\xC3\x28", "MQTT-1.5.4-1"),
        row("connect-client-id-a-surrogate", 2, b"\0\x03\xED\xA0\x80", "MQTT-1.5.4-1"),
        row("connect-client-id-overlong", 2, b"\0\x02\xC0\x80", "MQTT-1.5.4-1"),
        row("connect-client-id-beyond-unicode", 2, b"\0\x04\xF4\x90\x80\x80", "MQTT-1.5.4-1"),
        row("connect-client-id-with-nul", 2, b"\0\x03a\0b", "MQTT-1.5.4-2"),
        row("connect-without-will", 6, b"\0\x01a", SHORT),
        row("connect-without-will-payload", 6, b"\0\x01a\0\x01t", SHORT),
        row("connect-will-topic-not-utf8", 6, b"\0\x01a\0\x01\xFF\0\0", "MQTT-1.5.4-1"),
        row("connect-will-topic-with-nul", 6, b"\0\x01a\0\x01\0\0\0", "MQTT-1.5.4-2"),
        row("connect-without-user-name", 0x82, b"\0\x01a", SHORT),
        row("connect-user-name-not-utf8", 0x82, b"\0\x01a\0\x01\x80", "MQTT-1.5.4-1"),
        row("connect-without-password", 0xC2, b"\0\x01a\0\x01u", SHORT),
        row("connect-goes-on", 2, b"\0\x01a\0", SHORT),
        Malformed {
            name: "connect-31-client-id-empty",
            version: V3_1,
            header: 0x10,
            body: b"\0\x06MQIsdp\x03\x02\0\0\0\0".to_vec(),
            reason: ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            statement: "MQTT 3.1 §3.1",
        },
    ]
}

fn properties() -> Vec<Malformed> {
    let id = b"\0\x01a";
    let wrong = |name, properties: &[u8], statement| {
        error(name, V5, 0x10, v5(2, properties, id), statement)
    };
    let broken = |name, properties: &[u8], statement| {
        malformed(name, V5, 0x10, v5(2, properties, id), statement)
    };
    let start = b"\0\x04MQTT\x05\x02\0\0";
    vec![
        malformed("connect-without-properties", V5, 0x10, start, SHORT),
        malformed(
            "connect-property-length-of-five-bytes",
            V5,
            0x10,
            [&start[..], b"\x80\x80\x80\x80\x00\0\0"].concat(),
            "MQTT-1.5.5-1",
        ),
        malformed(
            "connect-property-length-beyond-the-end",
            V5,
            0x10,
            [&start[..], b"\x7F\x11\0\0"].concat(),
            SHORT,
        ),
        broken("connect-property-unknown", b"\x04\0", NOT_HERE),
        broken("connect-property-0", b"\0\0", NOT_HERE),
        broken("connect-property-of-two-bytes", b"\x80\x01\0", NOT_HERE),
        broken("connect-property-overlong", b"\x91\x00\0\0\0\0", "MQTT-1.5.5-1"),
        broken("connect-property-of-publish", b"\x23\0\x01", NOT_HERE),
        broken("connect-property-of-connack", b"\x12\0\x01a", NOT_HERE),
        broken("connect-property-of-its-will", b"\x18\0\0\0\0", NOT_HERE),
        broken("connect-property-cut-short", b"\x11\0\0", SHORT),
        broken("connect-user-property-without-value", b"\x26\0\x01k", SHORT),
        broken("connect-user-property-not-utf8", b"\x26\0\x01k\0\x01\xFF", "MQTT-1.5.4-1"),
        broken("connect-method-with-nul", b"\x15\0\x01\0", "MQTT-1.5.4-2"),
        wrong("connect-receive-maximum-0", b"\x21\0\0", "MQTT 5 §3.1.2.11.3"),
        wrong("connect-maximum-packet-size-0", b"\x27\0\0\0\0", "MQTT 5 §3.1.2.11.4"),
        wrong("connect-request-response-2", b"\x19\x02", "MQTT 5 §3.1.2.11.6"),
        wrong("connect-request-problem-255", b"\x17\xFF", "MQTT 5 §3.1.2.11.7"),
        wrong("connect-data-without-method", b"\x16\0\x01d", "MQTT 5 §3.1.2.11.10"),
    ]
}

fn repeated() -> Vec<Malformed> {
    let twice = |name, property: &[u8], statement| {
        error(name, V5, 0x10, v5(2, &[property, property].concat(), b"\0\x01a"), statement)
    };
    vec![
        twice("connect-session-expiry-twice", b"\x11\0\0\0\x01", "MQTT 5 §3.1.2.11.2"),
        twice("connect-receive-maximum-twice", b"\x21\0\x01", "MQTT 5 §3.1.2.11.3"),
        twice("connect-maximum-packet-size-twice", b"\x27\0\0\0\x63", "MQTT 5 §3.1.2.11.4"),
        twice("connect-alias-maximum-twice", b"\x22\0\x01", "MQTT 5 §3.1.2.11.5"),
        twice("connect-request-response-twice", b"\x19\x00", "MQTT 5 §3.1.2.11.6"),
        twice("connect-request-problem-twice", b"\x17\x01", "MQTT 5 §3.1.2.11.7"),
        twice("connect-method-twice", b"\x15\0\x01m", "MQTT 5 §3.1.2.11.9"),
        twice("connect-data-twice", b"\x16\0\x01d", "MQTT 5 §3.1.2.11.10"),
    ]
}

fn will_properties() -> Vec<Malformed> {
    let payload = |properties: &[u8]| {
        [b"\0\x01a", section(properties).as_slice(), b"\0\x01t\0\x01p"].concat()
    };
    let wrong = |name, properties: &[u8], statement| {
        error(name, V5, 0x10, v5(6, b"", &payload(properties)), statement)
    };
    let broken = |name, properties: &[u8], statement| {
        malformed(name, V5, 0x10, v5(6, b"", &payload(properties)), statement)
    };
    vec![
        broken("will-property-of-connect", b"\x11\0\0\0\0", NOT_HERE),
        broken("will-topic-alias", b"\x23\0\x01", NOT_HERE),
        wrong("will-payload-format-2", b"\x01\x02", "MQTT 5 §3.3.2.3.2"),
        wrong("will-delay-twice", b"\x18\0\0\0\0\x18\0\0\0\0", "MQTT 5 §3.1.3.2.2"),
        wrong("will-expiry-twice", b"\x02\0\0\0\0\x02\0\0\0\0", "MQTT 5 §3.3.2.3.3"),
        wrong("will-response-topic-with-wildcard", b"\x08\0\x03a/+", "MQTT-3.3.2-14"),
        broken("will-content-type-not-utf8", b"\x03\0\x01\xFE", "MQTT-1.5.4-1"),
    ]
}
