//! A publication on its way: retained store, router, queues of this shard, mail to the others.

use std::sync::Arc;

use super::Shard;
use super::mail::MailRoute;
use crate::connection::SHARED_FROM;
use crate::limits::Limits;
use crate::message::{Message, Publication, SharedMessage};
use crate::reason::ReasonCode;
use crate::retained::RetainedStore;
use crate::router::{Matched, QueueRef, Route, Target};
use crate::store::{Change, Ticket};

/// Retained messages looked at for each that is stored, whether they have expired.
const SWEPT_EACH: usize = 2;

/// What became of a publication.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routed {
    /// 0x00, 0x10 if nobody wants it, 0x97 if it is refused.
    pub reason: ReasonCode,
    /// What an acknowledgement waits for.
    pub ticket: Ticket,
}

/// A publication with what its receivers share: made when the first needs it.
pub(super) struct Parcel<'a> {
    /// The message.
    pub publication: &'a Publication<'a>,
    /// Who published it, for No Local.
    pub from: Option<QueueRef>,
    /// What a QoS 2 PUBLISH waits for.
    pub ticket: Ticket,
    /// Whether more than one receiver takes it: then frames are encoded once and copied.
    pub is_shared: bool,
    message: Option<SharedMessage>,
}

impl<'a> Parcel<'a> {
    pub(super) fn new(publication: &'a Publication<'a>, from: Option<QueueRef>) -> Self {
        let ticket = Ticket::default();
        Self { publication, from, ticket, is_shared: false, message: None }
    }

    pub(super) fn with_message(mut self, message: Option<SharedMessage>) -> Self {
        self.message = message;
        self
    }

    /// The message as queues keep it.
    pub(super) fn message(&mut self, shared: &crate::shared::Shared) -> SharedMessage {
        let publication = self.publication;
        let make = || Arc::new(Message::new(shared.next_number(), publication));
        Arc::clone(self.message.get_or_insert_with(make))
    }

    /// The message, if a queue keeps it already.
    pub(super) fn existing(&self) -> Option<&SharedMessage> {
        self.message.as_ref()
    }
}

impl Shard {
    /// Publishes: to the retained store and to all who want it.
    #[inline]
    pub(super) fn route(
        &mut self,
        publication: &Publication<'_>,
        from: Option<QueueRef>,
        now_ms: u64,
    ) -> Routed {
        let mut parcel = Parcel::new(publication, from);
        let mut routed = Routed { reason: ReasonCode::SUCCESS, ticket: Ticket::default() };
        if publication.retain {
            match self.retain(&mut parcel, now_ms) {
                Ok(ticket) => routed.ticket = ticket,
                Err(reason) => return Routed { reason, ..routed },
            }
        }
        match self.find_route(publication.topic) {
            Route::None => {
                // A retained change is kept even where nobody subscribes.
                if !publication.retain {
                    routed.reason = ReasonCode::NO_MATCHING_SUBSCRIBERS;
                }
            }
            Route::One(target) => {
                if publication.qos > 0 && self.store.keeps() {
                    parcel.ticket = self.append(&mut parcel, &[target.queue]);
                    routed.ticket = routed.ticket.max(parcel.ticket);
                }
                self.dispatch(&target, &mut parcel, now_ms);
            }
            Route::Set(matched) => {
                self.route_set(&matched, &mut parcel, now_ms);
                routed.ticket = routed.ticket.max(parcel.ticket);
            }
        }
        routed
    }

    /// Who wants messages of this topic.
    #[inline]
    fn find_route(&mut self, topic: &[u8]) -> Route {
        let shared = &self.shared;
        let route = self.cache.route(topic, &shared.epochs, || shared.tree());
        self.work += self.cache.take_steps();
        route
    }

    fn route_set(&mut self, matched: &Arc<Matched>, parcel: &mut Parcel<'_>, now_ms: u64) {
        let lasting = parcel.publication.qos > 0;
        let work = &mut self.work;
        let chosen: Vec<Target> =
            matched.groups.iter().filter_map(|group| group.choose(lasting, None, work)).collect();
        if lasting && self.store.keeps() {
            let queues: Vec<QueueRef> =
                matched.targets.iter().chain(&chosen).map(|target| target.queue).collect();
            parcel.ticket = self.append(parcel, &queues);
        }
        self.work += matched.work();
        parcel.is_shared = matched.targets.len() > 1;
        if parcel.is_shared && parcel.publication.payload.len() >= SHARED_FROM {
            parcel.message(&self.shared); // Large payloads are referred to, not copied.
        }
        self.frames.reset();
        self.deliver_set(matched, parcel, now_ms);
        for shard in other_shards(&matched.targets, self.id) {
            let message = parcel.existing();
            if let Some(mail) = self.outbox.get_mut(usize::from(shard)) {
                let route = MailRoute::Set(Arc::clone(matched));
                mail.push(route, parcel.publication, message, parcel.from, parcel.ticket);
            }
        }
        parcel.is_shared = false;
        for target in &chosen {
            self.dispatch(target, parcel, now_ms);
        }
    }

