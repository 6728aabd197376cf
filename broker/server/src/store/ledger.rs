//! What of the log is still wanted: the segments in memory without their contents, a bit per
//! delivery that is done. There is no cursor per queue: a queue is what is not done.

use std::collections::{BTreeMap, BTreeSet};

use super::segment::{Head, To};

/// The bits of a segment's deliveries, the lowest of the first byte first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Bits(Vec<u8>);

impl Bits {
    fn new(count: u32) -> Self {
        Self(vec![0; count.div_ceil(8) as usize])
    }

    /// Of so many deliveries, as they were stored.
    fn stored(count: u32, bytes: &[u8]) -> Self {
        let mut bits = Self::new(count);
        for (to, from) in bits.0.iter_mut().zip(bytes) {
            *to = *from;
        }
        bits
    }

    /// As they are stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn get(&self, index: u32) -> bool {
        self.0.get(index as usize / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Sets one; false if it was set, or is none of them.
    fn set(&mut self, index: u32) -> bool {
        let Some(byte) = self.0.get_mut(index as usize / 8) else { return false };
        let bit = 1 << (index % 8);
        let is_new = *byte & bit == 0;
        *byte |= bit;
        is_new
    }

    /// Whether all from the one to before the other are set.
    pub(super) fn are_set(&self, start: u32, end: u32) -> bool {
        (start..end).all(|index| self.get(index))
    }
}

/// The numbers of a segment's messages.
#[derive(Debug)]
enum Numbers {
    /// The first and those after it: how many.
    Range(u32),
    /// These, ascending.
    List(Box<[u64]>),
}

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    numbers: Numbers,
    /// Where each message's deliveries begin, and the end of the last; `None`: one each.
    starts: Option<Box<[u32]>>,
    done: Bits,
    deliveries: u32,
    deliveries_left: u32,
    messages: u32,
    messages_left: u32,
    /// Of its body.
    bytes: u64,
    /// The stored receiver lists that it names, each once.
    pub(super) lists: Box<[u64]>,
    /// Its bits have a row.
    pub(super) has_row: bool,
}

impl Segment {
    /// The segment with this head; `done`: its bits, where they have a row.
    pub(super) fn read(first: u64, head: &[u8], done: Option<&[u8]>) -> Option<Self> {
        let mut numbers = Vec::new();
        let mut starts = Vec::new();
        let mut lists = Vec::new();
        let mut bytes = 0;
        let mut deliveries = 0;
        for entry in Head::read(first, head)? {
            numbers.push(entry.number);
            starts.push(entry.delivery);
            bytes += entry.size();
            deliveries = entry.delivery + entry.to.count();
            if let To::List(id, _) = entry.to {
                if !lists.contains(&id) {
                    lists.push(id);
                }
            }
        }
        let messages = u32::try_from(numbers.len()).ok()?;
        let is_range = numbers.last().is_none_or(|last| last - first + 1 == u64::from(messages));
        starts.push(deliveries);
        let mut segment = Self {
            numbers: if is_range {
                Numbers::Range(messages)
            } else {
                Numbers::List(numbers.into())
            },
            starts: (deliveries != messages || !lists.is_empty()).then(|| starts.into()),
            done: Bits::stored(deliveries, done.unwrap_or_default()),
            deliveries,
            deliveries_left: 0,
            messages,
            messages_left: 0,
            bytes,
            lists: lists.into(),
            has_row: done.is_some(),
        };
        segment.count();
        Some(segment)
    }

    fn count(&mut self) {
        let left = (0..self.deliveries).filter(|index| !self.done.get(*index)).count();
        self.deliveries_left = u32::try_from(left).unwrap_or(u32::MAX);
        let is_wanted = |index: &u32| {
            let (start, end) = self.span(*index);
            !self.done.are_set(start, end)
        };
        let left = (0..self.messages).filter(is_wanted).count();
        self.messages_left = u32::try_from(left).unwrap_or(u32::MAX);
    }

