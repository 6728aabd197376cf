//! The writer: one thread that takes what the shards wrote, commits it as a group, and tells them.
//! Whatever arrives while a commit runs is the next group.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use engine::store::Health;
use rusqlite::Connection;

use super::compaction::give_back_pages;
use super::config::StoreConfig;
use super::control::Order;
use super::counters::{add, set};
use super::database::{State, checkpoint};
use super::group::Group;
use super::log::{Log, Pieces};
use super::outlet::Notice;
use super::pending::List;
use super::reader::ReaderSlot;
use super::reserve::Reserve;
use super::shared::Shared;
use super::wal::Wal;

/// How often a store that is not sound looks whether it is again.
const LOOK_AFTER: Duration = Duration::from_millis(250);

/// What the writer's thread is given.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) config: StoreConfig,
    pub(super) log: Log,
    pub(super) connection: Connection,
    pub(super) reader: Arc<ReaderSlot>,
    pub(super) reserve: Reserve,
    pub(super) group: u64,
    pub(super) orders: Receiver<Order>,
}

/// The writer's state.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) config: StoreConfig,
    pub(super) log: Log,
    /// None while the file has to be opened anew.
    pub(super) connection: Option<Rc<Connection>>,
    pub(super) reader: Arc<ReaderSlot>,
    pub(super) reserve: Reserve,
    pub(super) wal: Wal,
    /// The last group that is committed.
    group: u64,
    lists: Vec<List>,
    settled_at: Instant,
    /// What was last said of something that failed and is tried again.
    complaint: String,
    /// Something was deleted since free pages were looked for.
    is_giving_back: bool,
    orders: Receiver<Order>,
    /// The last look at a store that is not sound.
    pub(super) looked_at: Instant,
}

impl Writer {
    /// Within the thread.
    pub(super) fn new(parts: Parts) -> Self {
        let shards = parts.shared.pendings.len();
        Self {
            wal: Wal::new(&parts.config, &parts.connection),
            shared: parts.shared,
            config: parts.config,
            log: parts.log,
            connection: Some(Rc::new(parts.connection)),
            reader: parts.reader,
            reserve: parts.reserve,
            group: parts.group,
            lists: (0..shards).map(|_| List::default()).collect(),
            settled_at: Instant::now(),
            complaint: String::new(),
            is_giving_back: false,
            orders: parts.orders,
            looked_at: Instant::now(),
        }
    }

    /// Until the store is stopped.
    pub(super) fn run(mut self) {
        loop {
            self.wait();
            self.obey();
            let is_last = self.shared.is_stopping();
            if !self.round() {
                break; // It stopped while nothing could be committed.
            }
            self.look();
            if is_last && !self.has_work() && !self.log.has_unsettled() {
                if let Some(connection) = &self.connection {
                    // So that the next start reads one file; what is not copied now is copied then.
                    drop(checkpoint(connection, "TRUNCATE"));
                }
                break;
            }
        }
        self.shared.fetches.stop();
    }

    fn has_work(&self) -> bool {
        self.shared.pendings.iter().any(|pending| !pending.is_empty())
    }

    /// Whether bits and rows have waited long enough.
    fn is_settling_due(&self) -> bool {
        self.log.has_unsettled()
            && (self.settled_at.elapsed() >= self.config.profile.settle_after()
                || self.shared.is_stopping())
    }

