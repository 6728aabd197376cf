//! The end of connections. What was still to be said is written within a bound; then our side is
//! shut and what the peer still sends is thrown away for a moment, for a close with unread bytes
//! would reset the connection and take our last words with it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use engine::host::ConnectionRef;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::io::Errno;

use crate::event_loop::flow::find;
use crate::event_loop::{EventLoop, LINGERING};
use crate::socket::Socket;
use crate::transport::Transport;

/// How long a closing connection's output may take.
const DEPART_MS: u64 = 2_000;
/// How long we wait for the peer to close after us.
const LINGER_MS: u64 = 1_000;
/// What is thrown away of one peer before we close in its face.
const DISCARD_BYTES_MAX: usize = 64 << 10;
/// Sockets that linger at once; above it they are closed without.
const LINGERING_MAX: usize = 1_024;

/// Sockets whose connection the engine has forgotten.
#[derive(Default)]
pub(super) struct Lingering {
    places: Vec<Option<Linger>>,
    free: Vec<usize>,
    /// In the order of their deadlines: time, place, number.
    deadlines: VecDeque<(u64, usize, u64)>,
    number: u64,
}

struct Linger {
    socket: Socket,
    listener: u16,
    discarded: usize,
    /// Tells it from others that had the place before.
    number: u64,
}

impl Lingering {
    pub(super) fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.front().map(|(deadline, ..)| *deadline)
    }

    /// Returns the place, or the socket if there is none.
    fn put(&mut self, socket: Socket, listener: u16, now_ms: u64) -> Result<usize, Socket> {
        if self.places.len() - self.free.len() >= LINGERING_MAX {
            return Err(socket);
        }
        self.number += 1;
        let linger = Linger { socket, listener, discarded: 0, number: self.number };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Some(linger);
        }
        self.deadlines.push_back((now_ms + LINGER_MS, place, self.number));
        Ok(place)
    }
}

impl EventLoop {
    /// Nothing more is read; what waits is written, for a while.
    pub(super) fn begin_close(&mut self, connection: ConnectionRef) {
        let Some(transport) = find(&mut self.transports, connection) else { return };
        if transport.closing {
            return;
        }
        transport.closing = true;
        // A client that said DISCONNECT is gone; with others there are last words.
        transport.lingers = transport.layers.is_some() || self.shard.output(connection).is_some();
        self.depart(connection);
        self.unsent.push(connection);
    }

    /// Starts the time for the last words.
    pub(super) fn depart(&mut self, connection: ConnectionRef) {
        self.departing.push_back((self.now_ms + DEPART_MS, connection));
    }

    /// All of the engine's last words are written: those of the layers, then the end.
    pub(super) fn finish(&mut self, connection: ConnectionRef) {
        let Some(transport) = find(&mut self.transports, connection) else { return };
        if let Some(layers) = &mut transport.layers {
            layers.finish();
            match transport.send(None) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => return self.lose(connection),
            }
        }
        if !transport.lingers {
            return self.lose(connection);
        }
        transport.socket.shutdown_write();
        let Some(transport) = self.take(connection) else { return };
        self.shard.lost(connection, self.now_ms);
        self.linger(transport);
    }

    /// The peer ended the stream: what is to be written may still reach it.
    pub(super) fn end(&mut self, connection: ConnectionRef) {
        let Some(transport) = find(&mut self.transports, connection) else { return };
        let output = self.shard.output(connection);
        if output.is_some() && !transport.blocked {
            // Whether it worked does not matter: the connection ends either way.
            let _ = transport.send(output);
        }
        self.lose(connection);
    }

    /// The connection is over.
    pub(super) fn lose(&mut self, connection: ConnectionRef) {
        let Some(transport) = self.take(connection) else { return };
        self.release(transport.listener);
        drop(transport);
        self.shard.lost(connection, self.now_ms);
    }

    fn take(&mut self, connection: ConnectionRef) -> Option<Transport> {
        let slot = usize::try_from(connection.slot).ok()?;
        let place = self.transports.get_mut(slot)?;
        let transport = place.take_if(|transport| transport.connection == connection)?;
        self.hub.attached.fetch_sub(1, Ordering::SeqCst);
        Some(transport)
    }

    fn release(&self, listener: u16) {
        if let Some(listener) = self.hub.listeners.get(usize::from(listener)) {
            self.hub.release(listener);
        }
    }

    /// Waits a moment for the peer to close its side.
    fn linger(&mut self, transport: Transport) {
        let Transport { socket, listener, .. } = transport;
        match self.lingering.put(socket, listener, self.now_ms) {
            Ok(place) => {
                // What the poll would say of the old token is read here.
                self.discard(place);
                let Some(Some(linger)) = self.lingering.places.get(place) else { return };
                let raw = linger.socket.raw();
                let token = Token(LINGERING + place);
                let registry = self.poll.registry();
                if registry.reregister(&mut SourceFd(&raw), token, Interest::READABLE).is_err() {
                    self.close_lingering(place);
                }
            }
            Err(_closed) => self.release(listener),
        }
    }

    /// Throws away what a lingering peer sends; closes at its end, or when it is too much.
    pub(super) fn discard(&mut self, place: usize) {
        loop {
            let Some(Some(linger)) = self.lingering.places.get_mut(place) else { return };
            match linger.socket.recv(&mut self.read_buffer) {
                Ok(0) => break,
                Ok(bytes) => {
                    linger.discarded += bytes;
                    if linger.discarded > DISCARD_BYTES_MAX {
                        break;
                    }
                }
                Err(Errno::WOULDBLOCK) => return,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.close_lingering(place);
    }

    fn close_lingering(&mut self, place: usize) {
        let linger = self.lingering.places.get_mut(place).and_then(Option::take);
        if let Some(linger) = linger {
            self.lingering.free.push(place);
            self.release(linger.listener);
        }
    }

    /// Ends what had its time.
    pub(super) fn close_overdue(&mut self) {
        while let Some((deadline, connection)) = self.departing.front().copied() {
            let is_gone = find(&mut self.transports, connection).is_none();
            if !is_gone && deadline > self.now_ms {
                break;
            }
            self.departing.pop_front();
            self.lose(connection);
        }
        while let Some((deadline, place, number)) = self.lingering.deadlines.front().copied() {
            let found = self.lingering.places.get(place).and_then(Option::as_ref);
            let is_gone = found.is_none_or(|linger| linger.number != number);
            if !is_gone && deadline > self.now_ms {
                break;
            }
            self.lingering.deadlines.pop_front();
            if !is_gone {
                self.close_lingering(place);
            }
        }
    }
}
