//! Bytes into packets, and packets to the rules: parsed in place, an incomplete one is kept.

use super::{Flow, Shard};
use crate::codec::decode;
use crate::codec::frame::{Framing, frame};
use crate::codec::packet::Packet;
use crate::connection::{Connection, Phase};
use crate::host::ConnectionRef;
use crate::reason::ReasonCode;
use crate::violation::Violation;

/// From this size on an incomplete packet is read straight into its own buffer.
const DIRECT_FROM: usize = 64 * 1024;

/// Strangers get no more: all fields of a CONNECT at their largest take 640 KiB, and 128 KiB are
/// for User Properties.
const CONNECT_BYTES_MAX: u32 = 768 * 1024;

/// An incomplete packet that grew by this is a sign of life: a large one takes its time on a slow
/// line, and nothing can come in between; but who sends a byte now and then sends no packets.
const PROGRESS_BYTES: usize = 1_024;

/// Packets, receivers and filters that one connection may keep us busy with before others get their
/// turn: some milliseconds, and far more than the bursts of ordinary clients. Behind a large packet
/// all that the socket held may have been read at once, megabytes of small ones.
const WORK_MAX: usize = 128 * 1024;

/// A kept buffer larger than this is given back once it is empty.
const TAIL_KEPT_MAX: usize = 16 * 1024;

const FIRST_NOT_CONNECT: Violation =
    Violation::protocol("MQTT-3.1.0-1", "the first packet is not CONNECT");
const SECOND_CONNECT: Violation = Violation::protocol("MQTT-3.1.0-2", "a second CONNECT");

const INPUT_FULL: Violation = Violation {
    reason: ReasonCode::QUOTA_EXCEEDED,
    statement: "MQTT 5 §4.13",
    detail: "the memory for incomplete packets is used up",
};

/// What handling a packet says about those behind it.
pub(super) enum Next {
    /// Go on.
    Packet,
    /// Stop here, and take this packet again later.
    Again,
    /// Stop here.
    Stop(Flow),
}

impl Shard {
    /// MQTT bytes arrived.
    pub fn receive(&mut self, reference: ConnectionRef, bytes: &[u8], now_ms: u64) -> Flow {
        self.work = 0;
        let flow = self.take_bytes(reference, bytes, now_ms);
        self.check_buffers(reference, flow, now_ms)
    }

    /// Counts what a connection holds now, and stops those who make us hold too much.
    #[inline]
    fn check_buffers(&mut self, reference: ConnectionRef, flow: Flow, now_ms: u64) -> Flow {
        let connections = &mut self.connections;
        let Some(connection) = connections.get_mut(reference.slot, reference.generation) else {
            return flow;
        };
        let length = connection.tail.len();
        if length != connection.tail_counted {
            if length / PROGRESS_BYTES > connection.tail_counted / PROGRESS_BYTES {
                connection.heard_at_ms = now_ms;
            }
            self.input_bytes = self.input_bytes + length - connection.tail_counted;
            connection.tail_counted = length;
            let is_tight = self.input_bytes as u64 > self.shared.limits.input_bytes_total;
            if is_tight && length > DIRECT_FROM {
                return self.violate(reference, &INPUT_FULL, now_ms);
            }
        }
        match flow {
            Flow::Read if self.choke(reference) => Flow::Pause,
            flow => flow,
        }
    }

    fn take_bytes(&mut self, reference: ConnectionRef, bytes: &[u8], now_ms: u64) -> Flow {
        self.last_now_ms = now_ms;
        self.counters.bytes_received += bytes.len() as u64;
        let Some(connection) = self.connection_mut(reference) else { return Flow::Close };
        if connection.phase == Phase::Closing {
            return Flow::Close;
        }
        if connection.is_parked || connection.is_held || connection.phase == Phase::Leaving {
            connection.tail.extend_from_slice(bytes);
            return Flow::Pause;
        }
        if connection.tail.is_empty() {
            return self.read_packets(reference, bytes, now_ms);
        }
        let mut rest = bytes;
        match complete_tail(connection, &mut rest) {
            Ok(false) => Flow::Read,
            Err(violation) => self.violate(reference, &violation, now_ms),
            Ok(true) => match self.take_tail(reference, now_ms) {
                Flow::Read if rest.is_empty() => Flow::Read,
                Flow::Read => self.read_packets(reference, rest, now_ms),
                Flow::Pause => {
                    if let Some(connection) = self.connection_mut(reference) {
                        connection.tail.extend_from_slice(rest);
                    }
                    Flow::Pause
                }
                Flow::HandOver(mut hand_over) => {
                    hand_over.rest.extend_from_slice(rest);
                    Flow::HandOver(hand_over)
                }
                Flow::Close => Flow::Close,
            },
        }
    }