    /// Until there is something to do; gathers a group for the profile's window.
    fn wait(&mut self) {
        while !self.has_work() && !self.shared.is_stopping() && !self.is_settling_due() {
            match self.orders.try_recv() {
                Ok(order) => self.fulfil(order),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            if self.shared.health() != Health::Sound && self.looked_at.elapsed() >= LOOK_AFTER {
                return;
            }
            let is_timed = self.log.has_unsettled() || self.shared.health() != Health::Sound;
            if is_timed {
                std::thread::park_timeout(LOOK_AFTER);
            } else {
                std::thread::park();
            }
        }
        let until = Instant::now() + self.config.profile.window();
        while !self.shared.is_stopping() && !self.is_half_full() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    fn is_half_full(&self) -> bool {
        self.shared.pending_bytes.load(Ordering::Relaxed) > self.shared.pending_bytes_max / 2
    }

    fn obey(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.fulfil(order);
        }
    }

    /// One group. False: it could not be committed, and the store stops.
    pub(super) fn round(&mut self) -> bool {
        let mut pieces = Pieces::new();
        if self.is_settling_due() {
            let ops = self.settle();
            if !ops.is_empty() {
                pieces.push(ops);
            }
        }
        let number = self.group + 1;
        // Before any list is taken: a message has its number only from here on.
        self.shared.started.store(number, Ordering::SeqCst);
        for (pending, list) in self.shared.pendings.iter().zip(&mut self.lists) {
            pending.take(list, number + 1);
        }
        let bytes: usize = self.lists.iter().map(|list| list.bytes).sum();
        let (first, weight) = (self.log.next_number, self.log.appended_bytes);
        pieces.append(&mut self.log.draft(&mut self.lists));
        if !pieces.is_empty() {
            let state = State {
                group: number,
                part: 0,
                next_number: self.log.next_number,
                next_session: self.shared.next_session.load(Ordering::Relaxed),
                next_set: self.log.sets.next_id(),
                stamp: self.log.clock.stamp(),
            };
            if !self.commit(Group { pieces, state, done: 0 }) {
                return false;
            }
            let counters = &self.shared.counters;
            add(&counters.groups, 1);
            add(&counters.messages, self.log.next_number - first);
            add(&counters.bytes, self.log.appended_bytes - weight);
        }
        set(&self.shared.counters.never_written, self.log.never_written);
        self.group = number;
        self.shared.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.tell_committed(number);
        true
    }

    /// The statements for what was left for later.
    fn settle(&mut self) -> Vec<super::op::Op> {
        let mut ops = Vec::new();
        self.log.settle(&mut ops);
        self.settled_at = Instant::now();
        // Rewriting takes room before it frees any.
        let is_sound = self.shared.health() == Health::Sound;
        if let Some(connection) = self.connection.clone().filter(|_| is_sound) {
            match self.log.compact(&connection, &mut ops) {
                Ok(bytes) => add(&self.shared.counters.rewritten_bytes, bytes),
                Err(error) => self.complain("sparse segments cannot be read", &error),
            }
        }
        self.is_giving_back = true;
        let (segments, messages, deliveries, bytes) = self.log.ledger.totals();
        let counters = &self.shared.counters;
        set(&counters.segments, segments);
        set(&counters.log_messages, messages);
        set(&counters.log_deliveries, deliveries);
        set(&counters.log_bytes, bytes);
        ops
    }

    /// Something that is tried again by itself failed.
    fn complain(&mut self, what: &str, error: &rusqlite::Error) {
        let text = format!("{}: {what}: {error}", self.config.path().display());
        if self.complaint != text {
            self.complaint.clone_from(&text);
            self.shared.notice(Notice::trouble("store_failed", text));
        }
    }

    /// Between groups: the write-ahead log, and whether a store that was not sound is again.
    fn look(&mut self) {
        self.checkpoint();
        if std::mem::take(&mut self.is_giving_back) {
            if let Some(Err(error)) = self.connection.as_deref().map(give_back_pages) {
                self.complain("free pages cannot be given back", &error);
            }
        }
        if self.shared.health() == Health::Sound || self.looked_at.elapsed() < LOOK_AFTER {
            return;
        }
        self.looked_at = Instant::now();
        if self.wal.is_over() || !self.reserve.is_held() && !self.reserve.has_room() {
            return;
        }
        match self.reserve.make() {
            Ok(()) => {
                let text = "the store takes messages again".to_owned();
                self.shared.set_health(Health::Sound, Notice::good("store_sound", text));
            }
            Err(error) => {
                let text = format!("the store's reserve cannot be made: {error}");
                self.shared.notice(Notice::trouble("store_reserve", text));
            }
        }
    }
}
