//! A store in a folder of its own, clocks that are turned by hand, and an outlet that remembers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use engine::message::{Message, NEVER, Publication, SharedMessage};
use engine::router::QueueRef;
use engine::store::{
    Change, Fetch, Fetched, Health, MessageRef, Receiver, Receivers, Recovered, SessionId, Store,
    StoredTerms, Ticket,
};
use server::store::{Notice, Opened, Outlet, StoreConfig, StoreControl, Times, open};

/// Longer than anything takes: for what never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Clocks that are turned by hand.
#[derive(Debug, Default)]
pub struct Clocks {
    pub engine_ms: AtomicU64,
    pub wall_ms: AtomicI64,
    pub unsynchronised: AtomicBool,
}

impl Times for Clocks {
    fn engine_ms(&self) -> u64 {
        self.engine_ms.load(Ordering::SeqCst)
    }

    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn is_synchronised(&self) -> bool {
        !self.unsynchronised.load(Ordering::SeqCst)
    }
}

/// What the store said.
#[derive(Debug, Default)]
pub struct Said {
    pub committed: u64,
    pub fetched: Vec<(u16, Fetched)>,
    pub health: Health,
    pub notices: Vec<Notice>,
}

/// Remembers what the store says, and wakes who waits for it.
#[derive(Debug, Default)]
pub struct Ear {
    said: Mutex<Said>,
    changed: Condvar,
}

impl Ear {
    fn hear(&self, note: impl FnOnce(&mut Said)) {
        note(&mut self.said.lock().expect("not poisoned"));
        self.changed.notify_all();
    }

    /// Waits until this is so, and takes something out.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut Said) -> Option<T>) -> T {
        let mut said = self.said.lock().expect("not poisoned");
        loop {
            if let Some(found) = look(&mut said) {
                return found;
            }
            let (next, timeout) = self.changed.wait_timeout(said, PATIENCE).expect("not poisoned");
            assert!(!timeout.timed_out(), "never came: {what}; {next:?}");
            said = next;
        }
    }
}

impl Outlet for Ear {
    fn committed(&self, ticket: Ticket) {
        self.hear(|said| said.committed = ticket.0);
    }

    fn fetched(&self, shard: u16, fetched: Fetched) {
        self.hear(|said| said.fetched.push((shard, fetched)));
    }

    fn health_changed(&self, health: Health) {
        self.hear(|said| said.health = health);
    }

    fn notice(&self, notice: Notice) {
        self.hear(|said| said.notices.push(notice));
    }
}

/// An open store.
pub struct Bench {
    pub stores: Vec<Box<dyn Store>>,
    pub recovered: Recovered,
    pub control: StoreControl,
    pub ear: Arc<Ear>,
}

impl Bench {
    /// Opens the store in a folder for two shards.
    pub fn open(folder: &Path) -> Self {
        Self::open_with(StoreConfig::new(folder), &Arc::default())
    }

    pub fn open_with(config: StoreConfig, clocks: &Arc<Clocks>) -> Self {
        let ear = Arc::new(Ear::default());
        let times: Arc<dyn Times> = Arc::clone(clocks) as _;
        let opened = open(config, 2, &times, Arc::clone(&ear) as _).expect("opens");
        let Opened { stores, recovered, control } = opened;
        Self { stores, recovered, control, ear }
    }

    /// Writes changes on a shard, and waits until they are committed.
    pub fn write_on(&mut self, shard: usize, changes: impl IntoIterator<Item = Change>) {
        let ticket = self.begin_on(shard, changes);
        self.wait(ticket);
    }

    /// The same on the first shard.
    pub fn write(&mut self, changes: impl IntoIterator<Item = Change>) {
        self.write_on(0, changes);
    }

    /// Writes changes on a shard; gives the last ticket.
    pub fn begin_on(&mut self, shard: usize, changes: impl IntoIterator<Item = Change>) -> Ticket {
        let store = &mut self.stores[shard];
        store.begin();
        let mut ticket = Ticket::default();
        for change in changes {
            ticket = store.write(change);
        }
        store.end();
        store.flush();
        ticket
    }

    pub fn wait(&self, ticket: Ticket) {
        self.ear.wait("a commit", |said| (said.committed >= ticket.0).then_some(()));
    }

    /// Asks for messages and waits for the answer.
    pub fn fetch(&mut self, numbers: &[u64]) -> Vec<(u64, Option<SharedMessage>)> {
        self.stores[0].fetch(Fetch { queue: queue(0), numbers: numbers.to_vec() });
        let (shard, fetched) = self.ear.wait("an answer", |said| said.fetched.pop());
        assert_eq!((shard, fetched.queue), (0, queue(0)));
        fetched.messages
    }

    /// Stops it and opens it again.
    pub fn reopen(self, folder: &Path) -> Self {
        drop(self);
        Self::open(folder)
    }
}

pub fn queue(slot: u32) -> QueueRef {
    QueueRef { shard: 0, slot, generation: 1 }
}

/// A session's creation.
pub fn session(id: u64) -> Change {
    Change::Session {
        id: SessionId(id),
        key: format!("\0client-{id}").into_bytes().into(),
        user: "user".into(),
        expiry_s: 3_600,
    }
}

pub fn message(topic: &[u8], payload: &[u8], qos: u8) -> Message {
    Message::new(&Publication {
        topic,
        properties: b"",
        payload,
        qos,
        retain: false,
        expires_at_ms: NEVER,
    })
}

/// Receivers with QoS 1 and plain terms.
pub fn receivers(sessions: &[u64], qos: u8) -> Receivers {
    let receiver = |id: &u64| Receiver {
        queue: queue(0),
        session: SessionId(*id),
        terms: StoredTerms { qos, ..StoredTerms::default() },
    };
    sessions.iter().map(receiver).collect()
}

/// A message on its way to the log.
pub fn append(message: Message, receivers: Receivers) -> (SharedMessage, Change) {
    let count = u32::try_from(receivers.len()).expect("few");
    message.expect(count, message.qos == 2 || message.retain);
    let message = Arc::new(message);
    (Arc::clone(&message), Change::Appended { message, receivers })
}

/// A receiver is done with a message.
pub fn consumed(message: &SharedMessage, receiver: u32) -> Option<Change> {
    let message = Arc::clone(message);
    let is_told = message.done();
    is_told.then_some(Change::Consumed { message: MessageRef::Held(message), receiver })
}

/// The numbers of a session's deliveries.
pub fn waiting(recovered: &Recovered, id: u64) -> Vec<(u64, u32)> {
    let session = recovered.sessions.iter().find(|session| session.id.0 == id).expect("there");
    session.deliveries.iter().map(|delivery| (delivery.number, delivery.receiver)).collect()
}
