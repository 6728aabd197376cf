//! What an engine is made from: limits, listeners, certificates. The defaults live in Python's
//! configuration, so every field is asked for here.

use engine::limits::{Limits, ListenerProfile, Overflow};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use server::{
    Address, ClientCertificate, ListenerConfig, Network, ServerConfig, TlsConfig, TlsVersion,
    WebSocketConfig,
};

/// What holds for the whole engine; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct EngineOptions {
    /// As the server takes it.
    pub config: ServerConfig,
}

#[pymethods]
impl EngineOptions {
    #[new]
    #[pyo3(signature = (*, shards, pin_cpus, seed, manual_clock, connections, sessions,
        session_queue_messages, session_queue_bytes, session_queue_overflow,
        queued_messages, queued_bytes, queued_memory_bytes,
        subscriptions_per_session, subscriptions, subscription_bytes_per_session,
        subscription_bytes, retained_messages, retained_bytes, output_bytes,
        output_bytes_total, input_bytes_total, match_cache_entries, host_records,
        host_subscription_bytes,
        authentications, decision_timeout_ms))]
    #[allow(clippy::too_many_arguments, reason = "each is a keyword in Python")]
    fn new(
        shards: u16,
        pin_cpus: Vec<usize>,
        seed: u64,
        manual_clock: bool,
        connections: u32,
        sessions: u32,
        session_queue_messages: u32,
        session_queue_bytes: u64,
        session_queue_overflow: &str,
        queued_messages: u64,
        queued_bytes: u64,
        queued_memory_bytes: u64,
        subscriptions_per_session: u32,
        subscriptions: u32,
        subscription_bytes_per_session: u64,
        subscription_bytes: u64,
        retained_messages: u32,
        retained_bytes: u64,
        output_bytes: u32,
        output_bytes_total: u64,
        input_bytes_total: u64,
        match_cache_entries: u32,
        host_records: u32,
        host_subscription_bytes: u64,
        authentications: u32,
        decision_timeout_ms: u64,
    ) -> PyResult<Self> {
        if shards == 0 {
            return Err(PyValueError::new_err("shards: at least one is needed"));
        }
        let limits = Limits {
            session_queue_messages,
            session_queue_bytes,
            session_queue_overflow: overflow(session_queue_overflow)?,
            queued_messages,
            queued_bytes,
            queued_memory_bytes,
            sessions,
            subscriptions_per_session,
            subscriptions,
            subscription_bytes_per_session,
            subscription_bytes,
            retained_messages,
            retained_bytes,
            output_bytes,
            output_bytes_total,
            input_bytes_total,
            match_cache_entries,
            host_records,
            host_subscription_bytes,
            authentications,
            decision_timeout_ms,
        };
        let max_connections = connections;
        Ok(Self {
            config: ServerConfig {
                shards,
                pin_cpus,
                limits,
                seed,
                manual_clock,
                max_connections,
                store: None,
                is_synchronised: crate::store::is_synchronised,
            },
        })
    }

    fn __repr__(&self) -> String {
        format!("EngineOptions(shards={})", self.config.shards)
    }
}

/// A listener; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct ListenerOptions {
    /// As the server takes it.
    pub config: ListenerConfig,
}

