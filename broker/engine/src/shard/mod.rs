//! A shard: sessions and connections of one event loop, and what each packet, timer and command
//! does to them. The rules are in the modules below, one a subject; see DESIGN.md.

mod acknowledge;
mod authenticate;
mod connect;
mod deliver;
mod end;
mod enqueue;
mod events;
mod fitting;
mod host;
mod input;
mod keys;
mod log;
mod mail;
mod output;
mod publish;
mod pump;
mod redistribute;
mod restore;
mod route;
mod session_end;
mod subscribe;
mod timer;
mod unsubscribe;
mod will;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;

pub use connect::HandOver;
pub use mail::Mail;
pub use output::Promise;

use keys::Keys;

use crate::connection::{Connection, Frames, OutputPool, Phase};
use crate::host::{ConnectionRef, HostRecord, Peer};
use crate::limits::ListenerProfile;
use crate::router::{MatchCache, QueueRef};
use crate::session::Session;
use crate::shared::Shared;
use crate::slots::Slots;
use crate::stats::Counters;
use crate::store::{MemoryStore, Store, Ticket};
use crate::timers::{TimerKey, Timers};

/// What the server does next with a connection whose bytes it gave.
#[derive(Debug)]
pub enum Flow {
    /// Read on.
    Read,
    /// Parked: read nothing until it is dirty and `Open` again, then call `resume`.
    Pause,
    /// Write what is in the output, close the transport, call `lost`.
    Close,
    /// This shard has forgotten it: move the transport to the shard named.
    HandOver(Box<HandOver>),
}

/// Where a connection stands, as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Read from it, write to it.
    Open,
    /// Write to it, read nothing.
    Parked,
    /// Ask for `hand_over` and move the transport.
    Leaving,
    /// Write what is there, then close.
    Closing,
}

/// The state machine of one event loop.
#[derive(Debug)]
pub struct Shard {
    id: u16,
    shared: Arc<Shared>,
    store: Box<dyn Store>,
    /// The highest ticket known to be committed.
    committed: Ticket,
    connections: Slots<Connection>,
    sessions: Slots<Session>,
    keys: Keys,
    host_subscriptions: HashMap<u64, QueueRef, foldhash::fast::RandomState>,
    cache: MatchCache,
    frames: Frames,
    pool: OutputPool,
    timers: Timers,
    dirty: VecDeque<ConnectionRef>,
    /// Connections with answers that wait for a commit; each once.
    uncommitted: Vec<ConnectionRef>,
    /// Sessions whose messages may leave the memory once they are committed.
    unloading: VecDeque<QueueRef>,
    /// Connections held back because the store took nothing.
    stalled: Vec<ConnectionRef>,
    /// Sessions whose retained messages wait for a commit.
    held_replays: Vec<QueueRef>,
    /// What the host is told once its ticket is committed, in order.
    completions: VecDeque<(Ticket, HostRecord)>,
    /// Connections that wait for the host.
    parked: u32,
    /// Connections that rest until the next round.
    resting: Vec<ConnectionRef>,
    /// Sessions that read on in the retained store when a round begins; each once.
    reading: VecDeque<QueueRef>,
    /// How many topics of it may still be looked at in this round.
    steps_left: usize,
    /// What the connection at hand made us do in this turn: receivers and filters.
    work: usize,
    /// Bytes in all output buffers.
    output_bytes: usize,
    /// Bytes of all incomplete packets.
    input_bytes: usize,
    outbox: Vec<Mail>,
    records: Vec<HostRecord>,
    /// Somebody wants events.
    is_watched: bool,
    counters: Counters,
    /// When the retained store was last searched for what expired.
    swept_at_ms: u64,
    /// The time of the event at hand.
    last_now_ms: u64,
    is_stopping: bool,
}

impl Shard {
    /// Shard `id` of the broker, with the store that keeps nothing.
    pub fn new(id: u16, shared: Arc<Shared>) -> Self {
        Self::with_store(id, shared, Box::new(MemoryStore))
    }

