//! Events for the host: bounded, what does not fit is counted.

use super::Shard;
use crate::host::{ConnectionRef, Event, EventKind, HostRecord};
use crate::reason::ReasonCode;
use crate::router::QueueRef;
use crate::session::Session;

/// Dropped messages are told in numbers: the first, then each time this many more were dropped.
const DROPS_TOLD: u64 = 1_000;

impl Shard {
    /// Tells the host what happened to a connection.
    pub(super) fn tell(
        &mut self,
        reference: ConnectionRef,
        kind: EventKind,
        reason: ReasonCode,
        detail: &str,
        now_ms: u64,
    ) {
        if !self.is_watched || self.is_full() {
            return;
        }
        let Some(connection) = self.connection(reference) else { return };
        let session = connection.session.and_then(|queue| self.session(queue));
        let pending = connection.pending.as_ref();
        let client_id = match (session, pending) {
            (Some(session), _) => session.names().1.into(),
            (None, Some(connect)) => connect.client_id.clone(),
            (None, None) => "".into(),
        };
        let event = Event {
            time_ms: now_ms,
            kind,
            client_id,
            user: session.map_or_else(|| "".into(), |session| session.user.clone()),
            listener: connection.profile.name.clone(),
            peer: connection.peer.address.clone(),
            reason,
            detail: detail.into(),
            count: 1,
        };
        self.records.push(HostRecord::Event(event));
    }

    /// Tells the host that a session is no more.
    pub(super) fn tell_session_ended(&mut self, session: &Session, now_ms: u64) {
        if session.host.is_some() || !self.is_watched || self.is_full() {
            return;
        }
        let event = session_event(session, EventKind::SessionEnded, now_ms);
        self.records.push(HostRecord::Event(event));
    }

    /// Counts a message dropped for a session, and tells the host now and then.
    pub(super) fn count_dropped(&mut self, queue: QueueRef) {
        let now_ms = self.last_now_ms;
        let Some(session) = self.session_mut(queue) else { return };
        session.dropped += 1;
        session.dropped_untold += 1;
        if session.dropped != 1 && session.dropped_untold < DROPS_TOLD {
            return;
        }
        let event = Event {
            reason: ReasonCode::QUOTA_EXCEEDED,
            detail: "a limit was reached; the counters say which".into(),
            count: std::mem::take(&mut session.dropped_untold),
            ..session_event(session, EventKind::Dropped, now_ms)
        };
        if self.is_watched && !self.is_full() {
            self.records.push(HostRecord::Event(event));
        }
    }

    /// Whether no event fits any more; the one at hand is counted as dropped.
    fn is_full(&mut self) -> bool {
        let full = self.records.len() >= self.shared.limits.host_records as usize;
        self.counters.dropped_events += u64::from(full);
        full
    }
}

/// An event about a session that says no more than whose it is.
fn session_event(session: &Session, kind: EventKind, now_ms: u64) -> Event {
    Event {
        time_ms: now_ms,
        kind,
        client_id: session.names().1.into(),
        user: session.user.clone(),
        listener: "".into(),
        peer: "".into(),
        reason: ReasonCode::SUCCESS,
        detail: "".into(),
        count: 1,
    }
}
