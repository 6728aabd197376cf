//! MQTT and queue rules as a deterministic state machine: (state, event, time) → effects.
//! No sockets, no clock, no threads and no Python live here.
#![forbid(unsafe_code)]

pub mod codec;
pub mod host;
pub mod limits;
pub mod reason;
pub mod stats;
pub mod violation;