    /// Shard `id` of the broker, with a store.
    pub fn with_store(id: u16, shared: Arc<Shared>, store: Box<dyn Store>) -> Self {
        Self {
            id,
            store,
            committed: Ticket::default(),
            connections: Slots::default(),
            sessions: Slots::default(),
            keys: Keys::default(),
            host_subscriptions: HashMap::default(),
            cache: MatchCache::new(shared.limits.match_cache_entries),
            frames: Frames::default(),
            pool: OutputPool::default(),
            timers: Timers::default(),
            dirty: VecDeque::new(),
            uncommitted: Vec::new(),
            unloading: VecDeque::new(),
            stalled: Vec::new(),
            held_replays: Vec::new(),
            completions: VecDeque::new(),
            parked: 0,
            resting: Vec::new(),
            reading: VecDeque::new(),
            steps_left: pump::ROUND_STEPS,
            work: 0,
            output_bytes: 0,
            input_bytes: 0,
            outbox: (0..shared.shards).map(|_| Mail::default()).collect(),
            records: Vec::new(),
            is_watched: true,
            counters: Counters::default(),
            swept_at_ms: 0,
            last_now_ms: 0,
            is_stopping: false,
            shared,
        }
    }

    /// A transport was accepted: its connect timeout begins (before any handshake).
    pub fn open(
        &mut self,
        peer: Peer,
        profile: Arc<ListenerProfile>,
        now_ms: u64,
    ) -> ConnectionRef {
        let connection = Connection::new(peer, profile, now_ms);
        let (slot, generation) = self.connections.insert(connection);
        self.counters.connections += 1;
        self.counters.connections_opened += 1;
        let reference = ConnectionRef { slot, generation };
        self.set_connection_timer(reference);
        reference
    }

    /// The peer became known better: by a PROXY header or a client certificate.
    pub fn set_peer(&mut self, connection: ConnectionRef, peer: Peer) {
        if let Some(connection) = self.connection_mut(connection) {
            connection.peer = peer;
        }
    }

    /// Where a connection stands; `Closing` if it is not known.
    pub fn state(&self, connection: ConnectionRef) -> State {
        match self.connections.get(connection.slot, connection.generation) {
            Some(connection) if connection.phase == Phase::Closing => State::Closing,
            Some(connection) if connection.phase == Phase::Leaving => State::Leaving,
            Some(connection) if connection.is_waiting() => State::Parked,
            Some(_) => State::Open,
            None => State::Closing,
        }
    }

    /// The earliest deadline, in engine milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    /// Mail for the other shards, by shard id.
    pub fn outbox(&mut self) -> &mut [Mail] {
        &mut self.outbox
    }

    /// What the host is to be told; the server takes it after each round.
    pub fn records(&mut self) -> &mut Vec<HostRecord> {
        &mut self.records
    }

    /// Whether somebody wants events; at first they are made.
    pub fn watch_events(&mut self, on: bool) {
        self.is_watched = on;
    }

    /// The counters as they are now.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.sessions = self.sessions.len() as u64;
        if self.id == 0 {
            // These are the broker's already; one shard says them.
            counters.queued_messages = self.shared.queued_messages.load(Ordering::Relaxed);
            counters.queued_bytes = self.shared.queued_bytes.load(Ordering::Relaxed);
        }
        counters
    }

    fn connection(&self, reference: ConnectionRef) -> Option<&Connection> {
        self.connections.get(reference.slot, reference.generation)
    }

    fn connection_mut(&mut self, reference: ConnectionRef) -> Option<&mut Connection> {
        self.connections.get_mut(reference.slot, reference.generation)
    }

    fn session(&self, reference: QueueRef) -> Option<&Session> {
        self.sessions.get(reference.slot, reference.generation)
    }

    fn session_mut(&mut self, reference: QueueRef) -> Option<&mut Session> {
        self.sessions.get_mut(reference.slot, reference.generation)
    }

    /// The session of a connection that is open.
    fn session_of(&mut self, reference: ConnectionRef) -> Option<&mut Session> {
        let queue = self.connection(reference)?.session?;
        self.session_mut(queue)
    }

    fn set_connection_timer(&mut self, reference: ConnectionRef) {
        let ConnectionRef { slot, generation } = reference;
        if let Some(connection) = self.connections.get_mut(slot, generation) {
            let at_ms = connection.next_deadline();
            let key = TimerKey::Connection(slot, generation);
            self.timers.set(key, &mut connection.timer_ms, at_ms);
        }
    }

    fn set_session_timer(&mut self, reference: QueueRef) {
        let QueueRef { slot, generation, .. } = reference;
        if let Some(session) = self.sessions.get_mut(slot, generation) {
            let at_ms = session.next_deadline();
            let key = TimerKey::Session(slot, generation);
            self.timers.set(key, &mut session.timer_ms, at_ms);
        }
    }
}
