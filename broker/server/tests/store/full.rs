//! A full disk: a small file system of its own, filled and freed. Needs root, for the mount.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use engine::store::{Change, Health, MessageRef};
use server::store::StoreConfig;

use crate::fixture::{Bench, append, message, receivers, session, waiting};

/// A mounted tmpfs, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Self {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder));
        Self(folder.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    assert!(command.status().expect("it runs").success(), "{command:?}");
}

#[test]
#[ignore = "needs root, to mount a small file system"]
fn a_full_disk_refuses_what_is_new_and_recovers_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let _disk = Disk::mount(folder.path());
    let config = StoreConfig { reserve_bytes: 4 << 20, ..StoreConfig::new(folder.path()) };
    let mut bench = Bench::open_with(config, &Arc::default());
    bench.write([session(1), session(2)]);
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).expect("written");
    let mut held = Vec::new();
    while bench.stores[0].health() == Health::Sound && held.len() < 10_000 {
        let (message, change) = append(message(b"a", &vec![7; 60_000], 1), receivers(&[1], 1));
        // Whatever was told as committed is: also what filled the disk.
        bench.write([change]);
        held.push(message);
    }
    assert_eq!(bench.stores[0].health(), Health::Full);
    assert!(!folder.path().join("quantummq.reserve").exists());

    let done = |message| Change::Consumed { message: MessageRef::Held(message), receiver: 0 };
    bench.write(held.iter().take(10).cloned().map(done));
    bench.write([Change::SessionEnded { id: engine::store::SessionId(2) }]);
    std::fs::remove_file(&ballast).expect("removed");

    bench.ear.wait("health", |said| (said.health == Health::Sound).then_some(()));
    assert!(folder.path().join("quantummq.reserve").exists());
    let (last, change) = append(message(b"a", b"1", 1), receivers(&[1], 1));
    bench.write([change]);
    held.push(last);
    let bench = bench.reopen(folder.path());
    let numbers: Vec<u64> = waiting(&bench.recovered, 1).iter().map(|found| found.0).collect();
    let expected: Vec<u64> = held.iter().skip(10).map(|message| message.number()).collect();
    assert_eq!(numbers, expected);
    assert_eq!(bench.recovered.sessions.len(), 1);
}
