//! Commands of the host: publish, host subscriptions, lists.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shard;
use super::authenticate::level;
use crate::codec::packet::Version;
use crate::host::{HostCommand, HostMessage, HostRecord, HostWindow, SessionInfo};
use crate::message::Publication;
use crate::reason::ReasonCode;
use crate::router::{QueueRef, SubscriptionOptions};
use crate::session::{HostSubscription, Session, Subscription};
use crate::store::Ticket;
use crate::topic::{check_topic_name, parse_filter};

/// What a message in the host's hands takes besides its bytes.
const RECORD_BYTES: u64 = 128;

impl Shard {
    /// Does what the host asks.
    pub fn command(&mut self, command: HostCommand, now_ms: u64) {
        self.last_now_ms = now_ms;
        match command {
            HostCommand::Publish { token, messages } => {
                let (reason, ticket) = self.publish_for_host(&messages, now_ms);
                self.complete_command(ticket, HostRecord::Completion { token, reason });
            }
            HostCommand::Subscribe { id, filter, window } => {
                let reason = self.subscribe_host(id, &filter, window);
                self.records.push(HostRecord::Completion { token: id, reason });
            }
            HostCommand::Unsubscribe { id } => self.unsubscribe_host(id, now_ms),
            HostCommand::Answer(answer) => self.on_answer(answer, now_ms),
            HostCommand::Sessions { token } => {
                let sessions = self.list_sessions();
                self.records.push(HostRecord::Sessions { token, sessions });
            }
        }
    }

    /// Publishes in order; the first Reason Code above 0x80, if there is one.
    fn publish_for_host(&mut self, messages: &[HostMessage], now_ms: u64) -> (ReasonCode, Ticket) {
        let mut worst = ReasonCode::SUCCESS;
        let mut ticket = Ticket::default();
        for message in messages {
            if message.qos > 2 || check_topic_name(message.topic.as_bytes()).is_err() {
                worst = ReasonCode::TOPIC_NAME_INVALID;
                continue;
            }
            let properties = message.encode_properties();
            let publication = Publication {
                topic: message.topic.as_bytes(),
                properties: &properties,
                payload: &message.payload,
                qos: message.qos,
                retain: message.retain,
                expires_at_ms: message.expires_at_ms(now_ms),
            };
            let routed = self.route(&publication, (None, Ticket::default()), now_ms);
            if routed.reason.is_error() {
                worst = routed.reason;
            }
            ticket = ticket.max(routed.promise.ticket);
        }
        (worst, ticket)
    }

    /// Tells the host that a command is done, once its ticket is committed.
    fn complete_command(&mut self, ticket: Ticket, completion: HostRecord) {
        if ticket <= self.committed && self.completions.is_empty() {
            self.records.push(completion);
        } else {
            self.completions.push_back((ticket, completion));
        }
    }

    /// A host subscription is a session without a connection that hands over at once.
    fn subscribe_host(&mut self, id: u64, filter: &str, window: Arc<HostWindow>) -> ReasonCode {
        let Ok(parsed) = parse_filter(filter) else {
            return ReasonCode::TOPIC_FILTER_INVALID;
        };
        let mut session = Session::new(Box::default(), Box::default(), Version::V5);
        session.host = Some(Box::new(HostSubscription { id, filter: filter.into(), window }));
        let (slot, generation) = self.sessions.insert(session);
        let queue = QueueRef { shard: self.id, slot, generation };
        if let Some(session) = self.session_mut(queue) {
            session.queue_ref = queue;
        }
        self.shared.sessions.fetch_add(1, Ordering::Relaxed);
        self.host_subscriptions.insert(id, queue);
        let options = SubscriptionOptions::new(2, false, true);
        let subscription = Subscription { options, identifier: 0 };
        if let Some(session) = self.session_mut(queue) {
            session.subscriptions.insert(filter, subscription);
        }
        self.attach(queue, &parsed, parsed.filter, subscription);
        self.note_host_ready(queue);
        ReasonCode::SUCCESS
    }

    fn unsubscribe_host(&mut self, id: u64, now_ms: u64) {
        if let Some(queue) = self.host_subscriptions.remove(&id) {
            self.end_session(queue, now_ms);
        }
    }

    /// A host subscription in a shared group is always there.
    fn note_host_ready(&mut self, queue: QueueRef) {
        if let Some(state) = self.session(queue).and_then(|session| session.group_state.as_ref()) {
            state.set(crate::router::MemberState::Ready);
        }
    }

    /// Hands a message to the host, if its window has room.
    pub(super) fn deliver_to_host(
        &mut self,
        queue: QueueRef,
        publication: &Publication<'_>,
        retain: bool,
        now_ms: u64,
    ) {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else { return };
        let Some(host) = &session.host else { return };
        let bytes = RECORD_BYTES
            + (publication.topic.len() + publication.properties.len() + publication.payload.len())
                as u64;
        let held = host.window.bytes.fetch_add(bytes, Ordering::Relaxed);
        // One message passes whatever its size, or it could never be delivered.
        if held > 0 && held + bytes > self.shared.limits.host_subscription_bytes {
            host.window.release(bytes);
            host.window.dropped.fetch_add(1, Ordering::Relaxed);
            self.counters.dropped_host_window += 1;
            return;
        }
        let mut message = HostMessage::from_publication(publication, now_ms);
        message.retain = retain;
        self.records.push(HostRecord::Delivery { id: host.id, message, bytes });
    }

    fn list_sessions(&self) -> Vec<SessionInfo> {
        self.sessions
            .iter()
            .filter(|(_, _, session)| session.host.is_none())
            .map(|(_, _, session)| self.session_info(session))
            .collect()
    }

    fn session_info(&self, session: &Session) -> SessionInfo {
        let (mount_point, client_id) = session.names();
        let connection = session.connection.and_then(|reference| self.connection(reference));
        SessionInfo {
            client_id: client_id.into(),
            mount_point: mount_point.into(),
            user: session.user.clone(),
            connected: connection.is_some(),
            protocol_level: level(session.version),
            peer: connection.map_or_else(Box::default, |held| held.peer.address.clone()),
            listener: connection.map_or_else(Box::default, |held| held.profile.name.clone()),
            session_expiry_s: session.expiry_s,
            subscriptions: u32::try_from(session.subscriptions.len()).unwrap_or(u32::MAX),
            queued_messages: u32::try_from(session.queue.len()).unwrap_or(u32::MAX),
            queued_bytes: session.queue.bytes(),
            inflight: session.inflight.len(),
            dropped: session.dropped,
        }
    }
}
