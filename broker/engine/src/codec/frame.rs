//! The Fixed Header: where a packet ends (MQTT 5 §2.1).

use crate::reason::ReasonCode;
use crate::violation::Violation;

/// Flags that the packet type does not have, or does not have in the version spoken.
pub(super) const WRONG_FLAGS: Violation =
    Violation::malformed("MQTT-2.1.3-1", "the flags of the Fixed Header are not those of the type");

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
const LONG_LENGTH: Violation =
    Violation::malformed("MQTT 5 §1.5.5", "the Remaining Length has more than four bytes");

/// The flags each packet type may have, a bit for each value of the lower half of the first byte.
/// Those of PUBLISH leave out QoS 3. PUBREL, SUBSCRIBE and UNSUBSCRIBE have 2, and in 3.1 with
/// DUP 10: `decode` knows the version and tells them apart.
const FLAGS: [u16; 16] = [0, 1, 1, 0x3F3F, 1, 1, 0x0404, 1, 0x0404, 1, 0x0404, 1, 1, 1, 1, 1];

/// Finds the first packet of `input`; `maximum_packet_size` counts all its bytes.
///
/// # Errors
/// The header is malformed, or announces more than allowed: said as soon as it is seen.
#[inline]
pub fn frame(input: &[u8], maximum_packet_size: u32) -> Result<Framing<'_>, Violation> {
    let [header, rest @ ..] = input else { return Ok(Framing::Incomplete { total: None }) };
    let header = *header;
    if !is_allowed(header) {
        return Err(wrong_header(header)); // [MQTT-2.1.3-1] [MQTT-3.3.1-4]
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

#[inline]
fn is_allowed(header: u8) -> bool {
    FLAGS.get(usize::from(header >> 4)).is_some_and(|flags| flags >> (header & 0x0F) & 1 == 1)
}

#[cold]
fn wrong_header(header: u8) -> Violation {
    match header >> 4 {
        0 => Violation::malformed("MQTT 5 §2.1.2", "packet type 0 is reserved"),
        3 => Violation::malformed("MQTT-3.3.1-4", "the QoS is 3"),
        _ => WRONG_FLAGS,
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
