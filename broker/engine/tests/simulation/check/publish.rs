//! A PUBLISH of the engine: whose it is, whether it is in order, and on which terms it comes.

use engine::codec::packet::Version;

use crate::ledger::Entry;
use crate::model::{Flying, GroupCopy, Holder, Message, Model, Owed, Replay, SessionId, Stage};
use crate::wire::Publish;

/// What a PUBLISH turned out to be.
struct Matched {
    owed: Owed,
    copy: Option<usize>,
}

impl Model {
    /// The engine sends a message.
    pub(super) fn observe_publish(&mut self, link: usize, publish: &Publish) {
        let mut publish = publish.clone();
        self.resolve_alias(link, &mut publish);
        let Some(id) = self.links[link].session else { panic!("a message without a session") };
        let full = format!("{}{}", self.sessions[&id].mount_point, publish.topic);
        publish.topic = full;
        // One that waited for its commit when the connection ended may have been sent for all the
        // broker knows: DUP is right, though it is the first time (MQTT 5 §3.3.1.1).
        let was_sent = self.sessions.get_mut(&id).unwrap().flying(publish.packet_id).is_some();
        let waited = self.keeps() && publish.qos == 2 && !was_sent;
        if publish.dup && !waited {
            return self.observe_again(link, id, &publish);
        }
        let matched = self.find(link, id, &publish);
        self.check_terms(link, &matched.owed, &publish);
        let message = &self.messages[matched.owed.message];
        let is_late = message.is_expired(self.now_ms);
        let is_through = message.expires_ms == Some(message.born_ms);
        // Of several messages without a payload it may be another.
        let has_waited = self.keeps() && publish.qos == 2 || publish.payload.is_empty();
        assert!(!is_late || is_through || has_waited, "{message:?} has expired [MQTT-3.3.2-5]");
        if publish.qos == 0 {
            return;
        }
        let qos = publish.qos;
        if qos == 2 {
            // What was published again is the same to look at: one of them is committed.
            let same = self
                .messages
                .iter()
                .filter(|held| held.payload == message.payload && held.topic == message.topic);
            let is_committed = same.into_iter().any(|held| self.is_committed(held.ticket));
            assert!(is_committed, "QoS 2 {publish:?} before its commit");
            let session = &self.sessions[&id];
            if session.is_lasting() {
                let entry = Entry::Sent(session.key.clone(), publish.packet_id);
                self.check_committed(&entry);
            }
        }
        let session = self.sessions.get_mut(&id).unwrap();
        if let Some(held) = session.land(publish.packet_id) {
            // What another member of its group got leaves its identifier free.
            let copy = held.copy.unwrap_or_else(|| panic!("{held:?} has this identifier"));
            assert!(held.must_resend && held.stage == Stage::Puback, "{held:?} has it");
            self.copies[copy].is_optional |= self.copies[copy].holder == Holder::Free;
        }
        self.take_off(link, id, &publish, matched);
    }

    /// A message that came out before its connection ended in the same call.
    pub(super) fn observe_last(&mut self, link: usize, publish: &Publish) {
        let mut publish = publish.clone();
        self.resolve_alias(link, &mut publish);
        let Some(id) = self.links[link].left.filter(|_| publish.qos > 0) else { return };
        if !self.sessions.contains_key(&id) {
            self.allow_loss(&publish);
            return;
        }
        if publish.dup {
            // It is sent again on the next connection too; what came behind it did not overtake.
            let is_late = self.keeps();
            let session = self.sessions.get_mut(&id).unwrap();
            if let Some(flying) = session.flying(publish.packet_id) {
                flying.must_resend = false;
                return;
            }
            assert!(is_late, "DUP on {publish:?} that was not sent");
        }
        publish.topic = format!("{}{}", self.sessions[&id].mount_point, publish.topic);
        // It may have gone to another member of its group in the same call.
        let matched = self.look_up(link, id, &publish);
        let Some(Matched { owed, copy }) = matched else {
            let is_copy = self.holder_of(id, &publish).is_some();
            assert!(is_copy, "{publish:?} was not to be sent");
            return;
        };
        let Publish { packet_id, qos, .. } = publish;
        if let Some(copy) = copy {
            self.copies[copy].holder = match qos {
                1 => Holder::Broken { session: id },
                _ => Holder::Sent { session: id, qos },
            };
        }
        let stage = if qos == 2 { Stage::Pubrec } else { Stage::Puback };
        let flying = Flying { packet_id, owed, copy, stage, must_resend: false, counts: false };
        self.sessions.get_mut(&id).unwrap().flying.push(flying);
    }

