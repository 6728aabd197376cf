//! A damaged file: set aside, what can be read is kept, or the broker does not start.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use server::store::{OnDamage, StoreConfig, StoreError, open};

use crate::fixture::{Bench, Clocks, Ear, append, message, receivers, session, waiting};

fn fill(folder: &Path) {
    let mut bench = Bench::open(folder);
    bench.write((1..=50).map(session));
    for _ in 0..20 {
        let (_, change) = append(message(b"a", &vec![1; 60_000], 1), receivers(&[1], 1));
        bench.write([change]);
    }
}

fn overwrite(folder: &Path, offset: u64) {
    let path = folder.join("quantummq.db");
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(&[0xA5; 4_096], offset).expect("written");
}

fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let is_aside = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.contains(".db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    };
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).filter(is_aside).collect()
}

#[test]
fn a_file_that_is_no_database_is_set_aside_and_the_store_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    overwrite(folder.path(), 0);

    let mut bench = Bench::open(folder.path());

    assert!(bench.recovered.sessions.is_empty());
    assert_eq!(set_aside(folder.path()).len(), 1);
    let told = bench.ear.wait("a notice", |said| said.notices.pop());
    assert!(told.is_trouble && told.text.contains("set aside"), "{told:?}");
    bench.write([session(1)]);
    assert_eq!(bench.reopen(folder.path()).recovered.sessions.len(), 1);
}

#[test]
fn what_can_be_read_of_a_damaged_file_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    let path = folder.path().join("quantummq.db");
    let page: u32 = {
        let connection = Connection::open(&path).expect("opens");
        let sql = "SELECT rootpage FROM sqlite_master WHERE name = 'subscription'";
        connection.query_row(sql, [], |row| row.get(0)).expect("a page")
    };
    overwrite(folder.path(), u64::from(page - 1) * 4_096);

    let mut bench = Bench::open(folder.path());

    assert_eq!(bench.recovered.sessions.len(), 50);
    let kept = waiting(&bench.recovered, 1);
    assert_eq!(kept.len(), 20);
    assert!(bench.fetch(&[kept[7].0])[0].1.is_some());
    let (held, change) = append(message(b"a", b"1", 1), receivers(&[1], 1));
    bench.write([change]);
    assert!(held.number() > kept[19].0 + 1_000_000, "{} may have been given", held.number());
}

#[test]
fn a_damaged_file_keeps_the_broker_from_starting_if_it_is_to() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    overwrite(folder.path(), 0);
    let config = StoreConfig { on_damage: OnDamage::Stop, ..StoreConfig::new(folder.path()) };

    let times = Arc::new(Clocks::default()) as _;
    let refused = open(config, 1, &times, Arc::new(Ear::default()));

    assert!(matches!(refused, Err(StoreError::Damaged { .. })));
    assert!(set_aside(folder.path()).is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("quantummq.db")).expect("a folder in its place");

    let times = Arc::new(Clocks::default()) as _;
    let refused = open(StoreConfig::new(folder.path()), 1, &times, Arc::new(Ear::default()));

    assert!(matches!(refused, Err(StoreError::Sqlite { .. })));
    assert!(folder.path().join("quantummq.db").is_dir());
}
