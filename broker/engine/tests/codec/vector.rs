//! One row of the table: a packet's bytes in annotated parts, and what they mean.

use std::collections::BTreeSet;
use std::fmt::Write;

use engine::codec::packet::{Packet, Version};

/// Where a packet's body may stop and be a packet all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Neither inside this part nor behind it, unless it is the last.
    Never,
    /// Behind this part.
    After,
    /// Before each of its bytes, too.
    Anywhere,
}

/// Some bytes of a packet and what they are.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub bytes: &'static [u8],
    pub note: &'static str,
    pub end: End,
}

/// A part that has to be followed by the next.
pub const fn part(bytes: &'static [u8], note: &'static str) -> Part {
    Part { bytes, note, end: End::Never }
}

impl Part {
    /// The packet may end behind this part; behind its Remaining Length: have no body.
    pub const fn may_end(self) -> Self {
        Self { end: End::After, ..self }
    }

    /// The packet may end anywhere in this part: the payload of a PUBLISH.
    pub const fn may_end_anywhere(self) -> Self {
        Self { end: End::Anywhere, ..self }
    }
}

/// A packet of the table. The first part is its first byte, the second its Remaining Length.
#[derive(Debug)]
pub struct Vector {
    /// Words joined by `-`: the name of its file in the corpus.
    pub name: &'static str,
    pub version: Version,
    pub parts: Vec<Part>,
    /// What `decode` makes of it; `None`: only servers send it.
    pub decoded: Option<Packet<'static>>,
    /// What `encode` made for the same packet; `None`: only clients send it like this.
    pub encoded: Option<Vec<u8>>,
}

impl Vector {
    /// What only a client sends.
    pub fn client(
        name: &'static str,
        version: Version,
        parts: &[Part],
        decoded: Packet<'static>,
    ) -> Self {
        Self { name, version, parts: parts.to_vec(), decoded: Some(decoded), encoded: None }
    }

    /// What only a server sends; `encode` is to make these bytes.
    pub fn server(
        name: &'static str,
        version: Version,
        parts: &[Part],
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let mut encoded = Vec::new();
        encode(&mut encoded);
        Self { name, version, parts: parts.to_vec(), decoded: None, encoded: Some(encoded) }
    }

    /// What both send in the same form.
    pub fn both(
        name: &'static str,
        version: Version,
        parts: &[Part],
        decoded: Packet<'static>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        Self { decoded: Some(decoded), ..Self::server(name, version, parts, encode) }
    }

    /// The packet type: 1 to 15.
    pub fn packet_type(&self) -> u8 {
        self.header() >> 4
    }

    /// The first byte.
    pub fn header(&self) -> u8 {
        self.parts[0].bytes[0]
    }

    /// The whole packet.
    pub fn bytes(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|part| part.bytes).copied().collect()
    }

    /// What follows the Fixed Header.
    pub fn body(&self) -> Vec<u8> {
        self.parts[2..].iter().flat_map(|part| part.bytes).copied().collect()
    }

    /// Lengths below that of the body at which it is a packet of its own.
    pub fn ends(&self) -> BTreeSet<usize> {
        let mut ends = BTreeSet::new();
        let mut at = 0;
        if self.parts[1].end != End::Never {
            ends.insert(0);
        }
        for part in &self.parts[2..] {
            if part.end == End::Anywhere {
                ends.extend(at..at + part.bytes.len());
            }
            at += part.bytes.len();
            if part.end != End::Never {
                ends.insert(at);
            }
        }
        ends.remove(&at);
        ends
    }

    /// The parts, one a line, for a failing test.
    pub fn describe(&self) -> String {
        let mut text = format!("{} ({:?})\n", self.name, self.version);
        for part in &self.parts {
            let bytes = part.bytes.escape_ascii().to_string();
            writeln!(text, "  {bytes:<40} {}", part.note).unwrap();
        }
        text
    }
}
