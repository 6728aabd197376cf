//! A commit that fails: what each kind of failure asks for, until the group is in the file.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::store::Health;
use rusqlite::ffi;

use super::counters::add;
use super::database::{checkpoint, open_writer};
use super::error::Trouble;
use super::group::Group;
use super::outlet::Notice;
use super::shared::Shared;
use super::wal::count_frames;
use super::writer::Writer;

/// A foreign write lock may last this long before it is a nuisance.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// How soon a lock is asked for again.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// Between attempts when nothing commits: doubled from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How the attempts to commit one group have gone.
#[derive(Debug, Default)]
struct Attempts {
    in_parts: bool,
    busy_since: Option<Instant>,
    pause: Duration,
    has_stopped: bool,
}

impl Writer {
    /// Commits a group, however often it takes. False: the store was stopped meanwhile, and the
    /// group is not in the file; nobody was told that it is.
    pub(super) fn commit(&mut self, mut group: Group) -> bool {
        let mut attempts = Attempts::default();
        loop {
            let outcome = match self.connection.clone() {
                Some(connection) => group.apply(&connection, attempts.in_parts),
                None => self.open_anew(&mut group),
            };
            match outcome {
                Ok(()) if self.connection.is_some() && group.is_done() => break,
                Ok(()) => continue,
                Err(error) => self.meet(&error, &mut attempts),
            }
            if self.shared.is_stopping() && !attempts.pause.is_zero() {
                return false;
            }
        }
        if attempts.has_stopped {
            // It is the next look that says when all is well.
            let text = "the store commits again".to_owned();
            self.shared.set_health(Health::Full, Notice::good("store_commits", text));
        }
        true
    }

    /// What a failure asks for, up to the next attempt.
    fn meet(&mut self, error: &rusqlite::Error, attempts: &mut Attempts) {
        add(&self.shared.counters.failures, 1);
        match Trouble::of(error) {
            Trouble::Full if self.give_up_reserve() => {}
            Trouble::Full if !attempts.in_parts => attempts.in_parts = true,
            Trouble::Full => self.stay_full(attempts),
            Trouble::Busy => self.stay_busy(attempts),
            trouble @ (Trouble::Lost | Trouble::Damaged) => {
                self.connection = None;
                self.stop_writing(error, trouble, attempts);
            }
        }
    }

    /// The disk is full: what is under way gets the reserve's room, and nothing new comes.
    pub(super) fn give_up_reserve(&mut self) -> bool {
        let was_held = self.reserve.give_up();
        let text = format!(
            "the disk of {} is full: new messages, subscriptions and lasting sessions are refused \
             until there is room",
            self.config.folder.display()
        );
        if self.shared.health() == Health::Sound {
            self.looked_at = Instant::now();
            self.shared.set_health(Health::Full, Notice::trouble("store_full", text));
        }
        was_held
    }

    fn stay_full(&mut self, attempts: &mut Attempts) {
        let text = format!(
            "the disk of {} is full and the reserve is used up: nothing that needs the store is \
             acknowledged until there is room",
            self.config.folder.display()
        );
        attempts.has_stopped = true;
        self.shared.set_health(Health::Stopped, Notice::trouble("store_stopped", text));
        attempts.wait(&self.shared);
    }

    fn stay_busy(&mut self, attempts: &mut Attempts) {
        let since = *attempts.busy_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= BUSY_MAX && self.shared.health() == Health::Sound {
            let text = self.wal.write_lock_text();
            self.looked_at = Instant::now();
            self.shared.set_health(Health::Full, Notice::trouble("store_locked", text));
        }
        attempts.pause = if self.shared.is_stopping() { BUSY_PAUSE } else { Duration::ZERO };
        std::thread::park_timeout(BUSY_PAUSE);
    }

    fn stop_writing(&mut self, error: &rusqlite::Error, trouble: Trouble, attempts: &mut Attempts) {
        let path = self.config.path();
        let mut text = format!(
            "{} cannot be written: {error}; nothing that needs the store is acknowledged, and it \
             is tried again",
            path.display()
        );
        if trouble == Trouble::Damaged {
            super::damage::mark(&path);
            text = format!(
                "{} is damaged: {error}; nothing that needs the store is acknowledged; restart the \
                 broker, which sets the file aside and saves what can be read",
                path.display()
            );
        }
        attempts.has_stopped = true;
        self.shared.set_health(Health::Stopped, Notice::trouble("store_stopped", text));
        attempts.wait(&self.shared);
    }

    /// A connection that failed to synchronise is never asked to do it again: all are closed, the
    /// file is opened anew, and what it says decides whether the group is to be applied again.
    fn open_anew(&mut self, group: &mut Group) -> rusqlite::Result<()> {
        let slot = Arc::clone(&self.reader);
        let mut reader = slot.lock();
        *reader = None;
        let connection = open_writer(&self.config.path(), self.config.profile)?;
        // What is in the log may be in memory alone: copied into the file and synchronised there
        // by new descriptors, it is not.
        let (_, is_whole) = checkpoint(&connection, "TRUNCATE")?;
        if !is_whole {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), None));
        }
        group.read_back(&connection)?;
        count_frames(&connection);
        self.connection = Some(Rc::new(connection));
        Ok(())
    }
}

impl Attempts {
    /// Longer each time; not at all when the store is to stop.
    fn wait(&mut self, shared: &Shared) {
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let until = Instant::now() + self.pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || shared.is_stopping() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }
}
