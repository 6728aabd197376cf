//! The server as its host sees it: started with a configuration, asked things, stopped.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use engine::host::{HostCommand, HostMessage, HostRecord};
use engine::shard::Shard;
use engine::shared::Shared;
use engine::stats::Counters;
use mio::{Poll, Waker};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::clock::Clock;
use crate::config::{ListenerConfig, ServerConfig, TlsConfig};
use crate::durable;
use crate::error::ServerError;
use crate::event_loop::{Door, EventLoop, WAKER};
use crate::host_queue::HostQueue;
use crate::hub::Hub;
use crate::listener::Listener;
use crate::mailbox::{Letters, Mailbox, Order};
use crate::rendezvous::Rendezvous;
use crate::store::{self, StoreControl};

/// Passes after which a manual clock moves on though mail still goes round.
const SETTLE_PASSES_MAX: usize = 100;

/// A running server; dropped, it stops without a goodbye.
pub struct Server {
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
    /// One `advance` at a time.
    advancing: Mutex<()>,
}

#[derive(Default)]
struct Threads {
    running: Vec<JoinHandle<bool>>,
    /// What `stop` found.
    stopped_in_time: bool,
}

impl Server {
    /// Binds every listener and starts one thread per shard. Every listener accepts on return.
    ///
    /// # Errors
    /// What is wrong with a listener, its certificate or its address.
    pub fn start(config: &ServerConfig, listeners: &[ListenerConfig]) -> Result<Self, ServerError> {
        let shards = config.shards.max(1);
        let mut bound = Vec::with_capacity(listeners.len());
        let mut sockets = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let (listener, socket) = Listener::bind(listener, listeners)?;
            bound.push(listener);
            sockets.push(socket);
        }
        let mut polls = Vec::with_capacity(usize::from(shards));
        let mut mailboxes = Vec::with_capacity(usize::from(shards));
        for _ in 0..shards {
            let poll = Poll::new().map_err(ServerError::system("create an epoll instance"))?;
            let waker = Waker::new(poll.registry(), WAKER)
                .map_err(ServerError::system("create an eventfd"))?;
            polls.push(poll);
            mailboxes.push(Mailbox::new(waker));
        }
        let hub = Arc::new(Hub {
            clock: Clock::new(config.manual_clock),
            host: HostQueue::new(config.limits.host_records)?,
            listeners: bound,
            mailboxes,
            rendezvous: Rendezvous::default(),
            counters: (0..shards).map(|_| Mutex::default()).collect(),
            max_connections: config.max_connections,
            connections: AtomicU32::new(0),
            attached: AtomicU32::new(0),
            store: OnceLock::new(),
        });
        let all = Shared::new(config.limits.clone(), shards, config.seed);
        let server = Self {
            hub: Arc::clone(&hub),
            shared: Arc::clone(&all),
            threads: Mutex::default(),
            advancing: Mutex::default(),
        };
        let engines = engines(config, &hub, &all)?;
        for ((id, poll), shard) in (0..shards).zip(polls).zip(engines) {
            let doors = doors(&sockets)?;
            let event_loop = EventLoop::new(id, Arc::clone(&hub), shard, poll, doors)
                .map_err(ServerError::system("register a listener"))?;
            let hub = Arc::clone(&hub);
            let cpu = config.pin_cpus.get(usize::from(id)).copied();
            let thread = Builder::new()
                .name(format!("shard-{id}"))
                .spawn(move || run(event_loop, &hub, cpu))
                .map_err(ServerError::system("start a thread"))?;
            server.threads().running.push(thread);
        }
        Ok(server)
    }

    /// Where the listeners listen, in their order: `tcp://127.0.0.1:40123`, `tls://…`, `ws://…`,
    /// `wss://…`, `unix:/path`.
    pub fn addresses(&self) -> Vec<String> {
        self.hub.listeners.iter().map(|listener| listener.address.clone()).collect()
    }

    /// Readable while records wait.
    pub fn host_fd(&self) -> BorrowedFd<'_> {
        self.hub.host.fd()
    }

    /// At most `max` records, oldest first; the descriptor is cleared when none is left.
    pub fn drain(&self, max: usize) -> Vec<HostRecord> {
        self.hub.host.drain(max)
    }

    /// Whether events become records; they do not before this is called. The other kinds always do.
    pub fn watch_events(&self, on: bool) {
        self.hub.host.watch_events(on);
    }

    /// Hands a command to its shard: an answer to the one that asked, a question about sessions to
    /// all, anything else to the first.
    pub fn command(&self, command: HostCommand) {
        match &command {
            HostCommand::Sessions { .. } => {
                self.post_all(|letters| letters.commands.push(command.clone()));
            }
            HostCommand::Answer(answer) => {
                self.post(answer.shard, |letters| letters.commands.push(command));
            }
            _ => self.post(0, |letters| letters.commands.push(command)),
        }
    }

    /// How many event loops run.
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.hub.mailboxes.len()).unwrap_or(u16::MAX)
    }

    /// At most `max` retained messages whose topic, with its mount point, matches `filter`.
    pub fn retained(&self, filter: &str, max: usize) -> Vec<HostMessage> {
        self.shared.retained(filter, max, self.hub.clock.now_ms())
    }

    /// The sum over the shards, each as of the end of its last round.
    pub fn counters(&self) -> Counters {
        self.hub.counters()
    }

    /// Gives a listener another certificate, for connections from now on; live ones stay.
    ///
    /// # Errors
    /// The listener is unknown or without TLS, or certificate and key cannot be used; then it keeps
    /// those it has.
    pub fn reload_tls(&self, listener: &str, tls: &TlsConfig) -> Result<(), ServerError> {
        let mut listeners = self.hub.listeners.iter();
        match listeners.find(|known| known.profile.name.as_ref() == listener) {
            Some(known) => known.reload_tls(tls),
            None => Err(ServerError::UnknownListener { listener: listener.to_owned() }),
        }
    }

    /// Moves a manual clock; returns when every shard has handled what was in its sockets before,
    /// run its timers, and handled the mail that came of them.
    pub fn advance(&self, milliseconds: u64) {
        let _one = self.advancing.lock().unwrap_or_else(PoisonError::into_inner);
        self.settle();
        self.hub.clock.advance(milliseconds);
        self.settle();
    }

    /// Stops: nobody is accepted any more, every client is told 0x8B and has until `deadline` to
    /// read it, the threads end. Returns whether that was enough time.
    ///
    /// A call while another waits may bring the deadline nearer; one after it only answers.
    pub fn stop(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        self.post_all(|letters| letters.orders.push(Order::Stop(end)));
        let mut threads = self.threads();
        if threads.running.is_empty() {
            return threads.stopped_in_time;
        }
        for listener in &self.hub.listeners {
            listener.remove_file();
        }
        let mut in_time = true;
        for thread in threads.running.drain(..) {
            in_time &= thread.join().unwrap_or(false);
        }
        if let Some(store) = self.hub.store.get() {
            store.stop();
        }
        threads.stopped_in_time = in_time;
        in_time
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no shard has anything to do, and the store nothing to commit or to fetch.
    fn settle(&self) {
        for _ in 0..SETTLE_PASSES_MAX {
            let number = self.hub.rendezvous.call();
            self.post_all(|letters| letters.orders.push(Order::Report(number)));
            let has_moved = self.hub.rendezvous.wait(number, self.shard_count());
            let was_idle = self.hub.store.get().is_none_or(StoreControl::wait_idle);
            if !has_moved && was_idle {
                return;
            }
        }
    }

    fn post(&self, shard: u16, put: impl FnOnce(&mut Letters)) {
        if let Some(mailbox) = self.hub.mailboxes.get(usize::from(shard)) {
            // The eventfd is ours and its counter far from full: a wake does not fail.
            let _ = mailbox.post(put);
        }
    }

    fn post_all(&self, put: impl Fn(&mut Letters)) {
        for shard in 0..self.shard_count() {
            self.post(shard, &put);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// The shards' engines, with what lasted.
fn engines(
    config: &ServerConfig,
    hub: &Arc<Hub>,
    all: &Arc<Shared>,
) -> Result<Vec<Shard>, ServerError> {
    let shards = config.shards.max(1);
    let Some(stored) = &config.store else {
        return Ok((0..shards).map(|id| Shard::new(id, Arc::clone(all))).collect());
    };
    let (times, outlet) = durable::ties(hub, config.is_synchronised);
    let opened = store::open(stored.clone(), shards, &times, outlet)?;
    let _ = hub.store.set(opened.control);
    let mut engines: Vec<Shard> = (0..shards)
        .zip(opened.stores)
        .map(|(id, store)| Shard::with_store(id, Arc::clone(all), store))
        .collect();
    let now_ms = hub.clock.now_ms();
    for session in opened.recovered.sessions {
        let shard = usize::from(all.shard_of(&session.key));
        if let Some(engine) = engines.get_mut(shard) {
            engine.restore(session, now_ms);
        }
    }
    if let Some(engine) = engines.first_mut() {
        engine.restore_retained(opened.recovered.retained);
    }
    Ok(engines)
}

/// Each shard accepts from a duplicate of every listening socket.
fn doors(sockets: &[OwnedFd]) -> Result<Vec<Door>, ServerError> {
    let duplicate = |(index, socket): (u16, &OwnedFd)| {
        Ok(Door::new(
            socket.try_clone().map_err(ServerError::system("duplicate a listening socket"))?,
            index,
        ))
    };
    (0..).zip(sockets).map(duplicate).collect()
}

/// A shard's thread. A panic ends it alone; the host is told and stops the process.
fn run(event_loop: EventLoop, hub: &Hub, cpu: Option<usize>) -> bool {
    let mut failure = None;
    if let Some(cpu) = cpu {
        let mut cpus = CpuSet::new();
        if cpu < CpuSet::MAX_CPU {
            cpus.set(cpu);
        }
        if let Err(error) = sched_setaffinity(None, &cpus) {
            failure = Some(format!("cannot run on CPU {cpu}: {error}"));
        }
    }
    let ended = if failure.is_none() {
        match catch_unwind(AssertUnwindSafe(|| event_loop.run())) {
            Ok(Ok(in_time)) => in_time,
            Ok(Err(error)) => {
                failure = Some(error.to_string());
                false
            }
            Err(panic) => {
                failure = Some(panic_text(panic.as_ref()));
                false
            }
        }
    } else {
        false
    };
    hub.rendezvous.break_up();
    if let Some(detail) = failure {
        hub.host.push(&mut vec![HostRecord::Failed { detail: detail.into() }]);
    }
    ended
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", text.unwrap_or("without a text"))
}
