//! One connection as the event loop holds it: the socket, the layers around MQTT, and where reading
//! and writing stand. Small, for there may be very many.

use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;

use engine::connection::Output;
use engine::host::ConnectionRef;

use crate::layers::Layers;
use crate::socket::Socket;

/// Slices of output in one write.
const SLICES: usize = 16;

/// A socket and its state.
// Each flag is one fact of its own; they change independently.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) socket: Socket,
    /// The engine's name for the connection.
    pub(crate) connection: ConnectionRef,
    /// Index of its listener.
    pub(crate) listener: u16,
    /// The socket may have bytes to read: set by the poll, cleared by a read that finds the end.
    pub(crate) readable: bool,
    /// The peer will send no more; what it sent before may still be there.
    pub(crate) read_closed: bool,
    /// The socket took no more; the poll will say when it does.
    pub(crate) blocked: bool,
    /// It is in the event loop's list of connections to read.
    pub(crate) listed: bool,
    /// The engine waits for the host: nothing is read.
    pub(crate) parked: bool,
    /// Nothing more is given to the engine; what waits is written, then it ends.
    pub(crate) closing: bool,
    /// At the end the peer is given a moment to read our last words.
    pub(crate) lingers: bool,
    /// `None`: plain MQTT.
    pub(crate) layers: Option<Box<Layers>>,
}

impl Transport {
    pub(crate) fn new(
        fd: OwnedFd,
        connection: ConnectionRef,
        listener: u16,
        layers: Option<Box<Layers>>,
    ) -> Self {
        Self {
            socket: Socket::new(fd),
            connection,
            listener,
            readable: false,
            read_closed: false,
            blocked: false,
            listed: false,
            parked: false,
            closing: false,
            lingers: false,
            layers,
        }
    }

    /// Writes what waits, until the socket takes no more.
    ///
    /// Returns whether all was taken. # Errors: the socket's; the connection is lost.
    pub(crate) fn send(&mut self, output: Option<&mut Output>) -> io::Result<bool> {
        let done = match (&mut self.layers, output) {
            (Some(layers), output) => layers.send(output, &self.socket)?,
            (None, Some(output)) => send(output, &mut &self.socket)?,
            (None, None) => true,
        };
        self.blocked = !done;
        Ok(done)
    }
}

/// Writes `output` until `wire` takes no more; returns whether it took all.
pub(crate) fn send(output: &mut Output, wire: &mut dyn Write) -> io::Result<bool> {
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = output.slices(&mut slices);
        let slices = slices.get(..count).unwrap_or(&[]);
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        match wire.write_vectored(slices) {
            Ok(taken) => {
                output.advance(taken);
                if taken < offered {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
