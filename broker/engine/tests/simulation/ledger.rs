//! A store for worlds that keep: changes commit late and in groups, and it is known which change
//! got which ticket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use engine::store::{Change, Store, Ticket};

/// What is changed, as far as something waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A lasting session, by its key.
    Session(Vec<u8>),
    SessionEnded(Vec<u8>),
    Will(Vec<u8>),
    /// Key and filter.
    Subscribed(Vec<u8>, String),
    Unsubscribed(Vec<u8>, String),
    /// Topic and payload.
    Appended(Vec<u8>, Vec<u8>),
    Retained(Vec<u8>, Vec<u8>),
    /// Key and Packet Identifier.
    Sent(Vec<u8>, u16),
    ReceivedByPeer(Vec<u8>, u16),
    Received(Vec<u8>, u16),
    Released(Vec<u8>, u16),
}

/// What all shards' handles write to.
#[derive(Debug)]
pub struct Ledger {
    /// The group that takes changes now.
    open: u64,
    /// The highest group that is committed.
    committed: u64,
    /// How many changes were written.
    written: u64,
    /// The last change of each kind: its ticket, and which write it was.
    last: HashMap<Entry, (u64, u64)>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { open: 1, committed: 0, written: 0, last: HashMap::new() }
    }
}

impl Ledger {
    /// The ticket of the last such change, if it was written after `mark`.
    pub fn ticket_since(&self, entry: &Entry, mark: u64) -> Option<u64> {
        self.last.get(entry).filter(|(_, number)| *number > mark).map(|(ticket, _)| *ticket)
    }

    /// How many changes were written until now.
    pub fn mark(&self) -> u64 {
        self.written
    }

    /// The highest ticket that is committed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// What comes from now on belongs to another group.
    pub fn seal(&mut self) {
        self.open += 1;
    }

    /// Commits the oldest group; the ticket up to which everything is.
    pub fn commit(&mut self) -> u64 {
        self.committed = (self.committed + 1).min(self.open);
        self.open = self.open.max(self.committed + 1);
        self.committed
    }

    /// An exchange that is over leaves no "sent" behind: the next under its identifier is new.
    fn forget(&mut self, change: &Change<'_>) {
        if let Change::ReceivedByPeer { key, packet_id } = *change {
            self.last.remove(&Entry::Sent(key.to_vec(), packet_id));
        }
    }

    /// Whether nothing waits.
    pub fn is_quiet(&self) -> bool {
        self.open == self.committed + 1
            && self.last.values().all(|(held, _)| *held <= self.committed)
    }
}

/// A shard's handle.
#[derive(Debug, Clone, Default)]
pub struct LedgerStore(Arc<Mutex<Ledger>>);

impl LedgerStore {
    /// What all handles share.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }
}

impl Store for LedgerStore {
    fn keeps(&self) -> bool {
        true
    }

    fn write(&mut self, change: &Change<'_>) -> Ticket {
        let mut ledger = self.ledger();
        let ticket = ledger.open;
        ledger.written += 1;
        let number = ledger.written;
        ledger.forget(change);
        if let Some(entry) = entry(change) {
            ledger.last.insert(entry, (ticket, number));
        }
        Ticket(ticket)
    }

    fn committed(&self) -> Ticket {
        Ticket(self.ledger().committed)
    }
}

fn entry(change: &Change<'_>) -> Option<Entry> {
    Some(match *change {
        Change::Session { key, .. } => Entry::Session(key.to_vec()),
        Change::SessionEnded { key } => Entry::SessionEnded(key.to_vec()),
        Change::Subscribed { key, filter, .. } => Entry::Subscribed(key.to_vec(), filter.into()),
        Change::Unsubscribed { key, filter } => Entry::Unsubscribed(key.to_vec(), filter.into()),
        Change::Appended { message, .. } => {
            Entry::Appended(message.topic().to_vec(), message.payload().to_vec())
        }
        Change::Sent { key, packet_id, .. } => Entry::Sent(key.to_vec(), packet_id),
        Change::ReceivedByPeer { key, packet_id } => Entry::ReceivedByPeer(key.to_vec(), packet_id),
        Change::Received { key, packet_id } => Entry::Received(key.to_vec(), packet_id),
        Change::Released { key, packet_id } => Entry::Released(key.to_vec(), packet_id),
        Change::Retained { message } => {
            Entry::Retained(message.topic().to_vec(), message.payload().to_vec())
        }
        Change::RetainedCleared { topic } => Entry::Retained(topic.to_vec(), Vec::new()),
        Change::Will { key, .. } => Entry::Will(key.to_vec()),
        Change::Consumed { .. } => return None,
    })
}