    /// What was sent at QoS 2 to a session that ended is nobody else's [MQTT-4.8.2-5].
    fn allow_loss(&mut self, publish: &Publish) {
        for copy in self.copies.iter_mut().filter(|_| publish.qos == 2) {
            let message = &self.messages[copy.message];
            copy.is_optional |=
                message.payload == publish.payload && message.topic.ends_with(&publish.topic);
        }
    }

    /// Books a message as under way, within the Receive Maximum [MQTT-3.3.4-9].
    fn take_off(&mut self, link: usize, id: SessionId, publish: &Publish, matched: Matched) {
        let Matched { owed, copy } = matched;
        if let Some(copy) = copy {
            self.copies[copy].holder = Holder::Sent { session: id, qos: publish.qos };
        }
        let stage = if publish.qos == 2 { Stage::Pubrec } else { Stage::Puback };
        let packet_id = publish.packet_id;
        let flying = Flying { packet_id, owed, copy, stage, must_resend: false, counts: true };
        self.sessions.get_mut(&id).unwrap().flying.push(flying);
        self.check_window(link);
    }

    fn check_window(&mut self, link: usize) {
        let window = self.links[link].receive_maximum;
        let flying = &self.session_of(link).unwrap().flying;
        let outstanding = flying.iter().filter(|flying| flying.counts).count();
        assert!(outstanding <= window, "{outstanding} under way of {window} [MQTT-3.3.4-9]");
    }

    /// The change is committed, whenever it was written.
    pub(super) fn check_committed(&self, entry: &Entry) {
        if self.keeps() {
            let ticket = self.last_ticket(entry);
            let ticket = ticket.unwrap_or_else(|| panic!("the store was not told of {entry:?}"));
            assert!(self.is_committed(ticket), "sent before the commit of {entry:?}");
        }
    }

    fn resolve_alias(&mut self, link: usize, publish: &mut Publish) {
        let Some(alias) = publish.alias.take() else { return };
        let link = &mut self.links[link];
        assert!(alias > 0 && alias <= link.topic_alias_maximum, "[MQTT-3.1.2-26]");
        if publish.topic.is_empty() {
            let topic = link.aliases_out.get(&alias).expect("the alias is known");
            publish.topic.clone_from(topic);
        } else {
            link.aliases_out.insert(alias, publish.topic.clone());
        }
    }

    /// A message of an earlier connection, in its order, with its identifier [MQTT-4.4.0-1].
    fn observe_again(&mut self, link: usize, id: SessionId, publish: &Publish) {
        let session = &self.sessions[&id];
        let at = session.flying.iter().position(|flying| {
            flying.packet_id == publish.packet_id
                && flying.must_resend
                && flying.stage != Stage::Pubcomp
        });
        let Some(at) = at else { panic!("DUP on {publish:?} that is not sent again") };
        // QoS 2 waits for commits where QoS 1 does not, so that each has its own order there.
        let earlier = session.flying[..at].iter().find(|flying| {
            (!self.keeps() || flying.owed.qos == publish.qos)
                && flying.must_resend
                && flying.stage != Stage::Pubcomp
                && flying.copy.is_none()
        });
        let skipped = earlier.filter(|flying| !flying.owed.is_optional);
        assert!(skipped.is_none(), "{skipped:?} was sent first [MQTT-4.6.0-1]");
        let flying = session.flying[at].clone();
        self.check_terms(link, &flying.owed, publish);
        if let Some(copy) = flying.copy {
            let copy = &mut self.copies[copy];
            let holder = copy.holder;
            let was_sent_here = holder == (Holder::Broken { session: id })
                || holder == (Holder::Sent { session: id, qos: 2 });
            assert!(was_sent_here, "another member got it: {holder:?} [MQTT-4.8.2-4]");
            copy.holder = Holder::Sent { session: id, qos: publish.qos };
        }
        let flying = &mut self.sessions.get_mut(&id).unwrap().flying[at];
        flying.must_resend = false;
        flying.counts = true;
        self.check_window(link);
    }

    /// Payload, properties, flags and the remaining expiry.
    fn check_terms(&self, link: usize, owed: &Owed, publish: &Publish) {
        let version = self.links[link].version;
        let message = &self.messages[owed.message];
        assert!(owed.is_sent_as(publish, version), "{publish:?}: {owed:?} was expected");
        assert_eq!(publish.topic, message.topic);
        assert_eq!(publish.payload, message.payload);
        if version != Version::V5 {
            return;
        }
        assert_eq!(publish.properties, message.properties, "properties in their order");
        assert!(
            expiry_fits(message, publish, self.now_ms, self.keeps()),
            "the remaining expiry of {publish:?}: {message:?} [MQTT-3.3.2-6]"
        );
    }

