//! Messages that stay unacknowledged while the client acknowledges tens of thousands behind them.
//! The window of Packet Identifiers is one stretch; these are set aside so that it can move on.

use std::collections::VecDeque;

use super::inflight::Sent;

/// Looked through one by one, so few. A client that leaves more behind waits for its own answers.
pub(super) const STRAGGLERS_MAX: usize = 1_024;

/// What was set aside, in the order of sending, all before what is in the window.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    entries: VecDeque<(u16, Sent)>,
    /// How many, from the first, were sent on this connection.
    sent_until: usize,
}

impl Stragglers {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_resending(&self) -> bool {
        self.sent_until < self.entries.len()
    }

    /// A new connection begins: all are to be sent again.
    pub fn restart(&mut self) {
        self.sent_until = 0;
        for (_, sent) in &mut self.entries {
            sent.is_counted = false;
        }
    }

    /// Sets one aside that was sent on this connection, after all others.
    pub fn push(&mut self, packet_id: u16, sent: Sent) {
        self.entries.push_back((packet_id, sent));
        self.sent_until += 1;
    }

    pub fn contains(&self, packet_id: u16) -> bool {
        self.entries.iter().any(|(held, _)| *held == packet_id)
    }

    pub fn get_mut(&mut self, packet_id: u16) -> Option<&mut Sent> {
        self.entries.iter_mut().find(|(held, _)| *held == packet_id).map(|(_, sent)| sent)
    }

    pub fn take(&mut self, packet_id: u16) -> Option<Sent> {
        let at = self.entries.iter().position(|(held, _)| *held == packet_id)?;
        self.sent_until -= usize::from(at < self.sent_until);
        self.entries.remove(at).map(|(_, sent)| sent)
    }

    /// The next to send again on this connection; `step` makes it count as sent.
    pub fn next_to_resend(&mut self) -> Option<&mut (u16, Sent)> {
        self.entries.get_mut(self.sent_until)
    }

    pub fn step(&mut self) {
        self.sent_until += 1;
    }

    pub fn iter(&self) -> impl Iterator<Item = &(u16, Sent)> {
        self.entries.iter()
    }

    pub fn into_sent(self) -> impl Iterator<Item = Sent> {
        self.entries.into_iter().map(|(_, sent)| sent)
    }
}
