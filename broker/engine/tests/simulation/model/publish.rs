//! PUBLISH of a client, and who gets a message.

use engine::codec::packet::{AcknowledgementKind, Version};

use super::group::group_of;
use super::session::{SessionId, Terms};
use super::{GroupCopy, Holder, Letter, Message, MessageId, Model, Owed, split_share};
use crate::ledger::Entry;
use crate::wire::Publish;

/// Who wanted a message.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    /// Somebody gets it.
    wanted: bool,
    /// Somebody's filter matches, though this message is not for them.
    barred: bool,
    /// A lasting session gets it at QoS 1 or 2.
    lasts: bool,
}

impl Model {
    /// A client publishes.
    pub fn publish(&mut self, link: usize, publish: &Publish) {
        let Some(id) = self.links[link].session else { return };
        let topic = match self.resolve(link, publish) {
            Ok(topic) => topic,
            Err(reason) => return self.disconnect(link, reason),
        };
        let received = match self.receive_once(link, publish) {
            Ok(Some(ticket)) => ticket,
            Ok(None) => return,
            Err(reason) => return self.disconnect(link, reason),
        };
        let is_reserved = ["$SYS", "$share", "$queue", "$delayed", "$replay", "$dead"]
            .iter()
            .any(|name| topic.split('/').next() == Some(name));
        let (reasons, routed) = if is_reserved {
            if publish.qos == 2 {
                self.sessions.get_mut(&id).unwrap().release(publish.packet_id);
            }
            (vec![0x90], 0)
        } else {
            let message = self.message(link, publish, &topic, received);
            let shard = self.sessions[&id].shard;
            self.route(message, Some(id), shard)
        };
        let kind = match publish.qos {
            0 => return,
            1 => AcknowledgementKind::Puback,
            _ => AcknowledgementKind::Pubrec,
        };
        self.links[link].expect(kind, publish.packet_id, reasons, received.max(routed));
    }

    /// The Topic Name behind an alias, or the Reason Code of what is wrong with it.
    fn resolve(&mut self, link: usize, publish: &Publish) -> Result<String, u8> {
        let Some(alias) = publish.alias else { return Ok(publish.topic.clone()) };
        if alias == 0 || alias > self.profile(link).topic_alias_maximum {
            return Err(0x94);
        }
        let aliases = &mut self.links[link].aliases_in;
        if publish.topic.is_empty() {
            return aliases.get(&alias).cloned().ok_or(0x82);
        }
        aliases.insert(alias, publish.topic.clone());
        Ok(publish.topic.clone())
    }

    /// Takes a QoS 2 identifier up: what that waits for, or nothing if the message came before.
    fn receive_once(&mut self, link: usize, publish: &Publish) -> Result<Option<u64>, u8> {
        if publish.qos < 2 {
            return Ok(Some(0));
        }
        let maximum = self.profile(link).receive_maximum;
        let packet_id = publish.packet_id;
        let Some(session) = self.session_of(link) else { return Ok(None) };
        if session.received.contains(&packet_id) {
            self.links[link].expect(AcknowledgementKind::Pubrec, packet_id, vec![0], 0);
            return Ok(None);
        }
        let is_told = session.version == Version::V5;
        if is_told && session.outstanding >= maximum {
            return Err(0x93);
        }
        session.received.insert(packet_id);
        session.outstanding += 1;
        let entry = Entry::Received(session.key.clone(), packet_id);
        Ok(Some(if session.is_lasting() { self.ticket(&entry) } else { 0 }))
    }

    fn message(&self, link: usize, publish: &Publish, topic: &str, ticket: u64) -> Message {
        let now_ms = self.now_ms;
        Message {
            topic: format!("{}{topic}", self.profile(link).mount_point),
            payload: publish.payload.clone(),
            properties: publish.properties.clone(),
            qos: publish.qos,
            retain: publish.retain,
            born_ms: now_ms,
            expires_ms: publish.expiry_s.map(|left_s| now_ms + u64::from(left_s) * 1_000),
            publisher: Some(self.links[link].client),
            ticket,
        }
    }

