//! `Engine`: the server behind its Python handle. No method keeps the GIL while it waits.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use engine::host::{HostCommand, HostRecord, HostWindow};
use engine::stats::Counters;
use engine::topic::parse_filter;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use server::{ListenerConfig, Server, ServerConfig};

use crate::authentication::{AuthenticationAnswer, AuthenticationRequest};
use crate::error::{attempt, detached, engine_error};
use crate::message::Message;
use crate::options::{EngineOptions, ListenerOptions, TlsOptions};
use crate::records::{Completion, Counter, Delivery, Event, Failure, Sessions};
use crate::store::StoreOptions;

/// The server and what Python subscribed to; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct Engine {
    config: ServerConfig,
    listeners: Vec<ListenerConfig>,
    server: OnceLock<Server>,
    /// By subscription id.
    windows: Mutex<HashMap<u64, Arc<HostWindow>>>,
}

impl Engine {
    fn server(&self) -> PyResult<&Server> {
        self.server.get().ok_or_else(|| engine_error("the engine is not started; call start()"))
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<u64, Arc<HostWindow>>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, py: Python<'_>, command: HostCommand) -> PyResult<()> {
        let server = self.server()?;
        detached(py, || server.command(command))
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (options, listeners, store))]
    fn new(
        options: &EngineOptions,
        listeners: Vec<PyRef<'_, ListenerOptions>>,
        store: Option<PyRef<'_, StoreOptions>>,
    ) -> Self {
        let store = store.map(|store| store.config.clone());
        Self {
            config: ServerConfig { store, ..options.config.clone() },
            listeners: listeners.into_iter().map(|listener| listener.config.clone()).collect(),
            server: OnceLock::new(),
            windows: Mutex::default(),
        }
    }

    fn start(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        if self.server.get().is_some() {
            return Err(engine_error("the engine is started already"));
        }
        let server = attempt(py, || Server::start(&self.config, &self.listeners))?;
        let addresses = server.addresses();
        if self.server.set(server).is_err() {
            // The other caller's server stays; ours ends as it is dropped.
            return Err(engine_error("the engine is started already"));
        }
        Ok(addresses)
    }

    fn fileno(&self) -> PyResult<i32> {
        Ok(self.server()?.host_fd().as_raw_fd())
    }

    #[pyo3(signature = (maximum))]
    fn drain<'py>(&self, py: Python<'py>, maximum: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let server = self.server()?;
        let records = detached(py, || server.drain(maximum))?;
        to_python(py, records)
    }

    #[pyo3(signature = (on))]
    fn watch_events(&self, on: bool) -> PyResult<()> {
        self.server()?.watch_events(on);
        Ok(())
    }

    #[pyo3(signature = (answers))]
    fn answer(
        &self,
        py: Python<'_>,
        answers: Vec<PyRef<'_, AuthenticationAnswer>>,
    ) -> PyResult<()> {
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.to_host()).collect();
        let server = self.server()?;
        detached(py, || {
            for answer in answers {
                server.command(HostCommand::Answer(answer));
            }
        })
    }

    #[pyo3(signature = (token, messages))]
    fn publish(
        &self,
        py: Python<'_>,
        token: u64,
        messages: Vec<PyRef<'_, Message>>,
    ) -> PyResult<()> {
        let messages: Vec<_> = messages.into_iter().map(|message| message.to_host(py)).collect();
        if messages.is_empty() {
            return Err(PyValueError::new_err("messages: at least one is needed"));
        }
        self.command(py, HostCommand::Publish { token, messages })
    }

    #[pyo3(signature = (subscription, topic_filter))]
    fn subscribe(&self, py: Python<'_>, subscription: u64, topic_filter: String) -> PyResult<()> {
        let window = Arc::new(HostWindow::default());
        if self.windows().insert(subscription, Arc::clone(&window)).is_some() {
            return Err(engine_error(format!("subscription {subscription} exists already")));
        }
        let filter = topic_filter.into_boxed_str();
        self.command(py, HostCommand::Subscribe { id: subscription, filter, window })
    }

    #[pyo3(signature = (subscription))]
    fn unsubscribe(&self, py: Python<'_>, subscription: u64) -> PyResult<()> {
        if self.windows().remove(&subscription).is_none() {
            return Ok(());
        }
        self.command(py, HostCommand::Unsubscribe { id: subscription })
    }

    #[pyo3(signature = (subscription, size))]
    fn release(&self, subscription: u64, size: u64) {
        if let Some(window) = self.windows().get(&subscription) {
            window.release(size);
        }
    }

    #[pyo3(signature = (subscription))]
    fn dropped(&self, subscription: u64) -> u64 {
        self.windows().get(&subscription).map_or(0, |window| window.dropped.load(Ordering::Relaxed))
    }

    #[pyo3(signature = (topic_filter, maximum))]
    fn retained(
        &self,
        py: Python<'_>,
        topic_filter: &str,
        maximum: usize,
    ) -> PyResult<Vec<Message>> {
        let server = self.server()?;
        let is_whole = parse_filter(topic_filter).is_ok_and(|parsed| parsed.share.is_none());
        if !is_whole {
            let text = "topic_filter: it is no Topic Filter, or a shared one";
            return Err(PyValueError::new_err(text));
        }
        let messages = detached(py, || server.retained(topic_filter, maximum))?;
        Ok(messages.into_iter().map(|message| Message::from_host(py, message)).collect())
    }

    #[pyo3(signature = (token))]
    fn sessions(&self, py: Python<'_>, token: u64) -> PyResult<u16> {
        self.command(py, HostCommand::Sessions { token })?;
        Ok(self.server()?.shard_count())
    }

    fn counters(&self, py: Python<'_>) -> PyResult<Vec<Counter>> {
        let server = self.server()?;
        let values = detached(py, || server.counters())?.values();
        let named = Counters::NAMES.iter().zip(values);
        Ok(named.map(|(name, value)| Counter::new(name, value)).collect())
    }

    #[pyo3(signature = (listener, tls))]
    fn reload_tls(&self, py: Python<'_>, listener: &str, tls: &TlsOptions) -> PyResult<()> {
        let server = self.server()?;
        attempt(py, || server.reload_tls(listener, &tls.config))
    }

    #[pyo3(signature = (milliseconds))]
    fn advance(&self, py: Python<'_>, milliseconds: u64) -> PyResult<()> {
        let server = self.server()?;
        detached(py, || server.advance(milliseconds))
    }

    #[pyo3(signature = (deadline_ms))]
    fn stop(&self, py: Python<'_>, deadline_ms: u64) -> PyResult<bool> {
        let server = self.server()?;
        detached(py, || server.stop(Duration::from_millis(deadline_ms)))
    }
}

