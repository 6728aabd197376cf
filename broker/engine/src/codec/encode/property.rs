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
    bytes(out, identifier, value.map(|text| fitting(text).as_bytes()));
}

pub(super) fn bytes(out: &mut Vec<u8>, identifier: u8, value: Option<&[u8]>) {
    if let Some(value) = value {
        out.push(identifier);
        binary(out, value);
    }
}

/// As much of a text as a UTF-8 Encoded String holds: 65,535 bytes, cut between characters.
fn fitting(text: &str) -> &str {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