#[pymethods]
impl ListenerOptions {
    #[new]
    #[pyo3(signature = (*, name, address, unix_mode, backlog, connections, tls, mqtt, websocket,
        websocket_path, websocket_origins, proxy_trusted, mount_point, authenticate,
        enhanced_authentication, maximum_packet_size, receive_maximum, inflight_maximum,
        topic_alias_maximum, topic_alias_maximum_out, maximum_qos, retain_available,
        keep_alive_max_s, session_expiry_max_s, connect_timeout_ms, response_information,
        server_reference, redirect))]
    #[allow(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "each is a keyword in Python"
    )]
    fn new(
        name: String,
        address: &str,
        unix_mode: u32,
        backlog: u32,
        connections: u32,
        tls: Option<PyRef<'_, TlsOptions>>,
        mqtt: bool,
        websocket: bool,
        websocket_path: Option<String>,
        websocket_origins: Vec<String>,
        proxy_trusted: Option<Vec<String>>,
        mount_point: String,
        authenticate: bool,
        enhanced_authentication: bool,
        maximum_packet_size: u32,
        receive_maximum: u16,
        inflight_maximum: u16,
        topic_alias_maximum: u16,
        topic_alias_maximum_out: u16,
        maximum_qos: u8,
        retain_available: bool,
        keep_alive_max_s: u16,
        session_expiry_max_s: u32,
        connect_timeout_ms: u64,
        response_information: String,
        server_reference: String,
        redirect: u8,
    ) -> PyResult<Self> {
        if maximum_qos > 2 {
            return Err(PyValueError::new_err("maximum_qos: it is 0, 1 or 2"));
        }
        let profile = ListenerProfile {
            name: name.into(),
            mount_point: mount_point.into(),
            authenticate,
            enhanced_authentication,
            maximum_packet_size,
            receive_maximum,
            inflight_maximum,
            topic_alias_maximum,
            topic_alias_maximum_out,
            maximum_qos,
            retain_available,
            keep_alive_max_s,
            session_expiry_max_s,
            connect_timeout_ms,
            response_information: response_information.into(),
            server_reference: server_reference.into(),
            redirect,
        };
        let websocket = websocket.then_some(WebSocketConfig {
            path: websocket_path,
            allowed_origins: websocket_origins,
        });
        Ok(Self {
            config: ListenerConfig {
                profile,
                address: parse_address(address, unix_mode)?,
                backlog,
                tls: tls.map(|tls| tls.config.clone()),
                mqtt,
                websocket,
                proxy_trusted: proxy_trusted.map(parse_networks).transpose()?,
                max_connections: connections,
            },
        })
    }

    fn __repr__(&self) -> String {
        format!("ListenerOptions(name={:?})", self.config.profile.name)
    }
}

/// Certificates of a listener; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct TlsOptions {
    /// As the server takes it.
    pub config: TlsConfig,
}

#[pymethods]
impl TlsOptions {
    #[new]
    #[pyo3(signature = (*, certificate_chain, private_key, client_ca, client_certificate,
        minimum_version))]
    fn new(
        certificate_chain: Vec<u8>,
        private_key: Vec<u8>,
        client_ca: Option<Vec<u8>>,
        client_certificate: &str,
        minimum_version: &str,
    ) -> PyResult<Self> {
        let client_certificate = match client_certificate {
            "none" => ClientCertificate::None,
            "optional" => ClientCertificate::Optional,
            "require" => ClientCertificate::Required,
            other => return Err(unknown("client_certificate", other, "none, optional, require")),
        };
        let minimum_version = match minimum_version {
            "1.2" => TlsVersion::Tls12,
            "1.3" => TlsVersion::Tls13,
            other => return Err(unknown("minimum_version", other, "1.2, 1.3")),
        };
        Ok(Self {
            config: TlsConfig {
                certificate_chain_pem: certificate_chain,
                private_key_pem: private_key,
                client_ca_pem: client_ca,
                client_certificate,
                minimum_version,
            },
        })
    }

    /// Without the key.
    #[allow(clippy::unused_self, reason = "Python calls it on an instance")]
    fn __repr__(&self) -> &'static str {
        "TlsOptions()"
    }
}

fn unknown(name: &str, value: &str, known: &str) -> PyErr {
    PyValueError::new_err(format!("{name}: {value:?} is not one of {known}"))
}

/// `192.0.2.1:1883`, `[::1]:1883` or `unix:/run/q.sock`.
fn parse_address(text: &str, unix_mode: u32) -> PyResult<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix { path: path.into(), mode: unix_mode });
    }
    let address = text.parse().map_err(|_| {
        PyValueError::new_err(format!("address: {text:?} is not IP:PORT or unix:PATH"))
    })?;
    Ok(Address::Tcp(address))
}

fn parse_networks(texts: Vec<String>) -> PyResult<Vec<Network>> {
    let parse = |text: String| {
        text.parse().map_err(|why: String| PyValueError::new_err(format!("proxy_trusted: {why}")))
    };
    texts.into_iter().map(parse).collect()
}

/// What happens at a queue's limit, by its name in the configuration.
fn overflow(name: &str) -> PyResult<Overflow> {
    match name {
        "drop_oldest" => Ok(Overflow::DropOldest),
        "drop_newest" => Ok(Overflow::DropNewest),
        "reject" => Ok(Overflow::Reject),
        _ => {
            Err(PyValueError::new_err("session_queue_overflow: drop_oldest, drop_newest or reject"))
        }
    }
}
