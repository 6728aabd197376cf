//! The retained store: the last message of each topic that has one (MQTT 5 §3.3.1.3). Topics lie
//! in byte order, so a filter finds its topics by jumping, not by reading all.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::message::{NEVER, SharedMessage};
use crate::store::Ticket;

/// A topic of this length takes twice the time of a short one to look at.
const STEP_BYTES: usize = 256;

/// Retained messages by topic.
#[derive(Debug, Default)]
pub struct RetainedStore {
    messages: BTreeSet<Entry>,
    bytes: u64,
    /// Changes so far: of two of one topic the later stands, in the store as well.
    changes: u64,
    /// How many of them expire at some time.
    expiring: usize,
    /// The topic up to which `sweep` has looked.
    swept_to: Vec<u8>,
    /// When this is committed, all changes so far are.
    last_change: Ticket,
}

/// A message that is found by its topic.
#[derive(Debug)]
struct Entry(SharedMessage);

impl Borrow<[u8]> for Entry {
    fn borrow(&self) -> &[u8] {
        self.0.topic()
    }
}
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic() == other.0.topic()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.topic().cmp(other.0.topic())
    }
}

impl RetainedStore {
    /// The number of the next change.
    pub fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// A change goes to the store under this ticket.
    pub fn note_change(&mut self, ticket: Ticket) {
        self.last_change = self.last_change.max(ticket);
    }