    /// A message is published on a shard: (Reason Codes that are right, what they wait for).
    pub fn route(
        &mut self,
        message: Message,
        from: Option<SessionId>,
        shard: usize,
    ) -> (Vec<u8>, u64) {
        let id = self.messages.len();
        self.messages.push(message);
        if self.messages[id].retain {
            self.retain(id);
        }
        let mut found = Found::default();
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.route_to(session, id, from, shard, &mut found);
        }
        self.route_to_groups(id, &mut found);
        let message = &self.messages[id];
        if found.lasts {
            let entry = Entry::Appended(message.topic.clone().into(), message.payload.clone());
            let ticket = self.ticket(&entry);
            self.messages[id].ticket = ticket.max(self.messages[id].ticket);
        }
        let reasons = match found {
            _ if self.messages[id].retain => vec![0x00],
            Found { wanted: true, .. } => vec![0x00],
            Found { barred: true, .. } => vec![0x00, 0x10],
            _ => vec![0x10],
        };
        (reasons, self.messages[id].ticket)
    }

    fn retain(&mut self, id: MessageId) {
        let message = &self.messages[id];
        let topic = message.topic.clone();
        let entry = Entry::Retained(topic.clone().into(), message.payload.clone());
        let ticket = self.ticket(&entry);
        self.messages[id].ticket = ticket.max(self.messages[id].ticket);
        // The new one comes live, and the old need not come any more.
        let replays = self.sessions.values_mut().flat_map(|session| &mut session.replays);
        let replays = replays.filter(|replay| replay.topic == topic);
        replays.for_each(|replay| replay.is_optional = true);
        if self.messages[id].payload.is_empty() {
            self.retained.remove(&topic);
        } else {
            self.retained.insert(topic, id);
        }
    }

    /// A session's own subscriptions: one copy for all that match (MQTT 5 §3.3.4).
    fn route_to(
        &mut self,
        to: SessionId,
        id: MessageId,
        from: Option<SessionId>,
        shard: usize,
        found: &mut Found,
    ) {
        let (message, session) = (&self.messages[id], &self.sessions[&to]);
        let topic = &message.topic;
        let own = session.subscriptions.iter().filter(|(filter, _)| {
            let is_shared = split_share(filter).0.is_some();
            // A filter behind a mount point meets the broker's tree as one with it.
            !is_shared && super::matches(&session.mounted(filter), topic)
        });
        let own: Vec<(&String, &Terms)> = own.collect();
        let for_it = |(filter, terms): &&(&String, &Terms)| {
            session.matches(filter, topic) && !(terms.no_local && from == Some(to))
        };
        let terms: Vec<Terms> = own.iter().filter(for_it).map(|(_, terms)| **terms).collect();
        found.barred |= !own.is_empty();
        let Some(granted) = terms.iter().map(|terms| terms.qos).max() else { return };
        found.wanted = true;
        let identifiers = terms.iter().map(|terms| terms.identifier).filter(|held| *held != 0);
        let mut identifiers: Vec<u32> = identifiers.collect();
        identifiers.sort_unstable();
        let owed = Owed {
            message: id,
            qos: granted.min(message.qos),
            retain: message.retain && terms.iter().any(|terms| terms.retain_as_published),
            identifiers,
            is_optional: false,
        };
        found.lasts |= owed.qos > 0 && session.is_lasting();
        if session.shard == shard {
            self.arrive(to, owed);
        } else {
            let letters = self.outbox.entry((shard, session.shard)).or_default();
            letters.push_back(Letter { session: to, owed });
        }
    }

    fn route_to_groups(&mut self, id: MessageId, found: &mut Found) {
        let topic = self.messages[id].topic.clone();
        for group in self.groups() {
            let members = self.members(&group);
            let inner = group.split_once('/').map_or("", |(_, inner)| inner);
            found.barred |= super::matches(inner, &topic);
            let wants = |session: &super::Session| {
                let mut filters = session.subscriptions.keys();
                filters.any(|filter| {
                    group_of(&session.mount_point, filter).as_deref() == Some(&*group)
                        && session.matches(split_share(filter).1, &topic)
                })
            };
            if !members.iter().any(|member| wants(&self.sessions[member])) {
                continue;
            }
            found.wanted = true;
            let is_optional = self.messages[id].qos == 0
                || self.sessions.values().any(|session| {
                    let mut terms = session.group_terms.iter();
                    terms.any(|(held, terms)| *held == group && terms.qos == 0)
                });
            let holder = Holder::Free;
            self.copies.push(GroupCopy { group, message: id, holder, is_optional });
        }
    }

    /// A message reaches its session.
    pub fn arrive(&mut self, to: SessionId, mut owed: Owed) {
        let now_ms = self.now_ms;
        let is_late = self.messages[owed.message].is_expired(now_ms);
        owed.is_optional |= is_late;
        let is_quiet = self.is_quiet();
        let Some(session) = self.sessions.get_mut(&to) else { return };
        // Before CONNACK it is as if nobody were there yet.
        let is_greeted = session.link.is_some_and(|link| self.links[link].is_greeted);
        owed.is_optional |= owed.qos == 0 && !is_greeted;
        match (session.link, owed.qos) {
            // It may wait behind retained messages, and those behind what has no credit or commit.
            (Some(link), 0) if !is_quiet || session.may_hold(self.links[link].receive_maximum) => {
                session.enqueue(owed, self.queue_max);
            }
            (Some(link), 0) => {
                let link = &mut self.links[link];
                link.passing.push(owed);
            }
            (None, 0) => {}
            (None, _) if !session.is_lasting() => {}
            _ => session.enqueue(owed, self.queue_max),
        }
    }
}