    /// The bits.
    pub(super) fn done(&self) -> &Bits {
        &self.done
    }

    /// Whether nobody wants anything of it.
    pub(super) fn is_done(&self) -> bool {
        self.deliveries_left == 0
    }

    /// Whether less than half of its messages is wanted.
    fn is_sparse(&self) -> bool {
        self.messages_left * 2 < self.messages
    }

    fn is_small(&self) -> bool {
        self.messages < SMALL_MESSAGES && self.bytes < SMALL_BYTES
    }

    /// Which of its messages has this number.
    fn index(&self, first: u64, number: u64) -> Option<u32> {
        match &self.numbers {
            Numbers::Range(count) => {
                let index = u32::try_from(number.checked_sub(first)?).ok()?;
                (index < *count).then_some(index)
            }
            Numbers::List(numbers) => {
                numbers.binary_search(&number).ok().and_then(|index| u32::try_from(index).ok())
            }
        }
    }

    /// A message's deliveries: the first, and the one after the last.
    fn span(&self, index: u32) -> (u32, u32) {
        let Some(starts) = &self.starts else { return (index, index + 1) };
        let at = |index: u32| starts.get(index as usize).copied().unwrap_or(0);
        (at(index), at(index + 1))
    }
}

/// All segments, by their first number; their ranges do not overlap.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    segments: BTreeMap<u64, Segment>,
    /// Those whose bits are not stored as they are.
    changed: BTreeSet<u64>,
    /// Those of which less than half is wanted.
    sparse: BTreeSet<u64>,
    /// Up to here small segments have been looked for.
    looked_to: u64,
    /// Small segments since then.
    small_new: usize,
    /// Of all bodies.
    bytes: u64,
}

/// A segment is small that has fewer messages and bytes than this: one-message groups make them.
const SMALL_MESSAGES: u32 = 16;
const SMALL_BYTES: u64 = 4 << 10;
/// Small segments in a row that are worth merging, that are merged at a time, and segments that
/// are looked at for them at a time.
const RUN_MIN: usize = 16;
const RUN_MAX: usize = 8_192;
const LOOK_MAX: usize = 65_536;
/// New small segments after which a run of them is looked for.
const SMALL_NEW_MAX: usize = 1_024;

/// What became of a segment whose bits changed.
#[derive(Debug)]
pub(super) enum Outcome {
    /// These are its bits now.
    Bits(Vec<u8>),
    /// It is done; it named these lists, and whether its bits had a row.
    Done(Box<[u64]>, bool),
}

impl Ledger {
    /// Takes a segment.
    pub(super) fn insert(&mut self, first: u64, segment: Segment) {
        self.bytes += segment.bytes;
        self.small_new += usize::from(segment.is_small());
        if segment.is_done() {
            self.changed.insert(first);
        }
        if segment.is_sparse() {
            self.sparse.insert(first);
        }
        self.segments.insert(first, segment);
    }

    /// A delivery is done. True if it was not before.
    pub(super) fn done(&mut self, number: u64, receiver: u32) -> bool {
        let Some((first, segment)) = self.segments.range_mut(..=number).next_back() else {
            return false;
        };
        let Some(index) = segment.index(*first, number) else { return false };
        let (start, end) = segment.span(index);
        if receiver >= end - start || !segment.done.set(start + receiver) {
            return false;
        }
        segment.deliveries_left -= 1;
        if segment.done.are_set(start, end) {
            segment.messages_left -= 1;
            if segment.is_sparse() {
                self.sparse.insert(*first);
            }
        }
        self.changed.insert(*first);
        true
    }

    /// A delivery is done, and is stored as that at once: its segment's bits. `None` if it was
    /// done before.
    pub(super) fn done_now(&mut self, number: u64, receiver: u32) -> Option<(u64, Vec<u8>)> {
        if !self.done(number, receiver) {
            return None;
        }
        let (first, segment) = self.segments.range_mut(..=number).next_back()?;
        segment.has_row = true;
        Some((*first, segment.done.bytes().to_vec()))
    }

