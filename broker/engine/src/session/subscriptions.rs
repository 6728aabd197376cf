//! One session's subscriptions: few in a list, many in a map.

use hashbrown::HashMap;

use crate::router::SubscriptionOptions;
use crate::topic::filter_weight;

/// From this many on, a map: a list would make each SUBSCRIBE a scan of thousands.
const MAP_FROM: usize = 16;

/// The terms of one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Maximum QoS, No Local, Retain As Published.
    pub options: SubscriptionOptions,
    /// Subscription Identifier, or 0.
    pub identifier: u32,
}

/// Subscriptions by filter, as the client wrote it, mount point left out.
#[derive(Debug, Default)]
pub struct Subscriptions {
    table: Table,
    bytes: u64,
}

#[derive(Debug)]
enum Table {
    List(Vec<(Box<str>, Subscription)>),
    Map(Box<HashMap<Box<str>, Subscription, foldhash::fast::RandomState>>),
}

impl Default for Table {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Subscriptions {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.table {
            Table::List(list) => list.len(),
            Table::Map(map) => map.len(),
        }
    }

    /// Bytes of all filters, see `filter_weight`.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The terms of `filter`.
    pub fn get(&self, filter: &str) -> Option<Subscription> {
        match &self.table {
            Table::List(list) => {
                list.iter().find(|(held, _)| **held == *filter).map(|(_, terms)| *terms)
            }
            Table::Map(map) => map.get(filter).copied(),
        }
    }

    /// Makes or changes a subscription.
    pub fn insert(&mut self, filter: &str, subscription: Subscription) {
        if self.get(filter).is_none() {
            self.bytes += filter_weight(filter);
        }
        if let Table::List(list) = &mut self.table {
            if let Some((_, held)) = list.iter_mut().find(|(held, _)| **held == *filter) {
                *held = subscription;
                return;
            }
            if list.len() < MAP_FROM {
                list.reserve_exact(1);
                list.push((filter.into(), subscription));
                return;
            }
            self.table = Table::Map(Box::new(std::mem::take(list).into_iter().collect()));
        }
        if let Table::Map(map) = &mut self.table {
            map.insert(filter.into(), subscription);
        }
    }

    /// Ends a subscription; whether there was one.
    pub fn remove(&mut self, filter: &str) -> bool {
        let removed = match &mut self.table {
            Table::List(list) => {
                let found = list.iter().position(|(held, _)| **held == *filter);
                if let Some(at) = found {
                    list.swap_remove(at);
                }
                found.is_some()
            }
            Table::Map(map) => map.remove(filter).is_some(),
        };
        if removed {
            self.bytes -= filter_weight(filter);
        }
        removed
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Subscription)> {
        let (list, map) = match &self.table {
            Table::List(list) => (Some(list.iter()), None),
            Table::Map(map) => (None, Some(map.iter())),
        };
        let list = list.into_iter().flatten().map(|(filter, terms)| (&**filter, *terms));
        list.chain(map.into_iter().flatten().map(|(filter, terms)| (&**filter, *terms)))
    }
}
