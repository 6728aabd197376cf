//! The question a parked connection asks, and the answer that lets it go on.

use engine::host::{self, AuthenticationStep, ConnectionRef, Verdict};
use engine::reason::ReasonCode;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::message::check_text;

/// A connection waits for a decision; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct AuthenticationRequest {
    request: host::AuthenticationRequest,
}

impl From<host::AuthenticationRequest> for AuthenticationRequest {
    fn from(request: host::AuthenticationRequest) -> Self {
        Self { request }
    }
}

#[pymethods]
impl AuthenticationRequest {
    #[getter]
    fn shard(&self) -> u16 {
        self.request.shard
    }

    #[getter]
    fn slot(&self) -> u32 {
        self.request.connection.slot
    }

    #[getter]
    fn generation(&self) -> u32 {
        self.request.connection.generation
    }

    #[getter]
    fn step(&self) -> &'static str {
        match self.request.step {
            AuthenticationStep::Connect => "connect",
            AuthenticationStep::Continue => "continue",
            AuthenticationStep::Reauthenticate => "reauthenticate",
        }
    }

    #[getter]
    fn client_id(&self) -> &str {
        &self.request.client_id
    }

    #[getter]
    fn username(&self) -> Option<&str> {
        self.request.username.as_deref()
    }

    #[getter]
    fn password<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.request.password.as_deref().map(|value| PyBytes::new(py, value))
    }

    #[getter]
    fn method(&self) -> Option<&str> {
        self.request.method.as_deref()
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.request.data.as_deref().map(|value| PyBytes::new(py, value))
    }

    #[getter]
    fn listener(&self) -> &str {
        &self.request.listener
    }

    #[getter]
    fn mount_point(&self) -> &str {
        &self.request.mount_point
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.request.peer.address
    }

    #[getter]
    fn certificate<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.request.peer.certificate.as_deref().map(|value| PyBytes::new(py, value))
    }

    #[getter]
    fn user(&self) -> &str {
        &self.request.user
    }

    #[getter]
    fn protocol_level(&self) -> u8 {
        self.request.protocol_level
    }

    /// Without password and Authentication Data.
    fn __repr__(&self) -> String {
        format!(
            "AuthenticationRequest(step={:?}, client_id={:?}, username={:?}, listener={:?}, \
             peer={:?})",
            self.step(),
            self.request.client_id,
            self.request.username,
            self.request.listener,
            self.request.peer.address,
        )
    }
}

/// What was decided about a request; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct AuthenticationAnswer {
    answer: host::AuthenticationAnswer,
}

impl AuthenticationAnswer {
    /// A copy for the engine.
    pub fn to_host(&self) -> host::AuthenticationAnswer {
        self.answer.clone()
    }

    fn to(request: &AuthenticationRequest, verdict: Verdict) -> Self {
        let ConnectionRef { slot, generation } = request.request.connection;
        Self {
            answer: host::AuthenticationAnswer {
                shard: request.request.shard,
                connection: ConnectionRef { slot, generation },
                verdict,
            },
        }
    }
}

#[pymethods]
impl AuthenticationAnswer {
    #[staticmethod]
    #[pyo3(signature = (request, *, user, data = None, assigned_client_id = None))]
    fn allow(
        request: &AuthenticationRequest,
        user: String,
        data: Option<Vec<u8>>,
        assigned_client_id: Option<String>,
    ) -> PyResult<Self> {
        if let Some(client_id) = &assigned_client_id {
            check_text("assigned_client_id", client_id)?;
            if client_id.is_empty() {
                return Err(PyValueError::new_err("assigned_client_id: it is empty"));
            }
        }
        let verdict = Verdict::Allow {
            user: user.into_boxed_str(),
            data: data.map(Vec::into_boxed_slice),
            assigned_client_id: assigned_client_id.map(String::into_boxed_str),
        };
        Ok(Self::to(request, verdict))
    }

    #[staticmethod]
    #[pyo3(signature = (request, *, data))]
    fn proceed(request: &AuthenticationRequest, data: Vec<u8>) -> Self {
        Self::to(request, Verdict::Continue { data: data.into_boxed_slice() })
    }

    #[staticmethod]
    #[pyo3(signature = (request, *, reason, reason_string = None))]
    fn refuse(
        request: &AuthenticationRequest,
        reason: u8,
        reason_string: Option<String>,
    ) -> PyResult<Self> {
        let reason = ReasonCode(reason);
        if !reason.is_error() {
            return Err(PyValueError::new_err("reason: a refusal is 0x80 or above"));
        }
        if let Some(text) = &reason_string {
            check_text("reason_string", text)?;
        }
        let reason_string = reason_string.map(String::into_boxed_str);
        Ok(Self::to(request, Verdict::Refuse { reason, reason_string }))
    }

    /// Without Authentication Data.
    fn __repr__(&self) -> String {
        match &self.answer.verdict {
            Verdict::Allow { user, .. } => format!("AuthenticationAnswer.allow(user={user:?})"),
            Verdict::Continue { .. } => "AuthenticationAnswer.proceed()".to_owned(),
            Verdict::Refuse { reason, .. } => {
                format!("AuthenticationAnswer.refuse(reason={:#04x})", reason.0)
            }
        }
    }
}
