//! Messages: written once, exact, read back, gone when all are done.

use std::path::Path;
use std::sync::Arc;

use engine::message::{Message, NEVER, Publication, SharedMessage};
use engine::store::{Change, MessageRef, Receiver, SessionId, StoredTerms};

use crate::fixture::{Bench, append, consumed, message, queue, receivers, session, waiting};

#[test]
fn messages_come_back_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = vec![b'x'; 65_535];
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large = all_bytes.repeat(2_048);
    let cases: [(&[u8], &[u8], &[u8]); 9] = [
        (b"007", b"", b"1"),
        (b"1e5", b"\x26\0\x01a\0\x01b\x26\0\x01a\0\x01c", b"1.0"),
        (b"//", b"", b""),
        (b"/a//b/", b"", &all_bytes),
        (&long, b"", b"long"),
        (b"mount\0/topic", b"\x01\x01", b"\0\0"),
        ("tüpfel/€".as_bytes(), b"", "x".as_bytes()),
        (b"large", b"", &large),
        (b"after", b"", b"the large one"),
    ];
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    let mut numbers = Vec::new();
    for (index, (topic, properties, payload)) in cases.iter().enumerate() {
        let message = Message::new(&Publication {
            topic,
            properties,
            payload,
            qos: 1 + u8::from(index % 2 == 0),
            retain: index % 3 == 0,
            expires_at_ms: if index % 4 == 0 { 5_000_000 } else { NEVER },
        });
        let (message, change) = append(message, receivers(&[1], 1));
        bench.write([change]);
        numbers.push(message.number());
    }

    let mut bench = bench.reopen(folder.path());
    let found = bench.fetch(&numbers);

    assert_eq!(waiting(&bench.recovered, 1).len(), cases.len());
    for (index, ((number, found), (topic, properties, payload))) in
        found.iter().zip(&cases).enumerate()
    {
        let found = found.as_ref().expect("there");
        assert_eq!(*number, numbers[index]);
        assert_eq!((found.topic(), found.properties()), (*topic, *properties));
        assert_eq!(found.payload(), *payload);
        assert_eq!(found.qos, 1 + u8::from(index % 2 == 0));
        assert_eq!(found.retain, index % 3 == 0);
        assert_eq!(found.expires_at_ms, if index % 4 == 0 { 5_000_000 } else { NEVER });
        assert_eq!(found.number(), *number);
    }
}

#[test]
fn the_terms_of_each_receiver_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let terms = [
        StoredTerms { qos: 1, ..StoredTerms::default() },
        StoredTerms {
            qos: 2,
            retain: true,
            group: "group/mount\0a/#".into(),
            identifiers: [1, 268_435_455].into(),
        },
    ];
    let to = |index: usize, session: u64| Receiver {
        queue: queue(7),
        session: SessionId(session),
        terms: terms[index].clone(),
    };
    let mut bench = Bench::open(folder.path());
    bench.write([session(1), session(2)]);
    let (_, alone) = append(message(b"a", b"1", 1), [to(1, 1)].into());
    let (_, both) = append(message(b"a", b"2", 1), [to(1, 2), to(0, 1)].into());
    bench.write([alone, both]);

    let bench = bench.reopen(folder.path());

    let [first, second] = bench.recovered.sessions.as_slice() else { panic!("two sessions") };
    assert_eq!(*first.deliveries[0].terms, terms[1]);
    assert_eq!(*first.deliveries[1].terms, terms[0]);
    assert_eq!(first.deliveries[1].receiver, 1);
    assert_eq!(*second.deliveries[0].terms, terms[1]);
    assert_eq!(first.deliveries[0].size, 2);
}

#[test]
fn a_message_that_all_acknowledged_in_time_is_never_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    let (held, change) = append(message(b"a", b"1", 1), receivers(&[1], 1));
    assert!(!held.done());

    bench.write([
        change,
        Change::Consumed { message: MessageRef::Held(Arc::clone(&held)), receiver: 0 },
    ]);

    let stats = bench.control.stats();
    assert_eq!((held.number(), stats.never_written, stats.messages), (0, 1, 0));
    assert_eq!(waiting(&bench.reopen(folder.path()).recovered, 1), []);
}

