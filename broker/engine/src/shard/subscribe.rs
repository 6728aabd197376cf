//! SUBSCRIBE: each filter checked and granted, the tree changed, SUBACK, then retained messages
//! (MQTT 5 §3.8).

use std::collections::VecDeque;
use std::sync::Arc;

use super::input::Next;
use super::{Flow, Shard};
use crate::codec::encode;
use crate::codec::packet::{Subscribe, SubscriptionRequest};
use crate::host::{ConnectionRef, EventKind};
use crate::reason::ReasonCode;
use crate::router::{Member, QueueRef, SharedState, Subscriber, SubscriptionOptions, Target};
use crate::session::{Replay, Subscription};
use crate::store::{Change, Health, SessionId, Ticket};
use crate::topic::{Filter, TOPIC_BYTES_MAX, filter_weight, parse_filter};

/// Filters that name what this broker keeps for its queues.
fn is_reserved(filter: &str) -> bool {
    ["$queue", "$delayed", "$replay"].iter().any(|name| {
        filter.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A filter with its mount point: `$SYS` is the same for all listeners.
pub(super) fn mounted(mount_point: &str, filter: &str) -> String {
    if mount_point.is_empty() || filter == "$SYS" || filter.starts_with("$SYS/") {
        filter.to_owned()
    } else {
        format!("{mount_point}{filter}")
    }
}

impl Shard {
    /// A client subscribes.
    pub(super) fn on_subscribe(
        &mut self,
        reference: ConnectionRef,
        subscribe: &Subscribe<'_>,
        now_ms: u64,
    ) -> Next {
        let Some(connection) = self.connection(reference) else {
            return Next::Stop(Flow::Close);
        };
        let version = connection.version;
        let Some(queue) = connection.session else { return Next::Stop(Flow::Close) };
        let identifier = subscribe.subscription_identifier.unwrap_or(0);
        let mut reasons = Vec::new();
        let mut problem = None;
        let mut replays = Vec::new();
        let mut ticket = Ticket::default();
        // No session holds more: what is beyond only takes time.
        let requests_max = self.shared.limits.subscriptions_per_session as usize;
        for request in subscribe.requests.iter() {
            if reasons.len() >= requests_max {
                problem = Some("more filters in one SUBSCRIBE than a session may have");
                reasons.push(ReasonCode::QUOTA_EXCEEDED);
                continue;
            }
            match self.subscribe_one(reference, queue, &request, identifier) {
                Ok((reason, replay, committed_by)) => {
                    reasons.push(reason);
                    replays.extend(replay);
                    ticket = ticket.max(committed_by);
                    self.tell(reference, EventKind::Subscribed, reason, request.filter, now_ms);
                }
                Err((reason, text)) => {
                    reasons.push(reason);
                    problem = Some(text);
                }
            }
        }
        self.work += reasons.len();
        let text = problem.filter(|_| self.wants_reason(reference));
        let mut suback = Vec::new();
        encode::suback(&mut suback, version, subscribe.packet_id, &reasons, text);
        if suback.len() > self.packet_limit(reference) {
            suback.clear(); // [MQTT-3.9.2-1]
            encode::suback(&mut suback, version, subscribe.packet_id, &reasons, None);
        }
        self.send_whole(reference, ticket, &suback, now_ms);
        for replay in replays {
            self.begin_replay(queue, replay);
        }
        self.pump(queue, now_ms);
        self.next_of(reference)
    }

    /// Makes one subscription: (Reason Code, retained messages to send, what SUBACK waits for).
    fn subscribe_one(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        request: &SubscriptionRequest<'_>,
        identifier: u32,
    ) -> Result<(ReasonCode, Option<Replay>, Ticket), (ReasonCode, &'static str)> {
        let parsed = parse_filter(request.filter)
            .map_err(|violation| (ReasonCode::TOPIC_FILTER_INVALID, violation.detail))?;
        if is_reserved(parsed.filter) {
            return Err((ReasonCode::TOPIC_FILTER_INVALID, "this name is kept for queues"));
        }
        let Some(connection) = self.connection(reference) else {
            return Err((ReasonCode::UNSPECIFIED, "the connection is gone"));
        };
        let profile = Arc::clone(&connection.profile);
        if profile.mount_point.len() + parsed.filter.len() > TOPIC_BYTES_MAX {
            let text = "the Topic Filter is too long with its mount point";
            return Err((ReasonCode::TOPIC_FILTER_INVALID, text)); // [MQTT-4.7.3-3]
        }
        let qos = request.qos.min(profile.maximum_qos); // [MQTT-3.8.4-8]
        let mut options =
            SubscriptionOptions::new(qos, request.no_local, request.retain_as_published);
        let mount_point = &*profile.mount_point;
        // `/#` matches the empty topic too, which the mount point itself is to those outside.
        if !mount_point.is_empty()
            && (parsed.filter.starts_with(['+', '#']) || parsed.filter == "/#")
        {
            options = options.with_wildcard_first();
        }
        let held =
            self.session(queue).and_then(|session| session.subscriptions.get(request.filter));
        if held.is_none() {
            self.check_subscription_limits(queue, filter_weight(request.filter))?;
        }
        self.check_store(queue)?;
        let filter = mounted(mount_point, parsed.filter);
        if held.is_some() && parsed.share.is_none() && request.retain_handling == 0 {
            self.end_replay(queue, &filter); // It begins anew [MQTT-3.8.4-4].
        }
        self.attach(queue, &parsed, &filter, Subscription { options, identifier });
        let mut ticket = Ticket::default();
        let subscription = Subscription { options, identifier };
        if let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) {
            session.subscriptions.insert(request.filter, subscription);
            if session.id != SessionId::default() {
                let (id, filter) = (session.id, request.filter.into());
                ticket = self.store.write(Change::Subscribed { id, filter, options, identifier });
            }
        }
        // Shared subscriptions get no retained messages (MQTT 5 §4.8.2).
        let wants_retained = match request.retain_handling {
            0 => true,
            1 => held.is_none(),
            _ => false,
        };
        let replay = (wants_retained && parsed.share.is_none())
            .then(|| self.new_replay(filter, options, identifier));
        Ok((ReasonCode(qos), replay, ticket))
    }

    /// What is retained now, for a subscription made just now.
    fn new_replay(&self, filter: String, options: SubscriptionOptions, identifier: u32) -> Replay {
        let (after, ticket) = self.shared.last_retained();
        Replay {
            filter: filter.into(),
            options,
            identifier,
            ticket,
            is_held: false,
            after,
            from: None,
            is_read: false,
            ready: VecDeque::new(),
        }
    }

    fn check_subscription_limits(
        &self,
        queue: QueueRef,
        bytes: u64,
    ) -> Result<(), (ReasonCode, &'static str)> {
        let limits = &self.shared.limits;
        let Some(session) = self.session(queue) else { return Ok(()) };
        let own = &session.subscriptions;
        if own.len() >= limits.subscriptions_per_session as usize
            || own.bytes() + bytes > limits.subscription_bytes_per_session
        {
            return Err((ReasonCode::QUOTA_EXCEEDED, "the session's limit of subscriptions"));
        }
        let tree = self.shared.tree();
        if tree.len() >= limits.subscriptions as usize
            || tree.bytes() + bytes > limits.subscription_bytes
        {
            return Err((ReasonCode::QUOTA_EXCEEDED, "the broker's limit of subscriptions"));
        }
        Ok(())
    }

    /// Enters a subscription in the tree; every shard sees it from here on.
    pub(super) fn attach(
        &mut self,
        queue: QueueRef,
        parsed: &Filter<'_>,
        filter: &str,
        subscription: Subscription,
    ) {
        let Subscription { options, identifier } = subscription;
        let shared = Arc::clone(&self.shared);
        let is_new = if let Some(name) = parsed.share {
            let state = self.group_state(queue);
            let target = Target::single(queue, options, identifier);
            let mut tree = shared.tree_mut();
            let is_new = tree.join(name, filter, Member { target, state });
            shared.epochs.touch(filter);
            is_new
        } else {
            let mut tree = shared.tree_mut();
            let is_new = tree.subscribe(filter, Subscriber { queue, options, identifier });
            shared.epochs.touch(filter);
            is_new
        };
        self.counters.subscriptions += u64::from(is_new);
    }

    /// Takes a subscription out of the tree.
    pub(super) fn detach_filter(&mut self, queue: QueueRef, parsed: &Filter<'_>, filter: &str) {
        let shared = Arc::clone(&self.shared);
        let mut tree = shared.tree_mut();
        let was_there = match parsed.share {
            Some(name) => tree.leave(name, filter, queue),
            None => tree.unsubscribe(filter, queue),
        };
        shared.epochs.touch(filter);
        drop(tree);
        self.counters.subscriptions -= u64::from(was_there);
    }

    /// The state that shared groups read, made with the first of them.
    fn group_state(&mut self, queue: QueueRef) -> Arc<SharedState> {
        let Some(session) = self.session_mut(queue) else { return Arc::default() };
        let state = Arc::clone(session.group_state.get_or_insert_with(Arc::default));
        self.note_window(queue);
        state
    }

    /// Whether Reason Strings may be sent on packets other than CONNACK and DISCONNECT
    /// [MQTT-3.1.2-29].
    pub(super) fn wants_reason(&self, reference: ConnectionRef) -> bool {
        self.connection(reference).is_some_and(|connection| connection.problem_information)
    }

    /// A subscription of a lasting session is refused while the store takes nothing new.
    fn check_store(&mut self, queue: QueueRef) -> Result<(), (ReasonCode, &'static str)> {
        let lasts = self.session(queue).is_some_and(|held| held.id != SessionId::default());
        if lasts && self.store.health() != Health::Sound {
            self.counters.store_refused += 1;
            return Err((ReasonCode::QUOTA_EXCEEDED, "the store takes nothing new now"));
        }
        Ok(())
    }
}
