//! The match cache of one shard: Topic Name → route, as long as the epochs agree.

use std::ops::Deref;

use hashbrown::HashMap;

use super::epochs::{Epochs, Stamp};
use super::route::Route;
use super::tree::Tree;

/// Longer topics are matched each time: the cache's keys stay small whatever clients send.
const TOPIC_BYTES_MAX: usize = 256;

/// Targets and members that all cached routes may hold together, some 40 bytes each.
const WEIGHT_MAX: usize = 1 << 20;

/// Routes by topic, bounded in entries and in targets; at a limit it starts afresh.
#[derive(Debug)]
pub struct MatchCache {
    routes: HashMap<Box<[u8]>, Cached, foldhash::fast::RandomState>,
    entries_max: usize,
    weight: usize,
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
        Self { routes: HashMap::default(), entries_max: entries_max as usize, weight: 0 }
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
            let cached = find(topic, epochs, &tree());
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
        if only_wildcards && !tree.has_wildcard_first(topic) {
            cached.stamp = stamp;
            return cached.route.clone();
        }
        let before = cached.route.weight();
        *cached = find(topic, epochs, &tree);
        let route = cached.route.clone();
        self.weight = self.weight + route.weight() - before;
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
fn find(topic: &[u8], epochs: &Epochs, tree: &Tree) -> Cached {
    let index = epochs.index(topic);
    Cached {
        stamp: epochs.stamp(index),
        epoch_index: u32::try_from(index).unwrap_or_default(),
        is_wildcard_first: tree.has_wildcard_first(topic),
        route: tree.route(topic),
    }
}
