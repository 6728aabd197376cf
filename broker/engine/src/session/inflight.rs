//! QoS 1 and 2 messages sent to one client and not acknowledged: Packet Identifiers in the order
//! of sending, so that a reconnect sends them again in that order [MQTT-4.6.0-1].

use std::collections::VecDeque;

use super::queue::{Body, Identifiers};
use super::stragglers::{STRAGGLERS_MAX, Stragglers};
use crate::message::SharedMessage;
use crate::router::GroupId;
use crate::shared::Charge;
use crate::store::Ticket;

/// There are this many Packet Identifiers: 1 to 65,535.
const IDENTIFIERS: usize = 65_535;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// QoS 1: PUBACK.
    Puback,
    /// QoS 2: PUBREC.
    Pubrec,
    /// QoS 2: PUBCOMP; PUBREL is sent.
    Pubcomp,
}

/// A message under way.
#[derive(Debug)]
pub struct Sent {
    /// The message; `None` if it can never be sent again (the session ends with its connection),
    /// or need not (PUBREC came).
    pub message: Option<Body>,
    /// Index in the message's receivers, or `NOT_STORED`.
    pub receiver: u32,
    /// Subscription Identifiers.
    pub identifiers: Identifiers,
    /// The shared group it came through, or `NO_GROUP`.
    pub group: GroupId,
    /// What is waited for.
    pub stage: Stage,
    /// RETAIN flag it is sent with.
    pub retain: bool,
    /// What it would wait for if another member of its group got it at QoS 2.
    pub ticket: Ticket,
    /// It was sent as PUBLISH on this connection: it uses up Receive Maximum until it is done. A
    /// PUBREL that is sent again does not, so that its PUBCOMP gives nothing back [MQTT-3.3.4-9].
    pub is_counted: bool,
    /// What the message takes of the limit of all queues; `None` where none is kept.
    pub charge: Option<Charge>,
}

impl Sent {
    /// Bytes of the message that is kept, and of what goes with it.
    fn size(&self) -> u64 {
        let message = self.message.as_ref().map_or(0, Body::size);
        message + self.identifiers.bytes()
    }

    fn resend(&self) -> Resend {
        Resend {
            message: self.message.clone(),
            identifiers: self.identifiers.clone(),
            stage: self.stage,
            retain: self.retain,
        }
    }
}

/// What is to be sent again of an entry.
#[derive(Debug)]
pub struct Resend {
    /// See `Sent`.
    pub message: Option<Body>,
    /// See `Sent`.
    pub identifiers: Identifiers,
    /// See `Sent`.
    pub stage: Stage,
    /// See `Sent`.
    pub retain: bool,
}

/// The window towards one client.
#[derive(Debug)]
pub struct Inflight {
    /// The window: one entry for each identifier of a stretch, empty where it is acknowledged.
    entries: VecDeque<Option<Sent>>,
    /// Older ones, set aside so that the window can move on.
    stragglers: Option<Box<Stragglers>>,
    /// Packet Identifier of the first entry.
    first_id: u16,
    /// Entries that are not empty, stragglers among them.
    live: u32,
    /// PUBLISH packets of this connection that use up Receive Maximum (MQTT 5 §4.9).
    outstanding: u16,
    /// The lower of the client's Receive Maximum and ours.
    window: u16,
    /// Entries before this index were sent on this connection.
    sent_until: u32,
    /// Bytes of the messages that are kept for a reconnect.
    bytes: u64,
    /// At so many no more messages are sent: a client that does not acknowledge is bounded.
    bytes_max: u64,
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            stragglers: None,
            first_id: 1,
            live: 0,
            outstanding: 0,
            window: u16::MAX,
            sent_until: 0,
            bytes: 0,
            bytes_max: u64::MAX,
        }
    }
}