    /// The ticket of the last change.
    pub fn last_change(&self) -> Ticket {
        self.last_change
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of topics, properties and payloads.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The retained message of `topic`.
    pub fn get(&self, topic: &[u8]) -> Option<&SharedMessage> {
        self.messages.get(topic).map(|entry| &entry.0)
    }

    /// Stores a message; the one it replaces.
    pub fn insert(&mut self, message: SharedMessage) -> Option<SharedMessage> {
        self.bytes += message.size();
        self.expiring += usize::from(expires(&message));
        let replaced = self.messages.replace(Entry(message)).map(|entry| entry.0);
        if let Some(replaced) = &replaced {
            self.count_out(replaced);
        }
        replaced
    }

    fn count_out(&mut self, message: &SharedMessage) {
        self.bytes -= message.size();
        self.expiring -= usize::from(expires(message));
    }

    /// Looks at the next `count` topics and takes out what has expired: called for each message
    /// that is stored, it keeps those that are dead few beside those that live.
    pub fn sweep(&mut self, count: usize, now_ms: u64) {
        for _ in 0..count {
            if self.expiring == 0 {
                return;
            }
            let from = (Bound::Excluded(self.swept_to.as_slice()), Bound::Unbounded);
            let Some(entry) = self.messages.range::<[u8], _>(from).next() else {
                self.swept_to.clear();
                return;
            };
            self.swept_to = entry.0.topic().to_vec();
            if entry.0.is_expired(now_ms) {
                let topic = std::mem::take(&mut self.swept_to);
                self.remove(&topic);
                self.swept_to = topic;
            }
        }
    }

    /// Takes out what has expired; how many there were.
    pub fn remove_expired(&mut self, now_ms: u64) -> usize {
        if self.expiring == 0 {
            return 0;
        }
        let before = self.messages.len();
        self.messages.retain(|entry| !entry.0.is_expired(now_ms));
        self.bytes = self.messages.iter().map(|entry| entry.0.size()).sum();
        self.expiring = self.messages.iter().filter(|entry| expires(&entry.0)).count();
        before - self.messages.len()
    }

    /// Takes the message of `topic` out.
    pub fn remove(&mut self, topic: &[u8]) -> Option<SharedMessage> {
        let removed = self.messages.take(topic)?.0;
        self.count_out(&removed);
        Some(removed)
    }

    /// Collects messages whose topic matches `filter` (mount point included), in byte order of
    /// topics from `from` on, at most `max`, and looks at about `steps` topics, which it counts
    /// down, long ones as several. Says where to go on, or `None` when it is through.
    pub fn collect(
        &self,
        filter: &str,
        from: Option<Position>,
        max: usize,
        steps: &mut usize,
        found: &mut Vec<SharedMessage>,
    ) -> Option<Position> {
        let filter = filter.as_bytes();
        if *steps > 0 && !filter.contains(&b'+') && !filter.contains(&b'#') {
            *steps -= 1;
            found.extend(self.get(filter).map(Arc::clone));
            return None;
        }
        let mut at = from.unwrap_or_else(|| Bound::Included(literal_prefix(filter).to_vec()));
        let limit = found.len() + max;
        while *steps > 0 {
            let range = (at.as_ref().map(Vec::as_slice), Bound::Unbounded);
            let entry = self.messages.range::<[u8], _>(range).next()?;
            let topic = entry.0.topic();
            *steps = steps.saturating_sub(1 + topic.len() / STEP_BYTES);
            at = match compare(filter, topic) {
                Step::Matches => {
                    found.push(Arc::clone(&entry.0));
                    Bound::Excluded(topic.to_vec())
                }
                Step::SkipTo(next) => Bound::Included(next),
                Step::Next => Bound::Excluded(topic.to_vec()),
                Step::Through => return None,
            };
            if found.len() >= limit {
                break;
            }
        }
        Some(at)
    }
}

fn expires(message: &SharedMessage) -> bool {
    message.expires_at_ms != NEVER
}

/// Where a collection goes on.
pub type Position = Bound<Vec<u8>>;

enum Step {
    Matches,
    /// No topic before this one can match.
    SkipTo(Vec<u8>),
    Next,
    Through,
}

/// The part of a filter before its first wildcard level.
fn literal_prefix(filter: &[u8]) -> &[u8] {
    let wild = filter.iter().position(|byte| matches!(byte, b'+' | b'#')).unwrap_or(filter.len());
    let prefix = filter.get(..wild).unwrap_or_default();
    // `a/#` matches `a` as well, which lies before `a/`.
    if filter.get(wild) == Some(&b'#') {
        prefix.strip_suffix(b"/").unwrap_or(prefix)
    } else {
        prefix
    }
}

/// Compares level by level; where they part, says how far to jump.
fn compare(filter: &[u8], topic: &[u8]) -> Step {
    let prefix = literal_prefix(filter);
    if !topic.starts_with(prefix) {
        return if topic > prefix { Step::Through } else { Step::SkipTo(prefix.to_vec()) };
    }
    if matches!(filter.first(), Some(b'+' | b'#')) && topic.first() == Some(&b'$') {
        return Step::SkipTo(vec![b'$' + 1]); // [MQTT-4.7.2-1]
    }
    let mut offset = 0;
    let mut levels = topic.split(|byte| *byte == b'/');
    let mut wanted = filter.split(|byte| *byte == b'/').peekable();
    while let Some(level) = wanted.next() {
        if level == b"#" {
            return Step::Matches;
        }
        let Some(name) = levels.next() else {
            return Step::Next;
        };
        let end = offset + name.len();
        if level != b"+" && level != name {
            return skip(topic, offset, level, name);
        }
        offset = end + 1;
        let is_last = wanted.peek().is_none();
        if is_last && levels.clone().next().is_some() {
            // Deeper than the filter: everything below this level is skipped.
            return above(topic, end);
        }
    }
    Step::Matches
}

/// The topic's level at `offset` is `name`, the filter wants `level`.
fn skip(topic: &[u8], offset: usize, level: &[u8], name: &[u8]) -> Step {
    let mut wanted = topic.get(..offset).unwrap_or_default().to_vec();
    wanted.extend_from_slice(level);
    if name.starts_with(level) {
        // `level/` sorts among the names that begin like `level`.
        wanted.push(b'/');
    }
    if wanted.as_slice() > topic {
        Step::SkipTo(wanted)
    } else if name < level {
        Step::Next
    } else if offset == 0 {
        Step::Through
    } else {
        above(topic, offset - 1)
    }
}

/// Past everything below the level that ends at `end` (where a `/` stands).
fn above(topic: &[u8], end: usize) -> Step {
    let mut next = topic.get(..end).unwrap_or_default().to_vec();
    next.push(b'/' + 1);
    Step::SkipTo(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Publication};
    use crate::topic;

    fn store(topics: &[String]) -> RetainedStore {
        let mut store = RetainedStore::default();
        for topic in topics {
            let publication = Publication {
                topic: topic.as_bytes(),
                properties: b"",
                payload: b"x",
                qos: 0,
                retain: true,
                expires_at_ms: NEVER,
            };
            store.insert(Arc::new(Message::new(&publication)));
        }
        store
    }

    fn all(store: &RetainedStore, filter: &str, batch: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut position = store.collect(filter, None, batch, &mut 0, &mut found);
        while let Some(from) = position.take() {
            let mut steps = batch;
            position = store.collect(filter, Some(from), batch, &mut steps, &mut found);
        }
        found.iter().map(|message| String::from_utf8_lossy(message.topic()).into()).collect()
    }

    #[test]
    fn jumping_finds_what_the_reference_matcher_finds() {
        let levels = ["", "a", "b", "ab", "a-", "a0", "$x", "-"];
        let mut topics = Vec::new();
        for one in levels {
            topics.push(one.to_string());
            for two in levels {
                topics.push(format!("{one}/{two}"));
                for three in levels {
                    topics.push(format!("{one}/{two}/{three}"));
                }
            }
        }
        topics.retain(|topic| !topic.is_empty());
        let store = store(&topics);
        let wild = ["+", "a", "#", "ab", "", "a-", "$x"];
        let mut filters: Vec<String> = wild.iter().map(ToString::to_string).collect();
        for one in ["+", "a", "ab", "", "a-", "$x"] {
            for two in wild {
                filters.push(format!("{one}/{two}"));
                for three in wild.iter().filter(|_| two != "#") {
                    filters.push(format!("{one}/{two}/{three}"));
                }
            }
        }
        for filter in filters.iter().filter(|filter| !filter.is_empty()) {
            let mut expected: Vec<String> =
                topics.iter().filter(|name| topic::matches(filter, name)).cloned().collect();
            expected.sort();
            assert_eq!(all(&store, filter, 3), expected, "filter {filter}");
            assert_eq!(all(&store, filter, 1_000), expected, "filter {filter}");
        }
    }

    #[test]
    fn what_expired_goes_while_others_come() {
        let mut store = RetainedStore::default();
        for number in 0..10_000_u64 {
            let topic = format!("t/{number}");
            let expires_at_ms = if number % 10 == 0 { NEVER } else { number + 100 };
            let publication = Publication {
                topic: topic.as_bytes(),
                properties: b"",
                payload: b"x",
                qos: 0,
                retain: true,
                expires_at_ms,
            };
            store.insert(Arc::new(Message::new(&publication)));
            store.sweep(2, number);
        }

        assert!((1_000..4_000).contains(&store.len()), "{} of 1,000 that live", store.len());
        assert_eq!(store.bytes, store.messages.iter().map(|entry| entry.0.size()).sum::<u64>());
        store.remove_expired(u64::MAX - 1);
        assert_eq!((store.len(), store.expiring), (1_000, 0));
    }
}
