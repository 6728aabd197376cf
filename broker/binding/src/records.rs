//! What the engine tells Python besides questions: frozen records; see `_engine.pyi`.

use engine::host::{self, EventKind};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::message::Message;

/// Something happened.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct Event {
    event: host::Event,
}

impl From<host::Event> for Event {
    fn from(event: host::Event) -> Self {
        Self { event }
    }
}

#[pymethods]
impl Event {
    #[getter]
    fn time_ms(&self) -> u64 {
        self.event.time_ms
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.event.kind {
            EventKind::Connected => "connected",
            EventKind::Disconnected => "disconnected",
            EventKind::Refused => "refused",
            EventKind::Aborted => "aborted",
            EventKind::SessionEnded => "session_ended",
            EventKind::Subscribed => "subscribed",
            EventKind::Unsubscribed => "unsubscribed",
            EventKind::Store => "store",
            EventKind::Dropped => "dropped",
        }
    }

    #[getter]
    fn client_id(&self) -> &str {
        &self.event.client_id
    }

    #[getter]
    fn user(&self) -> &str {
        &self.event.user
    }

    #[getter]
    fn listener(&self) -> &str {
        &self.event.listener
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.event.peer
    }

    #[getter]
    fn reason(&self) -> u8 {
        self.event.reason.0
    }

    #[getter]
    fn detail(&self) -> &str {
        &self.event.detail
    }

    #[getter]
    fn count(&self) -> u64 {
        self.event.count
    }

    fn __repr__(&self) -> String {
        format!(
            "Event(kind={:?}, client_id={:?}, reason={:#04x}, detail={:?}, count={})",
            self.kind(),
            self.event.client_id,
            self.event.reason.0,
            self.event.detail,
            self.event.count,
        )
    }
}

/// Messages of one host subscription.
#[pyclass(frozen, get_all, module = "quantummq._engine")]
pub struct Delivery {
    subscription: u64,
    messages: Py<PyTuple>,
    bytes: u64,
}

impl Delivery {
    /// All that one `drain` found for a subscription, in order.
    pub fn new(
        py: Python<'_>,
        subscription: u64,
        messages: Vec<Message>,
        bytes: u64,
    ) -> PyResult<Self> {
        let messages = messages.into_iter().map(|message| Py::new(py, message));
        let messages = PyTuple::new(py, messages.collect::<PyResult<Vec<_>>>()?)?.unbind();
        Ok(Self { subscription, messages, bytes })
    }
}

/// A command is done.
#[pyclass(frozen, get_all, module = "quantummq._engine")]
pub struct Completion {
    token: u64,
    reason: u8,
}

impl Completion {
    /// As the engine says it.
    pub fn new(token: u64, reason: u8) -> Self {
        Self { token, reason }
    }
}

/// An event loop ended by a fault of ours.
#[pyclass(frozen, get_all, module = "quantummq._engine")]
pub struct Failure {
    detail: String,
}

impl Failure {
    /// What the fault said.
    pub fn new(detail: String) -> Self {
        Self { detail }
    }
}

/// A session as lists show it.
#[pyclass(frozen, get_all, module = "quantummq._engine")]
pub struct SessionInfo {
    client_id: String,
    mount_point: String,
    user: String,
    connected: bool,
    protocol_level: u8,
    peer: String,
    listener: String,
    session_expiry_s: u32,
    subscriptions: u32,
    queued_messages: u32,
    queued_bytes: u64,
    inflight: u32,
    dropped: u64,
}

impl From<host::SessionInfo> for SessionInfo {
    fn from(info: host::SessionInfo) -> Self {
        Self {
            client_id: info.client_id.into_string(),
            mount_point: info.mount_point.into_string(),
            user: info.user.into_string(),
            connected: info.connected,
            protocol_level: info.protocol_level,
            peer: info.peer.into_string(),
            listener: info.listener.into_string(),
            session_expiry_s: info.session_expiry_s,
            subscriptions: info.subscriptions,
            queued_messages: info.queued_messages,
            queued_bytes: info.queued_bytes,
            inflight: info.inflight,
            dropped: info.dropped,
        }
    }
}

#[pymethods]
impl SessionInfo {
    fn __repr__(&self) -> String {
        format!(
            "SessionInfo(client_id={:?}, connected={}, subscriptions={}, queued_messages={})",
            self.client_id,
            if self.connected { "True" } else { "False" },
            self.subscriptions,
            self.queued_messages,
        )
    }
}

/// The sessions of one shard.
#[pyclass(frozen, get_all, module = "quantummq._engine")]
pub struct Sessions {
    token: u64,
    sessions: Py<PyTuple>,
}

impl Sessions {
    /// A shard's answer.
    pub fn new(py: Python<'_>, token: u64, sessions: Vec<host::SessionInfo>) -> PyResult<Self> {
        let sessions = sessions.into_iter().map(|info| Py::new(py, SessionInfo::from(info)));
        let sessions = PyTuple::new(py, sessions.collect::<PyResult<Vec<_>>>()?)?.unbind();
        Ok(Self { token, sessions })
    }
}

/// A number that the engine keeps.
#[pyclass(frozen, get_all, module = "quantummq._engine")]
pub struct Counter {
    name: &'static str,
    value: u64,
}

impl Counter {
    /// One of `Counters::NAMES` with its value.
    pub fn new(name: &'static str, value: u64) -> Self {
        Self { name, value }
    }
}

#[pymethods]
impl Counter {
    fn __repr__(&self) -> String {
        format!("Counter(name={:?}, value={})", self.name, self.value)
    }
}
