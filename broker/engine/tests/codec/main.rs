//! The codec against one table of annotated bytes ↔ packets, against a table of malformed ones,
//! and against what mutation makes of both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test reports, and the mutation reports its progress"
)]

mod corpus;
mod invariants;
mod malformed;
mod mutation;
mod sizes;
mod table;
mod topics;
mod vector;
mod vectors;
