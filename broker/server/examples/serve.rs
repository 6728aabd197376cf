//! A server without its host, for measuring: everyone is let in and nothing is decided.
//!
//!     serve [--shards N] [--cpu N]... [--tls CERTIFICATE KEY] [--websocket] ADDRESS

// An example speaks to a person at a terminal.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::net::SocketAddr;

use server::{
    ClientCertificate, ListenerConfig, Server, ServerConfig, TlsConfig, TlsVersion, WebSocketConfig,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = ServerConfig { max_connections: 100_000, ..ServerConfig::default() };
    let mut listener = ListenerConfig::tcp("bench", SocketAddr::from(([127, 0, 0, 1], 1883)));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--shards" => config.shards = value()?.parse()?,
            "--cpu" => config.pin_cpus.push(value()?.parse()?),
            "--websocket" => listener.websocket = Some(WebSocketConfig::default()),
            "--tls" => {
                listener.tls = Some(TlsConfig {
                    certificate_chain_pem: std::fs::read(value()?)?,
                    private_key_pem: std::fs::read(value()?)?,
                    client_ca_pem: None,
                    client_certificate: ClientCertificate::None,
                    minimum_version: TlsVersion::Tls12,
                });
            }
            address => listener.address = server::Address::Tcp(address.parse()?),
        }
    }
    let server = Server::start(config, &[listener])?;
    println!("{}", server.addresses().join(" "));
    loop {
        std::thread::sleep(std::time::Duration::from_millis(100));
        for record in server.drain(65_536) {
            if let engine::host::HostRecord::Failed { detail } = record {
                return Err(String::from(detail).into());
            }
        }
    }
}
