//! Deadlines: connect timeout, the host's decision, keep alive, will delay, session expiry.

use super::Shard;
use crate::connection::Phase;
use crate::host::{ConnectionRef, EventKind};
use crate::reason::ReasonCode;
use crate::router::QueueRef;
use crate::timers::TimerKey;

impl Shard {
    /// Runs the deadlines due at or before `now_ms`.
    pub fn tick(&mut self, now_ms: u64) {
        self.last_now_ms = now_ms;
        while let Some(key) = self.timers.pop_due(now_ms) {
            match key {
                TimerKey::Connection(slot, generation) => {
                    self.connection_due(ConnectionRef { slot, generation }, now_ms);
                }
                TimerKey::Session(slot, generation) => {
                    self.session_due(QueueRef { shard: self.id, slot, generation }, now_ms);
                }
            }
        }
    }

    fn connection_due(&mut self, reference: ConnectionRef, now_ms: u64) {
        let Some(connection) = self.connection_mut(reference) else { return };
        connection.timer_ms = 0;
        let (phase, is_parked) = (connection.phase, connection.is_parked);
        let deadline_ms = connection.next_deadline();
        if deadline_ms == 0 || deadline_ms > now_ms {
            // It was heard from since: the timer is only moved when it runs out.
            self.set_connection_timer(reference);
            return;
        }
        match phase {
            Phase::Open if is_parked => {
                let text = "the decision took too long";
                self.disconnect(reference, ReasonCode::NOT_AUTHORIZED, text, now_ms);
            }
            Phase::Open => {
                let reason = ReasonCode::KEEP_ALIVE_TIMEOUT; // [MQTT-3.1.2-22]
                self.disconnect(reference, reason, "nothing was heard", now_ms);
            }
            Phase::Authenticating | Phase::Leaving => {
                let text = "the decision took too long";
                let refused = (ReasonCode::NOT_AUTHORIZED, Some(text.into()));
                self.refuse(reference, refused, now_ms);
            }
            Phase::Connecting => {
                let reason = ReasonCode::MAXIMUM_CONNECT_TIME;
                let text = "CONNECT was not complete within the connect timeout";
                self.tell(reference, EventKind::Aborted, reason, text, now_ms);
                self.begin_closing(reference);
            }
            Phase::Closing => {}
        }
    }

    fn session_due(&mut self, queue: QueueRef, now_ms: u64) {
        let Some(session) = self.session_mut(queue) else { return };
        session.timer_ms = 0;
        if session.connection.is_some() {
            return;
        }
        let is_over = session.ends_at_ms != 0 && session.ends_at_ms <= now_ms;
        let will_due = session
            .will
            .as_ref()
            .is_some_and(|will| will.due_at_ms != 0 && will.due_at_ms <= now_ms);
        if is_over {
            self.end_session(queue, now_ms);
            return;
        }
        if will_due {
            self.publish_will(queue, now_ms);
        }
        self.set_session_timer(queue);
    }
}