/// Records as Python objects. All deliveries of one subscription become one record, at the place
/// of the first.
fn to_python(py: Python<'_>, records: Vec<HostRecord>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    enum Slot<'py> {
        Ready(Bound<'py, PyAny>),
        Delivery(u64),
    }
    let mut slots = Vec::with_capacity(records.len());
    let mut deliveries: HashMap<u64, (Vec<Message>, u64)> = HashMap::new();
    for record in records {
        let ready = match record {
            HostRecord::Delivery { id, message, bytes } => {
                let (messages, total) = deliveries.entry(id).or_insert_with(|| {
                    slots.push(Slot::Delivery(id));
                    (Vec::new(), 0)
                });
                messages.push(Message::from_host(py, message));
                *total += bytes;
                continue;
            }
            HostRecord::Event(event) => Bound::new(py, Event::from(event))?.into_any(),
            HostRecord::Authenticate(request) => {
                Bound::new(py, AuthenticationRequest::from(request))?.into_any()
            }
            HostRecord::Completion { token, reason } => {
                Bound::new(py, Completion::new(token, reason.0))?.into_any()
            }
            HostRecord::Failed { detail } => {
                Bound::new(py, Failure::new(detail.into_string()))?.into_any()
            }
            HostRecord::Sessions { token, sessions } => {
                Bound::new(py, Sessions::new(py, token, sessions)?)?.into_any()
            }
        };
        slots.push(Slot::Ready(ready));
    }
    let mut objects = Vec::with_capacity(slots.len());
    for slot in slots {
        match slot {
            Slot::Ready(object) => objects.push(object),
            Slot::Delivery(id) => {
                if let Some((messages, bytes)) = deliveries.remove(&id) {
                    let delivery = Delivery::new(py, id, messages, bytes)?;
                    objects.push(Bound::new(py, delivery)?.into_any());
                }
            }
        }
    }
    Ok(objects)
}
