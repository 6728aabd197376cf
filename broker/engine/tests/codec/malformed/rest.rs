//! Wrong SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT and AUTH packets, and those of servers.

use engine::codec::packet::Version::{V3_1, V3_1_1, V5};

use super::{Malformed, error, malformed};

const SHORT: &str = "MQTT 5 §1.2";
const NOT_HERE: &str = "MQTT 5 §2.2.2.2";
const FLAGS: &str = "MQTT-2.1.3-1";

pub fn rows() -> Vec<Malformed> {
    let mut rows = subscribes();
    rows.extend(unsubscribes());
    rows.extend(session());
    rows.extend(auths());
    rows.extend(servers());
    rows
}

fn subscribes() -> Vec<Malformed> {
    let old = "MQTT3-3-8.3-4";
    let identifier = "MQTT 5 §3.8.2.1.2";
    let shared = b"\0\x01\0\0\x0A$share/g/a\x04";
    vec![
        malformed("subscribe-flags", V3_1, 0x80, b"\0\x01\0\x01t\0", FLAGS),
        malformed("subscribe-311-dup", V3_1_1, 0x8A, b"\0\x01\0\x01t\0", FLAGS),
        malformed("subscribe-5-dup", V5, 0x8A, b"\0\x01\0\0\x01t\0", FLAGS),
        malformed("subscribe-empty", V3_1_1, 0x82, b"", SHORT),
        error("subscribe-311-packet-id-0", V3_1_1, 0x82, b"\0\0\0\x01t\0", "MQTT-2.2.1-3"),
        error("subscribe-5-packet-id-0", V5, 0x82, b"\0\0\0\0\x01t\0", "MQTT-2.2.1-3"),
        error("subscribe-311-without-filter", V3_1_1, 0x82, b"\0\x01", "MQTT-3.8.3-2"),
        error("subscribe-5-without-filter", V5, 0x82, b"\0\x01\0", "MQTT-3.8.3-2"),
        malformed("subscribe-without-options", V3_1_1, 0x82, b"\0\x01\0\x01t", SHORT),
        malformed("subscribe-filter-not-utf8", V5, 0x82, b"\0\x01\0\0\x01\xFF\0", "MQTT-1.5.4-1"),
        malformed("subscribe-filter-with-nul", V5, 0x82, b"\0\x01\0\0\x01\0\0", "MQTT-1.5.4-2"),
        malformed("subscribe-31-reserved", V3_1, 0x82, b"\0\x01\0\x01t\x04", old),
        malformed("subscribe-311-reserved", V3_1_1, 0x82, b"\0\x01\0\x01t\x80", old),
        malformed("subscribe-311-qos-3", V3_1_1, 0x82, b"\0\x01\0\x01t\x03", old),
        malformed("subscribe-5-reserved-6", V5, 0x82, b"\0\x01\0\0\x01t\x40", "MQTT-3.8.3-5"),
        malformed("subscribe-5-reserved-7", V5, 0x82, b"\0\x01\0\0\x01t\x80", "MQTT-3.8.3-5"),
        error("subscribe-5-qos-3", V5, 0x82, b"\0\x01\0\0\x01t\x03", "MQTT 5 §3.8.3.1"),
        error("subscribe-5-handling-3", V5, 0x82, b"\0\x01\0\0\x01t\x30", "MQTT 5 §3.8.3.1"),
        error("subscribe-5-shared-no-local", V5, 0x82, shared, "MQTT-3.8.3-4"),
        error("subscribe-identifier-0", V5, 0x82, b"\0\x01\x02\x0B\0\0\x01t\0", identifier),
        error(
            "subscribe-identifier-twice",
            V5,
            0x82,
            b"\0\x01\x04\x0B\x01\x0B\x02\0\x01t\0",
            identifier,
        ),
        malformed(
            "subscribe-identifier-of-five-bytes",
            V5,
            0x82,
            b"\0\x01\x06\x0B\x80\x80\x80\x80\x01\0\x01t\0",
            "MQTT-1.5.5-1",
        ),
        malformed("subscribe-text", V5, 0x82, b"\0\x01\x04\x1F\0\x01a\0\x01t\0", NOT_HERE),
    ]
}