    /// Delivers to the targets of a match that live here.
    fn deliver_set(&mut self, matched: &Matched, parcel: &mut Parcel<'_>, now_ms: u64) {
        for target in &matched.targets {
            if target.queue.shard == self.id {
                let overlap = matched.overlaps.get(target.overlap as usize);
                self.deliver(target, overlap, parcel, now_ms);
            }
        }
    }

    /// Delivers to one target, here or by mail.
    #[inline]
    pub(super) fn dispatch(&mut self, target: &Target, parcel: &mut Parcel<'_>, now_ms: u64) {
        if target.queue.shard == self.id {
            self.deliver(target, None, parcel, now_ms);
        } else if let Some(mail) = self.outbox.get_mut(usize::from(target.queue.shard)) {
            let route = MailRoute::One(*target);
            let message = parcel.existing();
            mail.push(route, parcel.publication, message, parcel.from, parcel.ticket);
        }
    }

    /// Mail from another shard: its targets that live here get it.
    pub fn accept(&mut self, mail: &mut super::Mail, now_ms: u64) {
        self.last_now_ms = now_ms;
        let items = mail.take_items();
        for item in &items {
            let publication = mail.publication(item);
            if publication.expires_at_ms <= now_ms {
                self.counters.dropped_expired += 1; // [MQTT-3.3.2-5]
                continue;
            }
            let mut parcel = Parcel::new(&publication, item.from).with_message(item.message());
            parcel.ticket = item.ticket;
            match &item.route {
                MailRoute::One(target) => self.deliver(target, None, &mut parcel, now_ms),
                MailRoute::Set(matched) => {
                    parcel.is_shared = matched.targets.len() > 1;
                    self.frames.reset();
                    self.deliver_set(matched, &mut parcel, now_ms);
                }
            }
        }
        mail.reset(items);
    }

    fn append(&mut self, parcel: &mut Parcel<'_>, receivers: &[QueueRef]) -> Ticket {
        let message = parcel.message(&self.shared);
        self.store.write(&Change::Appended { message: &message, receivers })
    }

    /// Sets or clears the retained message of the topic (MQTT 5 §3.3.1.3).
    fn retain(&mut self, parcel: &mut Parcel<'_>, now_ms: u64) -> Result<Ticket, ReasonCode> {
        let topic = parcel.publication.topic;
        if parcel.publication.payload.is_empty() {
            let shared = Arc::clone(&self.shared);
            let mut store = shared.retained_store_mut();
            store.remove(topic); // [MQTT-3.3.1-6]
            let ticket = self.store.write(&Change::RetainedCleared { topic });
            store.note_change(ticket);
            return Ok(ticket);
        }
        let message = parcel.message(&self.shared);
        let shared = Arc::clone(&self.shared);
        let mut store = shared.retained_store_mut();
        if !has_room(&store, &message, &shared.limits) {
            // What has expired and was not swept yet is looked for here, at most once a second: it
            // reads the whole store.
            if now_ms >= self.swept_at_ms + 1_000 {
                self.swept_at_ms = now_ms;
                store.remove_expired(now_ms);
            }
            if !has_room(&store, &message, &shared.limits) {
                self.counters.retained_refused += 1;
                return Err(ReasonCode::QUOTA_EXCEEDED);
            }
        }
        store.insert(Arc::clone(&message));
        store.sweep(SWEPT_EACH, now_ms);
        let ticket = self.store.write(&Change::Retained { message: &message });
        store.note_change(ticket);
        Ok(ticket)
    }
}

/// Whether the retained store takes another message.
fn has_room(store: &RetainedStore, message: &Message, limits: &Limits) -> bool {
    let held = store.get(message.topic()).map(|held| held.size());
    let messages = store.len() + usize::from(held.is_none());
    let bytes = store.bytes() + message.size() - held.unwrap_or(0);
    messages <= limits.retained_messages as usize && bytes <= limits.retained_bytes
}

/// The shards of targets, each once, but for `own`; targets are ordered by shard.
fn other_shards(targets: &[Target], own: u16) -> impl Iterator<Item = u16> {
    let mut last = None;
    targets.iter().map(|target| target.queue.shard).filter(move |shard| {
        let is_new = last != Some(*shard);
        last = Some(*shard);
        is_new && *shard != own
    })
}
