//! How links and sessions end, wills, and what the clock does.

use super::link::Phase;
use super::session::SessionId;
use super::{Holder, Message, Model};
use crate::ledger::Entry;

impl Model {
    /// The broker ends an open link with a DISCONNECT.
    pub fn disconnect(&mut self, link: usize, reason: u8) {
        self.leave_session(link, true);
        // Nothing comes before CONNACK: where that waits, there is no goodbye [MQTT-3.2.0-1].
        let connack = self.links[link].connack.take();
        let connack = connack.filter(|connack| self.is_committed(connack.ticket));
        let is_greeted = self.links[link].is_greeted || connack.is_some();
        self.links[link].close(is_greeted.then_some(reason));
        self.links[link].connack = connack;
    }

    /// The transport is gone.
    pub fn lost(&mut self, link: usize) {
        if self.links[link].phase == Phase::Open {
            self.leave_session(link, true);
        }
        self.links[link].close(None);
    }

    /// A client says goodbye.
    pub fn goodbye(&mut self, link: usize, reason: u8, expiry_s: Option<u32>) {
        let maximum = self.profile(link).session_expiry_max_s;
        if let (Some(session), Some(expiry_s)) = (self.session_of(link), expiry_s) {
            if session.expiry_s == 0 && expiry_s > 0 {
                self.disconnect(link, 0x82);
                return;
            }
            session.expiry_s = expiry_s.min(maximum);
        }
        self.leave_session(link, reason != 0);
        self.links[link].close(None);
    }

    fn leave_session(&mut self, link: usize, publishes_will: bool) {
        let Some(id) = self.links[link].session.take() else { return };
        self.links[link].left = Some(id);
        let now_ms = self.now_ms;
        let session = self.sessions.get_mut(&id).unwrap();
        session.link = None;
        if !publishes_will {
            session.will = None;
        }
        for replay in &mut session.replays {
            replay.is_optional = true;
        }
        for owed in session.owed.iter_mut().filter(|owed| owed.qos == 0) {
            owed.is_optional = true;
        }
        session.ends_ms = match session.expiry_s {
            0 | u32::MAX => None,
            expiry_s => Some(now_ms + u64::from(expiry_s) * 1_000),
        };
        let is_over = session.expiry_s == 0;
        let delay_s = session.will.as_ref().map(|will| will.delay_s);
        self.break_copies(id);
        match (is_over, delay_s) {
            (true, _) => self.end_session(id),
            (_, Some(0)) => self.publish_will(id),
            (_, Some(delay_s)) => {
                let will = self.sessions.get_mut(&id).and_then(|session| session.will.as_mut());
                will.unwrap().due_ms = Some(now_ms + u64::from(delay_s) * 1_000);
            }
            _ => {}
        }
    }

    /// A session without link ends: its will, its subscriptions, all it had.
    pub fn end_session(&mut self, id: SessionId) {
        self.publish_will(id);
        let Some(session) = self.sessions.remove(&id) else { return };
        self.keys.remove(&session.key);
        let keeps = self.store.is_some();
        for copy in &mut self.copies {
            // At QoS 2 it counts as sent from when its identifier is written, and waits then.
            copy.is_optional |= keeps
                && self.messages[copy.message].qos == 2
                && session.group_terms.iter().any(|(group, _)| *group == copy.group);
            match copy.holder {
                Holder::Sent { session, qos: 2 } if session == id => copy.holder = Holder::Lost,
                Holder::Sent { session, .. } | Holder::Broken { session } if session == id => {
                    copy.holder = Holder::Free;
                }
                _ => {}
            }
        }
        self.forget_empty_groups();
    }

    fn publish_will(&mut self, id: SessionId) {
        let now_ms = self.now_ms;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(will) = session.will.take() else { return };
        let (client, shard, is_lasting) = (session.client, session.shard, session.is_lasting());
        if is_lasting {
            let entry = Entry::Will(session.key.clone());
            self.ticket(&entry);
        }
        let message = Message {
            topic: will.topic,
            payload: will.message.payload,
            properties: will.message.properties,
            qos: will.message.qos,
            retain: will.message.retain,
            born_ms: now_ms,
            expires_ms: will.message.expiry_s.map(|left_s| now_ms + u64::from(left_s) * 1_000),
            publisher: Some(client),
            ticket: 0,
        };
        self.route(message, Some(id), shard);
    }

    /// When something is due on a shard next.
    pub fn next_deadline(&self, shard: usize) -> Option<u64> {
        let links = self.links.iter().filter(|link| link.shard == Some(shard));
        let links = links.filter_map(|link| match link.phase {
            Phase::Connecting => {
                Some(link.opened_ms + self.profiles[link.profile].connect_timeout_ms)
            }
            Phase::Open if link.is_greeted && link.keep_alive_ms > 0 => {
                Some(link.heard_ms + link.keep_alive_ms)
            }
            _ => None,
        });
        let sessions = self.sessions.values().filter(|session| session.shard == shard);
        let sessions = sessions.filter(|session| session.link.is_none());
        let sessions = sessions.flat_map(|session| {
            [session.ends_ms, session.will.as_ref().and_then(|will| will.due_ms)]
        });
        links.chain(sessions.flatten()).min()
    }

    /// What is due on a shard now.
    pub fn tick(&mut self, shard: usize) {
        let now_ms = self.now_ms;
        for at in 0..self.links.len() {
            let link = &self.links[at];
            if link.shard != Some(shard) {
                continue;
            }
            let timeout_ms = self.profile(at).connect_timeout_ms;
            match link.phase {
                Phase::Connecting if link.opened_ms + timeout_ms <= now_ms => {
                    self.links[at].close(None);
                }
                Phase::Open
                    if link.keep_alive_ms > 0 && link.heard_ms + link.keep_alive_ms <= now_ms =>
                {
                    self.disconnect(at, 0x8D);
                }
                _ => {}
            }
        }
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            let Some(session) = self.sessions.get(&id) else { continue };
            if session.shard != shard || session.link.is_some() {
                continue;
            }
            let due_ms = session.will.as_ref().and_then(|will| will.due_ms);
            if session.ends_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                self.end_session(id);
            } else if due_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                self.publish_will(id);
            }
        }
    }
}
