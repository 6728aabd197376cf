//! What Python says of the store, and the one thing only the kernel knows.

use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use server::store::{OnDamage, Profile, StoreConfig};

/// Where what lasts is kept; see `_engine.pyi`.
#[pyclass(frozen, module = "quantummq._engine")]
pub struct StoreOptions {
    /// As the server takes it.
    pub config: StoreConfig,
}

#[pymethods]
impl StoreOptions {
    #[new]
    #[pyo3(signature = (*, folder, profile, stops_on_damage, reserve_bytes, wal_bytes_max))]
    fn new(
        folder: PathBuf,
        profile: &str,
        stops_on_damage: bool,
        reserve_bytes: u64,
        wal_bytes_max: u64,
    ) -> PyResult<Self> {
        let profile = match profile {
            "safe" => Profile::Safe,
            "card" => Profile::Card,
            "fast" => Profile::Fast,
            _ => return Err(PyValueError::new_err("profile: safe, card or fast")),
        };
        let on_damage = if stops_on_damage { OnDamage::Stop } else { OnDamage::Start };
        let config = StoreConfig::new(folder);
        Ok(Self {
            config: StoreConfig { profile, on_damage, reserve_bytes, wal_bytes_max, ..config },
        })
    }

    fn __repr__(&self) -> String {
        format!("StoreOptions(folder={})", self.config.folder.display())
    }
}

/// Whether the kernel says that the wall clock is synchronised (adjtimex(2)).
pub fn is_synchronised() -> bool {
    // SAFETY: a zeroed timex asks without changing anything, and it outlives the call.
    let state = unsafe {
        let mut asked: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut asked)
    };
    state >= 0 && state != libc::TIME_ERROR
}
