//! SUBSCRIBE and UNSUBSCRIBE.

use engine::codec::packet::Version;

use super::group::group_of;
use super::link::Awaited;
use super::session::{Replay, Terms};
use super::{Model, split_share};
use crate::ledger::Entry;
use crate::wire::Request;

const INVALID: u8 = 0x8F;

/// Whether a client may subscribe to it (MQTT 5 §4.7, §4.8.2).
fn is_valid(filter: &str) -> bool {
    let (name, inner) = split_share(filter);
    if filter.starts_with("$share") && name.is_none_or(str::is_empty) {
        return false;
    }
    if name.is_some_and(|name| name.contains(['+', '#'])) || inner.is_empty() {
        return false;
    }
    let levels: Vec<&str> = inner.split('/').collect();
    levels.iter().enumerate().all(|(at, level)| match *level {
        "+" => true,
        "#" => at + 1 == levels.len(),
        level => !level.contains(['+', '#']),
    })
}

/// Kept for the broker's own queues.
fn is_kept(filter: &str) -> bool {
    let first = split_share(filter).1.split('/').next();
    first.is_some_and(|first| ["$queue", "$delayed", "$replay"].contains(&first))
}

impl Model {
    /// A client subscribes.
    pub fn subscribe(&mut self, link: usize, packet_id: u16, identifier: u32, list: &[Request]) {
        let is_v5 = self.links[link].version == Version::V5;
        let mut reasons = Vec::new();
        let mut ticket = 0;
        for request in list {
            if !is_valid(&request.filter) || is_kept(&request.filter) {
                reasons.push(if is_v5 { INVALID } else { 0x80 });
                continue;
            }
            reasons.push(request.qos);
            let terms = Terms {
                qos: request.qos,
                no_local: is_v5 && request.no_local,
                retain_as_published: is_v5 && request.retain_as_published,
                identifier: if is_v5 { identifier } else { 0 },
            };
            let Some(session) = self.session_of(link) else { return };
            let held = session.subscriptions.insert(request.filter.clone(), terms);
            let handling = if is_v5 { request.retain_handling } else { 0 };
            if held.is_some() && handling == 0 {
                session.end_replays(&request.filter); // They begin anew [MQTT-3.8.4-4].
            }
            let group = group_of(&session.mount_point, &request.filter);
            let (key, is_lasting) = (session.key.clone(), session.is_lasting());
            if is_lasting {
                let entry = Entry::Subscribed(key, request.filter.clone());
                ticket = ticket.max(self.ticket(&entry));
            }
            match group {
                Some(group) => self.session_of(link).unwrap().group_terms.push((group, terms)),
                None if handling == 0 || handling == 1 && held.is_none() => {
                    self.replay(link, &request.filter, terms);
                }
                None => {}
            }
        }
        self.links[link].subacks.push_back(Awaited { answer: (packet_id, reasons), ticket });
    }

    /// A new subscription gets the retained messages that match.
    fn replay(&mut self, link: usize, filter: &str, terms: Terms) {
        let now_ms = self.now_ms;
        let Some(session) = self.links[link].session else { return };
        let session = self.sessions.get_mut(&session).unwrap();
        for (topic, message) in &self.retained {
            if !session.matches(filter, topic) || self.messages[*message].is_expired(now_ms) {
                continue;
            }
            session.replays.push(Replay {
                topic: topic.clone(),
                filter: filter.into(),
                terms,
                message: *message,
                is_optional: false,
                is_over: false,
            });
        }
    }

    /// A client unsubscribes.
    pub fn unsubscribe(&mut self, link: usize, packet_id: u16, filters: &[String]) {
        let is_v5 = self.links[link].version == Version::V5;
        let mut reasons = Vec::new();
        let mut ticket = 0;
        for filter in filters {
            let Some(session) = self.session_of(link) else { return };
            let was_there = session.subscriptions.remove(filter).is_some();
            session.end_replays(filter);
            let (key, is_lasting) = (session.key.clone(), session.is_lasting());
            reasons.push(match was_there {
                _ if !is_valid(filter) => INVALID,
                true => 0x00,
                false => 0x11,
            });
            if was_there && is_lasting {
                ticket = ticket.max(self.ticket(&Entry::Unsubscribed(key, filter.clone())));
            }
        }
        self.forget_empty_groups();
        let reasons = if is_v5 { reasons } else { Vec::new() };
        self.links[link].unsubacks.push_back(Awaited { answer: (packet_id, reasons), ticket });
    }
}
