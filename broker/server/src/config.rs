//! What a server is started with. One parse happens at the edge, in Python; here are the results.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use engine::limits::{Limits, ListenerProfile};

use crate::store::StoreConfig;

/// What holds for the whole server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Event loops, one thread each; at least one.
    pub shards: u16,
    /// The CPU of each shard's thread; empty: the kernel chooses.
    pub pin_cpus: Vec<usize>,
    /// The engine's bounds.
    pub limits: Limits,
    /// Seed of whatever the engine draws.
    pub seed: u64,
    /// Time stands still but for `Server::advance`.
    pub manual_clock: bool,
    /// Connections in all; one above it is accepted and closed at once.
    pub max_connections: u32,
    /// Where what lasts is kept; `None`: nowhere.
    pub store: Option<StoreConfig>,
    /// Whether the kernel says that the wall clock is right.
    pub is_synchronised: fn() -> bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            pin_cpus: Vec::new(),
            limits: Limits::default(),
            seed: 0,
            manual_clock: false,
            max_connections: 10_000,
            store: None,
            is_synchronised: || true,
        }
    }
}

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// What the engine grants to those who connect here; its name is the listener's.
    pub profile: ListenerProfile,
    /// Where it listens.
    pub address: Address,
    /// Length of the kernel's accept queue; raised to 1,024 if lower.
    pub backlog: u32,
    /// Certificate and key, if it speaks TLS.
    pub tls: Option<TlsConfig>,
    /// MQTT without WebSocket is accepted.
    pub mqtt: bool,
    /// MQTT in WebSocket is accepted. With `mqtt` too, the first byte tells them apart.
    pub websocket: Option<WebSocketConfig>,
    /// If set, every connection begins with a PROXY header, and only these may send one.
    pub proxy_trusted: Option<Vec<Network>>,
    /// Connections through this listener; one above it is accepted and closed at once.
    pub max_connections: u32,
}

impl ListenerConfig {
    /// A plain MQTT listener with defaults.
    pub fn tcp(name: &str, address: SocketAddr) -> Self {
        Self {
            profile: ListenerProfile { name: name.into(), ..ListenerProfile::default() },
            address: Address::Tcp(address),
            backlog: 1024,
            tls: None,
            mqtt: true,
            websocket: None,
            proxy_trusted: None,
            max_connections: u32::MAX,
        }
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IPv4 or IPv6; port 0 lets the kernel choose. `[::]` also takes IPv4, unless another listener
    /// has `0.0.0.0` with the same port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// A socket file there that nobody listens on is replaced.
        path: PathBuf,
        /// Permission bits of the socket file.
        mode: u32,
    },
}

/// Certificate, key and what is asked of clients.
#[derive(Clone)]
pub struct TlsConfig {
    /// The certificate, then its intermediates, PEM.
    pub certificate_chain_pem: Vec<u8>,
    /// PKCS#8, PKCS#1 or SEC1, PEM.
    pub private_key_pem: Vec<u8>,
    /// The authorities that client certificates come from, PEM.
    pub client_ca_pem: Option<Vec<u8>>,
    /// Whether clients show a certificate.
    pub client_certificate: ClientCertificate,
    /// The oldest version spoken.
    pub minimum_version: TlsVersion,
}

impl std::fmt::Debug for TlsConfig {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsConfig")
            .field("client_certificate", &self.client_certificate)
            .field("minimum_version", &self.minimum_version)
            .finish_non_exhaustive()
    }
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Not asked for.
    None,
    /// Asked for; verified if shown.
    Optional,
    /// Without one the handshake fails.
    Required,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// How WebSocket requests are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// The only path answered; others get 404. `None`: any.
    pub path: Option<String>,
    /// Origins let in, compared without case; a request with any other Origin header gets 403.
    /// `*` lets in every page.
    pub allowed_origins: Vec<String>,
}

/// An address range: `192.0.2.0/24`, `2001:db8::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `None` if the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether `peer` is in the range; an IPv4 address inside IPv6 counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(peer)) => {
                let shift = 32 - u32::from(self.prefix);
                let differing = network.to_bits() ^ peer.to_bits();
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(peer)) => {
                let shift = 128 - u32::from(self.prefix);
                let differing = network.to_bits() ^ peer.to_bits();
                differing.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: not an address range such as 192.0.2.0/24 or ::1");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        Self::new(address, prefix.unwrap_or(whole)).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let cases = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
        ];
        for (network, address, inside) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network:?} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "/8", "192.0.2.0/33", "::/129", "192.0.2/24", "localhost", "::1/x"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
