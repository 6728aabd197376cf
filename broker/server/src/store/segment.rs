//! A segment: consecutive messages of one group in one row, at most 64 KiB unless one message
//! alone is larger. The head says what a restart needs (receivers, sizes, expiry), the body has
//! topics, properties and payloads one after the other, so that a restart does not read it.
//!
//! Head: format, kind, count; per message: flags, `cold`: number less the one before, expiry,
//! receivers (one inline, or the id and length of a stored list), three lengths.

use engine::store::SessionId;

use super::receivers::skip_terms;
use super::varint::{Input, put_number};

/// A body is closed before it grows beyond this: a row is read as a whole.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
const FORMAT: u8 = 1;
const HOT: u8 = 0;
const COLD: u8 = 1;

const QOS: u8 = 3;
const RETAIN: u8 = 4;
const EXPIRES: u8 = 8;
const LIST: u8 = 16;

/// Whom a message is for, as the head has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum To<'a> {
    /// One session, and the bytes of its terms.
    One(SessionId, &'a [u8]),
    /// A stored list: its id and length.
    List(u64, u32),
}

impl To<'_> {
    /// Deliveries.
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::One(..) => 1,
            Self::List(_, count) => *count,
        }
    }
}

/// One message in a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) number: u64,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// In store time.
    pub(super) expires_ms: Option<u64>,
    pub(super) to: To<'a>,
    pub(super) topic_len: u32,
    pub(super) properties_len: u32,
    pub(super) payload_len: u32,
    /// Where its topic begins in the body.
    pub(super) start: u64,
    /// Its first delivery in the segment.
    pub(super) delivery: u32,
}

impl Entry<'_> {
    /// Topic, properties and payload, in bytes.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.topic_len) + u64::from(self.properties_len) + u64::from(self.payload_len)
    }

    /// Its topic, properties and payload.
    pub(super) fn parts<'b>(&self, body: &'b [u8]) -> Option<(&'b [u8], &'b [u8], &'b [u8])> {
        let mut input = Input::new(body.get(usize::try_from(self.start).ok()?..)?);
        let topic = input.take(self.topic_len as usize)?;
        let properties = input.take(self.properties_len as usize)?;
        Some((topic, properties, input.take(self.payload_len as usize)?))
    }
}

/// A head that is read message by message; ends early where it makes no sense.
#[derive(Debug)]
pub(super) struct Head<'a> {
    input: Input<'a>,
    is_cold: bool,
    left: u64,
    number: u64,
    start: u64,
    delivery: u32,
}

impl<'a> Head<'a> {
    /// The head of the segment that begins with message `first`; `None` if it is no head.
    pub(super) fn read(first: u64, head: &'a [u8]) -> Option<Self> {
        let mut input = Input::new(head);
        if input.byte()? != FORMAT {
            return None;
        }
        let is_cold = match input.byte()? {
            HOT => false,
            COLD => true,
            _ => return None,
        };
        let left = input.number()?;
        // The number of the first message is this, plus 1 or what the message says.
        let number = if is_cold { first } else { first.checked_sub(1)? };
        Some(Self { input, is_cold, left, number, start: 0, delivery: 0 })
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let flags = self.input.byte()?;
        let step = if self.is_cold { self.input.number()? } else { 1 };
        let number = self.number.checked_add(step)?;
        let expires_ms = if flags & EXPIRES == 0 { None } else { Some(self.input.number()?) };
        let id = self.input.number()?;
        let to = if flags & LIST == 0 {
            To::One(SessionId(id), skip_terms(&mut self.input)?)
        } else {
            To::List(id, self.input.small()?)
        };
        let entry = Entry {
            number,
            qos: flags & QOS,
            retain: flags & RETAIN != 0,
            expires_ms,
            to,
            topic_len: self.input.small()?,
            properties_len: self.input.small()?,
            payload_len: self.input.small()?,
            start: self.start,
            delivery: self.delivery,
        };
        self.number = number;
        self.start = self.start.checked_add(entry.size())?;
        self.delivery = self.delivery.checked_add(to.count())?;
        Some(entry)
    }
}

impl<'a> Iterator for Head<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.entry();
        if entry.is_none() {
            self.left = 0;
        }
        entry
    }
}

/// A message that goes into a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) number: u64,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// In store time.
    pub(super) expires_ms: Option<u64>,
    pub(super) to: To<'a>,
    pub(super) topic: &'a [u8],
    pub(super) properties: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Parts<'_> {
    /// What it adds to a body.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
    }
}

/// A segment in the making.
#[derive(Debug, Default)]
pub(super) struct SegmentWriter {
    is_cold: bool,
    first: u64,
    last: u64,
    count: u64,
    entries: Vec<u8>,
    body: Vec<u8>,
}

