//! The data types of MQTT, read from a packet's body (MQTT 5 §1.5).

use crate::reason::ReasonCode;
use crate::violation::Violation;

const SHORT: Violation =
    Violation::malformed("MQTT 5 §1.2", "the packet ends before its fields do");
const NOT_UTF8: Violation = Violation::malformed("MQTT-1.5.4-1", "a string is not UTF-8");
const NUL: Violation = Violation::malformed("MQTT-1.5.4-2", "a string holds U+0000");
const WILDCARD_IN_TOPIC_NAME: Violation = Violation {
    reason: ReasonCode::TOPIC_NAME_INVALID,
    statement: "MQTT-3.3.2-2",
    detail: "the Topic Name holds a wildcard",
};

/// What is left of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, Violation> {
        let (first, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Two Byte Integer.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Violation> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    /// Four Byte Integer.
    pub fn u32(&mut self) -> Result<u32, Violation> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// Variable Byte Integer, in its shortest form [MQTT-1.5.5-1].
    #[inline]
    pub fn variable(&mut self) -> Result<u32, Violation> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F) << (7 * at);
            if byte < 0x80 {
                if at > 0 && byte == 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(Violation::malformed("MQTT-1.5.5-1", "a Variable Byte Integer is malformed"))
    }

    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Binary Data.
    #[inline]
    pub fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    /// UTF-8 Encoded String.
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, Violation> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| NOT_UTF8)?; // [MQTT-1.5.4-1]
        if bytes.contains(&0) {
            return Err(NUL); // [MQTT-1.5.4-2]
        }
        Ok(text)
    }

    /// UTF-8 Encoded String without wildcards; it may be empty.
    #[inline]
    pub fn topic_name(&mut self) -> Result<&'a [u8], Violation> {
        let bytes = self.binary()?;
        if is_plain(bytes) { Ok(bytes) } else { checked_topic_name(bytes) }
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), Violation> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Violation::malformed("MQTT 5 §1.2", "the packet goes on after its last field"))
        }
    }
}

/// The rare Topic Name: one beyond ASCII, or a wrong one.
#[cold]
fn checked_topic_name(bytes: &[u8]) -> Result<&[u8], Violation> {
    std::str::from_utf8(bytes).map_err(|_| NOT_UTF8)?; // [MQTT-1.5.4-1]
    if bytes.contains(&0) {
        return Err(NUL); // [MQTT-1.5.4-2]
    }
    if bytes.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(WILDCARD_IN_TOPIC_NAME); // [MQTT-3.3.2-2]
    }
    Ok(bytes)
}

/// Whether all bytes are ASCII and none is NUL, `+` or `#`.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        if !is_plain_word(*word) {
            return false;
        }
        rest = after;
    }
    match bytes.last_chunk() {
        // The last eight overlap with those before; that is quicker than one by one.
        Some(word) => rest.is_empty() || is_plain_word(*word),
        None => rest.iter().all(|byte| matches!(byte, 1..0x80) && !matches!(byte, b'+' | b'#')),
    }
}

/// `is_plain` for eight bytes at once: a byte is 0 if subtracting 1 borrows from its highest bit.
#[inline]
fn is_plain_word(word: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = u64::from_ne_bytes([0x80; 8]);
    const PLUS: u64 = u64::from_ne_bytes([b'+'; 8]);
    const HASH: u64 = u64::from_ne_bytes([b'#'; 8]);
    let word = u64::from_ne_bytes(word);
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    (word | zeros(word) | zeros(word ^ PLUS) | zeros(word ^ HASH)) & HIGHEST == 0
}
