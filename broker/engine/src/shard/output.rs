//! What goes out: output buffers, the list of connections that want attention, and answers that
//! wait for a commit.

use super::Shard;
use super::pump::ROUND_STEPS;
use super::route::Parcel;
use crate::connection::{Connection, Output, Phase};
use crate::host::ConnectionRef;
use crate::message::SharedMessage;
use crate::store::Ticket;

/// Answers of a client that does not read them may pass the limit of its output by this much.
const ANSWERS_MAX: usize = 1 << 20;

/// While all buffers together are at their limit, one above this takes no more messages.
const SHARE_MIN: usize = 64 * 1024;

/// Below this the session's queue is pumped again. 128 KiB: half of a socket's usual buffer.
const LOW_WATER: usize = 128 * 1024;

/// What an answer waits for.
#[derive(Debug, Clone, Default)]
pub struct Promise {
    /// The commit of what it promises.
    pub ticket: Ticket,
    /// If this message is never written, there is nothing to wait for.
    pub unless_never: Option<SharedMessage>,
}

impl From<Ticket> for Promise {
    fn from(ticket: Ticket) -> Self {
        Self { ticket, unless_never: None }
    }
}

impl Promise {
    /// Whether it is kept, `committed` being the last commit.
    fn is_kept(&self, committed: Ticket) -> bool {
        self.ticket <= committed
            || self.unless_never.as_ref().is_some_and(|message| message.is_never_written())
    }

    /// Promises what a parcel's receivers need.
    pub(super) fn add(&mut self, parcel: &Parcel<'_>) {
        // A message that is written in any case is waited for in any case.
        let may_stay = self.ticket == Ticket::default()
            && parcel.receivers.is_some()
            && parcel.publication.qos == 1
            && !parcel.publication.retain;
        self.ticket = self.ticket.max(parcel.ticket);
        self.unless_never = parcel.existing().filter(|_| may_stay).map(SharedMessage::clone);
    }
}

impl Shard {
    /// Connections that have something to write, were unparked or are to be closed; each once.
    pub fn next_dirty(&mut self) -> Option<ConnectionRef> {
        loop {
            let Some(reference) = self.dirty.pop_front() else {
                if self.reading.is_empty() {
                    self.steps_left = ROUND_STEPS; // The round is over.
                }
                return None;
            };
            if let Some(connection) = self.connection_mut(reference) {
                connection.is_dirty = false;
                return Some(reference);
            }
        }
    }

    /// What is to be written to a connection, if there is anything.
    pub fn output(&mut self, connection: ConnectionRef) -> Option<&mut Output> {
        let output = &mut self.connection_mut(connection)?.output;
        if output.is_empty() { None } else { Some(output) }
    }

    /// Bytes were written and `Output::advance` was told: an empty buffer goes back to the pool,
    /// and what waits in the session follows.
    pub fn written(&mut self, reference: ConnectionRef, now_ms: u64) {
        let connections = &mut self.connections;
        let Some(connection) = connections.get_mut(reference.slot, reference.generation) else {
            return;
        };
        let left = connection.output.len();
        self.counters.bytes_sent += connection.output_counted.saturating_sub(left) as u64;
        count_output(connection, &mut self.output_bytes);
        if left == 0 {
            self.pool.reclaim(&mut connection.output);
        }
        if left >= LOW_WATER {
            return;
        }
        let queue = connection.session.filter(|_| connection.phase == Phase::Open);
        if connection.is_choked {
            connection.is_choked = false;
            connection.heard_at_ms = now_ms;
            self.mark_dirty(reference);
        }
        if let Some(queue) = queue {
            self.pump(queue, now_ms);
        }
    }

    /// Puts a connection on the list of those that want attention.
    #[inline]
    pub(super) fn mark_dirty(&mut self, reference: ConnectionRef) {
        if let Some(connection) = self.connections.get_mut(reference.slot, reference.generation) {
            count_output(connection, &mut self.output_bytes);
            if !connection.is_dirty {
                connection.is_dirty = true;
                self.dirty.push_back(reference);
            }
        }
    }

    /// Stops reading from a client that does not read its answers; whether it did.
    pub(super) fn choke(&mut self, reference: ConnectionRef) -> bool {
        let limits = &self.shared.limits;
        let is_tight = self.output_bytes as u64 > limits.output_bytes_total;
        let own_max = limits.output_bytes as usize + ANSWERS_MAX;
        let Some(connection) = self.connection_mut(reference) else { return false };
        let length = connection.output.len();
        connection.is_choked = length > if is_tight { LOW_WATER } else { own_max };
        connection.is_choked
    }