    /// Whether a message is in one of the segments.
    pub(super) fn has(&self, number: u64) -> bool {
        let found = self.segments.range(..=number).next_back();
        found.is_some_and(|(first, segment)| segment.index(*first, number).is_some())
    }

    /// Whether there is something to store, or to merge.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty() || self.small_new >= SMALL_NEW_MAX
    }

    /// What is to be stored: each segment whose bits changed. Those that are done are forgotten.
    pub(super) fn settle(&mut self) -> Vec<(u64, Outcome)> {
        let mut outcomes = Vec::with_capacity(self.changed.len());
        for first in std::mem::take(&mut self.changed) {
            let Some(segment) = self.segments.get_mut(&first) else { continue };
            if segment.is_done() {
                let has_row = segment.has_row;
                let lists = self.remove(first).map(|segment| segment.lists).unwrap_or_default();
                outcomes.push((first, Outcome::Done(lists, has_row)));
            } else {
                segment.has_row = true;
                outcomes.push((first, Outcome::Bits(segment.done.bytes().to_vec())));
            }
        }
        outcomes
    }

    /// Forgets a segment.
    pub(super) fn remove(&mut self, first: u64) -> Option<Segment> {
        self.changed.remove(&first);
        self.sparse.remove(&first);
        let segment = self.segments.remove(&first)?;
        self.bytes -= segment.bytes;
        Some(segment)
    }

    /// The segment that begins with this number.
    pub(super) fn get(&self, first: u64) -> Option<&Segment> {
        self.segments.get(&first)
    }

    /// Where the last so many bytes begin.
    pub(super) fn tail(&self, bytes: u64) -> u64 {
        let mut left = bytes;
        let mut tail = 0;
        for (first, segment) in self.segments.iter().rev() {
            tail = *first;
            let Some(less) = left.checked_sub(segment.bytes) else { break };
            left = less;
        }
        tail
    }

    /// A run of small segments before the tail that is worth merging, each passed over once.
    pub(super) fn small(&mut self, tail: u64) -> Vec<(u64, bool)> {
        let mut run: Vec<(u64, bool)> = Vec::new();
        self.small_new = 0;
        for (first, segment) in self.segments.range(self.looked_to..tail).take(LOOK_MAX) {
            if segment.is_small() && run.len() < RUN_MAX {
                run.push((*first, !run.is_empty()));
                continue;
            }
            self.looked_to = *first;
            if run.len() >= RUN_MIN {
                return run;
            }
            run.clear();
        }
        if run.len() < RUN_MIN {
            return Vec::new(); // It may grow.
        }
        self.looked_to = run.last().map_or(tail, |(last, _)| last + 1);
        run
    }

    /// The oldest sparse segments before the tail, as many as so many bytes of work allow; and
    /// whether each follows directly upon the one before.
    pub(super) fn sparse(&self, tail: u64, work_bytes: u64) -> Vec<(u64, bool)> {
        let mut chosen = Vec::new();
        let mut bytes = 0;
        let mut before: Option<u64> = None;
        for first in self.sparse.range(..tail) {
            let Some(segment) = self.segments.get(first) else { continue };
            bytes += segment.bytes;
            if bytes > work_bytes && !chosen.is_empty() {
                break;
            }
            let next = before.and_then(|before| {
                self.segments.range(before + 1..).next().map(|(first, _)| *first)
            });
            chosen.push((*first, next == Some(*first)));
            before = Some(*first);
        }
        chosen
    }

    /// Segments, messages that are wanted, deliveries that wait, bytes of all bodies.
    pub(super) fn totals(&self) -> (u64, u64, u64, u64) {
        let mut messages = 0;
        let mut deliveries = 0;
        for segment in self.segments.values() {
            messages += u64::from(segment.messages_left);
            deliveries += u64::from(segment.deliveries_left);
        }
        (self.segments.len() as u64, messages, deliveries, self.bytes)
    }
}
