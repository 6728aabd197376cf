//! A connection's life in the loop: reading, handing over, writing.

use engine::host::ConnectionRef;
use engine::shard::{Flow, HandOver, State};
use mio::unix::SourceFd;
use rustix::io::Errno;

use crate::event_loop::EventLoop;
use crate::layers::Ending;
use crate::mailbox::Moved;
use crate::transport::Transport;

/// One read through TLS or WebSocket takes at most this: what is decrypted is held in memory too.
const LAYERED_READ_BYTES: usize = 64 << 10;
/// A large packet's vector grows at least by this.
const TAIL_BYTES: usize = 64 << 10;

/// The transport of `connection`, if it is still that one.
pub(super) fn find(
    transports: &mut [Option<Transport>],
    connection: ConnectionRef,
) -> Option<&mut Transport> {
    let slot = usize::try_from(connection.slot).ok()?;
    transports.get_mut(slot)?.as_mut().filter(|transport| transport.connection == connection)
}

/// What a read brought.
enum Intake {
    /// Nothing, for now.
    Nothing,
    /// The engine's answer, and why nothing more comes if that is so.
    Bytes(Flow, Option<Ending>),
    /// The peer ended the stream.
    End,
    /// The connection failed.
    Failure,
}

impl EventLoop {
    /// Reads once from a connection, unless it is parked or closing.
    pub(super) fn read(&mut self, connection: ConnectionRef) {
        let Some(transport) = find(&mut self.transports, connection) else { return };
        transport.listed = false;
        if transport.parked || !transport.readable {
            return;
        }
        if transport.closing {
            // A peer that is gone takes no goodbye.
            if transport.read_closed && transport.blocked {
                self.lose(connection);
            }
            return;
        }
        let intake = if transport.layers.is_some() {
            self.read_layered(connection)
        } else {
            self.read_plain(connection)
        };
        match intake {
            Intake::Nothing => {}
            Intake::Bytes(flow, ending) => self.follow(connection, flow, ending),
            Intake::End => self.end(connection),
            Intake::Failure => self.lose(connection),
        }
        self.list(connection);
    }

    /// Puts a connection that may have more to read on the next round's list.
    pub(super) fn list(&mut self, connection: ConnectionRef) {
        let Some(transport) = find(&mut self.transports, connection) else { return };
        let wants = transport.readable && !transport.parked && !transport.closing;
        if wants && !transport.listed {
            transport.listed = true;
            self.ready.push(connection);
        }
    }

    /// MQTT straight from the socket: parsed in the shared buffer, or read into a large packet.
    fn read_plain(&mut self, connection: ConnectionRef) -> Intake {
        let Some(transport) = find(&mut self.transports, connection) else {
            return Intake::Nothing;
        };
        let (read, offered, is_tail) = match self.shard.tail(connection) {
            Some(tail) => {
                if tail.capacity() == tail.len() {
                    tail.reserve(TAIL_BYTES);
                }
                let offered = tail.capacity() - tail.len();
                (transport.socket.recv_spare(tail), offered, true)
            }
            None => (transport.socket.recv(&mut self.read_buffer), self.read_buffer.len(), false),
        };
        let bytes = match transport.after_read(read, offered) {
            Ok(bytes) => bytes,
            Err(intake) => return intake,
        };
        let flow = if is_tail {
            self.shard.received(connection, self.now_ms)
        } else {
            let bytes = self.read_buffer.get(..bytes).unwrap_or(&[]);
            self.shard.receive(connection, bytes, self.now_ms)
        };
        Intake::Bytes(flow, None)
    }

    /// MQTT inside other protocols.
    fn read_layered(&mut self, connection: ConnectionRef) -> Intake {
        let Some(transport) = find(&mut self.transports, connection) else {
            return Intake::Nothing;
        };
        let Some(window) = self.read_buffer.get_mut(..LAYERED_READ_BYTES) else {
            return Intake::Nothing;
        };
        let read = transport.socket.recv(window);
        let bytes = match transport.after_read(read, LAYERED_READ_BYTES) {
            Ok(bytes) => bytes,
            Err(intake) => return intake,
        };
        let Some(layers) = &mut transport.layers else { return Intake::Nothing };
        let input = window.get_mut(..bytes).unwrap_or_default();
        let (mqtt, ending) = layers.open(input, &mut self.scratch);
        if let Some(peer) = layers.take_peer() {
            self.shard.set_peer(connection, peer);
        }
        if layers.wants_write() {
            self.unsent.push(connection);
        }
        if layers.is_transparent() {
            transport.layers = None;
        }
        let flow = if mqtt.is_empty() {
            Flow::Read
        } else {
            self.shard.receive(connection, mqtt, self.now_ms)
        };
        Intake::Bytes(flow, ending)
    }