    /// The buffer of a large packet that is incomplete: read straight into it, then call
    /// `received`.
    pub fn tail(&mut self, reference: ConnectionRef) -> Option<&mut Vec<u8>> {
        let connection = self.connection_mut(reference)?;
        let wants = connection.phase == Phase::Open
            && !connection.is_parked
            && !connection.is_held
            && connection.tail.len() >= DIRECT_FROM;
        if wants { Some(&mut connection.tail) } else { None }
    }

    /// Bytes were read into `tail`.
    pub fn received(&mut self, reference: ConnectionRef, now_ms: u64) -> Flow {
        self.last_now_ms = now_ms;
        self.work = 0;
        let flow = self.take_tail(reference, now_ms);
        self.check_buffers(reference, flow, now_ms)
    }

    fn take_tail(&mut self, reference: ConnectionRef, now_ms: u64) -> Flow {
        let Some(connection) = self.connection_mut(reference) else { return Flow::Close };
        let maximum = packet_size_max(connection);
        if let Ok(Framing::Incomplete { .. }) = frame(&connection.tail, maximum) {
            return Flow::Read;
        }
        let mut tail = std::mem::take(&mut connection.tail);
        let flow = self.read_packets(reference, &tail, now_ms);
        if let Some(connection) = self.connection_mut(reference) {
            if connection.tail.is_empty() && tail.capacity() <= TAIL_KEPT_MAX {
                tail.clear();
                connection.tail = tail;
            }
        }
        flow
    }

    /// A parked connection goes on with what came meanwhile.
    pub fn resume(&mut self, reference: ConnectionRef, now_ms: u64) -> Flow {
        match self.connection(reference) {
            None => Flow::Close,
            Some(connection) if connection.phase == Phase::Closing => Flow::Close,
            Some(connection) if connection.is_waiting() => Flow::Pause,
            Some(connection) if connection.phase == Phase::Leaving => Flow::Pause,
            Some(connection) if connection.tail.is_empty() => Flow::Read,
            Some(_) => self.received(reference, now_ms),
        }
    }

    /// Handles the complete packets of `bytes` and keeps the rest.
    fn read_packets(&mut self, reference: ConnectionRef, mut bytes: &[u8], now_ms: u64) -> Flow {
        loop {
            let Some(connection) = self.connection_mut(reference) else { return Flow::Close };
            let framing = match frame(bytes, packet_size_max(connection)) {
                Ok(framing) => framing,
                Err(violation) => return self.violate(reference, &violation, now_ms),
            };
            let Framing::Complete { header, body, length } = framing else {
                if !bytes.is_empty() {
                    connection.tail = bytes.to_vec();
                }
                return Flow::Read;
            };
            connection.heard_at_ms = now_ms; // [MQTT-3.1.2-22]
            self.work += 1;
            let whole = bytes;
            bytes = bytes.get(length..).unwrap_or_default();
            match self.packet(reference, header, body, now_ms) {
                Ok(Next::Packet) if bytes.is_empty() => return Flow::Read,
                Ok(Next::Packet) if self.work > WORK_MAX => return self.rest(reference, bytes),
                Ok(Next::Packet) => {}
                Ok(Next::Stop(Flow::HandOver(mut hand_over))) => {
                    hand_over.rest = bytes.to_vec();
                    return Flow::HandOver(hand_over);
                }
                Ok(Next::Again) => {
                    if let Some(connection) = self.connection_mut(reference) {
                        connection.tail = whole.to_vec();
                    }
                    return Flow::Pause;
                }
                Ok(Next::Stop(Flow::Pause)) => {
                    if let Some(connection) = self.connection_mut(reference) {
                        connection.tail = bytes.to_vec();
                    }
                    return Flow::Pause;
                }
                Ok(Next::Stop(flow)) => return flow,
                Err(violation) => return self.violate(reference, &violation, now_ms),
            }
        }
    }

    /// Keeps the packets behind one that made much work for the next round, so that the others of
    /// this shard get their turn.
    #[cold]
    fn rest(&mut self, reference: ConnectionRef, bytes: &[u8]) -> Flow {
        if let Some(connection) = self.connection_mut(reference) {
            connection.tail = bytes.to_vec();
            connection.is_resting = true;
            self.resting.push(reference);
        }
        Flow::Pause
    }

