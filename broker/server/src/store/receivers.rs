//! Receivers as they are stored: the session and the terms of its delivery. A message for one has
//! it in the segment's head; a list of several is stored once, however many messages it has.

use std::collections::HashMap;
use std::sync::Arc;

use engine::store::{Receivers, SessionId, StoredTerms};

use super::op::Op;
use super::varint::{Input, put_bytes, put_number};

const RETAIN: u8 = 4;
const GROUP: u8 = 8;
const IDENTIFIERS: u8 = 16;

/// Appends the terms of one delivery.
pub(super) fn put_terms(out: &mut Vec<u8>, terms: &StoredTerms) {
    let flag = |bit: u8, is_set: bool| if is_set { bit } else { 0 };
    out.push(
        terms.qos & 3
            | flag(RETAIN, terms.retain)
            | flag(GROUP, !terms.group.is_empty())
            | flag(IDENTIFIERS, !terms.identifiers.is_empty()),
    );
    if !terms.group.is_empty() {
        put_bytes(out, terms.group.as_bytes());
    }
    if !terms.identifiers.is_empty() {
        put_number(out, terms.identifiers.len() as u64);
        for identifier in &terms.identifiers {
            put_number(out, u64::from(*identifier));
        }
    }
}

/// Passes over the terms of one delivery; gives their bytes.
pub(super) fn skip_terms<'a>(input: &mut Input<'a>) -> Option<&'a [u8]> {
    let start = input.rest();
    let flags = input.byte()?;
    if flags & GROUP != 0 {
        input.bytes()?;
    }
    if flags & IDENTIFIERS != 0 {
        for _ in 0..input.number()? {
            input.number()?;
        }
    }
    start.get(..start.len() - input.rest().len())
}

/// The terms that `put_terms` wrote.
pub(super) fn read_terms(bytes: &[u8]) -> Option<StoredTerms> {
    let mut input = Input::new(bytes);
    let flags = input.byte()?;
    let mut terms =
        StoredTerms { qos: flags & 3, retain: flags & RETAIN != 0, ..StoredTerms::default() };
    if flags & GROUP != 0 {
        terms.group = std::str::from_utf8(input.bytes()?).ok()?.into();
    }
    if flags & IDENTIFIERS != 0 {
        let mut identifiers = Vec::new();
        for _ in 0..input.number()? {
            identifiers.push(input.small()?);
        }
        terms.identifiers = identifiers.into();
    }
    Some(terms)
}

/// Appends a list of receivers.
fn put_list(out: &mut Vec<u8>, receivers: &Receivers) {
    for receiver in receivers.iter() {
        put_number(out, receiver.session.0);
        put_terms(out, &receiver.terms);
    }
}

/// The sessions of a stored list with the bytes of their terms, in order.
pub(super) fn decode_list(bytes: &[u8]) -> Option<Vec<(SessionId, &[u8])>> {
    let mut input = Input::new(bytes);
    let mut list = Vec::new();
    while !input.is_empty() {
        let session = SessionId(input.number()?);
        list.push((session, skip_terms(&mut input)?));
    }
    Some(list)
}

/// The stored lists, each once, and how many segments name them.
#[derive(Debug, Default)]
pub(super) struct ReceiverSets {
    next_id: u64,
    /// By id.
    sets: HashMap<u64, Stored>,
    by_content: HashMap<Arc<[u8]>, u64>,
    /// For looking one up.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Stored {
    content: Arc<[u8]>,
    segments: u32,
}

impl ReceiverSets {
    /// Knows no list; ids begin at this one.
    pub(super) fn new(next_id: u64) -> Self {
        Self { next_id, ..Self::default() }
    }

    /// The id that the next new list gets.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// A list that was found in the file; no segment names it yet.
    pub(super) fn insert(&mut self, id: u64, content: &[u8]) {
        let content: Arc<[u8]> = content.into();
        self.by_content.insert(Arc::clone(&content), id);
        self.sets.insert(id, Stored { content, segments: 0 });
        self.next_id = self.next_id.max(id + 1);
    }

    /// The id of a list; a new one is stored.
    pub(super) fn intern(&mut self, receivers: &Receivers, ops: &mut Vec<Op>) -> u64 {
        let mut content = std::mem::take(&mut self.scratch);
        content.clear();
        put_list(&mut content, receivers);
        let id = self.by_content.get(content.as_slice()).copied().unwrap_or_else(|| {
            let id = self.next_id;
            self.insert(id, &content);
            ops.push(Op::PutSet { id, content: content.clone() });
            id
        });
        self.scratch = content;
        id
    }

    /// One more segment names it.
    pub(super) fn hold(&mut self, id: u64) {
        if let Some(set) = self.sets.get_mut(&id) {
            set.segments += 1;
        }
    }

    /// One segment less names it; after the last it is deleted.
    pub(super) fn release(&mut self, id: u64, ops: &mut Vec<Op>) {
        let Some(set) = self.sets.get_mut(&id) else { return };
        set.segments = set.segments.saturating_sub(1);
        if set.segments == 0 {
            self.forget(id);
            ops.push(Op::DeleteSet { id });
        }
    }

    /// The lists that no segment names; they are forgotten.
    pub(super) fn unused(&mut self) -> Vec<u64> {
        let unused = |(id, set): (&u64, &Stored)| (set.segments == 0).then_some(*id);
        let ids: Vec<u64> = self.sets.iter().filter_map(unused).collect();
        for id in &ids {
            self.forget(*id);
        }
        ids
    }

    fn forget(&mut self, id: u64) {
        if let Some(set) = self.sets.remove(&id) {
            self.by_content.remove(&set.content);
        }
    }
}
