//! Properties as bytes (MQTT 5 §2.2.2).

use super::{binary, variable};

/// Appends a section, its length first.
pub(super) fn section(out: &mut Vec<u8>, properties: &[u8]) {
    variable(out, properties.len());
    out.extend_from_slice(properties);
}

pub(super) fn byte(out: &mut Vec<u8>, identifier: u8, value: Option<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(&[identifier, value]);
    }
}

pub(super) fn two(out: &mut Vec<u8>, identifier: u8, value: Option<u16>) {
    if let Some(value) = value {
        out.push(identifier);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn four(out: &mut Vec<u8>, identifier: u8, value: Option<u32>) {
    if let Some(value) = value {
        out.push(identifier);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn text(out: &mut Vec<u8>, identifier: u8, value: Option<&str>) {
    bytes(out, identifier, value.map(str::as_bytes));
}

pub(super) fn bytes(out: &mut Vec<u8>, identifier: u8, value: Option<&[u8]>) {
    if let Some(value) = value {
        out.push(identifier);
        binary(out, value);
    }
}