    /// What a new message is; it must be something.
    fn find(&mut self, link: usize, id: SessionId, publish: &Publish) -> Matched {
        if let Some(matched) = self.look_up(link, id, publish) {
            return matched;
        }
        if let Some(holder) = self.holder_of(id, publish) {
            panic!("{publish:?} is another member's: {holder:?} [MQTT-4.8.2-4]");
        }
        let owed = &self.sessions[&id].owed;
        let mut owed = owed.iter().enumerate();
        let at = owed.find(|(_, owed)| self.messages[owed.message].payload == publish.payload);
        let overtaken = at.and_then(|(at, _)| self.overtaken(id, at));
        let overtaken = overtaken.map(|owed| (&self.messages[owed.message], owed));
        assert!(overtaken.is_none(), "{publish:?} overtakes {overtaken:?} [MQTT-4.6.0-6]");
        panic!("{publish:?} was not to be sent");
    }

    /// What a new message is: owed directly, a retained one, or a group's.
    fn look_up(&mut self, link: usize, id: SessionId, publish: &Publish) -> Option<Matched> {
        let (version, now_ms) = (self.links[link].version, self.now_ms);
        let keeps = self.keeps();
        let messages = &self.messages;
        let is_it = |owed: &Owed| {
            is_content(&messages[owed.message], publish, (version, now_ms, keeps))
                && owed.is_sent_as(publish, version)
        };
        if publish.qos == 0 {
            let passing = &mut self.links[link].passing;
            if let Some(at) = passing.iter().position(is_it) {
                self.check_passing_order(link, at);
                let owed = self.links[link].passing.remove(at);
                return Some(Matched { owed, copy: None });
            }
        }
        // What may have been dropped is still in the list: what is sure comes first.
        let owed = &self.sessions[&id].owed;
        let all = owed.iter().enumerate().filter(|(_, owed)| is_it(owed));
        let in_order = all.filter(|(at, _)| self.overtaken(id, *at).is_none());
        let in_order: Vec<usize> = in_order.map(|(at, _)| at).collect();
        let first =
            owed.iter().position(|owed| is_it(owed) && !messages[owed.message].is_expired(now_ms));
        let sure = in_order
            .iter()
            .copied()
            .find(|at| !owed[*at].is_optional && !messages[owed[*at].message].is_expired(now_ms));
        if let Some(owed) = self.find_replay(id, publish, true) {
            // Or it is the live one of the same content, and this one was not sent any more.
            if let Some(at) = sure {
                self.sessions.get_mut(&id).unwrap().owed[at].is_optional = true;
            }
            return Some(Matched { owed, copy: None });
        }
        if let Some(at) = sure {
            // Of two with the same content the first goes, and the second may have been dropped.
            let owed = &mut self.sessions.get_mut(&id).unwrap().owed;
            let first = first.unwrap_or(at);
            owed[at].is_optional |= first < at;
            let owed = owed.remove(first).unwrap();
            return Some(Matched { owed: Owed { is_optional: false, ..owed }, copy: None });
        }
        if let Some(owed) = self.find_replay(id, publish, false) {
            return Some(Matched { owed, copy: None });
        }
        let fresh = |at: &&usize| {
            let owed = &self.sessions[&id].owed[**at];
            !self.messages[owed.message].is_expired(now_ms)
        };
        if let Some(at) = in_order.iter().find(fresh).or(in_order.first()).copied() {
            let owed = self.sessions.get_mut(&id).unwrap().owed.remove(at).unwrap();
            return Some(Matched { owed, copy: None });
        }
        self.find_copy(id, publish, version)
    }

    /// An earlier message of the same publisher, topic and QoS that was not sent yet.
    fn overtaken(&self, id: SessionId, at: usize) -> Option<Owed> {
        let session = &self.sessions[&id];
        let owed = &session.owed[at];
        let resends = session.flying.iter().filter(|flying| {
            flying.must_resend && flying.stage != Stage::Pubcomp && flying.copy.is_none()
        });
        let earlier = resends.map(|flying| &flying.owed).chain(session.owed.range(..at));
        let mut earlier = earlier.filter(|held| !held.is_optional && self.is_stream(held, owed));
        earlier.next().cloned()
    }

    fn is_stream(&self, one: &Owed, other: &Owed) -> bool {
        let (first, second) = (&self.messages[one.message], &self.messages[other.message]);
        one.qos == other.qos
            && first.topic == second.topic
            && first.publisher == second.publisher
            && !first.is_expired(self.now_ms)
    }

