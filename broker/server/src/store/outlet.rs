//! What the store tells the broker, from its own threads.

use std::fmt::Debug;

use engine::store::{Fetched, Health, Ticket};

/// Where the store's words go. Calls come from the store's threads and must not wait.
pub trait Outlet: Send + Sync + Debug {
    /// Everything up to this group is committed: for every shard.
    fn committed(&self, ticket: Ticket);

    /// The answer to a shard's `Fetch`.
    fn fetched(&self, shard: u16, fetched: Fetched);

    /// The store takes changes, or does not, from now on: for every shard.
    fn health_changed(&self, health: Health);

    /// Something that people want to know: a line of the log and an event.
    fn notice(&self, notice: Notice);
}

/// What there is to say, and how much it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about: `store_full`, `store_stopped`, `store_sound`, `store_damaged`, ...
    pub kind: &'static str,
    /// Whether something is wrong; else it is well again, or was done as asked.
    pub is_trouble: bool,
    /// What, where, and what to do about it; whole sentences.
    pub text: String,
}

impl Notice {
    pub(super) fn trouble(kind: &'static str, text: String) -> Self {
        Self { kind, is_trouble: true, text }
    }

    pub(super) fn good(kind: &'static str, text: String) -> Self {
        Self { kind, is_trouble: false, text }
    }
}
