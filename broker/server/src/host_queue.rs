//! Records on their way to the host: one bounded queue for all shards, and an eventfd that is
//! readable while something waits.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use engine::host::{EventKind, HostRecord};
use rustix::event::{EventfdFlags, eventfd};

use crate::error::ServerError;

/// Texts of events that wait: filters and identifiers may be 64 KiB each.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// Shards push batches, the host drains batches.
#[derive(Debug)]
pub(crate) struct HostQueue {
    state: Mutex<State>,
    fd: OwnedFd,
    /// Events are dropped above this many records.
    capacity: usize,
    dropped_events: AtomicU64,
    /// The host listens to events; without a listener they are no records.
    watched: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<HostRecord>,
    /// Bytes of the texts of events among them.
    event_bytes: usize,
    /// The eventfd is readable.
    signalled: bool,
}

impl HostQueue {
    pub(crate) fn new(capacity: u32) -> Result<Self, ServerError> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(ServerError::system("create an eventfd"))?;
        Ok(Self {
            state: Mutex::default(),
            fd,
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            dropped_events: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        })
    }

    /// Takes all of `records`. Only events are dropped when the host does not keep up: requests
    /// for a decision, deliveries and completions have bounds of their own, and somebody waits for
    /// them.
    pub(crate) fn push(&self, records: &mut Vec<HostRecord>) {
        if !self.watched.load(Ordering::Relaxed) {
            // What the store has to say goes into the log, whoever watches.
            records.retain(|record| {
                !matches!(record, HostRecord::Event(event) if event.kind != EventKind::Store)
            });
        }
        if records.is_empty() {
            return;
        }
        let mut dropped = 0;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records.drain(..) {
            if let HostRecord::Event(event) = &record {
                let bytes = state.event_bytes + event.text_bytes();
                if state.records.len() >= self.capacity || bytes > EVENT_BYTES_MAX {
                    dropped += 1;
                    continue;
                }
                state.event_bytes = bytes;
            }
            state.records.push_back(record);
        }
        if !state.signalled && !state.records.is_empty() {
            state.signalled = true;
            // It cannot fail: the counter is at most 1, and the descriptor is ours.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
        drop(state);
        if dropped > 0 {
            self.dropped_events.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// At most `max` records, oldest first; the eventfd is cleared when none is left.
    pub(crate) fn drain(&self, max: usize) -> Vec<HostRecord> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = max.min(state.records.len());
        let records: Vec<HostRecord> = state.records.drain(..count).collect();
        for record in &records {
            if let HostRecord::Event(event) = record {
                state.event_bytes -= event.text_bytes();
            }
        }
        if state.records.is_empty() {
            // A flood does not keep its memory.
            if state.records.capacity() > 4_096 {
                state.records = VecDeque::new();
            }
            if state.signalled {
                state.signalled = false;
                let _ = rustix::io::read(&self.fd, &mut [0_u8; 8]);
            }
        }
        records
    }

    /// Whether somebody listens to events.
    pub(crate) fn watches_events(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Whether events are wanted at all.
    pub(crate) fn watch_events(&self, on: bool) {
        self.watched.store(on, Ordering::Relaxed);
    }

    pub(crate) fn dropped_events(&self) -> u64 {
        self.dropped_events.load(Ordering::Relaxed)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use engine::host::{Event, EventKind, HostRecord};
    use engine::reason::ReasonCode;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::HostQueue;

    fn event() -> HostRecord {
        HostRecord::Event(Event {
            time_ms: 0,
            kind: EventKind::Connected,
            client_id: "c".into(),
            user: "".into(),
            listener: "".into(),
            peer: "".into(),
            reason: ReasonCode::SUCCESS,
            detail: "".into(),
            count: 1,
        })
    }

    fn readable(queue: &HostQueue) -> bool {
        let mut fds = [PollFd::new(&queue.fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn the_descriptor_is_readable_while_records_wait() {
        let queue = HostQueue::new(10).unwrap();
        queue.watch_events(true);
        assert!(!readable(&queue));

        queue.push(&mut vec![event(), event()]);
        assert!(readable(&queue));

        assert_eq!(queue.drain(1).len(), 1);
        assert!(readable(&queue));

        assert_eq!(queue.drain(5).len(), 1);
        assert!(!readable(&queue));
    }

    #[test]
    fn events_above_the_bound_are_dropped_and_counted_and_nothing_else() {
        let queue = HostQueue::new(2).unwrap();
        queue.watch_events(true);
        let completion = HostRecord::Completion { token: 1, reason: ReasonCode::SUCCESS };

        queue.push(&mut vec![event(), event(), event(), completion]);

        assert_eq!(queue.dropped_events(), 1);
        let records = queue.drain(10);
        assert_eq!(records.len(), 3);
        assert!(matches!(records.last(), Some(HostRecord::Completion { token: 1, .. })));
    }

    #[test]
    fn events_that_nobody_watches_wake_nobody() {
        let queue = HostQueue::new(10).unwrap();

        queue.push(&mut vec![event()]);

        assert!(!readable(&queue));
        assert!(queue.drain(10).is_empty());
        assert_eq!(queue.dropped_events(), 0);
    }
}
