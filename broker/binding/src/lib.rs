//! The Python door to the server: the only crate that names PyO3.

use pyo3::prelude::*;

/// `quantummq._engine`, the native module.
#[pymodule]
fn _engine(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
