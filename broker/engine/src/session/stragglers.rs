//! Messages that stay unacknowledged while the client acknowledges tens of thousands behind them,
//! and those of an earlier run. The window of Packet Identifiers is one stretch; these are set
//! aside, under identifiers that may lie anywhere.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::inflight::Sent;

/// A client that leaves more behind waits for its own answers.
pub(super) const STRAGGLERS_MAX: usize = 1_024;

/// What was set aside, in the order of sending, all before what is in the window.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    /// By place in the order of sending.
    entries: BTreeMap<u64, (u16, Sent)>,
    places: HashMap<u16, u64, foldhash::fast::FixedState>,
    /// The place of the next.
    next: u64,
    /// Those before this place were sent on this connection.
    sent_until: u64,
}

impl Stragglers {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_resending(&self) -> bool {
        self.entries.last_key_value().is_some_and(|(place, _)| *place >= self.sent_until)
    }

    /// A new connection begins: all are to be sent again.
    pub fn restart(&mut self) {
        self.sent_until = 0;
        for (_, sent) in self.entries.values_mut() {
            sent.is_counted = false;
        }
    }

    /// Sets one aside that was sent on this connection, after all others. What was under its
    /// identifier is over.
    pub fn push(&mut self, packet_id: u16, sent: Sent) {
        if let Some(before) = self.places.insert(packet_id, self.next) {
            self.entries.remove(&before);
        }
        self.entries.insert(self.next, (packet_id, sent));
        self.next += 1;
        self.sent_until = self.next;
    }

    pub fn contains(&self, packet_id: u16) -> bool {
        self.places.contains_key(&packet_id)
    }

    pub fn get_mut(&mut self, packet_id: u16) -> Option<&mut Sent> {
        let place = self.places.get(&packet_id)?;
        self.entries.get_mut(place).map(|(_, sent)| sent)
    }

    pub fn take(&mut self, packet_id: u16) -> Option<Sent> {
        let place = self.places.remove(&packet_id)?;
        self.entries.remove(&place).map(|(_, sent)| sent)
    }

    /// The next to send again on this connection; `step` makes it count as sent.
    pub fn next_to_resend(&mut self) -> Option<&mut (u16, Sent)> {
        self.entries.range_mut(self.sent_until..).next().map(|(_, entry)| entry)
    }

    pub fn step(&mut self) {
        let next = self.entries.range(self.sent_until..).next();
        self.sent_until = next.map_or(self.next, |(place, _)| place + 1);
    }

    pub fn iter(&self) -> impl Iterator<Item = &(u16, Sent)> {
        self.entries.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (u16, Sent)> {
        self.entries.values_mut()
    }

    pub fn into_sent(self) -> impl Iterator<Item = Sent> {
        self.entries.into_values().map(|(_, sent)| sent)
    }
}
