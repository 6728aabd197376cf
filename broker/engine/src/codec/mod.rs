//! Bytes to packets and back, for MQTT 5, 3.1.1 and 3.1. Knows packets one at a time; what a
//! packet may do in its session is decided in `shard`.

pub mod decode;
pub mod encode;
pub mod frame;
pub mod packet;
mod property;
mod reader;
