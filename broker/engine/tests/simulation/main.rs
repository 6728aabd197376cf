//! Random client histories on several shards against a reference model. Each history is made by
//! a seed; when one differs, its seed is printed and it is run again with all that happens.
//!
//! - `QUANTUMMQ_SIMULATION_SEED=7` runs that history alone and prints it.
//! - `QUANTUMMQ_SIMULATION_SECONDS=600` goes on with new seeds for that long.
//! - `QUANTUMMQ_SIMULATION_HISTORIES=10000` runs that many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test reports, and a history that differs is printed"
)]

mod check;
mod client;
mod history;
mod ledger;
mod model;
mod random;
mod scenario;
mod wire;
mod world;

use history::Disk;
use std::env;
use std::panic::catch_unwind;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What `cargo test` runs: some seconds' worth.
const HISTORIES: u64 = 8_000;

fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// Runs a history; if it differs, says which, and shows it.
fn simulate(seed: u64, disk: Disk) {
    if catch_unwind(|| history::run(seed, disk, false)).is_err() {
        println!("seed {seed} differs; QUANTUMMQ_SIMULATION_SEED={seed} runs it again. It was:");
        history::run(seed, disk, true);
        panic!("seed {seed} differed the first time, and not the second");
    }
}

/// Runs the histories that the environment asks for.
fn simulate_all(disk: Disk) {
    if let Some(seed) = setting("QUANTUMMQ_SIMULATION_SEED") {
        history::run(seed, disk, true);
        return;
    }
    let Some(seconds) = setting("QUANTUMMQ_SIMULATION_SECONDS") else {
        let histories = setting("QUANTUMMQ_SIMULATION_HISTORIES").unwrap_or(HISTORIES);
        (0..histories).for_each(|seed| simulate(seed, disk));
        return;
    };
    // Each soak tries histories that were not tried before.
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() << 20;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut count = 0;
    while Instant::now() < until {
        simulate(first + count, disk);
        count += 1;
    }
    println!("{disk:?}: {count} histories from seed {first} on");
}

#[test]
fn simulated_histories_agree_with_the_model() {
    simulate_all(Disk::None);
}

#[test]
fn simulated_histories_on_a_late_disk_promise_nothing_that_is_not_committed() {
    simulate_all(Disk::Late);
}
