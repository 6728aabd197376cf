//! New connections: taken from the kernel's queue, checked against the limits, given to the engine.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::host::{Event, EventKind, HostRecord, Peer};
use engine::reason::ReasonCode;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};

use crate::event_loop::EventLoop;
use crate::layers::Layers;
use crate::listener::Listener;
use crate::transport::Transport;

/// Connections taken from one listener in one round.
const ACCEPTS_PER_ROUND: usize = 64;
/// How long accepting pauses when the process has no descriptor or the kernel no memory left.
const PAUSE: Duration = Duration::from_millis(100);
/// Refusals are told in one event per listener and this time.
const REPORT_INTERVAL_MS: u64 = 1_000;

/// One shard's side of a listener.
pub(crate) struct Door {
    /// A duplicate of the listening socket: the kernel closes it with the last shard's.
    fd: OwnedFd,
    listener: u16,
    /// The kernel's queue may hold connections.
    is_open: bool,
    /// When to try again after the kernel could not accept.
    retry_at: Option<Instant>,
    refusals: Refusals,
}

/// What was refused since the last event about it.
#[derive(Default)]
struct Refusals {
    count: u64,
    why: &'static str,
    peer: Box<str>,
    /// Not before this time.
    next_report_ms: u64,
}

impl Door {
    pub(crate) fn new(fd: OwnedFd, listener: u16) -> Self {
        Self { fd, listener, is_open: false, retry_at: None, refusals: Refusals::default() }
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> std::io::Result<()> {
        registry.register(&mut SourceFd(&self.fd.as_raw_fd()), token, Interest::READABLE)
    }

    /// Must come before the descriptor is closed: the other shards' duplicates would keep the
    /// registration alive.
    pub(super) fn deregister(&self, registry: &Registry) {
        // It is registered; there is no other way for this to fail.
        let _ = registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()));
    }

    /// The poll says that connections wait.
    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// There is something to accept now.
    pub(super) fn is_due(&self) -> bool {
        self.is_open && self.retry_at.is_none()
    }

    /// How long until the next try.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.retry_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// When refusals are to be told.
    pub(super) fn next_report(&self) -> Option<u64> {
        (self.refusals.count > 0).then_some(self.refusals.next_report_ms)
    }
}

impl EventLoop {
    /// Accepts what waits, a bounded number from each listener.
    pub(super) fn accept(&mut self) {
        for index in 0..self.doors.len() {
            for _ in 0..ACCEPTS_PER_ROUND {
                if !self.accept_one(index) {
                    break;
                }
            }
            self.tell_refusals(index);
        }
    }

    /// Returns whether there may be more.
    fn accept_one(&mut self, index: usize) -> bool {
        let Some(door) = self.doors.get_mut(index) else { return false };
        if door.retry_at.is_some_and(|at| at <= Instant::now()) {
            door.retry_at = None;
        }
        if !door.is_due() {
            return false;
        }
        match acceptfrom_with(&door.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok((fd, address)) => self.admit(index, fd, address),
            Err(Errno::WOULDBLOCK) => {
                door.is_open = false;
                return false;
            }
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                door.retry_at = Some(Instant::now() + PAUSE);
                self.refuse(index, "no file descriptor or memory left to accept connections", None);
                return false;
            }
            // The connection failed before it was accepted: Linux hands such errors on.
            Err(_) => {}
        }
        true
    }

    fn admit(&mut self, index: usize, fd: OwnedFd, address: Option<SocketAddrAny>) {
        let hub = Arc::clone(&self.hub);
        let Some(door) = self.doors.get(index) else { return };
        let listener_index = door.listener;
        let Some(listener) = hub.listeners.get(usize::from(listener_index)) else { return };
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        let address =
            address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
        if !is_trusted(listener, address) {
            self.refuse(index, "the peer is not in proxy.trusted", address);
            return;
        }
        if !hub.admit(listener) {
            self.refuse(index, "the limit of connections is reached", address);
            return;
        }
        let address = address.map_or_else(|| "unix".into(), |address| address.to_string());
        let peer = Peer { address: address.into(), certificate: None };
        let Ok(layers) = Layers::new(&listener.plan(), &peer) else {
            hub.release(listener);
            self.refuse(index, "TLS cannot start", None);
            return;
        };
        let profile = Arc::clone(&listener.profile);
        let connection = self.shard.open(peer, profile, self.now_ms);
        hub.attached.fetch_add(1, Ordering::SeqCst);
        self.attach(Transport::new(fd, connection, listener_index, layers));
    }

    /// Puts a transport into the table and registers its socket.
    pub(super) fn attach(&mut self, transport: Transport) {
        let connection = transport.connection;
        let Ok(slot) = usize::try_from(connection.slot) else { return };
        let raw = transport.socket.raw();
        if self.transports.len() <= slot {
            self.transports.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.transports.get_mut(slot) {
            *place = Some(transport);
        }
        // Both interests once, edge-triggered: no further system call for the connection's life.
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut SourceFd(&raw), Token(slot), interest).is_err() {
            self.lose(connection);
        }
    }

    /// Counts a connection that was closed at once.
    fn refuse(&mut self, index: usize, why: &'static str, address: Option<SocketAddr>) {
        let Some(door) = self.doors.get_mut(index) else { return };
        if let Some(listener) = self.hub.listeners.get(usize::from(door.listener)) {
            listener.refused.fetch_add(1, Ordering::Relaxed);
        }
        door.refusals.count += 1;
        door.refusals.why = why;
        door.refusals.peer =
            address.map_or_else(|| "".into(), |address| address.to_string().into());
    }

    /// Tells the host of refusals, if it is time.
    fn tell_refusals(&mut self, index: usize) {
        let Some(door) = self.doors.get_mut(index) else { return };
        let refusals = &mut door.refusals;
        if refusals.count == 0 || self.now_ms < refusals.next_report_ms {
            return;
        }
        let Some(listener) = self.hub.listeners.get(usize::from(door.listener)) else { return };
        let event = Event {
            time_ms: self.now_ms,
            kind: EventKind::Refused,
            client_id: "".into(),
            user: "".into(),
            listener: listener.profile.name.clone(),
            peer: std::mem::take(&mut refusals.peer),
            reason: ReasonCode::QUOTA_EXCEEDED,
            detail: refusals.why.into(),
            count: std::mem::take(&mut refusals.count),
        };
        refusals.next_report_ms = self.now_ms + REPORT_INTERVAL_MS;
        self.shard.records().push(HostRecord::Event(event));
    }
}

/// Whether the peer may send a PROXY header, where one is asked for.
fn is_trusted(listener: &Listener, address: Option<SocketAddr>) -> bool {
    match (&listener.proxy_trusted, address) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(networks), Some(address)) => {
            networks.iter().any(|network| network.contains(address.ip()))
        }
    }
}
