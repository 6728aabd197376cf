//! Opens a store: the folder's lock, the file and its schema, what lasted, the threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use engine::store::{Health, Recovered, Store};
use rusqlite::Connection;

use super::clock::{StoreClock, Times};
use super::config::{OnDamage, StoreConfig};
use super::control::StoreControl;
use super::damage;
use super::database::{State, open_writer};
use super::error::{StoreError, Trouble};
use super::handle::ShardStore;
use super::lock::FolderLock;
use super::log::Log;
use super::outlet::{Notice, Outlet};
use super::reader::{Reader, ReaderSlot};
use super::recovery::recover;
use super::reserve::Reserve;
use super::salvage;
use super::schema::migrate;
use super::shared::Shared;
use super::writer::{Parts, Writer};

/// A store that is open.
#[derive(Debug)]
pub struct Opened {
    /// One handle a shard.
    pub stores: Vec<Box<dyn Store>>,
    /// What lasted.
    pub recovered: Recovered,
    /// For the server.
    pub control: StoreControl,
}

/// What was read of a file.
struct Found {
    connection: Connection,
    log: Log,
    recovered: Recovered,
    state: State,
}

/// Opens the store in a folder for so many shards.
///
/// # Errors
/// Another broker has the folder, the file is of a newer version, it is damaged and `on_damage`
/// says stop, or the system refuses.
pub fn open(
    config: StoreConfig,
    shards: u16,
    times: &Arc<dyn Times>,
    outlet: Arc<dyn Outlet>,
) -> Result<Opened, StoreError> {
    let lock = FolderLock::take(&config.folder)?;
    let mut reserve = Reserve::new(&config.folder, config.reserve_bytes);
    let found = match find(&config, times, &*outlet) {
        // Opening takes room, too.
        Err(error) if error.is(Trouble::Full) && reserve.discard() => {
            find(&config, times, &*outlet)?
        }
        outcome => outcome?,
    };
    let Found { connection, log, recovered, state } = found;
    let shared = Arc::new(Shared::new(shards, &state, config.pending_bytes_max, outlet));
    if let Err(error) = reserve.make() {
        let text = format!(
            "the disk of {} has no room for the store's reserve of {} MiB ({error}): new messages, \
             subscriptions and lasting sessions are refused until there is room",
            config.folder.display(),
            config.reserve_bytes >> 20
        );
        shared.set_health(Health::Full, Notice::trouble("store_full", text));
    }
    let slot = Arc::new(ReaderSlot::new(config.path()));
    let reader = Reader::new(Arc::clone(&shared), Arc::clone(&slot), log.clock.clone());
    let (sender, orders) = channel();
    let parts = Parts {
        shared: Arc::clone(&shared),
        config,
        log,
        connection,
        reader: slot,
        reserve,
        group: state.group,
        orders,
    };
    let writer = spawn("store-writer", move || write(parts))?;
    shared.set_writer(writer.thread().clone());
    let reader = spawn("store-reader", move || reader.run())?;
    let handle =
        |shard| -> Box<dyn Store> { Box::new(ShardStore::new(shard, Arc::clone(&shared))) };
    Ok(Opened {
        stores: (0..shards).map(handle).collect(),
        recovered,
        control: StoreControl::new(shared, sender, vec![writer, reader], lock),
    })
}

/// The writer's thread. Should it ever panic, nothing is acknowledged any more; people are told.
fn write(parts: Parts) {
    let shared = Arc::clone(&parts.shared);
    let run = AssertUnwindSafe(|| Writer::new(parts).run());
    if catch_unwind(run).is_err() {
        let text =
            "the store's writer failed, which is a defect of the broker: nothing that needs \
            the store is acknowledged until it is restarted"
                .to_owned();
        shared.set_health(Health::Stopped, Notice::trouble("store_stopped", text));
        shared.fetches.stop();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(StoreError::system(Path::new(name), "start its thread"))
}

/// Reads the file; a damaged one is set aside first.
fn find(
    config: &StoreConfig,
    times: &Arc<dyn Times>,
    outlet: &dyn Outlet,
) -> Result<Found, StoreError> {
    let path = config.path();
    let why = if damage::is_marked(&path) {
        "it was found while the broker ran".to_owned()
    } else {
        match read(config, times, outlet) {
            Err(error) if error.is(Trouble::Damaged) => error.to_string(),
            outcome => return outcome,
        }
    };
    if config.on_damage == OnDamage::Stop {
        return Err(StoreError::Damaged { path, why });
    }
    let aside = damage::set_aside(&path, times.wall_ms())?;
    let connection = connect(config, outlet)?;
    let saved = salvage::save(&aside, &connection)
        .map_err(StoreError::sqlite(&path, "save what can be read of the damaged file"))?;
    let text = format!(
        "{} was damaged ({why}): it is set aside as {}, and {saved}",
        path.display(),
        aside.display()
    );
    outlet.notice(Notice::trouble("store_damaged", text));
    read_from(connection, config, times)
}

fn read(
    config: &StoreConfig,
    times: &Arc<dyn Times>,
    outlet: &dyn Outlet,
) -> Result<Found, StoreError> {
    read_from(connect(config, outlet)?, config, times)
}

fn connect(config: &StoreConfig, outlet: &dyn Outlet) -> Result<Connection, StoreError> {
    let path = config.path();
    let connection =
        open_writer(&path, config.profile).map_err(StoreError::sqlite(&path, "open it"))?;
    if let Some(backup) = migrate(&connection, &path)? {
        let text = format!(
            "{} was changed to a newer schema; as it was before it is in {}",
            path.display(),
            backup.display()
        );
        outlet.notice(Notice::good("store_migrated", text));
    }
    Ok(connection)
}

fn read_from(
    connection: Connection,
    config: &StoreConfig,
    times: &Arc<dyn Times>,
) -> Result<Found, StoreError> {
    let path = config.path();
    let refused = || StoreError::sqlite(&path, "read it");
    let state = State::read(&connection).map_err(refused())?;
    let clock = StoreClock::resume(Arc::clone(times), state.stamp);
    let (log, recovered) = recover(&connection, clock, &state).map_err(refused())?;
    Ok(Found { connection, log, recovered, state })
}