/// A finished one, as it goes into its row.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub(super) first: u64,
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl SegmentWriter {
    /// Empty; `is_cold`: numbers may be left out.
    pub(super) fn new(is_cold: bool) -> Self {
        Self { is_cold, ..Self::default() }
    }

    /// Whether this message belongs into the next segment.
    pub(super) fn is_full_for(&self, parts: &Parts<'_>) -> bool {
        let is_next = self.is_cold || parts.number == self.last + 1;
        self.count > 0 && (!is_next || self.body.len() + parts.size() > BODY_BYTES_MAX)
    }

    /// Appends a message; numbers ascend.
    pub(super) fn push(&mut self, parts: &Parts<'_>) {
        if self.count == 0 {
            self.first = parts.number;
            self.last = parts.number;
        }
        let entries = &mut self.entries;
        let flag = |bit: u8, is_set: bool| if is_set { bit } else { 0 };
        entries.push(
            parts.qos & QOS
                | flag(RETAIN, parts.retain)
                | flag(EXPIRES, parts.expires_ms.is_some())
                | flag(LIST, matches!(parts.to, To::List(..))),
        );
        if self.is_cold {
            put_number(entries, parts.number - self.last);
        }
        if let Some(expires_ms) = parts.expires_ms {
            put_number(entries, expires_ms);
        }
        match parts.to {
            To::One(session, terms) => {
                put_number(entries, session.0);
                entries.extend_from_slice(terms);
            }
            To::List(id, count) => {
                put_number(entries, id);
                put_number(entries, u64::from(count));
            }
        }
        for part in [parts.topic, parts.properties, parts.payload] {
            put_number(entries, part.len() as u64);
            self.body.extend_from_slice(part);
        }
        self.last = parts.number;
        self.count += 1;
    }

    /// The segment, if there is anything in it; the writer is empty again.
    pub(super) fn finish(&mut self) -> Option<Finished> {
        if self.count == 0 {
            return None;
        }
        let mut head = vec![FORMAT, if self.is_cold { COLD } else { HOT }];
        put_number(&mut head, self.count);
        head.append(&mut self.entries);
        self.count = 0;
        Some(Finished { first: self.first, head, body: std::mem::take(&mut self.body) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(number: u64, to: To<'a>, topic: &'a [u8], payload: &'a [u8]) -> Parts<'a> {
        let expires_ms = (number % 2 == 0).then_some(number * 1_000);
        Parts { number, qos: 1, retain: false, expires_ms, to, topic, properties: b"pp", payload }
    }

    fn written(is_cold: bool) -> Finished {
        let mut writer = SegmentWriter::new(is_cold);
        let terms = [1_u8];
        writer.push(&parts(7, To::One(SessionId(300), &terms), b"007", b"one"));
        writer.push(&parts(8, To::List(5, 1_000), b"1e5", b""));
        let third = if is_cold { 90 } else { 9 };
        writer.push(&parts(third, To::One(SessionId(1), &terms), b"//", &[0, 255]));
        writer.finish().expect("three messages")
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        for is_cold in [false, true] {
            let segment = written(is_cold);

            let entries: Vec<Entry<'_>> = Head::read(7, &segment.head).expect("a head").collect();

            let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
            assert_eq!(numbers, if is_cold { [7, 8, 90] } else { [7, 8, 9] });
            let deliveries: Vec<u32> = entries.iter().map(|entry| entry.delivery).collect();
            assert_eq!(deliveries, [0, 1, 1_001]);
            assert!(matches!(entries[0].to, To::One(SessionId(300), [1])));
            assert!(matches!(entries[1].to, To::List(5, 1_000)));
            assert_eq!((entries[0].expires_ms, entries[1].expires_ms), (None, Some(8_000)));
            let found = entries[2].parts(&segment.body).expect("whole");
            assert_eq!(found, (&b"//"[..], &b"pp"[..], &[0_u8, 255][..]));
        }
    }

    #[test]
    fn a_head_cut_anywhere_gives_the_messages_before_the_cut() {
        let segment = written(true);

        for length in 0..segment.head.len() {
            let found = Head::read(7, &segment.head[..length]).map_or(0, Iterator::count);
            assert!(found < 3, "cut at {length}");
        }
    }

    #[test]
    fn a_segment_is_full_at_64_kib_but_takes_one_larger_message() {
        let mut writer = SegmentWriter::new(false);
        let payload = vec![0; BODY_BYTES_MAX + 1];
        let large = parts(1, To::List(1, 2), b"t", &payload);
        assert!(!writer.is_full_for(&large));

        writer.push(&large);

        assert!(writer.is_full_for(&parts(2, To::List(1, 2), b"t", b"")));
    }
}
