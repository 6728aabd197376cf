//! The match cache of one shard: Topic Name → route, as long as the epochs agree.

use hashbrown::HashMap;

use super::epochs::{Epochs, Stamp};
use super::route::Route;

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
    route: Route,
}

impl MatchCache {
    /// An empty cache of at most `entries_max` topics.
    pub fn new(entries_max: u32) -> Self {
        Self { routes: HashMap::default(), entries_max: entries_max as usize, weight: 0 }
    }

    /// The route of `topic`; `find` asks the tree (and must read the epochs under its lock).
    #[inline]
    pub fn route(
        &mut self,
        topic: &[u8],
        epochs: &Epochs,
        find: impl FnOnce() -> (Stamp, Route),
    ) -> Route {
        if let Some(cached) = self.routes.get_mut(topic) {
            if cached.stamp == epochs.stamp(cached.epoch_index as usize) {
                return cached.route.clone();
            }
            let (stamp, route) = find();
            self.weight = self.weight + route.weight() - cached.route.weight();
            cached.stamp = stamp;
            cached.route = route.clone();
            return route;
        }
        let (stamp, route) = find();
        self.insert(topic, epochs, stamp, &route);
        route
    }

    fn insert(&mut self, topic: &[u8], epochs: &Epochs, stamp: Stamp, route: &Route) {
        if topic.len() > TOPIC_BYTES_MAX || route.weight() > WEIGHT_MAX / 4 {
            return;
        }
        if self.routes.len() >= self.entries_max || self.weight + route.weight() > WEIGHT_MAX {
            self.routes.clear();
            self.weight = 0;
        }
        self.weight += route.weight();
        let epoch_index = u32::try_from(epochs.index(topic)).unwrap_or_default();
        self.routes.insert(topic.into(), Cached { stamp, epoch_index, route: route.clone() });
    }
}
