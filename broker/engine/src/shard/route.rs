//! A publication on its way: retained store, router, queues of this shard, mail to the others.

use std::sync::Arc;

use super::Shard;
use super::mail::MailRoute;
use super::output::Promise;
use crate::connection::SHARED_FROM;
use crate::limits::Limits;
use crate::message::{Message, Publication, SharedMessage};
use crate::reason::ReasonCode;
use crate::retained::RetainedStore;
use crate::router::{Matched, QueueRef, Route, Target};
use crate::session::NOT_STORED;
use crate::shared::Shared;
use crate::store::{Change, Health, Receivers, Ticket};

/// Retained messages looked at for each that is stored, whether they have expired.
const SWEPT_EACH: usize = 2;

/// What became of a publication.
#[derive(Debug, Clone)]
pub(super) struct Routed {
    /// 0x00, 0x10 if nobody wants it, 0x97 if it is refused.
    pub reason: ReasonCode,
    /// What an acknowledgement waits for.
    pub promise: Promise,
    /// The queue of a receiver is full, and its policy is to refuse.
    pub is_rejected: bool,
}

impl Routed {
    fn refused(reason: ReasonCode) -> Self {
        Self { reason, promise: Promise::default(), is_rejected: false }
    }
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
    /// Its receivers in the store, if it has any.
    pub receivers: Option<Receivers>,
    message: Option<SharedMessage>,
}

impl<'a> Parcel<'a> {
    pub(super) fn new(publication: &'a Publication<'a>, from: Option<QueueRef>) -> Self {
        let ticket = Ticket::default();
        Self { publication, from, ticket, is_shared: false, receivers: None, message: None }
    }

    pub(super) fn with_message(mut self, message: Option<SharedMessage>) -> Self {
        self.message = message;
        self
    }

    /// The message as queues keep it.
    pub(super) fn message(&mut self, shared: &Shared) -> SharedMessage {
        let (publication, publisher) = (self.publication, self.from);
        let make =
            || Arc::new(Message::new(publication).arriving(shared.next_arrival(), publisher));
        Arc::clone(self.message.get_or_insert_with(make))
    }

    /// The message, if a queue keeps it already.
    pub(super) fn existing(&self) -> Option<&SharedMessage> {
        self.message.as_ref()
    }

    /// The same for the next target in their order; `next` is where to look.
    fn next_receiver(&self, queue: QueueRef, next: &mut usize) -> u32 {
        let receivers = self.receivers.as_deref().unwrap_or_default();
        while receivers.get(*next).is_some_and(|held| held.queue.shard < queue.shard) {
            *next += 1;
        }
        let is_it = receivers
            .get(*next)
            .is_some_and(|held| held.queue == queue && held.terms.group.is_empty());
        if !is_it {
            return NOT_STORED;
        }
        *next += 1;
        u32::try_from(*next - 1).unwrap_or(NOT_STORED)
    }

    /// Index of a queue among the receivers at or behind `from`, or `NOT_STORED`.
    fn receiver(&self, queue: QueueRef, from: usize, in_group: bool) -> u32 {
        let receivers = self.receivers.as_deref().unwrap_or_default();
        let is_it = |at: &usize| {
            receivers
                .get(*at)
                .is_some_and(|held| held.queue == queue && held.terms.group.is_empty() != in_group)
        };
        let found = (from..receivers.len()).find(is_it);
        found.and_then(|at| u32::try_from(at).ok()).unwrap_or(NOT_STORED)
    }
}

impl Shard {
    /// Publishes: to the retained store and to all who want it. A QoS 2 PUBLISH of it waits for
    /// `ticket`, besides what its receivers need.
    #[inline]
    pub(super) fn route(
        &mut self,
        publication: &Publication<'_>,
        (from, ticket): (Option<QueueRef>, Ticket),
        now_ms: u64,
    ) -> Routed {
        let route = self.find_route(publication.topic);
        if self.store.keeps() && self.must_refuse(publication, &route) {
            self.counters.store_refused += 1;
            return Routed::refused(ReasonCode::QUOTA_EXCEEDED);
        }
        if publication.qos > 0 && self.is_rejected(&route) {
            self.counters.rejected_queue_full += 1;
            let refused = Routed::refused(ReasonCode::QUOTA_EXCEEDED);
            return Routed { is_rejected: true, ..refused };
        }
        let mut parcel = Parcel::new(publication, from);
        parcel.ticket = ticket;
        let mut routed = Routed::refused(ReasonCode::SUCCESS);
        if publication.retain {
            match self.retain(&mut parcel, now_ms) {
                Ok(ticket) => {
                    routed.promise.ticket = ticket;
                    parcel.ticket = parcel.ticket.max(ticket);
                }
                Err(reason) => return Routed::refused(reason),
            }
        }
        match route {
            Route::None => {
                // A retained change is kept even where nobody subscribes.
                if !publication.retain {
                    routed.reason = ReasonCode::NO_MATCHING_SUBSCRIBERS;
                }
            }
            Route::One(target) => {
                let mut receiver = NOT_STORED;
                if publication.qos > 0 && self.store.keeps() {
                    self.append(&mut parcel, &[], &[target]);
                    receiver = parcel.receiver(target.queue, 0, false);
                    routed.promise.add(&parcel);
                }
                self.dispatch(&target, receiver, &mut parcel, now_ms);
            }
            Route::Set(matched) => {
                self.route_set(&matched, &mut parcel, now_ms);
                routed.promise.add(&parcel);
            }
        }
        routed
    }

