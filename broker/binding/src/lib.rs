//! The Python door to the server: the only crate that names PyO3. What crosses is bytes, str, int
//! and frozen records, in batches; `quantummq/_engine.pyi` is the contract.

mod authentication;
mod engine;
mod error;
mod message;
mod options;
mod records;
mod store;

use pyo3::prelude::*;

/// `quantummq._engine`, the native module.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    error::register(module)?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<options::EngineOptions>()?;
    module.add_class::<options::ListenerOptions>()?;
    module.add_class::<options::TlsOptions>()?;
    module.add_class::<store::StoreOptions>()?;
    module.add_class::<message::Message>()?;
    module.add_class::<authentication::AuthenticationRequest>()?;
    module.add_class::<authentication::AuthenticationAnswer>()?;
    module.add_class::<records::Event>()?;
    module.add_class::<records::Delivery>()?;
    module.add_class::<records::Completion>()?;
    module.add_class::<records::Failure>()?;
    module.add_class::<records::SessionInfo>()?;
    module.add_class::<records::Sessions>()?;
    module.add_class::<records::Counter>()?;
    Ok(())
}
