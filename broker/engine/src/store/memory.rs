//! The store that keeps nothing beyond the process: what lives in the engine is all there is.

use super::{Change, Store, Ticket};

/// Every change counts as committed at once.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn keeps(&self) -> bool {
        false
    }

    fn write(&mut self, _change: &Change<'_>) -> Ticket {
        Ticket::default()
    }

    fn committed(&self) -> Ticket {
        Ticket::default()
    }
}
