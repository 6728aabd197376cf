//! Into a session's queue and out of it, within the limits: its own, and those of all queues.

use std::sync::atomic::Ordering;

use super::Shard;
use super::deliver::count_out;
use crate::limits::{Limits, Overflow};
use crate::router::{QueueRef, Route, Target};
use crate::session::{NOT_STORED, Queue, Queued};

impl Shard {
    /// Puts a message into a session's queue. At its own limit the oldest goes, or the new one, as
    /// the limits have it; at that of all queues the new one.
    pub(super) fn enqueue(&mut self, queue: QueueRef, queued: Queued) {
        let limits = &self.shared.limits;
        let QueueRef { slot, generation, .. } = queue;
        let Some(session) = self.sessions.get_mut(slot, generation) else { return };
        let size = queued.size();
        let mut dropped = Vec::new();
        let drops_oldest = limits.session_queue_overflow == Overflow::DropOldest;
        while drops_oldest && !session.queue.is_empty() && is_full(&session.queue, size, limits) {
            if let Some(oldest) = session.queue.pop() {
                count_out(&self.shared, &oldest);
                dropped.push(oldest);
            }
        }
        let messages = self.shared.queued_messages.load(Ordering::Relaxed);
        let bytes = self.shared.queued_bytes.load(Ordering::Relaxed);
        if !drops_oldest && is_full(&session.queue, size, limits) {
            dropped.push(queued);
            self.counters.dropped_queue_full += dropped.len() as u64;
        } else if messages >= limits.queued_messages || bytes + size > limits.queued_bytes {
            self.counters.dropped_queue_full += dropped.len() as u64;
            self.counters.dropped_total_full += 1;
            dropped.push(queued);
        } else {
            self.counters.dropped_queue_full += dropped.len() as u64;
            self.shared.queued_messages.fetch_add(1, Ordering::Relaxed);
            self.shared.queued_bytes.fetch_add(size, Ordering::Relaxed);
            let may_unload = queued.receiver != NOT_STORED;
            session.queue.push(queued);
            if may_unload && !session.is_unloading && bytes > limits.queued_memory_bytes {
                session.is_unloading = true;
                self.unloading.push_back(queue);
            }
        }
        for dropped in dropped {
            self.consumed(dropped.body.reference(), dropped.receiver);
            self.count_dropped(queue);
        }
        self.note_full(queue);
        self.note_window(queue);
    }

    /// Takes the oldest message of a session's queue.
    pub(super) fn dequeue(&mut self, queue: QueueRef) -> Option<Queued> {
        let queued = self.session_mut(queue)?.queue.pop()?;
        count_out(&self.shared, &queued);
        self.note_full(queue);
        Some(queued)
    }

    /// Tells those who publish whether this queue is at its limit, where they are to be refused.
    fn note_full(&mut self, queue: QueueRef) {
        let limits = &self.shared.limits;
        if limits.session_queue_overflow != Overflow::Reject {
            return;
        }
        let QueueRef { slot, generation, .. } = queue;
        let Some(session) = self.sessions.get_mut(slot, generation) else { return };
        let is_full = is_full(&session.queue, 1, limits);
        if is_full != session.is_full {
            session.is_full = is_full;
            self.shared.lasting.set_full(queue, is_full);
        }
    }

    /// Whether a message is to be refused because a queue it is for is at its limit.
    pub(super) fn is_rejected(&self, route: &Route) -> bool {
        if self.shared.limits.session_queue_overflow != Overflow::Reject {
            return false;
        }
        let is_full = |target: &Target| self.shared.lasting.is_full(target.queue);
        match route {
            Route::None => false,
            Route::One(target) => is_full(target),
            Route::Set(matched) => matched.targets.iter().any(is_full),
        }
    }
}

/// Whether a queue takes no more `size` bytes.
fn is_full(queue: &Queue, size: u64, limits: &Limits) -> bool {
    queue.len() >= limits.session_queue_messages as usize
        || queue.bytes() + size > limits.session_queue_bytes
}
