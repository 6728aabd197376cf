//! Retained messages on their way to new subscriptions, in the order of the subscriptions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::message::SharedMessage;
use crate::retained::Position;
use crate::router::SubscriptionOptions;
use crate::store::Ticket;

/// Up to so many, each SUBSCRIBE has a replay of its own; with more, each filter has one.
const REPLAYS_FREE: usize = 256;

/// Retained messages on their way to one new subscription.
#[derive(Debug)]
pub struct Replay {
    /// Topic Filter, mount point included.
    pub filter: Arc<str>,
    /// Its terms.
    pub options: SubscriptionOptions,
    /// Subscription Identifier, or 0.
    pub identifier: u32,
    /// Number of the last message before the subscription: what is queued up to it goes first,
    /// and what was retained later comes from the queue [MQTT-4.6.0-6].
    pub after: u64,
    /// They are given once this is committed.
    pub ticket: Ticket,
    /// It is in the shard's list of those that wait for that.
    pub is_held: bool,
    /// Where to go on; `None` before the first batch.
    pub from: Option<Position>,
    /// Whether the store has been read to the end.
    pub is_read: bool,
    /// Read and not sent.
    pub ready: VecDeque<SharedMessage>,
}

/// The replays of one session: never many more than it has filters, however often it subscribes.
#[derive(Debug, Default)]
pub struct Replays {
    by_number: BTreeMap<u64, Replay>,
    by_filter: BTreeSet<(Arc<str>, u64)>,
    next_number: u64,
}

impl Replays {
    /// Appends a replay; where there are many, those of the same filter are given up, since this
    /// one sends all that they would.
    pub fn push(&mut self, replay: Replay) {
        if self.by_number.len() >= REPLAYS_FREE {
            self.remove(&replay.filter);
        }
        self.by_filter.insert((Arc::clone(&replay.filter), self.next_number));
        self.by_number.insert(self.next_number, replay);
        self.next_number += 1;
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Number of the last message before the first of the subscriptions.
    pub fn after(&self) -> Option<u64> {
        self.by_number.values().next().map(|replay| replay.after)
    }

    /// The one to go on with.
    pub fn first(&mut self) -> Option<&mut Replay> {
        self.by_number.values_mut().next()
    }

    /// The first is through.
    pub fn end_first(&mut self) {
        if let Some((number, replay)) = self.by_number.pop_first() {
            self.by_filter.remove(&(replay.filter, number));
        }
    }

    /// Gives up the replays of a filter.
    pub fn remove(&mut self, filter: &str) {
        let filter: Arc<str> = filter.into();
        let mut range = self.by_filter.range((Arc::clone(&filter), 0)..=(filter, u64::MAX));
        let found: Vec<(Arc<str>, u64)> = range.by_ref().cloned().collect();
        for entry in found {
            self.by_number.remove(&entry.1);
            self.by_filter.remove(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(filter: &str, identifier: u32) -> Replay {
        Replay {
            filter: filter.into(),
            options: SubscriptionOptions::new(0, false, false),
            identifier,
            ticket: Ticket::default(),
            is_held: false,
            after: 0,
            from: None,
            is_read: false,
            ready: VecDeque::new(),
        }
    }

    #[test]
    fn replays_are_bounded_however_often_a_filter_is_subscribed_to() {
        let mut replays = Replays::default();
        for identifier in 0..10_000 {
            replays.push(replay("a/+", identifier));
            replays.push(replay("b", identifier));
        }

        assert!(replays.by_number.len() <= REPLAYS_FREE + 2);
        replays.remove("a/+");
        replays.remove("b");
        assert!(replays.is_empty());
        assert!(replays.by_filter.is_empty());
    }

    #[test]
    fn replays_go_in_order_and_a_filter_may_have_two() {
        let mut replays = Replays::default();
        for (filter, identifier) in [("a", 1), ("b", 2), ("a", 3), ("aa", 4)] {
            replays.push(replay(filter, identifier));
        }

        assert_eq!(replays.first().map(|first| first.identifier), Some(1));
        replays.end_first();
        replays.remove("b");
        assert_eq!(replays.first().map(|first| first.identifier), Some(3));
        replays.remove("a");
        assert_eq!(replays.first().map(|first| first.identifier), Some(4));
        replays.end_first();
        assert!(replays.is_empty());
        assert!(replays.by_filter.is_empty());
    }
}
