//! From a Topic Name to the queues that want it: filters without wildcards by hash, others by a
//! trie, results in a bounded cache per shard that epochs keep honest. See DESIGN.md.

mod cache;
mod epochs;
mod group;
mod leaf;
mod merge;
mod route;
mod tree;
mod trie;

pub use cache::MatchCache;
pub use epochs::Epochs;
pub use group::{GroupId, Member, MemberState, NO_GROUP, SharedState, Turn};
pub use route::{GroupRoute, Matched, Overlap, QueueRef, Route, SubscriptionOptions, Target};
pub use tree::{Subscriber, Tree};