    /// Whether the store is not well and would have to keep it: it is refused before anything
    /// is changed.
    fn must_refuse(&self, publication: &Publication<'_>, route: &Route) -> bool {
        if self.store.health() == Health::Sound {
            return false;
        }
        let lasts = |target: &Target| self.shared.lasting.get(target.queue).is_some();
        publication.retain
            || publication.qos > 0
                && match route {
                    Route::None => false,
                    Route::One(target) => lasts(target),
                    Route::Set(matched) => {
                        matched.targets.iter().any(lasts)
                            || matched.groups.iter().any(|group| {
                                group.members.iter().any(|member| lasts(&member.target))
                            })
                    }
                }
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
            let own = matched.targets.as_slice();
            self.append(parcel, &matched.overlaps, &[own, &chosen].concat());
        }
        self.work += matched.work();
        parcel.is_shared = matched.targets.len() > 1;
        if parcel.is_shared && parcel.publication.payload.len() >= SHARED_FROM {
            parcel.message(&self.shared); // Large payloads are referred to, not copied.
        }
        self.frames.reset();
        self.deliver_set(matched, parcel, now_ms);
        for shard in other_shards(&matched.targets, self.id) {
            if let Some(mail) = self.outbox.get_mut(usize::from(shard)) {
                mail.push(MailRoute::Set(Arc::clone(matched)), parcel);
            }
        }
        parcel.is_shared = false;
        for target in &chosen {
            let receiver = parcel.receiver(target.queue, 0, true);
            self.dispatch(target, receiver, parcel, now_ms);
        }
    }

    /// Delivers to the targets of a match that live here.
    fn deliver_set(&mut self, matched: &Matched, parcel: &mut Parcel<'_>, now_ms: u64) {
        // Receivers stand in the order of targets.
        let mut next = 0;
        for target in &matched.targets {
            if target.queue.shard == self.id {
                let overlap = matched.overlaps.get(target.overlap as usize);
                let mut receiver = NOT_STORED;
                if parcel.receivers.is_some() {
                    receiver = parcel.next_receiver(target.queue, &mut next);
                }
                self.deliver((target, receiver), overlap, parcel, now_ms);
            }
        }
    }

    /// Delivers to one target, here or by mail.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        target: &Target,
        receiver: u32,
        parcel: &mut Parcel<'_>,
        now_ms: u64,
    ) {
        if target.queue.shard == self.id {
            self.deliver((target, receiver), None, parcel, now_ms);
        } else if let Some(mail) = self.outbox.get_mut(usize::from(target.queue.shard)) {
            mail.push(MailRoute::One(*target, receiver), parcel);
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
            parcel.receivers.clone_from(&item.receivers);
            match &item.route {
                MailRoute::One(target, receiver) => {
                    self.deliver((target, *receiver), None, &mut parcel, now_ms);
                }
                MailRoute::Set(matched) => {
                    parcel.is_shared = matched.targets.len() > 1;
                    self.frames.reset();
                    self.deliver_set(matched, &mut parcel, now_ms);
                }
            }
        }
        for publisher in std::mem::take(&mut mail.released) {
            self.release_publisher(publisher);
        }
        mail.reset(items);
    }

    /// Sets or clears the retained message of the topic (MQTT 5 §3.3.1.3).
    fn retain(&mut self, parcel: &mut Parcel<'_>, now_ms: u64) -> Result<Ticket, ReasonCode> {
        let topic = parcel.publication.topic;
        let shared = Arc::clone(&self.shared);
        if parcel.publication.payload.is_empty() {
            let mut store = shared.retained_store_mut();
            store.remove(topic); // [MQTT-3.3.1-6]
            return Ok(self.store_retained(&mut store, topic, None));
        }
        let message = parcel.message(&self.shared);
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
        let ticket = self.store_retained(&mut store, topic, Some(&message));
        store.insert(message);
        store.sweep(SWEPT_EACH, now_ms);
        Ok(ticket)
    }

    /// Tells the store while the retained store is locked, so that both have one order.
    fn store_retained(
        &mut self,
        retained: &mut RetainedStore,
        topic: &[u8],
        message: Option<&SharedMessage>,
    ) -> Ticket {
        if !self.store.keeps() {
            return Ticket::default();
        }
        let ticket = self.store.write(Change::Retained {
            sequence: retained.next_change(),
            topic: topic.into(),
            message: message.map(Arc::clone),
        });
        retained.note_change(ticket);
        ticket
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
