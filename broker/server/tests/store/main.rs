//! The SQLite store: real files in folders of their own, through what the server uses.

// In tests a panic is the report; clippy knows that of `#[test]` functions only.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod bench;
mod compaction;
mod damage;
mod fixture;
mod full;
mod messages;
mod sessions;
mod time;
mod trouble;
