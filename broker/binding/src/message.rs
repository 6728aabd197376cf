//! `Message`: an application message, the same in both directions.

use engine::codec::packet::UserProperties;
use engine::host::HostMessage;
use engine::topic::check_topic_name;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// The longest UTF-8 String and Binary Data of the standard (MQTT 5 §1.5.4, §1.5.6).
const LENGTH_MAX: usize = 65_535;

/// An application message; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct Message {
    /// All but the payload, which is empty here.
    head: HostMessage,
    /// Kept as Python's own, so that reading it twice copies it once.
    payload: Py<PyBytes>,
}

impl Message {
    /// Moves an engine's message to Python.
    pub fn from_host(py: Python<'_>, mut message: HostMessage) -> Self {
        let payload = std::mem::take(&mut message.payload);
        Self { head: message, payload: PyBytes::new(py, &payload).unbind() }
    }

    /// A copy for the engine.
    pub fn to_host(&self, py: Python<'_>) -> HostMessage {
        let mut message = self.head.clone();
        message.payload = self.payload.bind(py).as_bytes().into();
        message
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (*, topic, payload, qos = 0, retain = false, message_expiry_s = None,
        payload_is_utf8 = false, content_type = None, response_topic = None,
        correlation_data = None, user_properties = None))]
    #[allow(clippy::too_many_arguments, reason = "each is a keyword in Python")]
    fn new(
        topic: String,
        payload: Py<PyBytes>,
        qos: u8,
        retain: bool,
        message_expiry_s: Option<u32>,
        payload_is_utf8: bool,
        content_type: Option<String>,
        response_topic: Option<String>,
        correlation_data: Option<Vec<u8>>,
        user_properties: Option<Vec<(String, String)>>,
    ) -> PyResult<Self> {
        if qos > 2 {
            return Err(PyValueError::new_err(format!("qos: {qos} is not 0, 1 or 2")));
        }
        let properties = user_properties.unwrap_or_default();
        for part in properties.iter().flat_map(|(name, value)| [name, value]) {
            check_text("user_properties", part)?;
        }
        if let Some(topic) = &response_topic {
            check_topic_name(topic.as_bytes()).map_err(|violation| {
                PyValueError::new_err(format!("response_topic: {}", violation.detail))
            })?;
        }
        bounded("correlation_data", correlation_data.as_ref().map_or(0, Vec::len))?;
        let head = HostMessage {
            topic: text("topic", topic)?,
            payload: Box::default(),
            qos,
            retain,
            message_expiry_s,
            payload_is_utf8,
            content_type: content_type.map(|value| text("content_type", value)).transpose()?,
            response_topic: response_topic
                .map(|value| text("response_topic", value))
                .transpose()?,
            correlation_data: correlation_data.map(Vec::into_boxed_slice),
            user_properties: properties
                .into_iter()
                .map(|(name, value)| (name.into_boxed_str(), value.into_boxed_str()))
                .collect::<UserProperties>(),
        };
        Ok(Self { head, payload })
    }

    #[getter]
    fn topic(&self) -> &str {
        &self.head.topic
    }

    #[getter]
    fn payload(&self, py: Python<'_>) -> Py<PyBytes> {
        self.payload.clone_ref(py)
    }

    #[getter]
    fn qos(&self) -> u8 {
        self.head.qos
    }

    #[getter]
    fn retain(&self) -> bool {
        self.head.retain
    }

    #[getter]
    fn message_expiry_s(&self) -> Option<u32> {
        self.head.message_expiry_s
    }

    #[getter]
    fn payload_is_utf8(&self) -> bool {
        self.head.payload_is_utf8
    }

    #[getter]
    fn content_type(&self) -> Option<&str> {
        self.head.content_type.as_deref()
    }

    #[getter]
    fn response_topic(&self) -> Option<&str> {
        self.head.response_topic.as_deref()
    }

    #[getter]
    fn correlation_data<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.head.correlation_data.as_deref().map(|value| PyBytes::new(py, value))
    }

    #[getter]
    fn user_properties<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
        let pairs = self
            .head
            .user_properties
            .iter()
            .map(|(name, value)| (PyString::new(py, name), PyString::new(py, value)));
        pyo3::types::PyTuple::new(py, pairs.collect::<Vec<_>>())
    }

    fn __eq__(&self, other: &Self, py: Python<'_>) -> bool {
        self.head == other.head
            && self.payload.bind(py).as_bytes() == other.payload.bind(py).as_bytes()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!(
            "Message(topic={:?}, payload=<{} bytes>, qos={}, retain={})",
            self.head.topic,
            self.payload.bind(py).as_bytes().len(),
            self.head.qos,
            if self.head.retain { "True" } else { "False" },
        )
    }
}

/// A string for the wire.
fn text(name: &str, value: String) -> PyResult<Box<str>> {
    check_text(name, &value)?;
    Ok(value.into_boxed_str())
}

/// Its length must fit in two bytes, and it holds no null character [MQTT-1.5.4-2].
pub fn check_text(name: &str, value: &str) -> PyResult<()> {
    bounded(name, value.len())?;
    if value.contains('\0') {
        return Err(PyValueError::new_err(format!("{name}: a null character is not allowed")));
    }
    Ok(())
}

fn bounded(name: &str, length: usize) -> PyResult<()> {
    if length <= LENGTH_MAX {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("{name}: {length} bytes, at most {LENGTH_MAX} are allowed")))
}
