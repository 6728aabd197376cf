//! The match cache of one shard: Topic Name → route, as long as the epochs agree.

use std::ops::Deref;

use hashbrown::HashMap;

use super::epochs::{Epochs, Stamp};
use super::route::Route;
use super::tree::Tree;

/// Longer topics are matched each time: the cache's keys stay small whatever clients send.
const TOPIC_BYTES_MAX: usize = 256;

/// Subscriptions, groups and members that all cached routes may hold together, some 40 bytes each.
const WEIGHT_MAX: usize = 1 << 20;

/// Routes by topic, bounded in entries and in targets; at a limit it starts afresh.
#[derive(Debug)]
pub struct MatchCache {
    routes: HashMap<Box<[u8]>, Cached, foldhash::fast::RandomState>,
    entries_max: usize,
    weight: usize,
    /// Nodes of the tree looked at since the last `take_steps`.
    steps: usize,
}

#[derive(Debug)]
struct Cached {
    stamp: Stamp,
    epoch_index: u32,
    /// Whether a filter that begins with a wildcard is part of the route.
    is_wildcard_first: bool,
    route: Route,
}

impl MatchCache {
    /// An empty cache of at most `entries_max` topics.
    pub fn new(entries_max: u32) -> Self {
        let routes = HashMap::default();
        Self { routes, entries_max: entries_max as usize, weight: 0, steps: 0 }
    }

    /// How many nodes of the tree were looked at since the last call.
    #[inline]
    pub fn take_steps(&mut self) -> usize {
        std::mem::take(&mut self.steps)
    }

    /// The route of `topic`; `tree` takes the tree's lock where the cache does not know.
    #[inline]
    pub fn route<G: Deref<Target = Tree>>(
        &mut self,
        topic: &[u8],
        epochs: &Epochs,
        tree: impl FnOnce() -> G,
    ) -> Route {
        let Some(cached) = self.routes.get_mut(topic) else {
            let cached = find(topic, epochs, &tree(), &mut self.steps);
            let route = cached.route.clone();
            self.insert(topic, cached);
            return route;
        };
        let stamp = epochs.stamp(cached.epoch_index as usize);
        if cached.stamp == stamp {
            return cached.route.clone();
        }
        let tree = tree();
        // The epochs are read under the lock: what is found then belongs to them.
        let stamp = epochs.stamp(cached.epoch_index as usize);
        let only_wildcards = cached.stamp.is_same_level(stamp) && !cached.is_wildcard_first;
        if only_wildcards {
            let (is_wildcard_first, steps) = tree.has_wildcard_first(topic);
            self.steps += steps;
            if !is_wildcard_first {
                cached.stamp = stamp;
                return cached.route.clone();
            }
        }
        let found = find(topic, epochs, &tree, &mut self.steps);
        let route = found.route.clone();
        let others = self.weight - cached.route.weight();
        if others + route.weight() <= WEIGHT_MAX {
            self.weight = others + route.weight();
            *cached = found;
        } else {
            self.routes.remove(topic);
            self.weight = others;
            self.insert(topic, found);
        }
        route
    }

    fn insert(&mut self, topic: &[u8], cached: Cached) {
        let weight = cached.route.weight();
        if topic.len() > TOPIC_BYTES_MAX || weight > WEIGHT_MAX / 4 {
            return;
        }
        if self.routes.len() >= self.entries_max || self.weight + weight > WEIGHT_MAX {
            self.routes.clear();
            self.weight = 0;
        }
        self.weight += weight;
        self.routes.insert(topic.into(), cached);
    }
}

/// Asks the tree.
fn find(topic: &[u8], epochs: &Epochs, tree: &Tree, steps: &mut usize) -> Cached {
    let index = epochs.index(topic);
    let (is_wildcard_first, first_steps) = tree.has_wildcard_first(topic);
    let (route, route_steps) = tree.route(topic);
    *steps += first_steps + route_steps;
    Cached {
        stamp: epochs.stamp(index),
        epoch_index: u32::try_from(index).unwrap_or_default(),
        is_wildcard_first,
        route,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{QueueRef, Subscriber, SubscriptionOptions};

    const FILTERS: u32 = 1 << 12;

    /// A tree in which all filters match `a/a/…`, twelve levels deep, and what is below.
    fn overlapping(epochs: &Epochs) -> Tree {
        let mut tree = Tree::default();
        let queue = QueueRef { shard: 0, slot: 0, generation: 1 };
        let options = SubscriptionOptions::new(0, false, false);
        for number in 0..FILTERS {
            let level = |at: u32| if number >> at & 1 == 0 { "a/" } else { "+/" };
            let filter = (0..12).map(level).collect::<String>() + "#";
            tree.subscribe(&filter, Subscriber { queue, options, identifier: 0 });
            epochs.touch(&filter);
        }
        tree
    }

    #[test]
    fn subscriptions_that_overlap_weigh_in_the_cache() {
        let epochs = Epochs::new(7);
        let mut cache = MatchCache::new(1 << 17);
        let mut tree = Tree::default();
        let topics: Vec<String> =
            (0..1_000).map(|number| "a/".repeat(12) + &number.to_string()).collect();
        // Cached while nobody subscribes: weightless then, and heavy when they are found again.
        for topic in &topics {
            cache.route(topic.as_bytes(), &epochs, || &tree);
        }
        assert_eq!(cache.routes.len(), topics.len());
        tree = overlapping(&epochs);

        for topic in topics.iter().chain(&topics) {
            cache.route(topic.as_bytes(), &epochs, || &tree);
            let held: usize = cache.routes.values().map(|cached| cached.route.weight()).sum();
            assert_eq!(held, cache.weight);
            assert!(held <= WEIGHT_MAX);
        }
    }
}
