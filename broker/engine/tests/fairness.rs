//! A connection whose packets make much work rests until the next round, and goes on then.

use std::sync::Arc;

use engine::host::{ConnectionRef, Peer};
use engine::limits::{Limits, ListenerProfile};
use engine::shard::{Flow, Shard, State};
use engine::shared::Shared;

const READERS: usize = 100;
const MESSAGES: usize = 3_000;
const PING: &[u8] = b"\xC0\0";
/// PUBLISH at QoS 0 to `t`, version 3.1.1.
const PUBLISH: &[u8] = b"\x30\x03\0\x01t";

fn shard() -> Shard {
    Shard::new(0, Shared::new(Limits::default(), 1, 7))
}

/// A client of 3.1.1 that is connected.
fn connect(shard: &mut Shard, number: usize) -> ConnectionRef {
    let peer = Peer { address: "test".into(), certificate: None };
    let connection = shard.open(peer, Arc::new(ListenerProfile::default()), 0);
    let id = format!("{number:04}");
    let packet = [b"\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04", id.as_bytes()].concat();
    assert!(matches!(shard.receive(connection, &packet, 0), Flow::Read));
    connection
}

fn received(shard: &Shard) -> u64 {
    shard.counters().messages_received
}

#[test]
fn a_burst_with_many_receivers_is_taken_in_turns() {
    let mut shard = shard();
    for number in 0..READERS {
        let reader = connect(&mut shard, number);
        let flow = shard.receive(reader, b"\x82\x06\0\x01\0\x01t\0", 0);
        assert!(matches!(flow, Flow::Read));
    }
    let writer = connect(&mut shard, 9_999);
    let burst = [PUBLISH.repeat(MESSAGES).as_slice(), PING].concat();

    let mut flow = shard.receive(writer, &burst, 0);

    let mut turns = 1;
    while matches!(flow, Flow::Pause) {
        assert!(received(&shard) < MESSAGES as u64);
        assert!(shard.has_resting());
        assert_eq!(shard.state(writer), State::Parked);
        // Nothing goes on before the next round.
        assert!(matches!(shard.resume(writer, 0), Flow::Pause));
        shard.wake_resting();
        assert_eq!(shard.state(writer), State::Open);
        flow = shard.resume(writer, 0);
        turns += 1;
    }

    assert!(matches!(flow, Flow::Read));
    assert_eq!(received(&shard), MESSAGES as u64);
    assert_eq!(turns, 3, "300,000 deliveries of 131,072 a turn");
    assert!(!shard.has_resting());
}

#[test]
fn a_connection_that_ends_while_it_rests_is_forgotten() {
    let mut shard = shard();
    for number in 0..READERS {
        let reader = connect(&mut shard, number);
        shard.receive(reader, b"\x82\x06\0\x01\0\x01t\0", 0);
    }
    let writer = connect(&mut shard, 9_999);
    assert!(matches!(shard.receive(writer, &PUBLISH.repeat(MESSAGES), 0), Flow::Pause));

    shard.lost(writer, 0);
    shard.wake_resting();

    assert!(!shard.has_resting());
    assert_eq!(shard.state(writer), State::Closing);
}
