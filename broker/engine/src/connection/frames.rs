//! PUBLISH frames encoded once per shape and copied to each receiver: only the first byte and the
//! Packet Identifier differ between those who share a shape.

use super::SHARED_FROM;
use crate::codec::encode;
use crate::codec::packet::{PublishOut, Version};
use crate::message::Publication;

/// The longest topic and the longest copied payload; only User Properties make it more.
const KEPT_MAX: usize = 128 * 1024;

/// The frames of the message that is being routed.
#[derive(Debug, Default)]
pub struct Frames {
    /// By (MQTT 5 or older, with Packet Identifier or without).
    frames: [Frame; 4],
}

#[derive(Debug, Default)]
struct Frame {
    bytes: Vec<u8>,
    packet_id_at: usize,
    mount_len: usize,
    is_valid: bool,
}

impl Frames {
    /// Forgets the last message, keeps the buffers unless they are large.
    #[inline]
    pub fn reset(&mut self) {
        for frame in &mut self.frames {
            frame.is_valid = false;
            if frame.bytes.capacity() > KEPT_MAX {
                frame.bytes = Vec::new();
            }
        }
    }

    /// The frame for a receiver without alias and identifiers: its bytes (the payload left out
    /// from `SHARED_FROM` on), and where the Packet Identifier stands.
    #[inline]
    pub fn get(
        &mut self,
        version: Version,
        has_packet_id: bool,
        mount_len: usize,
        publication: &Publication<'_>,
        message_expiry_s: Option<u32>,
    ) -> (&[u8], usize) {
        let index = usize::from(version == Version::V5) * 2 + usize::from(has_packet_id);
        // The index is 0 to 3.
        #[expect(clippy::indexing_slicing, reason = "two booleans make an index below 4")]
        let frame = &mut self.frames[index];
        if !frame.is_valid || frame.mount_len != mount_len {
            frame.bytes.clear();
            let packet = PublishOut {
                qos: u8::from(has_packet_id),
                topic: publication.topic.get(mount_len..).unwrap_or_default(),
                message_expiry_s,
                properties: publication.properties,
                payload: publication.payload,
                ..PublishOut::default()
            };
            frame.packet_id_at = if publication.payload.len() >= SHARED_FROM {
                encode::publish_head(&mut frame.bytes, version, &packet)
            } else {
                encode::publish(&mut frame.bytes, version, &packet)
            };
            frame.mount_len = mount_len;
            frame.is_valid = true;
        }
        (&frame.bytes, frame.packet_id_at)
    }
}

/// The first byte of a PUBLISH (MQTT 5 §3.3.1).
#[inline]
pub fn publish_header(dup: bool, qos: u8, retain: bool) -> u8 {
    0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(retain)
}
