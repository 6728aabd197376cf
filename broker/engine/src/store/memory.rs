//! The store that keeps nothing beyond the process: what lives in the engine is all there is.

use super::{Change, Fetch, Health, SessionId, Store, Ticket};

/// Every change counts as committed at once.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn keeps(&self) -> bool {
        false
    }

    fn write(&mut self, _change: Change) -> Ticket {
        Ticket::default()
    }

    fn begin(&mut self) {}

    fn end(&mut self) {}

    fn flush(&mut self) {}

    fn fetch(&mut self, _fetch: Fetch) {}

    fn new_session(&mut self) -> SessionId {
        SessionId::default()
    }

    fn health(&self) -> Health {
        Health::Sound
    }
}
