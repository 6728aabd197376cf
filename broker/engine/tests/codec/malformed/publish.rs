//! Wrong PUBLISH packets and acknowledgements.

use engine::codec::packet::Version::{V3_1, V3_1_1, V5};
use engine::reason::ReasonCode;

use super::{Malformed, error, malformed, section};

const SHORT: &str = "MQTT 5 §1.2";
const NOT_HERE: &str = "MQTT 5 §2.2.2.2";

pub fn rows() -> Vec<Malformed> {
    let mut rows = headers();
    rows.extend(names());
    rows.extend(properties());
    rows.extend(acknowledgements());
    rows
}

fn headers() -> Vec<Malformed> {
    let qos_1 = b"\0\x01t\0\0";
    vec![
        malformed("publish-31-qos-3", V3_1, 0x36, b"\0\x01t\0\x01", "MQTT-3.3.1-4"),
        malformed("publish-311-qos-3", V3_1_1, 0x3E, b"\0\x01t\0\x01", "MQTT-3.3.1-4"),
        malformed("publish-5-qos-3", V5, 0x37, b"\0\x01t\0\x01\0", "MQTT-3.3.1-4"),
        malformed("publish-311-dup-at-qos-0", V3_1_1, 0x38, b"\0\x01tx", "MQTT-3.3.1-2"),
        malformed("publish-5-dup-at-qos-0", V5, 0x39, b"\0\x01t\0x", "MQTT-3.3.1-2"),
        error("publish-31-packet-id-0", V3_1, 0x32, qos_1, "MQTT-2.2.1-3"),
        error("publish-311-packet-id-0", V3_1_1, 0x32, qos_1, "MQTT-2.2.1-3"),
        error("publish-5-packet-id-0", V5, 0x34, b"\0\x01t\0\0\0", "MQTT-2.2.1-3"),
        malformed("publish-without-packet-id", V3_1_1, 0x32, b"\0\x01t\x01", SHORT),
        malformed("publish-without-properties", V5, 0x30, b"\0\x01t", SHORT),
        malformed("publish-empty", V3_1_1, 0x30, b"", SHORT),
    ]
}

fn names() -> Vec<Malformed> {
    let wildcard = |name, version, body: &[u8]| Malformed {
        name,
        version,
        header: 0x30,
        body: body.to_vec(),
        reason: ReasonCode::TOPIC_NAME_INVALID,
        statement: "MQTT-3.3.2-2",
    };
    vec![
        wildcard("publish-31-topic-with-wildcard", V3_1, b"\0\x01#x"),
        wildcard("publish-311-topic-with-wildcard", V3_1_1, b"\0\x03a/+"),
        wildcard("publish-5-topic-with-wildcard", V5, b"\0\x0Babcdefgh/+/\0"),
        wildcard("publish-5-topic-with-wildcard-beyond-ascii", V5, b"\0\x05\xC3\xBC/#/\0"),
        malformed("publish-topic-not-utf8", V3_1_1, 0x30, b"\0\x02\xC3\x28", "MQTT-1.5.4-1"),
        malformed("publish-topic-a-surrogate", V5, 0x30, b"\0\x03\xED\xBF\xBF\0", "MQTT-1.5.4-1"),
        malformed(
            "publish-topic-not-utf8-far-behind",
            V5,
            0x30,
            b"\0\x12abcdefghijklmnopq\xFF\0",
            "MQTT-1.5.4-1",
        ),
        malformed("publish-topic-with-nul", V3_1, 0x30, b"\0\x03a\0b", "MQTT-1.5.4-2"),
        malformed(
            "publish-topic-with-nul-far-behind",
            V5,
            0x30,
            b"\0\x0Aabcdefghi\0\0",
            "MQTT-1.5.4-2",
        ),
        malformed("publish-topic-beyond-the-end", V5, 0x30, b"\0\x05t", SHORT),
        error("publish-31-topic-empty", V3_1, 0x30, b"\0\0x", "MQTT-4.7.3-1"),
        error("publish-311-topic-empty", V3_1_1, 0x30, b"\0\0x", "MQTT-4.7.3-1"),
        error("publish-5-topic-empty", V5, 0x30, b"\0\0\0x", "MQTT-4.7.3-1"),
    ]
}