#[test]
fn a_message_is_gone_when_its_last_receiver_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1), session(2)]);
    let (held, change) = append(message(b"a", b"1", 1), receivers(&[1, 2], 1));
    bench.write([change]);
    let number = held.number();

    bench.write(consumed(&held, 0));
    let mut bench = bench.reopen(folder.path());
    assert_eq!(waiting(&bench.recovered, 1), []);
    assert_eq!(waiting(&bench.recovered, 2), [(number, 1)]);
    bench.write([Change::Consumed { message: MessageRef::Number(number), receiver: 1 }]);
    let mut bench = bench.reopen(folder.path());

    assert_eq!(waiting(&bench.recovered, 2), []);
    assert!(bench.fetch(&[number])[0].1.is_none());
}

/// What a kill at this moment leaves: nothing is settled as it is at a stop.
fn killed(folder: &Path) -> tempfile::TempDir {
    let left = tempfile::tempdir().expect("a folder");
    for name in ["quantummq.db", "quantummq.db-wal"] {
        std::fs::copy(folder.join(name), left.path().join(name)).expect("a file");
    }
    left
}

#[test]
fn a_message_that_moves_to_another_member_is_with_one_of_them_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1), session(2)]);
    let (old, change) = append(message(b"a", b"1", 2), receivers(&[1], 2));
    let (other, other_change) = append(message(b"b", b"2", 2), receivers(&[1, 2], 2));
    bench.write([change, other_change]);
    let move_to_2 = |from: &SharedMessage, payload: &[u8]| {
        let (new, change) = append(message(b"a", payload, 2), receivers(&[2], 2));
        let from = MessageRef::Held(Arc::clone(from));
        (new, [change, Change::Moved { message: from, receiver: 0 }])
    };
    let (first, changes) = move_to_2(&old, b"1");
    bench.write(changes);
    // Twice within one group, the second time from a segment that is not written yet.
    let (second, [append_second, move_second]) = move_to_2(&other, b"2");
    let (third, [append_third, move_third]) = move_to_2(&second, b"2");
    bench.write([append_second, move_second, append_third, move_third]);

    let left = killed(folder.path());
    let bench = Bench::open(left.path());

    assert_eq!(waiting(&bench.recovered, 1), []);
    let numbers = [other.number(), first.number(), third.number()];
    assert_eq!(waiting(&bench.recovered, 2), [(numbers[0], 1), (numbers[1], 0), (numbers[2], 0)]);
}

#[test]
fn a_message_may_move_before_the_list_that_brings_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1), session(2)]);
    let (old, change) = append(message(b"a", b"1", 2), receivers(&[1], 2));
    let (new, new_change) = append(message(b"a", b"1", 2), receivers(&[2], 2));
    let moved = Change::Moved { message: MessageRef::Held(Arc::clone(&old)), receiver: 0 };

    // The lists are taken in order: that of the receiver's shard before the publisher's.
    // It is not read before the unit in it is closed.
    bench.stores[0].begin();
    bench.begin_on(0, [new_change, moved]);
    bench.begin_on(1, [change]);
    bench.stores[0].end();
    let last = bench.begin_on(0, [session(3)]);
    bench.wait(last);

    let left = killed(folder.path());
    let bench = Bench::open(left.path());
    assert_eq!(waiting(&bench.recovered, 1), []);
    assert_eq!(waiting(&bench.recovered, 2), [(new.number(), 0)]);
}

#[test]
fn numbers_are_not_given_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1)]);
    let mut last = 0;
    for _ in 0..3 {
        let (held, change) = append(message(b"a", b"1", 1), receivers(&[1], 1));
        bench.write([change]);
        assert!(held.number() > last);
        last = held.number();
        bench.write(consumed(&held, 0));

        bench = bench.reopen(folder.path());
    }
}

#[test]
fn a_change_that_comes_before_its_message_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::open(folder.path());
    bench.write([session(1), session(2)]);
    let (held, change) = append(message(b"a", b"1", 2), receivers(&[1, 2], 2));
    let message = MessageRef::Held(Arc::clone(&held));
    assert!(held.done());
    let sent =
        Change::Sent { id: SessionId(2), packet_id: 9, message: message.clone(), receiver: 1 };

    bench.write_on(1, [Change::Consumed { message, receiver: 0 }, sent]);
    bench.write_on(0, [change]);
    let bench = bench.reopen(folder.path());

    assert_eq!(waiting(&bench.recovered, 1), []);
    assert_eq!(waiting(&bench.recovered, 2), []);
    let exchange = &bench.recovered.sessions[1].exchanges[0];
    assert_eq!((exchange.packet_id, exchange.delivery.number), (9, held.number()));
}
