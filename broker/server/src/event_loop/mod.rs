//! One shard's thread: waits for sockets, hands bytes to the engine, writes what it answers.
//!
//! A round: poll, letters, accept, read every socket that has something (a bounded share of each),
//! timers, then one write per connection, then one hand-off per other shard. A connection that
//! still has bytes after its share waits for the next round, which then does not wait.

mod accept;
mod depart;
mod flow;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::host::ConnectionRef;
use engine::shard::Shard;
use mio::event::Event;
use mio::{Events, Poll, Token};

pub(crate) use crate::event_loop::accept::Door;
use crate::event_loop::depart::Lingering;
use crate::hub::Hub;
use crate::mailbox::{Letters, Mailbox, Moved, Order};
use crate::transport::Transport;

/// What wakes the poll for letters.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// From here on tokens are listeners; below, slots of connections.
const LISTENERS: usize = 0xC000_0000;
/// From here on tokens are lingering sockets.
const LINGERING: usize = 0x8000_0000;

/// Events taken from one poll.
const EVENTS: usize = 1_024;
/// One read takes at most this: large enough that the system call's cost does not show, small
/// enough to stay in the processor's cache.
const READ_BYTES: usize = 256 << 10;
/// How long a loop reads nothing while another one is behind with its mail.
const MAIL_PAUSE: Duration = Duration::from_millis(1);
/// How long a stopping loop waits before it looks whether the others are done.
const STOP_POLL: Duration = Duration::from_millis(5);
/// How long after the last goodbye a stopping loop waits for clients to close their side.
const STOP_LINGER: Duration = Duration::from_millis(250);
/// Rounds after which a loop under constant load reports to the rendezvous all the same.
const REPORT_ROUNDS_MAX: u32 = 1_000;

/// One shard's thread.
pub(crate) struct EventLoop {
    id: u16,
    hub: Arc<Hub>,
    shard: Shard,
    poll: Poll,
    /// The time of this round.
    now_ms: u64,
    /// By slot of the engine.
    transports: Vec<Option<Transport>>,
    doors: Vec<Door>,
    /// Connections to read in the next round.
    ready: Vec<ConnectionRef>,
    /// The memory of that list, while it is worked off.
    reading: Vec<ConnectionRef>,
    /// Connections that were read from, or got new layers' output, outside the engine's knowledge.
    unsent: Vec<ConnectionRef>,
    /// Closing connections, each with the time until which its output may be written.
    departing: VecDeque<(u64, ConnectionRef)>,
    lingering: Lingering,
    /// By shard: connections to hand over at the end of the round.
    outgoing: Vec<Vec<Moved>>,
    letters: Letters,
    read_buffer: Vec<u8>,
    /// Decrypted bytes of one read.
    scratch: Vec<u8>,
    stop: Option<Stop>,
    report: Report,
    /// Rounds in a row whose poll may have had more to tell than it did.
    full_polls: usize,
}

/// A stop under way.
struct Stop {
    deadline: Instant,
    /// When the last connection was gone.
    empty_since: Option<Instant>,
}

/// What the rendezvous is told.
#[derive(Default)]
struct Report {
    /// The number asked for.
    asked: Option<u64>,
    rounds: u32,
    /// Something was done since the last report.
    moved: bool,
    /// Something was done in this round.
    busy: bool,
}

impl EventLoop {
    pub(crate) fn new(
        id: u16,
        hub: Arc<Hub>,
        shard: Shard,
        poll: Poll,
        doors: Vec<Door>,
    ) -> io::Result<Self> {
        for (index, door) in doors.iter().enumerate() {
            door.register(poll.registry(), Token(LISTENERS + index))?;
        }
        let shards = hub.mailboxes.len();
        Ok(Self {
            id,
            shard,
            poll,
            now_ms: hub.clock.now_ms(),
            hub,
            transports: Vec::new(),
            doors,
            ready: Vec::new(),
            reading: Vec::new(),
            unsent: Vec::new(),
            departing: VecDeque::new(),
            lingering: Lingering::default(),
            outgoing: (0..shards).map(|_| Vec::new()).collect(),
            letters: Letters::default(),
            read_buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
            stop: None,
            report: Report::default(),
            full_polls: 0,
        })
    }

