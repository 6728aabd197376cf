//! Wills: published when their delay runs out or their session ends, whichever is first
//! (MQTT 5 §3.1.2.5, §3.1.3.2.2).

use std::sync::Arc;

use super::Shard;
use crate::message::{NEVER, Publication};
use crate::router::QueueRef;
use crate::store::{Change, SessionId, Ticket};

impl Shard {
    /// The connection is gone: a will without delay is published, another waits.
    pub(super) fn start_will(&mut self, queue: QueueRef, now_ms: u64) {
        let Some(will) = self.session_mut(queue).and_then(|session| session.will.as_mut()) else {
            return;
        };
        if will.delay_s == 0 {
            self.publish_will(queue, now_ms);
        } else {
            will.due_at_ms = now_ms + u64::from(will.delay_s) * 1_000;
        }
    }

    /// Publishes the will of a session without connection, once [MQTT-3.1.2-8].
    pub(super) fn publish_will(&mut self, queue: QueueRef, now_ms: u64) {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else { return };
        let Some(will) = session.will.take() else { return };
        // Publication and deletion share a group.
        self.store.begin();
        if session.id != SessionId::default() {
            self.store.write(Change::Will { id: session.id, will: None });
        }
        let message = Arc::clone(&will.message);
        let expires_at_ms =
            will.expiry_s.map_or(NEVER, |left_s| now_ms + u64::from(left_s) * 1_000);
        let publication = Publication { expires_at_ms, ..message.publication() };
        self.route(&publication, (Some(queue), Ticket::default()), now_ms);
        self.store.end();
    }
}
