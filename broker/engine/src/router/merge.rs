//! Several leaves into one match: each queue once, with the terms of all its subscriptions
//! (MQTT 5 §3.3.4: overlapping subscriptions, delivered once with every identifier).

use super::leaf::Leaf;
use super::route::{Matched, Target};
use super::tree::Subscriber;

/// Gathers the leaves that a topic hits.
#[derive(Debug, Default)]
pub(super) struct Merge<'a> {
    leaves: Vec<&'a Leaf>,
}

impl<'a> Merge<'a> {
    /// Adds a leaf.
    pub fn add(&mut self, leaf: &'a Leaf) {
        self.leaves.push(leaf);
    }

    /// The leaves' shared groups.
    pub fn groups(&self) -> impl Iterator<Item = super::GroupId> {
        self.leaves.iter().flat_map(|leaf| leaf.groups()).copied()
    }

    /// Each queue once, ordered by shard.
    pub fn finish(self) -> Matched {
        let mut all: Vec<Subscriber> =
            self.leaves.iter().flat_map(|leaf| leaf.subscribers.as_slice()).copied().collect();
        let mut matched = Matched::default();
        // One leaf holds a queue once; sorting by shard is enough then, and keeps it cheap.
        if self.leaves.len() == 1 {
            all.sort_by_key(|subscriber| subscriber.queue.shard);
        } else {
            all.sort_by_key(|subscriber| subscriber.queue);
        }
        for subscriber in all {
            push(&mut matched, subscriber);
        }
        // It may stay in the cache for long.
        matched.targets.shrink_to_fit();
        for overlap in &mut matched.overlaps {
            overlap.shrink_to_fit();
            matched.overlapping += overlap.len();
        }
        matched
    }
}

fn push(matched: &mut Matched, subscriber: Subscriber) {
    let Subscriber { queue, options, identifier } = subscriber;
    let next_overlap = u32::try_from(matched.overlaps.len()).unwrap_or(u32::MAX);
    match matched.targets.last_mut() {
        Some(last) if last.queue == queue => {
            if last.overlap == u32::MAX {
                last.overlap = next_overlap;
                matched.overlaps.push(vec![(last.options, last.identifier)]);
            }
            if let Some(overlap) = matched.overlaps.get_mut(last.overlap as usize) {
                overlap.push((options, identifier));
            }
        }
        _ => matched.targets.push(Target::single(queue, options, identifier)),
    }
}
