//! MQTT and queue rules as a deterministic state machine: (state, event, time) → effects.
//! No sockets, no clock, no threads and no Python live here.
#![forbid(unsafe_code)]

pub mod codec;
pub mod connection;
pub mod host;
mod host_message;
pub mod lasting;
pub mod limits;
pub mod message;
pub mod reason;
pub mod retained;
pub mod router;
pub mod session;
pub mod shard;
pub mod shared;
pub mod slots;
pub mod stats;
pub mod store;
mod timers;
pub mod topic;
pub mod violation;