    /// Whether there are connections that rest, or sessions that wait in the same way.
    pub fn has_resting(&self) -> bool {
        !self.resting.is_empty() || !self.reading.is_empty()
    }

    /// A round begins: those that rested go on, once.
    pub fn wake_resting(&mut self) {
        self.wake_reading();
        let mut resting = std::mem::take(&mut self.resting);
        for reference in resting.drain(..) {
            if let Some(connection) = self.connection_mut(reference) {
                connection.is_resting = false;
                self.mark_dirty(reference);
            }
        }
        self.resting = resting;
    }

    /// Applies one packet.
    #[inline]
    fn packet(
        &mut self,
        reference: ConnectionRef,
        header: u8,
        body: &[u8],
        now_ms: u64,
    ) -> Result<Next, Violation> {
        let Some(connection) = self.connection(reference) else {
            return Ok(Next::Stop(Flow::Close));
        };
        let version = connection.version;
        match (connection.phase, header >> 4) {
            (Phase::Open, 3) => {
                let publish = decode::publish(version, header, body)?;
                self.on_publish(reference, &publish, now_ms)
            }
            (Phase::Open, 4..=7) => {
                let acknowledgement = decode::acknowledgement(version, header, body)?;
                self.on_acknowledgement(reference, acknowledgement, now_ms)?;
                Ok(Next::Packet)
            }
            (Phase::Connecting, 1) => Ok(self.on_connect(reference, header, body, now_ms)),
            (Phase::Connecting, _) => Err(FIRST_NOT_CONNECT), // [MQTT-3.1.0-1]
            (_, 1) => Err(SECOND_CONNECT),                    // [MQTT-3.1.0-2]
            (Phase::Closing, _) => Ok(Next::Stop(Flow::Close)),
            (Phase::Leaving, _) => Ok(Next::Stop(Flow::Pause)),
            (phase, _) => {
                let packet = decode::decode(version, header, body)?;
                self.other_packet(reference, phase, packet, now_ms)
            }
        }
    }

    fn other_packet(
        &mut self,
        reference: ConnectionRef,
        phase: Phase,
        packet: Packet<'_>,
        now_ms: u64,
    ) -> Result<Next, Violation> {
        match (phase, packet) {
            (_, Packet::Auth(auth)) => self.on_auth(reference, auth, now_ms),
            (_, Packet::Disconnect(disconnect)) => {
                self.on_disconnect(reference, &disconnect, now_ms)
            }
            (Phase::Authenticating, _) => Err(Violation::protocol(
                "MQTT-3.1.2-30",
                "only AUTH and DISCONNECT may come before CONNACK",
            )),
            (_, Packet::Subscribe(subscribe)) => {
                Ok(self.on_subscribe(reference, &subscribe, now_ms))
            }
            (_, Packet::Unsubscribe(unsubscribe)) => {
                self.on_unsubscribe(reference, &unsubscribe, now_ms);
                Ok(self.next_of(reference))
            }
            (_, Packet::Pingreq) => {
                self.send(reference, crate::codec::encode::pingresp); // [MQTT-3.12.4-1]
                Ok(Next::Packet)
            }
            // The hot ones were decoded above.
            (_, Packet::Publish(publish)) => self.on_publish(reference, &publish, now_ms),
            (_, Packet::Acknowledgement(acknowledgement)) => {
                self.on_acknowledgement(reference, acknowledgement, now_ms)?;
                Ok(Next::Packet)
            }
            (_, Packet::Connect(_)) => Err(SECOND_CONNECT),
        }
    }
}

/// The largest packet a connection may send now.
fn packet_size_max(connection: &Connection) -> u32 {
    let maximum = connection.profile.maximum_packet_size;
    if connection.phase == Phase::Open { maximum } else { maximum.min(CONNECT_BYTES_MAX) }
}

/// Moves bytes from `rest` until the packet in the tail is complete; whether it is.
fn complete_tail(connection: &mut Connection, rest: &mut &[u8]) -> Result<bool, Violation> {
    loop {
        let have = connection.tail.len();
        let wanted = match frame(&connection.tail, packet_size_max(connection))? {
            Framing::Complete { .. } => return Ok(true),
            Framing::Incomplete { total: Some(total) } => total.saturating_sub(have),
            Framing::Incomplete { total: None } => 1,
        };
        if rest.is_empty() {
            return Ok(false);
        }
        let (now, later) = rest.split_at(wanted.min(rest.len()));
        connection.tail.extend_from_slice(now);
        *rest = later;
    }
}
