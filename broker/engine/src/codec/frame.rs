//! The Fixed Header: where a packet ends (MQTT 5 §2.1).

use crate::reason::ReasonCode;
use crate::violation::Violation;

/// What the bytes at hand hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing<'a> {
    /// Not a whole packet yet.
    Incomplete {
        /// The whole packet's length in bytes, once the header tells.
        total: Option<usize>,
    },
    /// A packet.
    Complete {
        /// Type and flags.
        header: u8,
        /// What follows the Fixed Header.
        body: &'a [u8],
        /// Bytes of the whole packet.
        length: usize,
    },
}

const TOO_LARGE: Violation = Violation {
    reason: ReasonCode::PACKET_TOO_LARGE,
    statement: "MQTT-3.2.2-15",
    detail: "the packet is larger than the Maximum Packet Size",
};
const RESERVED_TYPE: Violation = Violation::malformed("MQTT 5 §2.1.2", "packet type 0 is reserved");
const LONG_LENGTH: Violation =
    Violation::malformed("MQTT-1.5.5-1", "the Remaining Length has more than four bytes");

/// Finds the first packet of `input`; `maximum_packet_size` counts all its bytes.
///
/// # Errors
/// The header is malformed, or announces more than allowed: said as soon as it is seen.
#[inline]
pub fn frame(input: &[u8], maximum_packet_size: u32) -> Result<Framing<'_>, Violation> {
    let [header, rest @ ..] = input else { return Ok(Framing::Incomplete { total: None }) };
    let header = *header;
    if header < 0x10 {
        return Err(RESERVED_TYPE);
    }
    let (remaining, length_bytes) = match rest {
        [first, ..] if *first < 0x80 => (usize::from(*first), 1),
        _ => match variable_length(rest)? {
            Some(found) => found,
            None => return Ok(Framing::Incomplete { total: None }),
        },
    };
    let total = 1 + length_bytes + remaining;
    if total > maximum_packet_size as usize {
        return Err(TOO_LARGE); // [MQTT-3.2.2-15]
    }
    match input.get(1 + length_bytes..total) {
        Some(body) => Ok(Framing::Complete { header, body, length: total }),
        None => Ok(Framing::Incomplete { total: Some(total) }),
    }
}

/// A Variable Byte Integer and how many bytes it took; `None` if it goes on (MQTT 5 §1.5.5).
fn variable_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Violation> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if *byte < 0x80 {
            if at > 0 && *byte == 0 {
                // The encoded value must use the fewest bytes [MQTT-1.5.5-1].
                return Err(Violation::malformed(
                    "MQTT-1.5.5-1",
                    "the Remaining Length is not in its shortest form",
                ));
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(LONG_LENGTH) } else { Ok(None) }
}