fn properties() -> Vec<Malformed> {
    let body = |properties: &[u8]| [b"\0\x01t", section(properties).as_slice(), b"x"].concat();
    let wrong =
        |name, properties: &[u8], statement| error(name, V5, 0x30, body(properties), statement);
    let broken =
        |name, properties: &[u8], statement| malformed(name, V5, 0x30, body(properties), statement);
    vec![
        broken("publish-property-unknown", b"\x7F\0", NOT_HERE),
        broken("publish-property-of-connect", b"\x11\0\0\0\0", NOT_HERE),
        broken("publish-property-of-answers", b"\x1F\0\x01a", NOT_HERE),
        broken("publish-property-cut-short", b"\x02\0\0\0", SHORT),
        broken("publish-content-type-not-utf8", b"\x03\0\x01\xFF", "MQTT-1.5.4-1"),
        broken("publish-response-topic-not-utf8", b"\x08\0\x01\xFF", "MQTT-1.5.4-1"),
        broken("publish-user-property-with-nul", b"\x26\0\x01\0\0\0", "MQTT-1.5.4-2"),
        wrong("publish-payload-format-2", b"\x01\x02", "MQTT 5 §3.3.2.3.2"),
        wrong("publish-payload-format-twice", b"\x01\x00\x01\x00", "MQTT 5 §3.3.2.3.2"),
        wrong("publish-expiry-twice", b"\x02\0\0\0\0\x02\0\0\0\0", "MQTT 5 §3.3.2.3.3"),
        wrong("publish-alias-twice", b"\x23\0\x01\x23\0\x01", "MQTT 5 §3.3.2.3.4"),
        wrong("publish-response-topic-twice", b"\x08\0\x01a\x08\0\x01a", "MQTT 5 §3.3.2.3.5"),
        wrong("publish-correlation-twice", b"\x09\0\0\x09\0\0", "MQTT 5 §3.3.2.3.6"),
        wrong("publish-content-type-twice", b"\x03\0\0\x03\0\0", "MQTT 5 §3.3.2.3.9"),
        wrong("publish-response-topic-with-wildcard", b"\x08\0\x01#", "MQTT-3.3.2-14"),
        wrong("publish-response-topic-empty", b"\x08\0\0", "MQTT-3.3.2-14"),
        wrong("publish-subscription-identifier", b"\x0B\x01", "MQTT-3.3.4-6"),
        wrong("publish-subscription-identifier-0", b"\x0B\0", "MQTT 5 §3.8.2.1.2"),
        Malformed {
            name: "publish-alias-0",
            version: V5,
            header: 0x30,
            body: body(b"\x23\0\0"),
            reason: ReasonCode::TOPIC_ALIAS_INVALID,
            statement: "MQTT-3.3.2-8",
        },
    ]
}

fn acknowledgements() -> Vec<Malformed> {
    let text_twice = b"\0\x01\0\x08\x1F\0\x01a\x1F\0\x01a";
    let text = "MQTT 5 §3.4.2.2.2";
    vec![
        malformed("puback-flags", V3_1_1, 0x42, b"\0\x01", "MQTT-2.1.3-1"),
        malformed("pubrel-without-flags", V5, 0x60, b"\0\x01", "MQTT-2.1.3-1"),
        malformed("pubrel-311-dup", V3_1_1, 0x6A, b"\0\x01", "MQTT-2.1.3-1"),
        malformed("pubrel-5-dup", V5, 0x6A, b"\0\x01", "MQTT-2.1.3-1"),
        malformed("pubcomp-flags", V5, 0x72, b"\0\x01", "MQTT-2.1.3-1"),
        malformed("puback-empty", V5, 0x40, b"", SHORT),
        malformed("pubrec-half-a-packet-id", V3_1, 0x50, b"\x01", SHORT),
        error("puback-packet-id-0", V3_1_1, 0x40, b"\0\0", "MQTT-2.2.1-3"),
        error("pubcomp-packet-id-0", V5, 0x70, b"\0\0", "MQTT-2.2.1-3"),
        malformed("puback-311-goes-on", V3_1_1, 0x40, b"\0\x01\0", SHORT),
        malformed("pubrel-31-goes-on", V3_1, 0x62, b"\0\x01\0\0", SHORT),
        malformed("puback-5-goes-on", V5, 0x40, b"\0\x01\0\0\0", SHORT),
        error("puback-reason-of-pubrel", V5, 0x40, b"\0\x01\x92", "MQTT-3.4.2-1"),
        error("pubrec-reason-unknown", V5, 0x50, b"\0\x01\x01", "MQTT-3.5.2-1"),
        error("pubrel-reason-of-puback", V5, 0x62, b"\0\x01\x10", "MQTT-3.6.2-1"),
        error("pubcomp-reason-of-puback", V5, 0x70, b"\0\x01\x80\0", "MQTT-3.7.2-1"),
        malformed("puback-property-of-publish", V5, 0x40, b"\0\x01\0\x02\x01\0", NOT_HERE),
        malformed("pubrec-property-beyond-the-end", V5, 0x50, b"\0\x01\0\x05\x1F\0", SHORT),
        error("puback-text-twice", V5, 0x40, text_twice, text),
        error("pubrec-text-twice", V5, 0x50, text_twice, text),
        error("pubrel-text-twice", V5, 0x62, text_twice, text),
        error("pubcomp-text-twice", V5, 0x70, text_twice, text),
    ]
}
