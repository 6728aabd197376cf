//! Space: what is done goes, what is left among it is rewritten, and nothing else changes.

use std::path::Path;

use engine::message::SharedMessage;

use crate::fixture::{Bench, append, consumed, message, receivers, session, waiting};

/// Messages of a kilobyte, every tenth for a second session as well: five times the tail.
const COUNT: u64 = 10_000;

fn payload(index: u64) -> Vec<u8> {
    index.to_be_bytes().repeat(128)
}

fn fill(bench: &mut Bench) -> Vec<SharedMessage> {
    bench.write([session(1), session(2), session(3)]);
    let mut messages = Vec::new();
    for start in (0..COUNT).step_by(500) {
        let mut changes = Vec::new();
        for index in start..start + 500 {
            let to = if index % 10 == 0 { receivers(&[1, 2, 3], 1) } else { receivers(&[1], 1) };
            let (held, change) = append(message(b"a/b", &payload(index), 1), to);
            messages.push(held);
            changes.push(change);
        }
        bench.write(changes);
    }
    messages
}

/// Bytes in bodies, and rows of receiver lists.
fn stored(folder: &Path) -> (i64, i64) {
    let connection = rusqlite::Connection::open(folder.join("quantummq.db")).expect("opens");
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get(0)).expect("a number");
    (
        count("SELECT ifnull(sum(length(body)), 0) FROM segment"),
        count("SELECT count(*) FROM receiver_set"),
    )
}

#[test]
fn a_session_that_is_long_away_does_not_hold_the_space_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let messages = fill(&mut bench);
    bench.write(messages.iter().filter_map(|message| consumed(message, 0)));
    bench.write(messages.iter().step_by(20).filter_map(|message| consumed(message, 2)));

    let mut bench = bench.reopen(folder.path());

    let expected: Vec<u64> = messages.iter().step_by(10).map(|message| message.number()).collect();
    let numbers = |bench: &Bench, id| -> Vec<u64> {
        waiting(&bench.recovered, id).iter().map(|delivery| delivery.0).collect()
    };
    assert_eq!(numbers(&bench, 1), []);
    assert_eq!(numbers(&bench, 2), expected);
    let odd: Vec<u64> = expected.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(numbers(&bench, 3), odd);
    for (index, (number, found)) in (0..COUNT).step_by(10).zip(bench.fetch(&expected)) {
        let found = found.expect("there");
        assert_eq!((found.number(), found.payload()), (number, payload(index).as_slice()));
    }
    drop(bench);
    let (bytes, _) = stored(folder.path());
    assert!(bytes < 4 << 20, "{bytes} bytes for one megabyte that is wanted");
}

#[test]
fn what_everyone_is_done_with_takes_no_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let messages = fill(&mut bench);
    for receiver in 0..3 {
        let wants = |index: usize| receiver == 0 || index % 10 == 0;
        let done = messages.iter().enumerate().filter(|(index, _)| wants(*index));
        bench.write(done.filter_map(|(_, message)| consumed(message, receiver)));
    }

    drop(bench);

    assert_eq!(stored(folder.path()), (0, 0));
}

#[test]
fn a_list_of_receivers_is_stored_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    fill(&mut bench);

    drop(bench);

    assert_eq!(stored(folder.path()).1, 1);
}

#[test]
fn a_message_for_a_thousand_sessions_away_takes_less_than_three_kilobytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let ids: Vec<u64> = (1..=1_000).collect();
    let mut bench = Bench::open(folder.path());
    bench.write(ids.iter().map(|id| session(*id)));
    drop(bench);
    let file = folder.path().join("quantummq.db");
    let size = || std::fs::metadata(&file).expect("a file").len();
    let before = size();
    let mut bench = Bench::open(folder.path());
    for _ in 0..200 {
        let (_, change) = append(message(b"a/b", &[7; 100], 1), receivers(&ids, 1));
        bench.write([change]);
    }

    drop(bench);

    let bytes = (size() - before) / 200;
    assert!(bytes <= 3_072, "{bytes} bytes a message");
}

#[test]
fn groups_of_one_message_do_not_stay_rows_of_one_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1), session(2)]);
    let mut held = Vec::new();
    for index in 0..2_000 {
        let (message, change) = append(message(b"a/b", &payload(index), 1), receivers(&[1, 2], 1));
        bench.write([change]);
        held.push(message);
    }
    // Two megabytes behind them, which are left alone.
    for index in 2_000..4_100 {
        let (_, change) = append(message(b"a/b", &payload(index), 1), receivers(&[2], 1));
        bench.write([change]);
    }
    bench.write(held.iter().take(700).filter_map(|message| consumed(message, 0)));

    let mut bench = bench.reopen(folder.path());

    assert_eq!(waiting(&bench.recovered, 1).len(), 1_300);
    assert_eq!(waiting(&bench.recovered, 2).len(), 4_100);
    let numbers: Vec<u64> = held.iter().map(|message| message.number()).collect();
    for (index, (_, found)) in (0..).zip(bench.fetch(&numbers)) {
        assert_eq!(found.expect("there").payload(), payload(index).as_slice());
    }
    drop(bench);
    let connection = rusqlite::Connection::open(folder.path().join("quantummq.db")).expect("opens");
    let sql = "SELECT count(*) FROM segment WHERE first <= ?1";
    let rows: i64 = connection.query_row(sql, [1_900], |row| row.get(0)).expect("a count");
    assert!(rows < 100, "{rows} rows");
}