    /// Runs until stopped; returns whether everyone was let go in good order.
    ///
    /// # Errors
    /// The kernel's, where the loop cannot go on.
    pub(crate) fn run(mut self) -> io::Result<bool> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let is_told = self.wait(&mut events)?;
            self.now_ms = self.hub.clock.now_ms();
            // What was not told may still come.
            self.report.busy = !is_told;
            self.shard.watch_events(self.hub.host.watches_events());
            self.take_letters();
            self.wake_resting();
            let mut noted = 0;
            for event in &events {
                self.note(event);
                noted += 1;
            }
            let is_complete = is_told && noted < EVENTS;
            self.full_polls = if is_complete { 0 } else { self.full_polls + 1 };
            self.accept();
            self.read_ready();
            self.run_timers();
            self.write();
            self.close_overdue();
            self.hand_off()?;
            if let Some(in_time) = self.is_over() {
                return Ok(in_time);
            }
        }
    }

    /// Waits for sockets, letters or the next deadline; false if a signal came instead.
    fn wait(&mut self, events: &mut Events) -> io::Result<bool> {
        let mailbox = self.hub.mailboxes.get(usize::from(self.id));
        let mut timeout = self.timeout();
        let is_idle = timeout != Some(Duration::ZERO);
        if is_idle && mailbox.is_some_and(|mailbox| !mailbox.fall_asleep()) {
            timeout = Some(Duration::ZERO);
        }
        let polled = self.poll.poll(events, timeout);
        if let (true, Some(mailbox)) = (is_idle, mailbox) {
            mailbox.wake_up();
        }
        match polled {
            Ok(()) => Ok(true),
            // A debugger, SIGCONT, or a signal the host set up on this thread.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How long there is nothing to do without an event; `None`: for ever.
    fn timeout(&self) -> Option<Duration> {
        let is_held = self.is_held();
        let is_due = ((!self.ready.is_empty() || self.shard.has_resting()) && !is_held)
            || self.report.asked.is_some()
            || self.doors.iter().any(Door::is_due);
        if is_due {
            return Some(Duration::ZERO);
        }
        let mut timeout = None;
        // Held, it runs no timers, and looks again soon enough for the rest.
        if !self.hub.clock.is_manual() && !is_held {
            let deadlines = [
                self.shard.next_deadline(),
                self.departing.front().map(|(deadline, _)| *deadline),
                self.lingering.next_deadline(),
                self.doors.iter().filter_map(Door::next_report).min(),
            ];
            let next = deadlines.into_iter().flatten().min();
            timeout = next.map(|next| Duration::from_millis(next.saturating_sub(self.now_ms)));
        }
        let pause = if is_held {
            Some(MAIL_PAUSE)
        } else if self.stop.is_some() {
            Some(STOP_POLL)
        } else {
            self.doors.iter().filter_map(Door::pause).min()
        };
        match (timeout, pause) {
            (Some(timeout), Some(pause)) => Some(timeout.min(pause)),
            (timeout, pause) => timeout.or(pause),
        }
    }

    /// Handles what the other shards and the host put into the mailbox.
    fn take_letters(&mut self) {
        let Some(mailbox) = self.hub.mailboxes.get(usize::from(self.id)) else { return };
        if !mailbox.take(&mut self.letters) {
            return;
        }
        let mut letters = std::mem::take(&mut self.letters);
        if !letters.mail.is_empty() {
            self.report.busy = true;
            self.shard.accept(&mut letters.mail, self.now_ms);
        }
        self.take_store_letters(&mut letters);
        let is_late = self.stop.is_some() && !letters.moved.is_empty();
        for moved in letters.moved.drain(..) {
            self.adopt(moved);
        }
        if is_late {
            self.shard.shutdown(self.now_ms);
        }
        for command in letters.commands.drain(..) {
            self.report.busy = true;
            self.shard.command(command, self.now_ms);
        }
        for order in letters.orders.drain(..) {
            match order {
                Order::Report(number) => {
                    self.report.asked = Some(number);
                    self.report.rounds = 0;
                }
                Order::Stop(deadline) => self.begin_stop(deadline),
            }
        }
        self.letters = letters;
    }

    /// Handles what the store's threads put into the mailbox.
    fn take_store_letters(&mut self, letters: &mut Letters) {
        if let Some(ticket) = letters.committed.take() {
            self.report.busy = true;
            self.shard.commit(ticket, self.now_ms);
        }
        for fetched in letters.fetched.drain(..) {
            self.report.busy = true;
            self.shard.fetched(&fetched, self.now_ms);
        }
        if std::mem::take(&mut letters.store_changed) {
            self.report.busy = true;
            self.shard.store_changed(self.now_ms);
        }
    }

    /// Notes what the poll says of a socket; nothing is read or written yet.
    fn note(&mut self, event: &Event) {
        let token = event.token();
        if token == WAKER {
            return;
        }
        self.report.busy = true;
        if token.0 >= LISTENERS {
            if let Some(door) = self.doors.get_mut(token.0 - LISTENERS) {
                door.open();
            }
            return;
        }
        if token.0 >= LINGERING {
            self.discard(token.0 - LINGERING);
            return;
        }
        let Some(Some(transport)) = self.transports.get_mut(token.0) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            transport.readable = true;
            transport.read_closed |= event.is_read_closed() || event.is_error();
            if !transport.listed {
                transport.listed = true;
                self.ready.push(transport.connection);
            }
        }
        if event.is_writable() && transport.blocked {
            transport.blocked = false;
            self.unsent.push(transport.connection);
        }
    }

    /// Another loop is so far behind with its mail, or the store with its commits, that nothing
    /// more may be made for it.
    fn is_held(&self) -> bool {
        self.hub.mailboxes.len() > 1 && self.hub.mailboxes.iter().any(Mailbox::is_full)
            || self.hub.is_store_behind()
    }

    /// Lets those go on that made much work in the round before.
    fn wake_resting(&mut self) {
        if self.shard.has_resting() {
            self.report.busy = true;
            if !self.is_held() {
                self.shard.wake_resting();
            }
        }
    }

    /// Reads a share of every connection that has something.
    fn read_ready(&mut self) {
        if self.is_held() {
            self.report.busy = true;
            return;
        }
        // What is put on the list from here on belongs to the next round.
        let mut reading = std::mem::take(&mut self.reading);
        std::mem::swap(&mut self.ready, &mut reading);
        for connection in reading.drain(..) {
            self.read(connection);
        }
        self.reading = reading;
    }

    /// Runs the timers, one deadline after the other: a manual clock may jump over several.
    ///
    /// Not while there may be something to read that was not read: after a standstill, a client
    /// that has spoken in time would be taken for silent. As many polls as it takes for each
    /// socket to have been told once are enough.
    fn run_timers(&mut self) {
        let polls = self.transports.len() / EVENTS + 1;
        if self.is_held() || (1..=polls).contains(&self.full_polls) {
            return;
        }
        while let Some(deadline) = self.shard.next_deadline() {
            if deadline > self.now_ms {
                return;
            }
            self.report.busy = true;
            self.shard.tick(deadline);
        }
    }

    /// Writes once for every connection that has something to say.
    fn write(&mut self) {
        loop {
            while let Some(connection) = self.shard.next_dirty() {
                self.attend(connection);
            }
            if self.unsent.is_empty() {
                return;
            }
            let mut unsent = std::mem::take(&mut self.unsent);
            for connection in unsent.drain(..) {
                self.send(connection);
            }
            if self.unsent.is_empty() {
                self.unsent = unsent;
            }
        }
    }

    /// Gives the other shards and the host what this round made for them.
    fn hand_off(&mut self) -> io::Result<()> {
        let others = self.shard.outbox().iter_mut().zip(&mut self.outgoing);
        for ((mail, moved), mailbox) in others.zip(&self.hub.mailboxes) {
            if !mail.is_empty() || !moved.is_empty() {
                self.report.busy = true;
                mailbox.post(|letters| {
                    letters.mail.append(mail);
                    letters.moved.append(moved);
                })?;
            }
        }
        self.shard.flush_store();
        self.hub.host.push(self.shard.records());
        if let Some(counters) = self.hub.counters.get(usize::from(self.id)) {
            if let Ok(mut counters) = counters.lock() {
                *counters = self.shard.counters();
            }
        }
        self.report.moved |= self.report.busy;
        if let Some(number) = self.report.asked {
            self.report.rounds += 1;
            // What is in the sockets now belongs before the report: not in the first round.
            let is_quiet = !self.report.busy && self.report.rounds > 1;
            if is_quiet || self.report.rounds > REPORT_ROUNDS_MAX {
                self.report.asked = None;
                let moved = std::mem::take(&mut self.report.moved);
                self.hub.rendezvous.report(number, moved);
            }
        }
        Ok(())
    }

    /// Stops accepting and says goodbye to everyone.
    fn begin_stop(&mut self, deadline: Instant) {
        if let Some(stop) = &mut self.stop {
            stop.deadline = stop.deadline.min(deadline);
            return;
        }
        for door in self.doors.drain(..) {
            door.deregister(self.poll.registry());
        }
        self.shard.shutdown(self.now_ms);
        self.stop = Some(Stop { deadline, empty_since: None });
    }

    /// Whether a stop is complete, and if so, in time. A loop goes on until all loops have let go
    /// of their connections: what one still reads may be for a session of another.
    fn is_over(&mut self) -> Option<bool> {
        let stop = self.stop.as_mut()?;
        let now = Instant::now();
        if self.hub.attached.load(Ordering::SeqCst) == 0 {
            let since = *stop.empty_since.get_or_insert(now);
            if self.lingering.is_empty() || now >= since + STOP_LINGER {
                return Some(true);
            }
        }
        if now < stop.deadline {
            return None;
        }
        let attached: Vec<_> =
            self.transports.iter().flatten().map(|transport| transport.connection).collect();
        for connection in attached {
            self.lose(connection);
        }
        self.hub.host.push(self.shard.records());
        Some(false)
    }
}
