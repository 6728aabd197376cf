//! Event loops, listeners and transports around the engine: sockets, clocks and threads live here,
//! MQTT's rules and Python do not.
//!
//! [`Server`] is what the binding uses. Each shard has one thread, an [`event_loop`], which owns
//! the engine's shard and its connections; the shards share what is in [`hub`] and send each other
//! letters through a [`mailbox`].
#![forbid(unsafe_code)]

mod clock;
pub mod config;
mod durable;
mod error;
mod event_loop;
mod host_queue;
mod hub;
mod layers;
mod listener;
mod mailbox;
#[cfg(test)]
mod mutation;
mod proxy;
mod rendezvous;
mod server;
mod socket;
pub mod store;
mod tls;
mod transport;
mod websocket;

pub use config::{
    Address, ClientCertificate, ListenerConfig, Network, ServerConfig, TlsConfig, TlsVersion,
    WebSocketConfig,
};
pub use error::ServerError;
pub use server::Server;
