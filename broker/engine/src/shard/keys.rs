//! Sessions by their key. The table holds references alone: the keys are the sessions' own, once.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::router::QueueRef;
use crate::session::Session;
use crate::slots::Slots;

/// Where each session is.
#[derive(Debug, Default)]
pub(super) struct Keys {
    table: HashTable<QueueRef>,
    hasher: foldhash::fast::RandomState,
}

impl Keys {
    /// The session with this key.
    pub(super) fn get(&self, key: &[u8], sessions: &Slots<Session>) -> Option<QueueRef> {
        let has_key = |queue: &QueueRef| {
            sessions.get(queue.slot, queue.generation).is_some_and(|session| *session.key == *key)
        };
        self.table.find(self.hasher.hash_one(key), has_key).copied()
    }

    /// Notes a new session, which is in `sessions` already.
    pub(super) fn insert(&mut self, key: &[u8], queue: QueueRef, sessions: &Slots<Session>) {
        let hasher = &self.hasher;
        let hash_of = |held: &QueueRef| {
            let session = sessions.get(held.slot, held.generation);
            hasher.hash_one(session.map_or(&[][..], |session| &session.key))
        };
        self.table.insert_unique(hasher.hash_one(key), queue, hash_of);
    }

    /// Forgets a session.
    pub(super) fn remove(&mut self, key: &[u8], queue: QueueRef) {
        if let Ok(entry) = self.table.find_entry(self.hasher.hash_one(key), |held| *held == queue) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::packet::Version;

    #[test]
    fn each_key_finds_its_session_while_the_table_grows_and_shrinks() {
        let mut sessions = Slots::default();
        let mut keys = Keys::default();
        let mut held = Vec::new();
        for number in 0..1_000_u32 {
            let key = number.to_be_bytes();
            let session = Session::new(key.into(), "".into(), Version::V5);
            let (slot, generation) = sessions.insert(session);
            let queue = QueueRef { shard: 0, slot, generation };
            keys.insert(&key, queue, &sessions);
            held.push((key, queue));
        }
        for (key, queue) in held.iter().step_by(2) {
            sessions.remove(queue.slot, queue.generation);
            keys.remove(key, *queue);
        }

        for (at, (key, queue)) in held.iter().enumerate() {
            let expected = (at % 2 == 1).then_some(*queue);
            assert_eq!(keys.get(key, &sessions), expected);
        }
        assert_eq!(keys.get(b"unknown", &sessions), None);
    }
}