    /// Does what the engine says.
    fn follow(&mut self, connection: ConnectionRef, flow: Flow, ending: Option<Ending>) {
        if let Some(transport) = find(&mut self.transports, connection) {
            transport.parked = matches!(flow, Flow::Pause);
        }
        if let Some(ending) = ending {
            self.begin_close(connection);
            if let Ending::Fault(why) = ending {
                self.shard.fault(connection, &why, self.now_ms);
            }
        }
        match flow {
            Flow::Read | Flow::Pause => {}
            Flow::Close => self.begin_close(connection),
            Flow::HandOver(hand_over) => self.hand_over(connection, *hand_over),
        }
    }

    /// Takes the transport out of this loop; it leaves with the round's hand-off.
    fn hand_over(&mut self, connection: ConnectionRef, hand_over: HandOver) {
        let Ok(slot) = usize::try_from(connection.slot) else { return };
        let Some(place) = self.transports.get_mut(slot) else { return };
        let Some(mut transport) = place.take_if(|transport| transport.connection == connection)
        else {
            return;
        };
        // It is registered; there is no other way for this to fail.
        let _ = self.poll.registry().deregister(&mut SourceFd(&transport.socket.raw()));
        // The other poll reports afresh what is there to read or write.
        transport.readable = false;
        transport.blocked = false;
        transport.listed = false;
        if let Some(outgoing) = self.outgoing.get_mut(usize::from(hand_over.shard)) {
            outgoing.push(Moved { hand_over, transport });
        }
    }

    /// Takes in a connection that another shard read the CONNECT of.
    pub(super) fn adopt(&mut self, moved: Moved) {
        self.report.busy = true;
        let Moved { hand_over, mut transport } = moved;
        let connection = self.shard.adopt(hand_over, self.now_ms);
        transport.connection = connection;
        // The engine says when it goes on, if only to handle what came behind the CONNECT.
        transport.parked = true;
        let is_closing = transport.closing;
        self.attach(transport);
        if is_closing {
            self.depart(connection);
        }
        self.unsent.push(connection);
    }

    /// The engine wants something for this connection: to write, to go on, to end.
    pub(super) fn attend(&mut self, connection: ConnectionRef) {
        let Some(transport) = find(&mut self.transports, connection) else { return };
        match self.shard.state(connection) {
            State::Closing => self.begin_close(connection),
            State::Parked => transport.parked = true,
            State::Leaving => {
                if let Some(hand_over) = self.shard.hand_over(connection) {
                    self.hand_over(connection, *hand_over);
                }
                return;
            }
            State::Open if transport.parked => {
                transport.parked = false;
                let flow = self.shard.resume(connection, self.now_ms);
                self.follow(connection, flow, None);
                self.list(connection);
            }
            State::Open => {}
        }
        self.send(connection);
    }

    /// Writes what a connection has, unless its socket is known to take nothing.
    pub(super) fn send(&mut self, connection: ConnectionRef) {
        let Some(transport) = find(&mut self.transports, connection) else { return };
        if transport.blocked {
            return;
        }
        let output = self.shard.output(connection);
        let has_output = output.is_some();
        let sent = transport.send(output);
        if has_output {
            self.shard.written(connection, self.now_ms);
        }
        match sent {
            Ok(true) if transport.closing => self.finish(connection),
            Ok(_) => {}
            Err(_) => self.lose(connection),
        }
    }
}

impl Transport {
    /// Notes whether the socket may hold more; an error value where there are no bytes.
    fn after_read(&mut self, read: Result<usize, Errno>, offered: usize) -> Result<usize, Intake> {
        match read {
            Ok(0) => Err(Intake::End),
            Ok(bytes) => {
                // Less than there was room for: the socket is empty, and the poll will tell when
                // it is not. With the peer's end already told, only the next read can find it.
                if bytes < offered && !self.read_closed {
                    self.readable = false;
                }
                Ok(bytes)
            }
            Err(Errno::WOULDBLOCK) => {
                self.readable = false;
                Err(Intake::Nothing)
            }
            Err(Errno::INTR) => Err(Intake::Nothing),
            Err(_) => Err(Intake::Failure),
        }
    }
}