    /// Whether an output takes another message, `own_max` bytes being its own limit.
    #[inline]
    pub(super) fn takes_messages(&self, output_len: usize, own_max: usize) -> bool {
        let is_tight = self.output_bytes as u64 > self.shared.limits.output_bytes_total;
        output_len <= if is_tight { own_max.min(SHARE_MIN) } else { own_max }
    }

    /// Appends a packet to a connection's output now.
    pub(super) fn send(&mut self, reference: ConnectionRef, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.connections.get_mut(reference.slot, reference.generation)
        else {
            return;
        };
        if connection.awaits_connack {
            let mut packet = Vec::new();
            write(&mut packet);
            let waiting = connection.waiting.get_or_insert_with(Box::default);
            waiting.push_back((Promise::default(), packet)); // [MQTT-3.2.0-1]
            return;
        }
        self.pool.lend(&mut connection.output);
        write(connection.output.bytes_mut());
        self.mark_dirty(reference);
    }

    /// Appends a packet that promises something: it waits until the promise is kept, and behind
    /// those that wait already, so that answers keep their order [MQTT-4.6.0-2].
    pub(super) fn send_committed(
        &mut self,
        reference: ConnectionRef,
        promise: impl Into<Promise>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let promise = promise.into();
        let committed = self.committed;
        let Some(connection) = self.connection_mut(reference) else { return };
        if promise.is_kept(committed) && connection.waiting.is_none() {
            self.send(reference, write);
            return;
        }
        let mut packet = Vec::new();
        write(&mut packet);
        connection.waiting.get_or_insert_with(Box::default).push_back((promise, packet));
        if !connection.is_listed {
            connection.is_listed = true;
            self.uncommitted.push(reference);
        }
    }

    /// Changes up to `ticket` are committed: what waited for them is sent.
    pub fn commit(&mut self, ticket: Ticket, now_ms: u64) {
        self.last_now_ms = now_ms;
        self.committed = self.committed.max(ticket);
        for reference in std::mem::take(&mut self.uncommitted) {
            if let Some(connection) = self.connection_mut(reference) {
                connection.is_listed = false;
                self.release_waiting(reference);
            }
        }
        for queue in std::mem::take(&mut self.held_replays) {
            self.resume_replay(queue, now_ms);
        }
        while self.completions.front().is_some_and(|(ticket, _)| *ticket <= self.committed) {
            self.records.extend(self.completions.pop_front().map(|(_, record)| record));
        }
        self.unload_queues();
    }

    /// Sends the answers of a connection whose promises are kept.
    pub(super) fn release_waiting(&mut self, reference: ConnectionRef) {
        let committed = self.committed;
        let Some(connection) = self.connections.get_mut(reference.slot, reference.generation)
        else {
            return;
        };
        let Some(mut waiting) = connection.waiting.take() else { return };
        let before = waiting.len();
        let mut begins = false;
        while waiting.front().is_some_and(|(promise, _)| promise.is_kept(committed)) {
            let Some((_, packet)) = waiting.pop_front() else { break };
            self.pool.lend(&mut connection.output);
            connection.output.bytes_mut().extend_from_slice(&packet);
            begins |= std::mem::take(&mut connection.awaits_connack);
        }
        let has_sent = waiting.len() < before;
        if !waiting.is_empty() {
            connection.waiting = Some(waiting);
            if !connection.is_listed {
                connection.is_listed = true;
                self.uncommitted.push(reference);
            }
        }
        if !has_sent {
            return;
        }
        let begun = connection.session.filter(|_| begins);
        self.mark_dirty(reference);
        if let Some(queue) = begun {
            self.pump(queue, self.last_now_ms);
        }
    }

    /// Keep alive counts from now on.
    fn hear(&mut self, reference: ConnectionRef) {
        let now_ms = self.last_now_ms;
        if let Some(connection) = self.connection_mut(reference) {
            connection.heard_at_ms = now_ms;
        }
        self.set_connection_timer(reference);
    }

    /// A connection that was held back because the store took nothing goes on.
    pub(super) fn let_go(&mut self, reference: ConnectionRef) {
        if let Some(connection) = self.connection_mut(reference) {
            if std::mem::take(&mut connection.is_held) {
                self.hear(reference);
                self.mark_dirty(reference);
            }
        }
    }
}

/// Brings the shard's total up to date with one output.
#[inline]
fn count_output(connection: &mut Connection, total: &mut usize) {
    let length = connection.output.len();
    *total = *total + length - connection.output_counted;
    connection.output_counted = length;
}
