//! CONNACK (MQTT 5 §3.2).

use super::{packet, property};
use crate::codec::packet::{Connack, Version};
use crate::codec::property as id;
use crate::reason::ReasonCode;

/// Appends a CONNACK; below MQTT 5 without properties, and none at all where no return code fits.
pub fn connack(out: &mut Vec<u8>, version: Version, connack: &Connack) {
    let reason = ReasonCode(connack.reason);
    // With an error Session Present is 0 [MQTT-3.2.2-6].
    let present = u8::from(connack.session_present && !reason.is_error());
    if version != Version::V5 {
        // 3.1 has no Session Present: the byte is reserved.
        let present = if version == Version::V3_1 { 0 } else { present };
        // [MQTT3-3.1.4-1] [MQTT3-3.2.2-6]
        if let Some(return_code) = reason.connack_return_code() {
            out.extend_from_slice(&[0x20, 2, present, return_code]);
        }
        return;
    }
    let mut section = Vec::new();
    let out_section = &mut section;
    property::four(out_section, id::SESSION_EXPIRY_INTERVAL, connack.session_expiry_s);
    property::two(out_section, id::RECEIVE_MAXIMUM, connack.receive_maximum);
    property::byte(out_section, id::MAXIMUM_QOS, connack.maximum_qos);
    property::byte(out_section, id::RETAIN_AVAILABLE, connack.retain_available.map(u8::from));
    property::four(out_section, id::MAXIMUM_PACKET_SIZE, connack.maximum_packet_size);
    let client_id = connack.assigned_client_id.as_deref();
    property::text(out_section, id::ASSIGNED_CLIENT_IDENTIFIER, client_id);
    property::two(out_section, id::TOPIC_ALIAS_MAXIMUM, connack.topic_alias_maximum);
    property::text(out_section, id::REASON_STRING, connack.reason_string.as_deref());
    property::two(out_section, id::SERVER_KEEP_ALIVE, connack.server_keep_alive_s);
    let information = connack.response_information.as_deref();
    property::text(out_section, id::RESPONSE_INFORMATION, information);
    property::text(out_section, id::SERVER_REFERENCE, connack.server_reference.as_deref());
    let method = connack.authentication_method.as_deref();
    property::text(out_section, id::AUTHENTICATION_METHOD, method);
    property::bytes(out_section, id::AUTHENTICATION_DATA, connack.authentication_data.as_deref());
    let mut body = vec![present, connack.reason];
    property::section(&mut body, &section);
    packet(out, 0x20, &body);
}
