//! PUBLISH to a client (MQTT 5 §3.3): the broker's hottest packet, written in one pass.

use super::{binary, variable, variable_size};
use crate::codec::packet::{PublishOut, Version};
use crate::codec::property as id;

/// Appends a PUBLISH; where its Packet Identifier stands from its first byte on, 0 at QoS 0.
#[inline]
pub fn publish(out: &mut Vec<u8>, version: Version, packet: &PublishOut<'_>) -> usize {
    let packet_id_at = publish_head(out, version, packet);
    out.extend_from_slice(packet.payload);
    packet_id_at
}

/// The same without the payload's bytes, which the Remaining Length counts all the same.
#[inline]
pub fn publish_head(out: &mut Vec<u8>, version: Version, packet: &PublishOut<'_>) -> usize {
    let properties_len = properties_len(version, packet);
    let remaining = remaining_length(version, packet, properties_len);
    let start = out.len();
    out.reserve(remaining + 5);
    let flags = u8::from(packet.dup) << 3 | packet.qos << 1 | u8::from(packet.retain);
    out.push(0x30 | flags);
    variable(out, remaining);
    binary(out, packet.topic);
    let mut packet_id_at = 0;
    if packet.qos > 0 {
        packet_id_at = out.len() - start;
        out.extend_from_slice(&packet.packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        variable(out, properties_len);
        put_properties(out, packet);
    }
    packet_id_at
}

/// Bytes of the whole packet.
pub fn publish_size(version: Version, packet: &PublishOut<'_>) -> usize {
    let remaining = remaining_length(version, packet, properties_len(version, packet));
    1 + variable_size(remaining) + remaining
}

#[inline]
fn remaining_length(version: Version, packet: &PublishOut<'_>, properties_len: usize) -> usize {
    let packet_id = if packet.qos > 0 { 2 } else { 0 };
    let properties = match version {
        Version::V5 => variable_size(properties_len) + properties_len,
        _ => 0,
    };
    2 + packet.topic.len() + packet_id + properties + packet.payload.len()
}

#[inline]
fn properties_len(version: Version, packet: &PublishOut<'_>) -> usize {
    if version != Version::V5 {
        return 0;
    }
    let mut length = packet.properties.len();
    if packet.message_expiry_s.is_some() {
        length += 5;
    }
    if packet.topic_alias.is_some() {
        length += 3;
    }
    for identifier in packet.subscription_identifiers {
        length += 1 + variable_size(*identifier as usize);
    }
    length
}

#[inline]
fn put_properties(out: &mut Vec<u8>, packet: &PublishOut<'_>) {
    if let Some(left_s) = packet.message_expiry_s {
        out.push(id::MESSAGE_EXPIRY_INTERVAL);
        out.extend_from_slice(&left_s.to_be_bytes());
    }
    if let Some(alias) = packet.topic_alias {
        out.push(id::TOPIC_ALIAS);
        out.extend_from_slice(&alias.to_be_bytes());
    }
    for identifier in packet.subscription_identifiers {
        out.push(id::SUBSCRIPTION_IDENTIFIER);
        variable(out, *identifier as usize);
    }
    out.extend_from_slice(packet.properties);
}
