//! Sessions, subscriptions, wills, exchanges and retained messages: each change after a restart.

use std::sync::Arc;

use engine::message::{Message, NEVER, Publication};
use engine::router::SubscriptionOptions;
use engine::store::{Change, MessageRef, SessionId, StoredStage, StoredWill};

use crate::fixture::{Bench, append, message, receivers, session, waiting};

const ID: SessionId = SessionId(1);

#[test]
fn a_session_comes_back_with_its_terms() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let id = bench.stores[1].new_session();
    let key: Box<[u8]> = b"mount\x00007".as_slice().into();
    let user: Box<str> = "1e5".into();
    bench.write([Change::Session { id, key: key.clone(), user: user.clone(), expiry_s: 7 }]);
    bench.write([Change::Session { id, key: key.clone(), user: user.clone(), expiry_s: u32::MAX }]);

    let mut bench = bench.reopen(folder.path());

    let [found] = bench.recovered.sessions.as_slice() else { panic!("one session") };
    assert_eq!((found.id, &found.key, &found.user), (id, &key, &user));
    assert_eq!((found.expiry_s, found.gone_ms), (u32::MAX, 0));
    assert!(bench.stores[0].new_session() > id);
}

#[test]
fn a_session_that_ended_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let (_, appended) = append(message(b"a", b"1", 2), receivers(&[1], 2));
    let subscribed = Change::Subscribed {
        id: ID,
        filter: "a".into(),
        options: SubscriptionOptions::new(2, false, false),
        identifier: 0,
    };
    bench.write([session(1), subscribed, appended, Change::Received { id: ID, packet_id: 3 }]);
    bench.write([Change::SessionEnded { id: ID }]);

    let bench = bench.reopen(folder.path());
    assert!(bench.recovered.sessions.is_empty());
    let bench = bench.reopen(folder.path());

    // Its delivery went with it, although nobody consumed it.
    assert_eq!(bench.control.stats().log_messages, 0);
    drop(bench);
    let rows = |table: &str| -> i64 {
        let connection =
            rusqlite::Connection::open(folder.path().join("quantummq.db")).expect("opens");
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).expect("a count")
    };
    for table in ["session", "subscription", "in_exchange", "segment", "segment_done"] {
        assert_eq!(rows(table), 0, "{table}");
    }
}

#[test]
fn subscriptions_come_back_as_they_were_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let options = SubscriptionOptions::new(2, true, true).with_wildcard_first();
    let subscribed = |filter: &str, options, identifier| Change::Subscribed {
        id: ID,
        filter: filter.into(),
        options,
        identifier,
    };
    let plain = SubscriptionOptions::new(0, false, false);
    let long = "l".repeat(65_535);
    bench.write([
        session(1),
        subscribed("007", plain, 0),
        subscribed("1e5", plain, 0),
        subscribed("$share/g/#", options, 268_435_455),
        subscribed("gone", plain, 0),
        subscribed(&long, plain, 1),
    ]);
    bench.write([subscribed("007", options, 5)]);
    bench.write([Change::Unsubscribed { id: ID, filter: "gone".into() }]);

    let bench = bench.reopen(folder.path());

    let mut found = bench.recovered.sessions[0].subscriptions.clone();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected: Vec<(Box<str>, SubscriptionOptions, u32)> = vec![
        ("$share/g/#".into(), options, 268_435_455),
        ("007".into(), options, 5),
        ("1e5".into(), plain, 0),
        (long.into(), plain, 1),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_will_comes_back_until_it_is_taken_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let will = Message::new(&Publication {
        topic: b"007",
        properties: b"\x01\x01",
        payload: &[0, 255],
        qos: 2,
        retain: true,
        expires_at_ms: NEVER,
    });
    let will = StoredWill { message: Arc::new(will), expiry_s: Some(60), delay_s: 9 };
    bench.write([session(1), Change::Will { id: ID, will: Some(Box::new(will)) }]);

    let mut bench = bench.reopen(folder.path());
    let found = bench.recovered.sessions[0].will.take().expect("a will");
    assert_eq!((found.expiry_s, found.delay_s), (Some(60), 9));
    let parts = (found.message.topic(), found.message.properties(), found.message.payload());
    assert_eq!(parts, (&b"007"[..], &b"\x01\x01"[..], &[0_u8, 255][..]));
    assert_eq!((found.message.qos, found.message.retain), (2, true));
    bench.write([Change::Will { id: ID, will: None }]);
    let bench = bench.reopen(folder.path());

    assert!(bench.recovered.sessions[0].will.is_none());
}

