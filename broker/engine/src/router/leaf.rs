//! Who subscribed to one Topic Filter.

use hashbrown::HashMap;

use super::group::GroupId;
use super::route::{QueueRef, SubscriptionOptions};
use super::tree::Subscriber;

/// From this many subscribers on, an index finds them: leaving must not cost a scan of thousands.
const INDEX_FROM: usize = 64;

/// The subscribers and shared groups of one filter.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// Sessions with a subscription of their own.
    pub subscribers: Subscribers,
    /// Shared groups, rarely any.
    groups: Option<Box<Groups>>,
}

/// Behind a pointer, so that a filter without groups does not pay for the list.
#[derive(Debug, Default)]
struct Groups(Vec<GroupId>);

impl Leaf {
    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.groups.is_none()
    }

    /// Adds a group unless it is there.
    pub fn add_group(&mut self, group: GroupId) {
        let groups = &mut self.groups.get_or_insert_default().0;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }

    /// Takes a group out.
    pub fn remove_group(&mut self, group: GroupId) {
        let Some(groups) = &mut self.groups else { return };
        groups.0.retain(|held| *held != group);
        if groups.0.is_empty() {
            self.groups = None;
        }
    }

    /// All groups.
    pub fn groups(&self) -> &[GroupId] {
        self.groups.as_ref().map_or(&[], |groups| &groups.0)
    }
}

/// One subscriber without an allocation, many with an index.
#[derive(Debug, Default)]
pub(super) enum Subscribers {
    /// Nobody.
    #[default]
    None,
    /// The usual case.
    One(Subscriber),
    /// Two and more.
    Many(Box<Many>),
}

/// Subscribers in any order.
#[derive(Debug, Default)]
pub(super) struct Many {
    list: Vec<Subscriber>,
    index: Option<HashMap<QueueRef, u32, foldhash::fast::RandomState>>,
}

impl Subscribers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Subscriber] {
        match self {
            Self::None => &[],
            Self::One(subscriber) => std::slice::from_ref(subscriber),
            Self::Many(many) => &many.list,
        }
    }

    /// Adds a subscriber, or changes the terms it has; whether it is new.
    pub fn insert(&mut self, subscriber: Subscriber) -> bool {
        match self {
            Self::None => *self = Self::One(subscriber),
            Self::One(held) if held.queue == subscriber.queue => {
                *held = subscriber;
                return false;
            }
            Self::One(held) => {
                let list = vec![*held, subscriber];
                *self = Self::Many(Box::new(Many { list, index: None }));
            }
            Self::Many(many) => return many.insert(subscriber),
        }
        true
    }

    /// Takes a subscriber out; its terms, if it was there.
    pub fn remove(&mut self, queue: QueueRef) -> Option<SubscriptionOptions> {
        match self {
            Self::One(held) if held.queue == queue => {
                let options = held.options;
                *self = Self::None;
                Some(options)
            }
            Self::None | Self::One(_) => None,
            Self::Many(many) => {
                let removed = many.remove(queue)?;
                if let [last] = many.list.as_slice() {
                    *self = Self::One(*last);
                }
                Some(removed)
            }
        }
    }
}

impl Many {
    fn find(&self, queue: QueueRef) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&queue).map(|at| *at as usize),
            None => self.list.iter().position(|held| held.queue == queue),
        }
    }

    fn insert(&mut self, subscriber: Subscriber) -> bool {
        if let Some(at) = self.find(subscriber.queue) {
            if let Some(held) = self.list.get_mut(at) {
                *held = subscriber;
            }
            return false;
        }
        let at = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(subscriber);
        if let Some(index) = &mut self.index {
            index.insert(subscriber.queue, at);
        } else if self.list.len() >= INDEX_FROM {
            self.index = Some((0..).zip(&self.list).map(|(at, held)| (held.queue, at)).collect());
        }
        true
    }

    fn remove(&mut self, queue: QueueRef) -> Option<SubscriptionOptions> {
        let at = self.find(queue)?;
        let removed = self.list.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(&queue);
            if let Some(moved) = self.list.get(at) {
                index.insert(moved.queue, u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        Some(removed.options)
    }
}