fn unsubscribes() -> Vec<Malformed> {
    vec![
        malformed("unsubscribe-flags", V5, 0xA0, b"\0\x01\0\0\x01t", FLAGS),
        malformed("unsubscribe-311-dup", V3_1_1, 0xAA, b"\0\x01\0\x01t", FLAGS),
        error("unsubscribe-packet-id-0", V3_1_1, 0xA2, b"\0\0\0\x01t", "MQTT-2.2.1-3"),
        error("unsubscribe-311-without-filter", V3_1_1, 0xA2, b"\0\x01", "MQTT-3.10.3-2"),
        error("unsubscribe-5-without-filter", V5, 0xA2, b"\0\x01\0", "MQTT-3.10.3-2"),
        malformed("unsubscribe-filter-not-utf8", V3_1, 0xA2, b"\0\x01\0\x01\xFF", "MQTT-1.5.4-1"),
        malformed("unsubscribe-filter-cut-short", V3_1, 0xA2, b"\0\x01\0\x02t", SHORT),
        malformed("unsubscribe-identifier", V5, 0xA2, b"\0\x01\x02\x0B\x01\0\x01t", NOT_HERE),
    ]
}

fn session() -> Vec<Malformed> {
    let expiry_twice = b"\0\x0A\x11\0\0\0\0\x11\0\0\0\0";
    let text_twice = b"\0\x06\x1F\0\0\x1F\0\0";
    vec![
        malformed("pingreq-flags", V3_1_1, 0xC1, b"", FLAGS),
        malformed("pingreq-goes-on", V5, 0xC0, b"\0", SHORT),
        malformed("disconnect-flags", V3_1_1, 0xE8, b"", FLAGS),
        malformed("disconnect-31-goes-on", V3_1, 0xE0, b"\0", SHORT),
        malformed("disconnect-311-goes-on", V3_1_1, 0xE0, b"\0", SHORT),
        malformed("disconnect-5-goes-on", V5, 0xE0, b"\0\0\0", SHORT),
        error("disconnect-reason-unknown", V5, 0xE0, b"\x01", "MQTT-3.14.2-1"),
        error("disconnect-reason-of-servers", V5, 0xE0, b"\x8E", "MQTT-3.14.2-1"),
        malformed("disconnect-property-of-connect", V5, 0xE0, b"\0\x03\x21\0\x01", NOT_HERE),
        error("disconnect-expiry-twice", V5, 0xE0, expiry_twice, "MQTT 5 §3.1.2.11.2"),
        error("disconnect-text-twice", V5, 0xE0, text_twice, "MQTT 5 §3.4.2.2.2"),
    ]
}

fn auths() -> Vec<Malformed> {
    let statement = "MQTT-3.15.2-1";
    vec![
        malformed("auth-flags", V5, 0xF1, b"\x18\x04\x15\0\x01m", FLAGS),
        error("auth-empty", V5, 0xF0, b"", statement),
        error("auth-success", V5, 0xF0, b"\x00\x04\x15\0\x01m", statement),
        error("auth-reason-unknown", V5, 0xF0, b"\x87\x04\x15\0\x01m", statement),
        malformed("auth-without-properties", V5, 0xF0, b"\x18", SHORT),
        error("auth-without-method", V5, 0xF0, b"\x18\0", "MQTT 5 §3.15.2.2.2"),
        error(
            "auth-method-twice",
            V5,
            0xF0,
            b"\x18\x08\x15\0\x01m\x15\0\x01m",
            "MQTT 5 §3.1.2.11.9",
        ),
        malformed("auth-property-of-connect", V5, 0xF0, b"\x18\x02\x17\x01", NOT_HERE),
        malformed("auth-goes-on", V5, 0xF0, b"\x18\x04\x15\0\x01m\0", SHORT),
        error("auth-31", V3_1, 0xF0, b"", "MQTT 5 §2.1.2"),
        error("auth-311", V3_1_1, 0xF0, b"\x18\x04\x15\0\x01m", "MQTT 5 §2.1.2"),
    ]
}

fn servers() -> Vec<Malformed> {
    let statement = "MQTT 5 §2.1.2";
    vec![
        malformed("type-0", V5, 0x00, b"", statement),
        malformed("type-0-with-flags", V3_1, 0x0F, b"", statement),
        error("connack-from-a-client", V5, 0x20, b"\0\0\0", statement),
        error("suback-from-a-client", V3_1_1, 0x90, b"\0\x01\0", statement),
        error("unsuback-from-a-client", V3_1, 0xB0, b"\0\x01", statement),
        error("pingresp-from-a-client", V3_1_1, 0xD0, b"", statement),
    ]
}
