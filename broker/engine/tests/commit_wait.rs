//! What waits for a commit is sent as the standard has it when the commit comes.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test that stops has failed")]

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::host::{ConnectionRef, Peer};
use engine::limits::{Limits, ListenerProfile};
use engine::shard::{Flow, Shard};
use engine::shared::Shared;
use engine::store::{Change, Fetch, Health, SessionId, Store, Ticket};

/// A store that commits when the test says so.
#[derive(Debug, Default, Clone)]
struct HeldStore {
    written: Arc<AtomicU64>,
}

impl Store for HeldStore {
    fn keeps(&self) -> bool {
        true
    }

    fn write(&mut self, _change: Change) -> Ticket {
        Ticket(self.written.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn begin(&mut self) {}

    fn end(&mut self) {}

    fn flush(&mut self) {}

    fn fetch(&mut self, _fetch: Fetch) {}

    fn new_session(&mut self) -> SessionId {
        SessionId(self.written.load(Ordering::Relaxed) + 1)
    }

    fn health(&self) -> Health {
        Health::Sound
    }
}

/// A shard and its store.
struct Broker {
    shard: Shard,
    store: HeldStore,
}

impl Broker {
    fn new() -> Self {
        let store = HeldStore::default();
        let shared = Shared::new(Limits::default(), 1, 7);
        Self { shard: Shard::with_store(0, shared, Box::new(store.clone())), store }
    }

    /// What was written so far is committed.
    fn commit(&mut self) {
        self.shard.commit(Ticket(self.store.written.load(Ordering::Relaxed)), 0);
    }

    fn send(&mut self, connection: ConnectionRef, header: u8, body: &[u8]) {
        let flow = self.shard.receive(connection, &packet(header, body), 0);
        assert!(matches!(flow, Flow::Read), "{flow:?}");
    }

    /// The bytes that were sent to a client.
    fn received(&mut self, connection: ConnectionRef) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(output) = self.shard.output(connection) {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = output.slices(&mut slices);
            let now: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            output.advance(now.len());
            bytes.extend(now);
        }
        bytes
    }

    /// A client with a lasting session that takes packets of at most 40 bytes.
    fn connect(&mut self, client_id: u8) -> ConnectionRef {
        let connection = self.open(client_id, 100);
        assert!(self.received(connection).is_empty(), "CONNACK waits for the session");
        self.commit();
        assert_eq!(self.received(connection)[0], 0x20);
        connection
    }

    /// The same, up to the CONNECT.
    fn open(&mut self, client_id: u8, expiry_s: u8) -> ConnectionRef {
        let profile = Arc::new(ListenerProfile::default());
        let connection = self.shard.open(Peer::default(), profile, 0);
        let expiry = [&b"\x0A\x11\0\0\0"[..], &[expiry_s], b"\x27\0\0\0\x28"].concat();
        let body = [&b"\0\x04MQTT\x05\0\0\0"[..], &expiry, &[0, 1, client_id]].concat();
        self.send(connection, 0x10, &body);
        connection
    }
}

fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).expect("a short packet");
    assert!(length < 128);
    [&[header, length], body].concat()
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]: a message that waited is no larger than the client takes, and
/// one that is counts as delivered.
#[test]
fn a_message_that_waited_keeps_the_maximum_packet_size() {
    let mut broker = Broker::new();
    let subscriber = broker.connect(b's');
    broker.send(subscriber, 0x82, b"\0\x01\0\0\x01a\x02");
    broker.commit();
    assert_eq!(broker.received(subscriber)[0], 0x90);
    let publisher = broker.connect(b'p');
    let message = |packet_id, payload: &[u8]| [&[0, 1, b'a', 0, packet_id, 0], payload].concat();
    broker.send(publisher, 0x34, &message(1, &[b'x'; 33]));
    broker.send(publisher, 0x34, &message(2, &[b'y'; 32]));
    assert!(broker.received(subscriber).is_empty(), "QoS 2 waits for the message");
    broker.commit();

    let expected = packet(0x34, &message(1, &[b'y'; 32]));
    assert_eq!(expected.len(), 40);
    assert_eq!(broker.received(subscriber), expected);
}

/// [MQTT-3.2.0-1]: neither answers nor messages pass a CONNACK that waits.
#[test]
fn nothing_is_sent_before_connack() {
    let mut broker = Broker::new();
    let first = broker.connect(b's');
    broker.send(first, 0x82, b"\0\x01\0\0\x01a\x01");
    broker.commit();
    let publisher = broker.connect(b'p');
    let second = broker.open(b's', 99); // Other terms are stored, so its CONNACK waits.
    broker.send(second, 0xC0, b"");
    broker.send(publisher, 0x30, b"\0\x01a\x000");
    broker.send(publisher, 0x32, b"\0\x01a\0\x01\x001");
    broker.send(publisher, 0x34, b"\0\x01a\0\x01\x002");
    assert!(broker.received(second).is_empty());
    broker.commit();

    let bytes = broker.received(second);
    assert_eq!(bytes[0], 0x20, "CONNACK is the first");
    let behind = &bytes[usize::from(bytes[1]) + 2..];
    let mut expected = packet(0xD0, b"");
    expected.extend(packet(0x30, b"\0\x01a\x000"));
    expected.extend(packet(0x32, b"\0\x01a\0\x01\x001"));
    expected.extend(packet(0x32, b"\0\x01a\0\x02\x002"));
    assert_eq!(behind, expected);
}
