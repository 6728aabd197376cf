//! The topic tree: all subscriptions of the broker. It is shared by the shards behind a lock.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hashbrown::HashMap;

use super::group::{Group, GroupId, Member};
use super::leaf::Leaf;
use super::merge::Merge;
use super::route::{GroupRoute, QueueRef, Route, SubscriptionOptions};
use super::trie::Trie;
use crate::slots::Slots;
use crate::topic::filter_weight;

/// A queue that a filter leads to, on which terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// Whose.
    pub queue: QueueRef,
    /// Maximum QoS, No Local, Retain As Published.
    pub options: SubscriptionOptions,
    /// Subscription Identifier, or 0.
    pub identifier: u32,
}

/// All subscriptions, by filter.
#[derive(Debug, Default)]
pub struct Tree {
    exact: HashMap<Box<str>, Leaf, foldhash::fast::RandomState>,
    wild: Trie,
    groups: Slots<Group>,
    group_ids: HashMap<(Box<str>, Box<str>), GroupId, foldhash::fast::RandomState>,
    count: usize,
    bytes: u64,
}

impl Tree {
    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes of all filters, see `filter_weight`; those of several subscribers counted for each.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Makes or changes a subscription; whether it is new.
    pub fn subscribe(&mut self, filter: &str, subscriber: Subscriber) -> bool {
        let is_new = self.leaf_mut(filter).subscribers.insert(subscriber);
        self.count_new(is_new, filter);
        is_new
    }

    /// Ends a subscription; whether there was one.
    pub fn unsubscribe(&mut self, filter: &str, queue: QueueRef) -> bool {
        let removed =
            self.find_mut(filter).is_some_and(|leaf| leaf.subscribers.remove(queue).is_some());
        if removed {
            self.count_gone(filter);
            self.prune(filter);
        }
        removed
    }

    /// Lets a session join a shared group, or changes its terms; whether it is new (MQTT 5 §4.8.2).
    pub fn join(&mut self, name: &str, filter: &str, member: Member) -> bool {
        let key = (Box::from(name), Box::from(filter));
        let id = match self.group_ids.get(&key) {
            Some(id) => *id,
            None => self.add_group(name, filter, key),
        };
        let Some(group) = self.groups.get_mut(id.slot, id.generation) else { return false };
        let queue = member.target.queue;
        let mut members: Vec<Member> = group.members.to_vec();
        let held = members.iter_mut().find(|held| held.target.queue == queue);
        let is_new = held.is_none();
        match held {
            Some(held) => *held = member,
            None => members.push(member),
        }
        group.members = members.into();
        self.count_new(is_new, filter);
        is_new
    }

    /// Takes a session out of a shared group; whether it was in it.
    pub fn leave(&mut self, name: &str, filter: &str, queue: QueueRef) -> bool {
        let key = (Box::from(name), Box::from(filter));
        let Some(id) = self.group_ids.get(&key).copied() else { return false };
        let Some(group) = self.groups.get_mut(id.slot, id.generation) else { return false };
        let members: Vec<Member> =
            group.members.iter().filter(|held| held.target.queue != queue).cloned().collect();
        if members.len() == group.members.len() {
            return false;
        }
        group.members = members.into();
        let is_last = group.members.is_empty();
        self.count_gone(filter);
        if is_last {
            self.groups.remove(id.slot, id.generation);
            self.group_ids.remove(&key);
            if let Some(leaf) = self.find_mut(filter) {
                leaf.remove_group(id);
            }
            self.prune(filter);
        }
        true
    }

    /// The route to a group's members as they are now; `None` if it is gone.
    pub fn group(&self, id: GroupId) -> Option<GroupRoute> {
        let group = self.groups.get(id.slot, id.generation)?;
        let (members, turn) = (Arc::clone(&group.members), Arc::clone(&group.turn));
        Some(GroupRoute { id, members, turn })
    }

    /// The group of that name and filter, if there is one.
    pub fn group_id(&self, name: &str, filter: &str) -> Option<GroupId> {
        self.group_ids.get(&(Box::from(name), Box::from(filter))).copied()
    }

    /// Name and filter of a group; `None` if it is gone.
    pub fn group_name(&self, id: GroupId) -> Option<(&str, &str)> {
        let group = self.groups.get(id.slot, id.generation)?;
        Some((&group.name, &group.filter))
    }

    /// Who wants the messages of `topic` (MQTT 5 §4.7), and how many nodes were looked at.
    pub fn route(&self, topic: &[u8]) -> (Route, usize) {
        let mut merge = Merge::default();
        if let Some(leaf) = std::str::from_utf8(topic).ok().and_then(|name| self.exact.get(name)) {
            merge.add(leaf);
        }
        let steps = self.wild.each_match(topic, |leaf| merge.add(leaf));
        let groups: Vec<GroupRoute> = merge.groups().filter_map(|id| self.group(id)).collect();
        let mut matched = merge.finish();
        matched.groups = groups;
        (Route::new(matched), steps)
    }

    /// Whether a filter that begins with a wildcard matches `topic`, and the same number.
    pub fn has_wildcard_first(&self, topic: &[u8]) -> (bool, usize) {
        let mut found = false;
        let steps = self.wild.each_wildcard_first(topic, |_| found = true);
        (found, steps)
    }

    fn count_new(&mut self, is_new: bool, filter: &str) {
        if is_new {
            self.count += 1;
            self.bytes += filter_weight(filter);
        }
    }

    fn count_gone(&mut self, filter: &str) {
        self.count -= 1;
        self.bytes -= filter_weight(filter);
    }

    fn add_group(&mut self, name: &str, filter: &str, key: (Box<str>, Box<str>)) -> GroupId {
        let group = Group {
            name: name.into(),
            filter: filter.into(),
            members: Arc::from([]),
            turn: Arc::new(AtomicUsize::new(0)),
        };
        let (slot, generation) = self.groups.insert(group);
        let id = GroupId { slot, generation };
        self.group_ids.insert(key, id);
        self.leaf_mut(filter).add_group(id);
        id
    }

    fn leaf_mut(&mut self, filter: &str) -> &mut Leaf {
        if is_wild(filter) {
            self.wild.leaf_mut(filter)
        } else {
            self.exact.entry_ref(filter).or_default()
        }
    }

    fn find_mut(&mut self, filter: &str) -> Option<&mut Leaf> {
        if is_wild(filter) { self.wild.find_mut(filter) } else { self.exact.get_mut(filter) }
    }

    fn prune(&mut self, filter: &str) {
        if is_wild(filter) {
            self.wild.prune(filter);
        } else if self.exact.get(filter).is_some_and(Leaf::is_empty) {
            self.exact.remove(filter);
        }
    }
}

/// In a valid filter these two are always wildcards (MQTT 5 §4.7.1).
fn is_wild(filter: &str) -> bool {
    filter.contains(['+', '#'])
}
