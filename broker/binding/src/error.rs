//! `EngineError`: what the server refuses and what must not have happened, as one Python exception.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use server::ServerError;

/// The exception's class, made once: its root is Python's `QuantumMQError`.
static ENGINE_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Makes the class and adds it to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let class = ENGINE_ERROR.get_or_try_init(py, || {
        let root =
            py.import("quantummq.errors")?.getattr("QuantumMQError")?.cast_into::<PyType>()?;
        PyErr::new_type(
            py,
            c"quantummq._engine.EngineError",
            Some(c"The engine refused, or failed: the message says what, where and what to do."),
            Some(&root),
            None,
        )
    })?;
    module.add("EngineError", class.clone_ref(py))
}

/// An `EngineError` that says `text`.
pub fn engine_error(text: impl Into<String>) -> PyErr {
    let text = text.into();
    Python::attach(|py| match ENGINE_ERROR.get(py) {
        Some(class) => PyErr::from_type(class.bind(py).clone(), text),
        // Only before the module is imported, when nobody can call in.
        None => PyException::new_err(text),
    })
}

/// Runs `work` without the GIL. A panic in it becomes an `EngineError`.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    // Unwind safe: what `work` sees is the server, whose locks outlive a panic, and which is only
    // to be stopped after one.
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .map_err(|panic| engine_error(format!("internal error: {}", panic_text(&*panic))))
}

/// As `detached`, for work that the server may refuse.
pub fn attempt<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, ServerError> + Send,
) -> PyResult<T> {
    detached(py, work)?.map_err(|error| engine_error(error.to_string()))
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}
