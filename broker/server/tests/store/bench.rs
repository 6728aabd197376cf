//! Measurements, run by hand: `cargo test --release -p server --test store bench -- --ignored
//! --nocapture --test-threads=1`.
//! Rates are in multiples of how often the disk synchronises a 4 KiB overwrite.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::store::Ticket;
use server::store::{Profile, StoreConfig};

use crate::fixture::{Bench, Clocks, append, message, receivers, session};

const FOR: Duration = Duration::from_secs(3);

/// Overwrites of 4 KiB that are synchronised in a second, on a preallocated file.
fn probe(folder: &Path) -> f64 {
    let path = folder.join("probe");
    let options = OpenOptions::new().create(true).truncate(true).write(true).clone();
    let file = options.open(path).expect("a file");
    file.write_all_at(&vec![1; 4 << 20], 0).expect("written");
    file.sync_all().expect("synchronised");
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < FOR {
        let offset = u64::from(count % 1_024) * 4_096;
        file.write_all_at(&[2; 4_096], offset).expect("written");
        file.sync_data().expect("synchronised");
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Messages a second with so many on their way.
fn enqueue(folder: &Path, profile: Profile, in_flight: usize) -> f64 {
    let config = StoreConfig { profile, ..StoreConfig::new(folder) };
    let mut bench = Bench::open_with(config, &Arc::default());
    bench.write([session(1)]);
    let to = receivers(&[1], 1);
    let mut waiting: VecDeque<Ticket> = VecDeque::new();
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < FOR {
        while waiting.len() < in_flight {
            let (_, change) = append(message(b"bench/topic", &[7; 100], 1), Arc::clone(&to));
            waiting.push_back(bench.stores[0].write(change));
            count += 1;
        }
        bench.stores[0].flush();
        let first = waiting[0];
        let committed = bench
            .ear
            .wait("a commit", |said| (said.committed >= first.0).then_some(said.committed));
        while waiting.front().is_some_and(|ticket| ticket.0 <= committed) {
            waiting.pop_front();
        }
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn messages_a_second_against_the_disk() {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    for in_flight in [1, 100, 1_000] {
        let mut factors = Vec::new();
        for round in 0..5 {
            let fsyncs = probe(folder.path());
            let store = folder.path().join(format!("{in_flight}-{round}"));
            let rate = enqueue(&store, Profile::Safe, in_flight);
            println!("{in_flight}: {rate:.0} messages/s, {fsyncs:.0} fsyncs/s");
            factors.push(rate / fsyncs);
        }
        factors.sort_by(f64::total_cmp);
        println!("{in_flight} in flight: {:.2}x", factors[2]);
    }
}

#[test]
#[ignore = "a measurement"]
fn a_restart_with_a_million_messages() {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write((1..=1_000).map(session));
    let mut index = 0_u64;
    for _ in 0..1_000 {
        let mut changes = Vec::new();
        for _ in 0..1_000 {
            index += 1;
            let to = receivers(&[index % 1_000 + 1], 1);
            changes.push(append(message(b"bench/topic", &[7; 100], 1), to).1);
        }
        bench.write(changes);
    }
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("status");
        status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned()
    };
    drop(bench);
    let before = memory();

    let start = Instant::now();
    let mut bench = Bench::open_with(StoreConfig::new(folder.path()), &Arc::<Clocks>::default());
    println!("restart: {:?}; {before} -> {}", start.elapsed(), memory());
    let numbers: Vec<u64> = bench.recovered.sessions[499]
        .deliveries
        .iter()
        .step_by(100)
        .map(|delivery| delivery.number)
        .collect();
    let start = Instant::now();
    let found = bench.fetch(&numbers);

    println!("{} spread over the log: {:?}", numbers.len(), start.elapsed());
    assert!(found.iter().all(|(_, message)| message.is_some()));
}

#[test]
#[ignore = "a measurement"]
fn bytes_a_message_on_a_card() {
    for size in [100, 1_000] {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let config = StoreConfig {
            profile: Profile::Card,
            // A list that is half full ends the window at once: ten minutes in seconds.
            pending_bytes_max: 1,
            ..StoreConfig::new(folder.path())
        };
        let mut bench = Bench::open_with(config, &Arc::default());
        bench.write([session(1)]);
        let written = || -> u64 {
            let io = std::fs::read_to_string("/proc/self/io").expect("io");
            let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
            line.and_then(|value| value.parse().ok()).expect("a number")
        };
        let before = written();
        // Fifty each half second: a group holds what comes in its window.
        for _ in 0..1_200 {
            let to = receivers(&[1], 1);
            let new = || append(message(b"bench/topic", &vec![7; size], 1), Arc::clone(&to)).1;
            bench.write((0..50).map(|_| new()));
        }
        let running = written() - before;
        drop(bench);
        let all = written() - before;
        println!(
            "{size} B: {} bytes written a message, {} with the end",
            running / 60_000,
            all / 60_000
        );
    }
}
