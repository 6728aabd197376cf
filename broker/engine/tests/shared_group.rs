//! Shared groups while their messages are on the way from one shard to another: a member that is
//! gone when its message arrives does not keep it from the others (MQTT 5 §4.8.2).

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test that stops has failed")]

use std::io::IoSlice;
use std::mem::take;
use std::sync::Arc;

use engine::host::{ConnectionRef, Peer};
use engine::limits::{Limits, ListenerProfile};
use engine::session::session_key;
use engine::shard::{Flow, Shard};
use engine::shared::Shared;

/// Two shards, and mail between them that goes when it is told to.
struct Broker {
    shared: Arc<Shared>,
    shards: [Shard; 2],
}

/// One client's connection.
#[derive(Clone, Copy)]
struct Client {
    shard: usize,
    connection: ConnectionRef,
}

impl Broker {
    fn new() -> Self {
        let shared = Shared::new(Limits::default(), 2, 7);
        let shards = [Shard::new(0, Arc::clone(&shared)), Shard::new(1, Arc::clone(&shared))];
        Self { shared, shards }
    }

    /// The n-th Client Identifier whose session lives on that shard.
    fn name_on(&self, shard: usize, n: usize) -> String {
        let lives =
            |name: &String| usize::from(self.shared.shard_of(&session_key("", name))) == shard;
        (0..).map(|number| format!("c{number}")).filter(lives).nth(n).expect("there are many")
    }

    /// Connects the n-th client of a shard with a Session Expiry Interval.
    fn connect(&mut self, shard: usize, n: usize, expiry_s: u8) -> Client {
        let client = self.open(shard, n, expiry_s);
        assert_eq!(self.received(client)[0], 0x20);
        client
    }

    /// The same, and CONNACK is not looked at.
    fn open(&mut self, shard: usize, n: usize, expiry_s: u8) -> Client {
        let name = self.name_on(shard, n);
        let profile = Arc::new(ListenerProfile::default());
        let connection = self.shards[shard].open(Peer::default(), profile, 0);
        let client = Client { shard, connection };
        let mut body = b"\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0".to_vec();
        body.extend([expiry_s, 0, u8::try_from(name.len()).expect("short")]);
        body.extend(name.as_bytes());
        self.send(client, 0x10, &body);
        client
    }

    /// Connects a member of the group, at QoS 1.
    fn member(&mut self, shard: usize, n: usize, expiry_s: u8) -> Client {
        let client = self.connect(shard, n, expiry_s);
        self.send(client, 0x82, b"\0\x01\0\0\x0a$share/g/a\x01");
        assert_eq!(self.received(client)[0], 0x90);
        client
    }

    fn send(&mut self, client: Client, header: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).expect("a short packet");
        let packet = [&[header, length], body].concat();
        let flow = self.shards[client.shard].receive(client.connection, &packet, 0);
        assert!(matches!(flow, Flow::Read), "{flow:?}");
    }

    /// Publishes `count` QoS 1 messages to the group.
    fn publish(&mut self, client: Client, count: u8) {
        for packet_id in 1..=count {
            self.send(client, 0x32, &[0, 1, b'a', 0, packet_id, 0]);
        }
        assert_eq!(self.received(client).len(), usize::from(count) * 4);
    }

    /// The bytes that were sent to a client.
    fn received(&mut self, client: Client) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(output) = self.shards[client.shard].output(client.connection) {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = output.slices(&mut slices);
            bytes = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            output.advance(bytes.len());
        }
        bytes
    }

    /// How many PUBLISH packets of `publish` a client got.
    fn messages(&mut self, client: Client) -> usize {
        let bytes = self.received(client);
        assert!(bytes.iter().step_by(8).all(|header| *header == 0x32), "{bytes:?}");
        bytes.len() / 8
    }

    /// Everything that is on its way arrives, until nothing is.
    fn deliver_mail(&mut self) {
        loop {
            let mut arrived = false;
            for (from, to) in [(0, 1), (1, 0)] {
                let mut mail = take(&mut self.shards[from].outbox()[to]);
                if !mail.is_empty() {
                    self.shards[to].accept(&mut mail, 0);
                    arrived = true;
                }
            }
            if !arrived {
                return;
            }
        }
    }
}

/// With `expiry_s` 0 the session ends with the connection, else it stays.
fn the_other_member_gets_all(expiry_s: u8, other_shard: usize) {
    let mut broker = Broker::new();
    let sender = broker.connect(0, 0, 0);
    let leaving = broker.member(1, 1, expiry_s);
    let staying = broker.member(other_shard, 2, 0);

    broker.publish(sender, 10);
    broker.shards[1].lost(leaving.connection, 0);
    broker.deliver_mail();

    assert_eq!(broker.messages(staying), 10);
}

#[test]
fn a_message_on_its_way_to_a_session_that_ended_goes_to_another_member() {
    the_other_member_gets_all(0, 0);
    the_other_member_gets_all(0, 1);
}

#[test]
fn a_message_on_its_way_to_a_member_that_left_goes_to_one_who_is_there() {
    the_other_member_gets_all(60, 0);
    the_other_member_gets_all(60, 1);
}

#[test]
fn with_nobody_else_there_it_waits_for_its_member() {
    let mut broker = Broker::new();
    let sender = broker.connect(0, 0, 0);
    let leaving = broker.member(1, 1, 60);

    broker.publish(sender, 10);
    broker.shards[1].lost(leaving.connection, 0);
    broker.deliver_mail();

    let back = broker.open(1, 1, 60);
    let bytes = broker.received(back);
    assert_eq!(bytes[0], 0x20);
    assert_eq!(bytes.len(), 2 + usize::from(bytes[1]) + 10 * 8);
}