#[test]
fn an_exchange_to_a_client_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    let mut numbers = Vec::new();
    for packet_id in 1..=3 {
        let (held, appended) = append(message(b"a", b"1", 2), receivers(&[1], 2));
        let message = MessageRef::Held(Arc::clone(&held));
        bench.write([appended, Change::Sent { id: ID, packet_id, message, receiver: 0 }]);
        numbers.push(held.number());
    }
    bench.write([Change::ReceivedByPeer { id: ID, packet_id: 2 }]);
    bench.write([Change::ReceivedByPeer { id: ID, packet_id: 3 }]);
    bench.write([Change::Completed { id: ID, packet_id: 3 }]);

    let mut bench = bench.reopen(folder.path());
    assert_eq!(waiting(&bench.recovered, 1), []);
    let stages = |bench: &Bench| -> Vec<(u16, StoredStage, u64)> {
        let exchanges = &bench.recovered.sessions[0].exchanges;
        exchanges
            .iter()
            .map(|exchange| (exchange.packet_id, exchange.stage, exchange.delivery.number))
            .collect()
    };
    let sent = (1, StoredStage::Sent, numbers[0]);
    assert_eq!(stages(&bench), [sent, (2, StoredStage::ReceivedByPeer, numbers[1])]);
    bench.write([Change::Completed { id: ID, packet_id: 2 }]);
    let bench = bench.reopen(folder.path());

    assert_eq!(stages(&bench), [sent]);
}

#[test]
fn an_identifier_that_is_used_again_stands_for_the_later_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    let mut last = 0;
    for _ in 0..3 {
        let (held, appended) = append(message(b"a", b"1", 2), receivers(&[1], 2));
        let message = MessageRef::Held(Arc::clone(&held));
        bench.write([appended, Change::Sent { id: ID, packet_id: 1, message, receiver: 0 }]);
        bench.write([Change::ReceivedByPeer { id: ID, packet_id: 1 }]);
        bench.write([Change::Completed { id: ID, packet_id: 1 }]);
        last = held.number();
    }
    let (held, appended) = append(message(b"a", b"1", 2), receivers(&[1], 2));
    let message = MessageRef::Held(Arc::clone(&held));
    bench.write([appended, Change::Sent { id: ID, packet_id: 1, message, receiver: 0 }]);
    assert!(held.number() > last);

    let bench = bench.reopen(folder.path());

    let found = &bench.recovered.sessions[0];
    assert_eq!(found.exchanges.len(), 1);
    assert_eq!(found.exchanges[0].delivery.number, held.number());
    assert!(found.deliveries.is_empty());
}

#[test]
fn identifiers_from_a_client_stay_until_they_are_released() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    let received = |packet_id| Change::Received { id: ID, packet_id };
    bench.write([session(1), received(1), received(65_535), received(1)]);
    bench.write([Change::Released { id: ID, packet_id: 1 }]);

    let bench = bench.reopen(folder.path());

    assert_eq!(bench.recovered.sessions[0].received, [65_535]);
}

fn retained(sequence: u64, topic: &[u8], payload: Option<&[u8]>) -> Change {
    let message = payload.map(|payload| {
        Arc::new(Message::new(&Publication {
            topic,
            properties: b"\x01\x01",
            payload,
            qos: 1,
            retain: true,
            expires_at_ms: NEVER,
        }))
    });
    Change::Retained { sequence, topic: topic.into(), message }
}

#[test]
fn of_a_topics_retained_messages_the_one_with_the_highest_sequence_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([retained(2, b"007", Some(b"b")), retained(1, b"007", Some(b"a"))]);
    bench.write_on(1, [retained(4, b"gone", None)]);
    bench.write_on(0, [retained(3, b"gone", Some(b"late"))]);
    bench.write_on(1, [retained(6, b"1e5", Some(&[0, 255]))]);
    bench.write_on(0, [retained(5, b"1e5", None)]);

    let mut bench = bench.reopen(folder.path());
    let contents = |bench: &Bench| {
        let parts = |message: &Arc<Message>| (message.topic().to_vec(), message.payload().to_vec());
        let mut found: Vec<_> = bench.recovered.retained.iter().map(parts).collect();
        found.sort();
        found
    };
    let one = (b"1e5".to_vec(), vec![0, 255]);
    assert_eq!(contents(&bench), [(b"007".to_vec(), b"b".to_vec()), one.clone()]);
    // Sequences begin anew with each start.
    bench.write([retained(1, b"007", None)]);
    let bench = bench.reopen(folder.path());

    assert_eq!(contents(&bench), [one]);
}
