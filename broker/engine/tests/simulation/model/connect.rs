//! CONNECT and the keep alive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::codec::packet::Version;
use engine::session::session_key;

use super::link::{Awaited, Link, Phase};
use super::session::{Session, SessionId, Will};
use super::{Holder, Model};
use crate::ledger::Entry;
use crate::wire::Connect;

impl Model {
    /// What CONNACK waits for besides the end of what was there.
    fn terms_ticket(
        &self,
        held: Option<SessionId>,
        key: &[u8],
        expiry_s: u32,
        brings_will: bool,
    ) -> u64 {
        let before = held.map(|held| &self.sessions[&held]);
        let was_lasting = before.is_some_and(Session::is_lasting);
        let had_will = before.is_some_and(|before| before.will.is_some());
        let is_changed = before.is_none_or(|before| before.expiry_s != expiry_s);
        let mut ticket = 0;
        if was_lasting && had_will || expiry_s > 0 && brings_will {
            ticket = self.ticket(&Entry::Will(key.to_vec()));
        }
        if expiry_s > 0 {
            // Told in any case, waited for only where something changes.
            let told = self.ticket(&Entry::Session(key.to_vec()));
            ticket = ticket.max(if is_changed { told } else { 0 });
        } else if was_lasting {
            ticket = ticket.max(self.ticket(&Entry::SessionEnded(key.to_vec())));
        }
        ticket
    }

    /// A CONNECT is let in on the shard of its session.
    pub fn connect(&mut self, link: usize, connect: &Connect, shard: usize, user: &str) {
        let version = self.links[link].version;
        let mount_point = self.profile(link).mount_point.to_string();
        let mut key = session_key(&mount_point, &connect.client_id).to_vec();
        if connect.client_id.is_empty() {
            key = format!("assigned on link {link}").into_bytes();
        }
        let held = self.keys.get(&key).copied();
        if held.is_some_and(|held| self.sessions[&held].user != user) {
            self.refuse(link, 0x85);
            return;
        }
        if let Some(old) = held.and_then(|held| self.sessions[&held].link) {
            self.disconnect(old, 0x8E);
        }
        let mut ticket = 0;
        let mut held = self.keys.get(&key).copied();
        if let (Some(session), true) = (held, connect.clean_start) {
            let was_lasting = self.sessions[&session].is_lasting();
            self.end_session(session);
            if was_lasting {
                ticket = self.ticket(&Entry::SessionEnded(key.clone()));
            }
            held = None;
        }
        let maximum = self.profile(link).session_expiry_max_s;
        let expiry_s = match version {
            Version::V5 => connect.session_expiry_s,
            _ if connect.clean_start => 0,
            _ => u32::MAX,
        }
        .min(maximum);
        ticket = ticket.max(self.terms_ticket(held, &key, expiry_s, connect.will.is_some()));
        let id = held.unwrap_or_else(|| self.create(link, &key, user, shard));
        let will = connect.will.as_ref().map(|will| Will {
            topic: format!("{mount_point}{}", will.message.topic),
            message: will.message.clone(),
            delay_s: will.delay_s,
            due_ms: None,
        });
        let session = self.sessions.get_mut(&id).unwrap();
        session.link = Some(link);
        session.version = version;
        session.expiry_s = expiry_s;
        session.ends_ms = None;
        session.will = will;
        session.outstanding = 0;
        for flying in &mut session.flying {
            flying.must_resend = true;
            flying.counts = false;
        }
        self.open(link, id, connect, (held.is_some(), ticket));
    }

    fn open(&mut self, link: usize, id: SessionId, connect: &Connect, expected: (bool, u64)) {
        let profile = self.profile(link).clone();
        let now_ms = self.now_ms;
        let link = &mut self.links[link];
        let is_v5 = link.version == Version::V5;
        link.phase = Phase::Open;
        link.session = Some(id);
        link.heard_ms = now_ms;
        let mut keep_alive_s = connect.keep_alive_s;
        if is_v5 && profile.keep_alive_max_s > 0 {
            let maximum = profile.keep_alive_max_s;
            keep_alive_s = if keep_alive_s == 0 { maximum } else { keep_alive_s.min(maximum) };
        }
        link.keep_alive_ms = u64::from(keep_alive_s) * 1_500;
        if is_v5 {
            link.receive_maximum =
                usize::from(connect.receive_maximum.min(profile.inflight_maximum));
            link.topic_alias_maximum = connect.topic_alias_maximum;
            if connect.maximum_packet_size > 0 {
                link.maximum_packet_size = connect.maximum_packet_size as usize;
            }
        } else {
            link.receive_maximum = usize::from(profile.inflight_maximum);
        }
        let (was_there, ticket) = expected;
        let present = was_there && link.version != Version::V3_1;
        link.connack = Some(Awaited { answer: (present, 0), ticket });
    }

    fn create(&mut self, link: usize, key: &[u8], user: &str, shard: usize) -> SessionId {
        let id = self.next_session;
        self.next_session += 1;
        self.keys.insert(key.to_vec(), id);
        let Link { client, version, .. } = self.links[link];
        let mount_point = self.profile(link).mount_point.to_string();
        let session = Session {
            key: key.to_vec(),
            client,
            user: user.into(),
            shard,
            version,
            mount_point,
            expiry_s: 0,
            link: None,
            subscriptions: BTreeMap::new(),
            group_terms: Vec::new(),
            owed: VecDeque::new(),
            flying: Vec::new(),
            replays: Vec::new(),
            received: BTreeSet::new(),
            outstanding: 0,
            will: None,
            ends_ms: None,
        };
        self.sessions.insert(id, session);
        id
    }

    /// CONNACK with an error, and the end.
    pub fn refuse(&mut self, link: usize, reason: u8) {
        let link = &mut self.links[link];
        link.close(None);
        let code = match (link.version, reason) {
            (Version::V5, reason) => reason,
            (_, 0x85) => 2,
            (_, 0x86) => 4,
            (_, 0x87) => 5,
            _ => 3,
        };
        link.connack = Some(Awaited { answer: (false, code), ticket: 0 });
    }

    /// The listener's profile of a link.
    pub fn profile(&self, link: usize) -> &std::sync::Arc<engine::limits::ListenerProfile> {
        &self.profiles[self.links[link].profile]
    }

    /// Copies that a session was sent at QoS 1 may go to another: its connection is gone.
    pub(super) fn break_copies(&mut self, id: SessionId) {
        for copy in &mut self.copies {
            if copy.holder == (Holder::Sent { session: id, qos: 1 }) {
                copy.holder = Holder::Broken { session: id };
            }
        }
    }
}
