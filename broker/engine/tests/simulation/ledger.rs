//! A store for worlds that keep: changes commit late and in groups, and it is known which change
//! got which ticket.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use engine::message::SharedMessage;
use engine::store::{Change, Fetch, Health, SessionId, Store, Ticket};

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
    /// Keys of lasting sessions by what the store calls them.
    keys: HashMap<SessionId, Vec<u8>>,
    /// The next lasting session.
    next_session: u64,
    /// Messages of the group that takes changes now.
    appended: Vec<SharedMessage>,
    /// Groups with a message that was never written, since everyone was done with it.
    never_written: HashSet<u64>,
    /// Messages written.
    numbers: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            open: 1,
            committed: 0,
            written: 0,
            last: HashMap::new(),
            keys: HashMap::new(),
            next_session: 1,
            appended: Vec::new(),
            never_written: HashSet::new(),
            numbers: 0,
        }
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

    /// What comes from now on belongs to another group: its messages are taken.
    pub fn seal(&mut self) {
        self.note_never_written();
        for message in std::mem::take(&mut self.appended) {
            if message.take() {
                self.numbers += 1;
                message.set_number(self.numbers);
            }
        }
        self.open += 1;
    }

    fn note_never_written(&mut self) {
        if self.appended.iter().any(|message| message.is_never_written()) {
            self.never_written.insert(self.open);
        }
    }

    /// Whether a message of this group was not to be written, so that its PUBACK need not wait.
    pub fn has_never_written(&mut self, ticket: u64) -> bool {
        self.note_never_written();
        self.never_written.contains(&ticket)
    }

    /// Commits the oldest group; the ticket up to which everything is.
    pub fn commit(&mut self) -> u64 {
        self.committed = (self.committed + 1).min(self.open);
        if self.open == self.committed {
            self.seal();
        }
        self.committed
    }

    /// An exchange that is over leaves no "sent" behind: the next under its identifier is new.
    fn forget(&mut self, change: &Change) {
        if let Change::ReceivedByPeer { id, packet_id } = change {
            self.last.remove(&Entry::Sent(self.key(*id), *packet_id));
        }
    }

    fn key(&self, id: SessionId) -> Vec<u8> {
        self.keys.get(&id).expect("a session that was told").clone()
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

    fn write(&mut self, change: Change) -> Ticket {
        let mut ledger = self.ledger();
        let ticket = ledger.open;
        ledger.written += 1;
        let number = ledger.written;
        if let Change::Session { id, key, .. } = &change {
            ledger.keys.insert(*id, key.to_vec());
        }
        ledger.forget(&change);
        if let Some(entry) = ledger.entry(&change) {
            ledger.last.insert(entry, (ticket, number));
        }
        if let Change::Appended { message, .. } = change {
            ledger.appended.push(message);
        }
        Ticket(ticket)
    }

    fn begin(&mut self) {}

    fn end(&mut self) {}

    fn flush(&mut self) {}

    fn fetch(&mut self, fetch: Fetch) {
        panic!("everything is in memory, and still {fetch:?}");
    }

    fn new_session(&mut self) -> SessionId {
        let mut ledger = self.ledger();
        ledger.next_session += 1;
        SessionId(ledger.next_session)
    }

    fn health(&self) -> Health {
        Health::Sound
    }
}

impl Ledger {
    fn entry(&self, change: &Change) -> Option<Entry> {
        let key = |id: &SessionId| self.key(*id);
        Some(match change {
            Change::Session { key, .. } => Entry::Session(key.to_vec()),
            Change::SessionEnded { id } => Entry::SessionEnded(key(id)),
            Change::Subscribed { id, filter, .. } => Entry::Subscribed(key(id), filter.to_string()),
            Change::Unsubscribed { id, filter } => Entry::Unsubscribed(key(id), filter.to_string()),
            Change::Appended { message, .. } => {
                Entry::Appended(message.topic().to_vec(), message.payload().to_vec())
            }
            Change::Sent { id, packet_id, .. } => Entry::Sent(key(id), *packet_id),
            Change::ReceivedByPeer { id, packet_id } => Entry::ReceivedByPeer(key(id), *packet_id),
            Change::Received { id, packet_id } => Entry::Received(key(id), *packet_id),
            Change::Released { id, packet_id } => Entry::Released(key(id), *packet_id),
            Change::Retained { topic, message, .. } => {
                let payload = message.as_ref().map(|message| message.payload().to_vec());
                Entry::Retained(topic.to_vec(), payload.unwrap_or_default())
            }
            Change::Will { id, .. } => Entry::Will(key(id)),
            Change::Consumed { .. }
            | Change::Moved { .. }
            | Change::Completed { .. }
            | Change::SessionLeft { .. } => return None,
        })
    }
}
