//! When it goes wrong: locks and snapshots of others, statements that fail, two brokers.

use std::sync::Arc;

use engine::store::{Change, Health, SessionId};
use rusqlite::Connection;
use server::store::{StoreConfig, StoreError, open};

use crate::fixture::{Bench, Clocks, Ear, append, message, receivers, session, waiting};

fn wait_for(bench: &Bench, health: Health) {
    bench.ear.wait("a change of health", |said| (said.health == health).then_some(()));
}

fn notice(bench: &Bench, kind: &str) -> String {
    bench.ear.wait(kind, |said| {
        let found = said.notices.iter().find(|notice| notice.kind == kind)?;
        Some(found.text.clone())
    })
}

#[test]
fn a_second_broker_in_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(folder.path());

    let times = Arc::new(Clocks::default()) as _;
    let second = open(StoreConfig::new(folder.path()), 1, &times, Arc::new(Ear::default()));

    let Err(StoreError::Locked { holder, .. }) = second else { panic!("not refused") };
    assert_eq!(holder, format!(" (process {})", std::process::id()));
    drop(bench.reopen(folder.path()));
}

#[test]
fn a_snapshot_of_someone_else_bounds_the_write_ahead_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = StoreConfig::new(folder.path());
    config.wal_bytes_max = 1 << 20;
    let mut bench = Bench::open_with(config, &Arc::default());
    bench.write([session(1)]);
    let other = Connection::open(folder.path().join("quantummq.db")).expect("opens");
    other.execute_batch("BEGIN; SELECT * FROM session").expect("a snapshot");

    let mut written = 0_u64;
    while bench.stores[0].health() == Health::Sound && written < 4 << 20 {
        let (_, change) = append(message(b"a", &vec![1; 65_000], 1), receivers(&[1], 1));
        bench.write([change]);
        written += 65_000;
    }

    assert!(notice(&bench, "store_held").contains("snapshot is held open by another process"));
    // What makes room still commits.
    bench.write([Change::Unsubscribed { id: SessionId(1), filter: "a".into() }]);
    other.execute_batch("COMMIT").expect("the end of the snapshot");
    wait_for(&bench, Health::Sound);
    assert!(written < 2 << 20, "{written} bytes were taken");
}

#[test]
fn a_write_lock_of_someone_else_is_waited_for_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let other = Connection::open(folder.path().join("quantummq.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");

    let ticket = bench.begin_on(0, [session(1)]);

    assert!(notice(&bench, "store_locked").contains("locked for writing by another process"));
    wait_for(&bench, Health::Full);
    other.execute_batch("COMMIT").expect("the end of the lock");
    bench.wait(ticket);
    wait_for(&bench, Health::Sound);
}

#[test]
fn a_group_that_fails_is_kept_and_commits_when_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    let path = folder.path().join("quantummq.db");
    let other = Connection::open(&path).expect("opens");
    other.execute_batch("ALTER TABLE segment RENAME TO gone").expect("it is gone");

    let (held, change) = append(message(b"a", b"1", 1), receivers(&[1], 1));
    let first = bench.begin_on(0, [change]);
    notice(&bench, "store_stopped");
    wait_for(&bench, Health::Stopped);
    let second = bench.begin_on(1, [session(2)]);
    other.execute_batch("ALTER TABLE gone RENAME TO segment").expect("it is back");
    drop(other);

    bench.wait(first.max(second));
    wait_for(&bench, Health::Sound);
    let bench = bench.reopen(folder.path());
    assert_eq!(waiting(&bench.recovered, 1), [(held.number(), 0)]);
    assert_eq!(bench.recovered.sessions.len(), 2);
}

#[test]
fn a_store_that_cannot_commit_stops_all_the_same_and_promises_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    let path = folder.path().join("quantummq.db");
    let other = Connection::open(&path).expect("opens");
    other.execute_batch("ALTER TABLE session RENAME TO gone").expect("it is gone");
    let ticket = bench.begin_on(0, [session(2)]);
    notice(&bench, "store_stopped");

    bench.control.stop();

    bench.ear.wait("an end", |said| (said.committed < ticket.0).then_some(()));
    other.execute_batch("ALTER TABLE gone RENAME TO session").expect("it is back");
    drop(other);
    assert_eq!(bench.reopen(folder.path()).recovered.sessions.len(), 1);
}

#[test]
fn a_backup_is_whole_and_has_what_was_committed_before_it_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    for _ in 0..100 {
        let (_, change) = append(message(b"a", &vec![1; 60_000], 1), receivers(&[1], 1));
        bench.write([change]);
    }
    let copy = tempfile::tempdir().expect("another folder");

    let to = copy.path().join("quantummq.db");
    bench.control.backup(to).expect("a copy");

    let restored = Bench::open(copy.path());
    assert_eq!(waiting(&restored.recovered, 1), waiting(&bench.reopen(folder.path()).recovered, 1));
    assert_eq!(restored.recovered.sessions[0].deliveries.len(), 100);
}
