//! What one client can make a shard do in one round, and hold, by subscriptions that overlap,
//! groups, deep filters, and retained messages to look through.

#![expect(clippy::expect_used, reason = "a test that stops has failed")]

use std::sync::Arc;
use std::time::Duration;

use engine::host::{ConnectionRef, Peer};
use engine::limits::{Limits, ListenerProfile};
use engine::session::session_key;
use engine::shard::{Flow, Shard, State};
use engine::shared::Shared;

const PING: &[u8] = b"\xC0\0";

fn shard_with(limits: Limits) -> Shard {
    Shard::new(0, Shared::new(limits, 1, 7))
}

fn variable(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7F).expect("seven bits");
        value >>= 7;
        out.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return out;
        }
    }
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    [&[header], variable(body.len()).as_slice(), body].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A connection of MQTT 5 that sent its CONNECT.
fn open(shard: &mut Shard, client_id: &str, expiry_s: u32) -> ConnectionRef {
    let peer = Peer { address: "test".into(), certificate: None };
    let connection = shard.open(peer, Arc::new(ListenerProfile::default()), 0);
    let mut body = b"\0\x04MQTT\x05\x02\0\0\x05\x11".to_vec();
    body.extend(expiry_s.to_be_bytes());
    body.extend(text(client_id));
    shard.receive(connection, &packet(0x10, &body), 0);
    connection
}

fn subscribe(shard: &mut Shard, connection: ConnectionRef, filters: &[String], identifier: u8) {
    let mut body = b"\0\x01".to_vec();
    if identifier > 0 {
        body.extend([2, 0x0B, identifier]);
    } else {
        body.push(0);
    }
    for filter in filters {
        body.extend(text(filter));
        body.push(1);
    }
    shard.receive(connection, &packet(0x82, &body), 0);
}

fn publish(topic: &str, flags: u8) -> Vec<u8> {
    let id: &[u8] = if flags & 0x06 == 0 { b"" } else { b"\0\x01" };
    packet(0x30 | flags, &[text(topic).as_slice(), id, b"\0x"].concat())
}

/// All filters of that many levels, each `a` or `+`.
fn overlapping(levels: usize) -> Vec<String> {
    let level = |number: usize, at: usize| if number >> at & 1 == 0 { "a" } else { "+" };
    (0..1_usize << levels)
        .map(|number| (0..levels).map(|at| level(number, at)).collect::<Vec<_>>().join("/"))
        .collect()
}

/// How many rounds it takes until a burst is done.
fn rounds(shard: &mut Shard, writer: ConnectionRef, burst: &[u8]) -> usize {
    let burst = [burst, PING].concat();
    let mut flow = shard.receive(writer, &burst, 0);
    let mut rounds = 1;
    while matches!(flow, Flow::Pause) {
        shard.wake_resting();
        flow = shard.resume(writer, 0);
        rounds += 1;
    }
    assert!(matches!(flow, Flow::Read));
    rounds
}

#[test]
fn subscriptions_that_overlap_are_work() {
    let mut shard = shard_with(Limits::default());
    let reader = open(&mut shard, "reader", 0);
    subscribe(&mut shard, reader, &overlapping(12), 0);
    let writer = open(&mut shard, "writer", 0);

    let burst = publish(&["a"; 12].join("/"), 0).repeat(320);

    let rounds = rounds(&mut shard, writer, &burst);

    assert!((10..=11).contains(&rounds), "4,096 subscriptions 320 times: {rounds}");
}

#[test]
fn shared_groups_are_work() {
    let mut shard = shard_with(Limits::default());
    let reader = open(&mut shard, "reader", 0);
    let filters: Vec<String> = (0..4_096).map(|number| format!("$share/g{number}/t")).collect();
    subscribe(&mut shard, reader, &filters, 0);
    let writer = open(&mut shard, "writer", 0);

    assert_eq!(rounds(&mut shard, writer, &publish("t", 0).repeat(310)), 10);
}

#[test]
fn nodes_of_the_tree_that_are_looked_at_are_work() {
    let mut shard = shard_with(Limits::default());
    let reader = open(&mut shard, "reader", 0);
    let filters: Vec<String> =
        overlapping(12).into_iter().map(|filter| format!("{filter}/none")).collect();
    subscribe(&mut shard, reader, &filters, 0);
    let writer = open(&mut shard, "writer", 0);
    let topic = ["a"; 12].join("/");

    let burst: Vec<u8> =
        (0..100).flat_map(|number| publish(&format!("{topic}/{number}"), 0)).collect();

    assert!(rounds(&mut shard, writer, &burst) >= 7, "8,192 nodes a hundred times");
}

/// The identifiers of 4,096 overlapping subscriptions take more than the message.
#[test]
fn subscription_identifiers_of_what_waits_count_among_its_bytes() {
    let limits = Limits { session_queue_bytes: 1 << 20, ..Limits::default() };
    let mut shard = shard_with(limits);
    let reader = open(&mut shard, "reader", 60);
    subscribe(&mut shard, reader, &overlapping(12), 5);
    shard.lost(reader, 0);
    let writer = open(&mut shard, "writer", 0);

    for _ in 0..200 {
        rounds(&mut shard, writer, &publish(&["a"; 12].join("/"), 2));
    }

    let counters = shard.counters();
    assert!(counters.queued_messages < 64, "16 KiB each, of 1 MiB: {}", counters.queued_messages);
    assert!(counters.queued_bytes <= 1 << 20);
    assert!(counters.dropped_queue_full > 100);
    let again = open(&mut shard, "reader", 0);
    shard.lost(again, 0);
    assert_eq!(shard.counters().queued_bytes, 0);
}

