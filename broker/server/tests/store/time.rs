//! Store time across restarts: what is left of an expiry, how long a session is gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::message::{Message, Publication};
use engine::store::{Change, SessionId};
use server::store::StoreConfig;

use crate::fixture::{Bench, Clocks, append, receivers, session};

/// A session that left at 20 s of engine time, and a message for it that expires at 90 s; the
/// commit is at 30 s.
fn leave(folder: &Path, clocks: &Arc<Clocks>) {
    clocks.engine_ms.store(30_000, Ordering::SeqCst);
    clocks.wall_ms.store(1_000_000_000, Ordering::SeqCst);
    let mut bench = Bench::open_with(StoreConfig::new(folder), clocks);
    let expiring = Message::new(&Publication {
        topic: b"a",
        properties: b"",
        payload: b"1",
        qos: 1,
        retain: false,
        expires_at_ms: 90_000,
    });
    let (_, appended) = append(expiring, receivers(&[1], 1));
    let left = Change::SessionLeft { id: SessionId(1), expiry_s: 3_600, now_ms: 20_000 };
    bench.write([session(1), left, appended]);
}

/// What is left of the message's life, and how long the session is gone, at the next start.
fn next_start(folder: &Path, clocks: &Arc<Clocks>) -> (u64, u64) {
    // The machine was booted anew.
    clocks.engine_ms.store(500, Ordering::SeqCst);
    let bench = Bench::open_with(StoreConfig::new(folder), clocks);
    let found = &bench.recovered.sessions[0];
    (found.deliveries[0].expires_at_ms - 500, found.gone_ms)
}

#[test]
fn the_time_off_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let clocks = Arc::default();
    leave(folder.path(), &clocks);

    clocks.wall_ms.fetch_add(15_000, Ordering::SeqCst);

    assert_eq!(next_start(folder.path(), &clocks), (45_000, 25_000));
}

#[test]
fn a_wall_clock_that_went_back_counts_as_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let clocks = Arc::default();
    leave(folder.path(), &clocks);

    clocks.wall_ms.fetch_sub(15_000, Ordering::SeqCst);

    assert_eq!(next_start(folder.path(), &clocks), (60_000, 10_000));
}

#[test]
fn a_clock_that_is_not_synchronised_counts_as_no_time() {
    for was_before in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let clocks: Arc<Clocks> = Arc::default();
        clocks.unsynchronised.store(was_before, Ordering::SeqCst);
        leave(folder.path(), &clocks);

        clocks.wall_ms.fetch_add(15_000, Ordering::SeqCst);
        clocks.unsynchronised.store(!was_before, Ordering::SeqCst);

        assert_eq!(next_start(folder.path(), &clocks), (60_000, 10_000));
    }
}
