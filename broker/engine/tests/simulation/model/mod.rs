//! The reference model: what a broker owes to whom, in plain lists and by the plain reading of
//! the standard. It is told what the engine was given, and `check` compares what the engine says.

mod acknowledge;
mod connect;
mod end;
mod group;
mod link;
mod message;
mod publish;
mod session;
mod subscribe;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use engine::limits::ListenerProfile;

pub use group::{GroupCopy, Holder};
pub use link::{Awaited, Link, Phase};
pub use message::{Message, MessageId, Owed};
pub use session::{Flying, Replay, Session, SessionId, Stage};

use crate::ledger::{Entry, LedgerStore};

/// What is on its way from one shard to another.
#[derive(Debug)]
pub struct Letter {
    pub session: SessionId,
    pub owed: Owed,
}

/// All a broker knows.
#[derive(Debug)]
pub struct Model {
    pub now_ms: u64,
    pub profiles: Vec<Arc<ListenerProfile>>,
    pub links: Vec<Link>,
    pub sessions: BTreeMap<SessionId, Session>,
    pub keys: HashMap<Vec<u8>, SessionId>,
    pub messages: Vec<Message>,
    pub retained: BTreeMap<String, MessageId>,
    pub copies: Vec<GroupCopy>,
    /// Letters made since the world last took them, by (from, to).
    pub outbox: BTreeMap<(usize, usize), VecDeque<Letter>>,
    /// Messages a session's queue holds; more push the oldest out.
    pub queue_max: usize,
    pub store: Option<LedgerStore>,
    /// Writes of the store before the call at hand.
    mark: u64,
    next_session: SessionId,
}

impl Model {
    /// A broker that nobody has connected to.
    pub fn new(
        profiles: Vec<Arc<ListenerProfile>>,
        queue_max: usize,
        store: Option<LedgerStore>,
    ) -> Self {
        Self {
            now_ms: 0,
            profiles,
            links: Vec::new(),
            sessions: BTreeMap::new(),
            keys: HashMap::new(),
            messages: Vec::new(),
            retained: BTreeMap::new(),
            copies: Vec::new(),
            outbox: BTreeMap::new(),
            queue_max,
            store,
            mark: 0,
            next_session: 1,
        }
    }

    /// A call of the engine begins: what it writes from now on belongs to it.
    pub fn begin(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.mark = self.store.as_ref().map_or(0, |store| store.ledger().mark());
    }

    /// The ticket of a change that this call must have written.
    fn ticket(&self, entry: &Entry) -> u64 {
        let Some(store) = &self.store else { return 0 };
        let ticket = store.ledger().ticket_since(entry, self.mark);
        ticket.unwrap_or_else(|| panic!("the store was not told of {entry:?}"))
    }

    /// The ticket of a change whenever it was written.
    pub fn last_ticket(&self, entry: &Entry) -> Option<u64> {
        self.store.as_ref().and_then(|store| store.ledger().ticket_since(entry, 0))
    }

    /// Whether a ticket is committed.
    pub fn is_committed(&self, ticket: u64) -> bool {
        self.store.as_ref().is_none_or(|store| ticket <= store.ledger().committed())
    }

    /// Whether a message of that group is not written, because everyone was done with it.
    pub fn has_never_written(&self, ticket: u64) -> bool {
        self.store.as_ref().is_some_and(|store| store.ledger().has_never_written(ticket))
    }

    /// Whether the store has nothing that waits.
    pub fn is_quiet(&self) -> bool {
        self.store.as_ref().is_none_or(|store| store.ledger().is_quiet())
    }

    /// Whether answers can wait at all.
    pub fn keeps(&self) -> bool {
        self.store.is_some()
    }

    /// The session of an open link.
    pub fn session_of(&mut self, link: usize) -> Option<&mut Session> {
        self.sessions.get_mut(&self.links[link].session?)
    }
}

/// Whether a Topic Filter without `$share` matches (MQTT 5 §4.7), level by level.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    for (at, level) in filter.iter().enumerate() {
        match *level {
            "#" => return true,
            "+" if at < topic.len() => {}
            level if topic.get(at) == Some(&level) => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// `ShareName` and the filter inside, if it is a shared subscription.
pub fn split_share(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((name, inner)) => (Some(name), inner),
        None => (None, filter),
    }
}