#[test]
fn long_names_of_sessions_are_bounded() {
    let limits = Limits { queued_bytes: 1 << 20, ..Limits::default() };
    let mut shard = shard_with(limits);
    let mut let_in = 0;
    for number in 0..40 {
        let client = open(&mut shard, &format!("{number}{}", "n".repeat(60_000)), 60);
        let_in += usize::from(shard.state(client) == State::Open);
        shard.lost(client, 0);
    }

    assert_eq!(let_in, 17);
    assert_eq!(shard.counters().sessions, 17);
    let short = open(&mut shard, "short", 60);
    assert_eq!(shard.state(short), State::Open);
}

/// 2,000 filters that match none of 5,000 retained messages look at each all the same.
#[test]
fn retained_messages_are_looked_through_in_turns() {
    let mut shard = shard_with(Limits::default());
    let writer = open(&mut shard, "writer", 0);
    for number in 0..5_000 {
        shard.receive(writer, &publish(&format!("{number}/a"), 1), 0);
    }
    shard.receive(writer, &publish("last/found", 1), 0);
    while shard.next_dirty().is_some() {}
    let reader = open(&mut shard, "reader", 0);
    let mut filters: Vec<String> = (0..50).map(|number| format!("+/a/{number}")).collect();
    filters.push("+/found".into());

    subscribe(&mut shard, reader, &filters, 0);

    let mut rounds = 0;
    while shard.has_resting() {
        assert_eq!(shard.counters().messages_sent, 0);
        while shard.next_dirty().is_some() {}
        shard.wake_resting();
        rounds += 1;
    }
    assert!((3..=10).contains(&rounds), "some 260,000 of 65,536 a round: {rounds}");
    assert_eq!(shard.counters().messages_sent, 1);
}

/// In MQTT 5 the largest packet of 3.1.1 would have a Remaining Length of five bytes: it is too
/// large, like those beyond the client's own limit [MQTT-3.1.2-25].
#[test]
fn what_no_packet_can_hold_is_not_sent() {
    let mut shard = shard_with(Limits::default());
    let reader = open(&mut shard, "reader", 0);
    subscribe(&mut shard, reader, &["t".to_owned()], 5);
    let other = open(&mut shard, "other", 60);
    subscribe(&mut shard, other, &["t".to_owned()], 0);
    let writer = shard.open(Peer::default(), Arc::new(ListenerProfile::default()), 0);
    let connect = packet(0x10, b"\0\x04MQTT\x04\x02\0\0\0\x06writer");
    shard.receive(writer, &connect, 0);

    let mut largest = vec![0; 268_435_460];
    largest[..9].copy_from_slice(b"\x30\xFF\xFF\xFF\x7F\0\x01tx");
    assert!(matches!(shard.receive(writer, &largest, 0), Flow::Read));

    let counters = shard.counters();
    assert_eq!((counters.messages_received, counters.messages_sent), (1, 0));
    assert_eq!(counters.dropped_too_large, 2);
    assert_eq!(shard.state(reader), State::Open);
}

/// Behind a large packet, megabytes of small ones may be read at once.
#[test]
fn packets_are_work() {
    let mut shard = shard_with(Limits::default());
    let writer = open(&mut shard, "writer", 0);

    let rounds = rounds(&mut shard, writer, &PING.repeat(1_000_000));

    assert_eq!(rounds, 8, "131,072 a round");
}

/// Nobody of the group is there: all are looked at for one that is, and again for another than the
/// one that is to keep the message.
#[test]
fn members_of_a_group_that_are_looked_at_are_work() {
    let mut shard = shard_with(Limits::default());
    for number in 0..2_048 {
        let member = open(&mut shard, &format!("member{number}"), 60);
        subscribe(&mut shard, member, &["$share/g/t".to_owned()], 0);
        shard.lost(member, 0);
    }
    let writer = open(&mut shard, "writer", 0);

    assert_eq!(rounds(&mut shard, writer, &publish("t", 2).repeat(310)), 10);
}

/// Shards share the retained store: some subscribe while others publish, with more threads than
/// cores, so that some are interrupted in the middle.
#[test]
fn shards_do_not_wait_for_each_other_for_ever() {
    const SHARDS: u16 = 12;
    let all = Shared::new(Limits::default(), SHARDS, 7);
    let (done, is_done) = std::sync::mpsc::channel();
    for id in 0..SHARDS {
        let (all, done) = (Arc::clone(&all), done.clone());
        std::thread::spawn(move || {
            let mut shard = Shard::new(id, Arc::clone(&all));
            let lives_here = |name: &String| all.shard_of(&session_key("", name)) == id;
            let name = (0..10_000).map(|number| format!("c{number}")).find(lives_here);
            let client = open(&mut shard, &name.expect("there are many"), 0);
            let filters = vec!["none".to_owned(); 100];
            for _ in 0..6_000 {
                if id % 2 == 0 {
                    subscribe(&mut shard, client, &filters, 0);
                } else {
                    shard.receive(client, &publish("t", 1).repeat(100), 0);
                }
            }
            done.send(()).expect("the test waits");
        });
    }

    for _ in 0..SHARDS {
        is_done.recv_timeout(Duration::from_secs(60)).expect("all shards get through");
    }
}
