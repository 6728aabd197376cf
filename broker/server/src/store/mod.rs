//! The SQLite store: what lasts, in one file, behind the engine's trait `Store`. DESIGN.md has the
//! whole of it.
//!
//! `open` gives a handle a shard, what lasted, and a `StoreControl`. Two threads belong to an open
//! store: the writer, which alone changes the file, and the reader, which brings messages back.

mod backup;
mod clock;
mod compaction;
mod config;
mod control;
mod counters;
mod damage;
mod database;
mod error;
mod exchange;
mod failure;
mod fetches;
mod group;
mod handle;
mod ledger;
mod lock;
mod log;
mod op;
mod open;
mod outlet;
mod pending;
mod profile;
mod reader;
mod receivers;
mod recovery;
mod reserve;
mod salvage;
mod schema;
mod segment;
mod shared;
mod varint;
mod wal;
mod writer;

pub use clock::Times;
pub use config::{OnDamage, StoreConfig};
pub use control::StoreControl;
pub use counters::StoreStats;
pub use error::StoreError;
pub use open::{Opened, open};
pub use outlet::{Notice, Outlet};
pub use profile::Profile;
