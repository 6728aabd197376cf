//! Messages between the engine's shape (encoded properties) and the host's (fields).

use crate::codec::packet::UserProperties;
use crate::host::HostMessage;
use crate::message::{NEVER, Publication, expiry_left_s};

// Property identifiers of PUBLISH (MQTT 5 §2.2.2.2).
const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const USER_PROPERTY: u8 = 0x26;

impl HostMessage {
    /// What the host sees of a publication.
    pub fn from_publication(publication: &Publication<'_>, now_ms: u64) -> Self {
        let mut message = Self {
            topic: text(publication.topic),
            payload: publication.payload.into(),
            qos: publication.qos,
            retain: publication.retain,
            message_expiry_s: expiry_left_s(publication.expires_at_ms, now_ms),
            ..Self::default()
        };
        let mut rest = publication.properties;
        while let Some((identifier, value)) = rest.split_first() {
            let Some(after) = message.read_property(*identifier, value) else { break };
            rest = after;
        }
        message
    }

    fn read_property<'a>(&mut self, identifier: u8, value: &'a [u8]) -> Option<&'a [u8]> {
        match identifier {
            PAYLOAD_FORMAT_INDICATOR => {
                let (format, rest) = value.split_first()?;
                self.payload_is_utf8 = *format == 1;
                return Some(rest);
            }
            USER_PROPERTY => {
                let (name, rest) = string(value)?;
                let (content, rest) = string(rest)?;
                self.user_properties.push((text(name), text(content)));
                return Some(rest);
            }
            _ => {}
        }
        let (content, rest) = string(value)?;
        match identifier {
            CONTENT_TYPE => self.content_type = Some(text(content)),
            RESPONSE_TOPIC => self.response_topic = Some(text(content)),
            CORRELATION_DATA => self.correlation_data = Some(content.into()),
            _ => return None,
        }
        Some(rest)
    }

    /// The properties as a PUBLISH carries them.
    pub fn encode_properties(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.payload_is_utf8 {
            out.extend_from_slice(&[PAYLOAD_FORMAT_INDICATOR, 1]);
        }
        let strings = [
            (CONTENT_TYPE, self.content_type.as_deref().map(str::as_bytes)),
            (RESPONSE_TOPIC, self.response_topic.as_deref().map(str::as_bytes)),
            (CORRELATION_DATA, self.correlation_data.as_deref()),
        ];
        for (identifier, content) in strings {
            if let Some(content) = content {
                out.push(identifier);
                put_string(&mut out, content);
            }
        }
        put_user_properties(&mut out, &self.user_properties);
        out
    }

    /// When it expires, in engine milliseconds.
    pub fn expires_at_ms(&self, now_ms: u64) -> u64 {
        self.message_expiry_s.map_or(NEVER, |left_s| now_ms + u64::from(left_s) * 1_000)
    }
}

fn put_user_properties(out: &mut Vec<u8>, properties: &UserProperties) {
    for (name, content) in properties {
        out.push(USER_PROPERTY);
        put_string(out, name.as_bytes());
        put_string(out, content.as_bytes());
    }
}

/// Two bytes of length, then the bytes; cut at 65,535, which the host's door does not let pass.
fn put_string(out: &mut Vec<u8>, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(content.get(..usize::from(length)).unwrap_or_default());
}

fn string(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}