    fn check_passing_order(&self, link: usize, at: usize) {
        let passing = &self.links[link].passing;
        let mut earlier = passing[..at].iter();
        let overtaken =
            earlier.find(|held| !held.is_optional && self.is_stream(held, &passing[at]));
        assert!(overtaken.is_none(), "{overtaken:?} is overtaken [MQTT-4.6.0-6]");
    }

    /// A retained message for a new subscription: RETAIN is set [MQTT-3.3.1-8].
    fn find_replay(&mut self, id: SessionId, sent: &Publish, is_over: bool) -> Option<Owed> {
        let version = self.sessions[&id].version;
        let (messages, now_ms, keeps) = (&self.messages, self.now_ms, self.store.is_some());
        let session = self.sessions.get_mut(&id)?;
        let is_it = |replay: &Replay| {
            let message = &messages[replay.message];
            let is_sent = replay.owed(message).is_sent_as(sent, version);
            is_sent && is_content(message, sent, (version, now_ms, keeps))
        };
        let all = session.replays.iter().enumerate().filter(|(_, replay)| is_it(replay));
        let (at, replay) = all.min_by_key(|(_, replay)| replay.is_optional)?;
        if is_over && !replay.is_over {
            return None;
        }
        let owed = replay.owed(&messages[replay.message]);
        let was_over = session.replays.remove(at).is_over;
        // Or that one was not sent any more, and this is another with the same terms.
        let others = session.replays.iter_mut().filter(|replay| was_over && is_it(replay));
        others.for_each(|replay| replay.is_optional = true);
        Some(owed)
    }

    /// A message for a group this session is, or was, a member of.
    fn find_copy(&mut self, id: SessionId, sent: &Publish, version: Version) -> Option<Matched> {
        let session = &self.sessions[&id];
        // Two may have the same content. What may have been dropped, or may be sent again, is
        // still in the list: what is sure comes first.
        let mut copies: Vec<(usize, &GroupCopy)> = self.copies.iter().enumerate().collect();
        copies.sort_by_key(|(_, copy)| {
            let is_expired = self.messages[copy.message].is_expired(self.now_ms);
            (is_expired, copy.is_optional, copy.holder != Holder::Free)
        });
        for (at, copy) in copies {
            let message = &self.messages[copy.message];
            if !is_content(message, sent, (version, self.now_ms, self.keeps())) {
                continue;
            }
            let terms = session.group_terms.iter().filter(|(group, _)| *group == copy.group);
            let mut owed = terms.map(|(_, terms)| Owed {
                message: copy.message,
                qos: terms.qos.min(message.qos),
                retain: message.retain && terms.retain_as_published,
                identifiers: if terms.identifier == 0 { vec![] } else { vec![terms.identifier] },
                is_optional: false,
            });
            let Some(owed) = owed.find(|owed| owed.is_sent_as(sent, version)) else { continue };
            if !matches!(copy.holder, Holder::Free | Holder::Broken { .. }) {
                continue;
            }
            if owed.qos == 0 {
                self.copies[at].holder = Holder::Done;
            }
            return Some(Matched { owed, copy: Some(at) });
        }
        None
    }

    /// Who has a message of a group this session is, or was, a member of.
    fn holder_of(&self, id: SessionId, publish: &Publish) -> Option<Holder> {
        let terms = &self.sessions[&id].group_terms;
        let mut copies = self.copies.iter().filter(|copy| {
            self.messages[copy.message].payload == publish.payload
                && terms.iter().any(|(group, _)| *group == copy.group)
        });
        copies.next().map(|copy| copy.holder)
    }
}

/// Whether it is this message: payloads differ unless they are empty.
fn is_content(
    message: &Message,
    publish: &Publish,
    (version, now_ms, keeps): (Version, u64, bool),
) -> bool {
    message.payload == publish.payload
        && message.topic == publish.topic
        && (version != Version::V5
            || message.properties == publish.properties
                && expiry_fits(message, publish, now_ms, keeps))
}

/// Whether the remaining expiry is right [MQTT-3.3.2-6]. What waits for a commit was encoded
/// before it.
fn expiry_fits(message: &Message, publish: &Publish, now_ms: u64, keeps: bool) -> bool {
    let left_s = message.left_s(now_ms);
    left_s == publish.expiry_s
        || keeps
            && publish.qos == 2
            && left_s <= publish.expiry_s
            && publish.expiry_s <= message.left_s(message.born_ms)
}
