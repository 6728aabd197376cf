//! What a match gives: the queues that want a message, and on which terms.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::group::{GroupId, Member, MemberState, NO_GROUP, Turn};

/// A session's queue: the shard it lives on and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueRef {
    /// Shard id.
    pub shard: u16,
    /// Index in the shard's table of sessions.
    pub slot: u32,
    /// Generation of the slot.
    pub generation: u32,
}

/// Subscription Options in one byte (MQTT 5 §3.8.3.1), Retain Handling left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionOptions(u8);

impl SubscriptionOptions {
    const NO_LOCAL: u8 = 4;
    const RETAIN_AS_PUBLISHED: u8 = 8;
    const WILDCARD_FIRST: u8 = 16;

    /// Packs the three.
    pub const fn new(qos: u8, no_local: bool, retain_as_published: bool) -> Self {
        let no_local = if no_local { Self::NO_LOCAL } else { 0 };
        let retain = if retain_as_published { Self::RETAIN_AS_PUBLISHED } else { 0 };
        Self(qos & 3 | no_local | retain)
    }

    /// The same for a filter that begins with a wildcard behind its mount point.
    #[must_use]
    pub const fn with_wildcard_first(self) -> Self {
        Self(self.0 | Self::WILDCARD_FIRST)
    }

    /// Whether the filter begins with a wildcard behind its mount point: then topics that begin
    /// with `$` there are not for it [MQTT-4.7.2-1], nor those that end there, which would be empty
    /// [MQTT-4.7.3-1].
    #[inline]
    pub const fn is_wildcard_first(self) -> bool {
        self.0 & Self::WILDCARD_FIRST != 0
    }

    /// Maximum QoS granted.
    #[inline]
    pub const fn qos(self) -> u8 {
        self.0 & 3
    }

    /// No Local.
    #[inline]
    pub const fn no_local(self) -> bool {
        self.0 & Self::NO_LOCAL != 0
    }

    /// Retain As Published.
    #[inline]
    pub const fn retain_as_published(self) -> bool {
        self.0 & Self::RETAIN_AS_PUBLISHED != 0
    }
}

/// One queue that wants the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Whose.
    pub queue: QueueRef,
    /// On which terms.
    pub options: SubscriptionOptions,
    /// Subscription Identifier, or 0.
    pub identifier: u32,
    /// The shared group it was chosen for, or `NO_GROUP`.
    pub group: GroupId,
    /// Index in `Matched::overlaps` if several subscriptions of this queue match, or `u32::MAX`.
    pub overlap: u32,
}

impl Target {
    /// A queue that one subscription of its own leads to.
    pub const fn single(queue: QueueRef, options: SubscriptionOptions, identifier: u32) -> Self {
        Self { queue, options, identifier, group: NO_GROUP, overlap: u32::MAX }
    }
}

/// The terms of each subscription of one queue, where several match (MQTT 5 §3.3.4).
pub type Overlap = Vec<(SubscriptionOptions, u32)>;

/// A shared group that wants the message: one of its members gets it (MQTT 5 §4.8.2).
#[derive(Debug, Clone)]
pub struct GroupRoute {
    /// Which group.
    pub id: GroupId,
    /// Its members when the match was made.
    pub members: Arc<[Member]>,
    /// Whose turn it is; one counter for all shards.
    pub turn: Arc<Turn>,
}

impl GroupRoute {
    /// The member that gets the next message: in turn among those with credit, else among those
    /// connected, else (`lasting`: the message may wait) among those away. `work` grows by how many
    /// were looked at.
    pub fn choose(
        &self,
        lasting: bool,
        except: Option<QueueRef>,
        work: &mut usize,
    ) -> Option<Target> {
        let count = self.members.len();
        if count == 0 {
            return None;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let mut fallback: Option<(&Member, MemberState)> = None;
        let in_turn = self.members.iter().skip(first).chain(self.members.iter().take(first));
        for member in in_turn {
            *work += 1;
            if Some(member.target.queue) == except {
                continue;
            }
            match member.state.get() {
                MemberState::Ready => return Some(self.target(member)),
                // What is granted QoS 0 does not wait for those who are away.
                MemberState::Away if !lasting || member.target.options.qos() == 0 => {}
                state => {
                    let better = fallback.is_none_or(|(_, held)| {
                        held == MemberState::Away && state == MemberState::Busy
                    });
                    if better {
                        fallback = Some((member, state));
                    }
                }
            }
        }
        fallback.map(|(member, _)| self.target(member))
    }

    fn target(&self, member: &Member) -> Target {
        Target { group: self.id, ..member.target }
    }
}

/// All queues that want the messages of one topic.
#[derive(Debug, Default)]
pub struct Matched {
    /// Queues with subscriptions of their own, ordered by shard.
    pub targets: Vec<Target>,
    /// See `Target::overlap`.
    pub overlaps: Vec<Overlap>,
    /// Subscriptions in all of `overlaps`.
    pub overlapping: usize,
    /// Shared groups.
    pub groups: Vec<GroupRoute>,
}

impl Matched {
    /// How many subscriptions a delivery looks through; groups have theirs in `choose`.
    #[inline]
    pub fn work(&self) -> usize {
        self.targets.len() + self.overlapping
    }

    /// The same with groups and members: a cached match may be the last to hold a list of them.
    fn weight(&self) -> usize {
        let members: usize = self.groups.iter().map(|group| group.members.len()).sum();
        self.work() + self.groups.len() + members
    }
}

/// The result of a match in the shape the hot path takes it.
#[derive(Debug, Clone)]
pub enum Route {
    /// Nobody.
    None,
    /// One queue, by one subscription of its own.
    One(Target),
    /// Anything else.
    Set(Arc<Matched>),
}

impl Route {
    /// Packs a match.
    pub fn new(matched: Matched) -> Self {
        match (matched.targets.as_slice(), matched.groups.is_empty()) {
            ([], true) => Self::None,
            ([target], true) if target.overlap == u32::MAX => Self::One(*target),
            _ => Self::Set(Arc::new(matched)),
        }
    }

    /// What it weighs in the cache: how many subscriptions, groups and members it holds.
    pub fn weight(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 1,
            Self::Set(matched) => matched.weight() + 1,
        }
    }
}