impl Inflight {
    /// How many messages are under way.
    pub fn len(&self) -> u32 {
        self.live
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Whether another PUBLISH may be sent [MQTT-4.9.0-2].
    #[inline]
    pub fn has_credit(&self) -> bool {
        self.outstanding < self.window
            && self.bytes < self.bytes_max
            && (!self.is_wide() || self.can_set_aside())
    }

    /// Whether the window and what was set aside may have taken all identifiers.
    #[inline]
    fn is_wide(&self) -> bool {
        self.entries.len() + self.stragglers_len() >= IDENTIFIERS
    }

    #[inline]
    fn stragglers_len(&self) -> usize {
        self.stragglers.as_ref().map_or(0, |stragglers| stragglers.len())
    }

    /// Whether few enough are in front of an acknowledged one.
    #[cold]
    fn can_set_aside(&self) -> bool {
        let room = STRAGGLERS_MAX.saturating_sub(self.stragglers_len());
        self.entries.iter().take(room + 1).any(Option::is_none)
    }

    /// Sets the oldest aside, up to the first that is acknowledged.
    #[cold]
    fn set_aside(&mut self) {
        while let Some(Some(sent)) = self.entries.front_mut().map(Option::take) {
            let stragglers = self.stragglers.get_or_insert_with(Box::default);
            stragglers.push(self.first_id, sent);
            self.pop_front();
        }
        self.pop_empty();
    }

    fn pop_front(&mut self) {
        self.entries.pop_front();
        self.first_id = if self.first_id == u16::MAX { 1 } else { self.first_id + 1 };
        self.sent_until = self.sent_until.saturating_sub(1);
    }

    fn pop_empty(&mut self) {
        while let Some(None) = self.entries.front() {
            self.pop_front();
        }
    }

    /// Whether entries of an earlier connection are still to be sent on this one.
    #[inline]
    pub fn is_resending(&self) -> bool {
        (self.sent_until as usize) < self.entries.len()
            || self.stragglers.as_ref().is_some_and(|stragglers| stragglers.is_resending())
    }

    /// A new connection begins: nothing is outstanding on it, all entries are to be sent again.
    pub fn restart(&mut self, window: u16, bytes_max: u64) {
        self.window = window;
        self.bytes_max = bytes_max;
        self.outstanding = 0;
        self.sent_until = 0;
        for sent in self.entries.iter_mut().flatten() {
            sent.is_counted = false;
        }
        if let Some(stragglers) = &mut self.stragglers {
            stragglers.restart();
        }
    }

    /// Takes a message up and gives its Packet Identifier; call only with credit.
    #[inline]
    pub fn push(&mut self, sent: Sent) -> u16 {
        if self.is_wide() {
            self.set_aside();
        }
        let mut packet_id = self.identifier(self.entries.len());
        if let Some(stragglers) = &self.stragglers {
            while stragglers.contains(packet_id) {
                self.entries.push_back(None); // [MQTT-2.2.1-4]
                packet_id = self.identifier(self.entries.len());
            }
        }
        self.bytes += sent.size();
        self.entries.push_back(Some(Sent { is_counted: true, ..sent }));
        self.sent_until = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.live += 1;
        self.outstanding += 1;
        packet_id
    }

    /// Takes up exchanges of an earlier run, in the order in which they are to be sent again; call
    /// on an empty window. Of two under one identifier the later stands.
    pub fn restore(&mut self, exchanges: Vec<(u16, Sent)>) {
        for (packet_id, sent) in exchanges {
            self.first_id = if packet_id == u16::MAX { 1 } else { packet_id + 1 };
            self.stragglers.get_or_insert_with(Box::default).push(packet_id, sent);
        }
        let Some(stragglers) = &self.stragglers else { return };
        self.live = u32::try_from(stragglers.len()).unwrap_or(u32::MAX);
        self.bytes = stragglers.iter().map(|(_, sent)| sent.size()).sum();
    }

    /// Entries whose message is not in memory: their numbers, in order of sending.
    pub fn wanted(&self) -> Vec<u64> {
        let aside = self.stragglers.iter().flat_map(|stragglers| stragglers.iter());
        aside
            .map(|(_, sent)| sent)
            .chain(self.entries.iter().flatten())
            .filter_map(|sent| match sent.message {
                Some(Body::Stored { number, .. }) => Some(number),
                _ => None,
            })
            .collect()
    }

    /// Takes fetched messages in; what the store has no more is given up.
    pub fn fill(&mut self, fetched: &[(u64, Option<SharedMessage>)]) {
        let aside = self.stragglers.iter_mut().flat_map(|stragglers| stragglers.iter_mut());
        let aside = aside.map(|(_, sent)| sent);
        for sent in aside.chain(self.entries.iter_mut().flatten()) {
            let Some(Body::Stored { number, .. }) = sent.message else { continue };
            if let Ok(at) = fetched.binary_search_by_key(&number, |(found, _)| *found) {
                let before = sent.size();
                let message = fetched.get(at).and_then(|(_, message)| message.clone());
                sent.message = message.map(Body::Held);
                self.bytes = self.bytes - before + sent.size();
            }
        }
    }

    /// What is waited for under this Packet Identifier.
    #[inline]
    pub fn stage(&mut self, packet_id: u16) -> Option<Stage> {
        self.get_mut(packet_id).map(|sent| sent.stage)
    }

    /// PUBREC came: the message must not be sent again [MQTT-4.3.3-6]. What was waited for before
    /// and the index of the receiver; `None` if it was not under way.
    pub fn received(&mut self, packet_id: u16) -> Option<(Stage, u32)> {
        let sent = self.get_mut(packet_id)?;
        let before = (sent.stage, sent.receiver);
        let size = sent.size();
        sent.stage = Stage::Pubcomp;
        sent.message = None;
        sent.identifiers = Identifiers::None;
        sent.charge = None;
        self.bytes -= size;
        Some(before)
    }

    #[inline]
    fn get_mut(&mut self, packet_id: u16) -> Option<&mut Sent> {
        let index = self.index(packet_id)?;
        match self.entries.get_mut(index) {
            Some(Some(sent)) => Some(sent),
            _ => self.stragglers.as_mut()?.get_mut(packet_id),
        }
    }

    /// Ends an entry and gives its identifier free.
    #[inline]
    pub fn complete(&mut self, packet_id: u16) -> Option<Sent> {
        let index = self.index(packet_id)?;
        let sent = match self.entries.get_mut(index).and_then(Option::take) {
            Some(sent) => sent,
            None => self.take_straggler(packet_id)?,
        };
        self.bytes -= sent.size();
        self.live -= 1;
        self.outstanding -= u16::from(sent.is_counted);
        self.pop_empty();
        if self.entries.is_empty() && self.entries.capacity() > 64 {
            self.entries = VecDeque::new();
        }
        Some(sent)
    }

    fn take_straggler(&mut self, packet_id: u16) -> Option<Sent> {
        let stragglers = self.stragglers.as_mut()?;
        let sent = stragglers.take(packet_id);
        if stragglers.len() == 0 {
            self.stragglers = None;
        }
        sent
    }

    /// The next entry of an earlier connection to send again, with its identifier; it counts as
    /// sent from now on. `None` if there is none, or no credit for it.
    pub fn resend_next(&mut self) -> Option<(u16, Resend)> {
        if let Some(stragglers) = self.stragglers.as_mut().filter(|held| held.is_resending()) {
            let (packet_id, sent) = stragglers.next_to_resend()?;
            if sent.stage != Stage::Pubcomp {
                if self.outstanding >= self.window {
                    return None;
                }
                self.outstanding += 1;
                sent.is_counted = true;
            }
            let found = (*packet_id, sent.resend());
            stragglers.step();
            return Some(found);
        }
        while self.is_resending() {
            let index = self.sent_until as usize;
            let Some(sent) = self.entries.get_mut(index).and_then(Option::as_mut) else {
                self.sent_until += 1;
                continue;
            };
            if sent.stage != Stage::Pubcomp {
                // PUBREL is not limited by Receive Maximum [MQTT-4.9.0-3].
                if self.outstanding >= self.window {
                    return None;
                }
                self.outstanding += 1;
                sent.is_counted = true;
            }
            let resend = sent.resend();
            let found = (self.identifier(index), resend);
            self.sent_until += 1;
            return Some(found);
        }
        None
    }

    /// Takes all entries out, in order.
    pub fn drain(&mut self) -> Vec<Sent> {
        self.live = 0;
        self.outstanding = 0;
        self.sent_until = 0;
        self.bytes = 0;
        let stragglers = self.stragglers.take().map(|stragglers| stragglers.into_sent());
        let entries = std::mem::take(&mut self.entries);
        stragglers.into_iter().flatten().chain(entries.into_iter().flatten()).collect()
    }

    /// Packet Identifier and group of the entries for which `is_wanted` holds, in order.
    pub fn find(&self, is_wanted: impl Fn(&Sent) -> bool) -> Vec<(u16, GroupId)> {
        let aside = self.stragglers.iter().flat_map(|stragglers| stragglers.iter());
        let aside = aside.map(|(packet_id, sent)| (*packet_id, sent));
        let window = self.entries.iter().enumerate();
        let window = window.filter_map(|(at, entry)| Some((self.identifier(at), entry.as_ref()?)));
        let found = aside.chain(window).filter(|(_, sent)| is_wanted(sent));
        found.map(|(packet_id, sent)| (packet_id, sent.group)).collect()
    }

    #[inline]
    fn index(&self, packet_id: u16) -> Option<usize> {
        let packet_id = usize::from(packet_id.checked_sub(1)?);
        let first = usize::from(self.first_id - 1);
        Some((packet_id + IDENTIFIERS - first) % IDENTIFIERS)
    }

    #[inline]
    fn identifier(&self, index: usize) -> u16 {
        let zero_based = (usize::from(self.first_id - 1) + index) % IDENTIFIERS;
        u16::try_from(zero_based + 1).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::NO_GROUP;

    fn sent(stage: Stage) -> Sent {
        Sent {
            message: None,
            receiver: crate::session::NOT_STORED,
            identifiers: Identifiers::None,
            group: NO_GROUP,
            stage,
            retain: false,
            ticket: Ticket::default(),
            is_counted: false,
            charge: None,
        }
    }

    #[test]
    fn identifiers_wrap_past_65535_and_are_never_given_twice() {
        let mut inflight = Inflight::default();
        inflight.restart(2, u64::MAX);
        let mut previous = inflight.push(sent(Stage::Puback));
        for _ in 0..200_000 {
            let next = inflight.push(sent(Stage::Puback));
            assert!(!inflight.has_credit());
            assert_ne!(next, previous);
            assert_ne!(next, 0);
            assert!(inflight.complete(previous).is_some());
            assert!(inflight.complete(previous).is_none());
            previous = next;
        }
        assert_eq!(inflight.len(), 1);
    }

    /// [MQTT-2.2.1-4]: a few that are never acknowledged do not stop the others.
    #[test]
    fn identifiers_in_use_are_passed_by() {
        let mut inflight = Inflight::default();
        let mut held: Vec<u16> = Vec::new();
        for round in 0..400_000_u32 {
            assert!(inflight.has_credit(), "in round {round} with {} held", held.len());
            let packet_id = inflight.push(sent(Stage::Puback));
            assert!(!held.contains(&packet_id));
            if round % 10_007 == 0 {
                held.push(packet_id);
            } else {
                assert!(inflight.complete(packet_id).is_some());
            }
        }
        assert_eq!(inflight.len() as usize, held.len());

        inflight.restart(u16::MAX, u64::MAX);
        let again: Vec<u16> =
            std::iter::from_fn(|| inflight.resend_next()).map(|found| found.0).collect();
        assert_eq!(again, held);
        for packet_id in held {
            assert!(inflight.get_mut(packet_id).is_some());
            assert!(inflight.complete(packet_id).is_some());
        }
        assert!(inflight.is_empty());
        assert!(inflight.stragglers.is_none());
    }

    #[test]
    fn a_client_that_leaves_many_behind_waits_for_its_own_answers() {
        let mut inflight = Inflight::default();
        let mut live = Vec::new();
        while inflight.has_credit() {
            let packet_id = inflight.push(sent(Stage::Puback));
            if packet_id % 2 == 0 {
                live.push(packet_id);
            } else {
                inflight.complete(packet_id);
            }
        }
        let unique: std::collections::HashSet<u16> = live.iter().copied().collect();
        assert_eq!(unique.len(), live.len());
        assert_eq!(inflight.len() as usize, live.len());
        assert_eq!(inflight.drain().len(), live.len());
    }

    #[test]
    fn a_new_connection_sends_again_in_order_within_its_window() {
        let mut inflight = Inflight::default();
        let ids: Vec<u16> = (0..3).map(|_| inflight.push(sent(Stage::Puback))).collect();
        inflight.complete(ids[1]);

        inflight.restart(1, u64::MAX);

        assert_eq!(inflight.resend_next().map(|found| found.0), Some(ids[0]));
        assert!(inflight.resend_next().is_none());
        inflight.complete(ids[0]);
        assert_eq!(inflight.resend_next().map(|found| found.0), Some(ids[2]));
        assert!(!inflight.is_resending());
    }
}
