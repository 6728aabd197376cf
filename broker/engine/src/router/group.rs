//! Shared groups: their members, whether these can take a message, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::route::Target;

/// Names a shared group in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// Index in the tree's table of groups; `u32::MAX` for none.
    pub slot: u32,
    /// Generation of the slot.
    pub generation: u32,
}

/// No shared group.
pub const NO_GROUP: GroupId = GroupId { slot: u32::MAX, generation: 0 };

/// The counter that a group's members take turns by.
pub type Turn = AtomicUsize;

/// Whether a member can take a message now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Not connected.
    Away,
    /// Connected, and its window or output is full.
    Busy,
    /// Connected, with credit.
    Ready,
}

/// A member's state, set by its shard and read by all.
#[derive(Debug, Default)]
pub struct SharedState(AtomicU8);

impl SharedState {
    /// What the member's shard said last.
    #[inline]
    pub fn get(&self) -> MemberState {
        match self.0.load(Ordering::Acquire) {
            0 => MemberState::Away,
            1 => MemberState::Busy,
            _ => MemberState::Ready,
        }
    }

    /// Says it.
    pub fn set(&self, state: MemberState) {
        let number = match state {
            MemberState::Away => 0,
            MemberState::Busy => 1,
            MemberState::Ready => 2,
        };
        self.0.store(number, Ordering::Release);
    }
}

/// A session in a shared group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its queue and its terms.
    pub target: Target,
    /// Whether it can take a message.
    pub state: Arc<SharedState>,
}

/// A shared group: `$share/name/filter`.
#[derive(Debug)]
pub(super) struct Group {
    /// `ShareName`.
    pub name: Box<str>,
    /// The Topic Filter inside.
    pub filter: Box<str>,
    /// Rebuilt when one joins or leaves; matches hold it as it was.
    pub members: Arc<[Member]>,
    /// See `Turn`.
    pub turn: Arc<Turn>,
}
