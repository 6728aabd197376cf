//! Short histories written by hand: what the random ones found, one a test.

use std::sync::Arc;

use engine::codec::packet::{AcknowledgementKind, Version};
use engine::limits::{Limits, ListenerProfile};

use crate::client::Client;
use crate::history::Disk;
use crate::wire::{BrokerPacket, ClientPacket, Connect, Publish, Request, Will};
use crate::world::{Plan, World};

/// A world of MQTT 5 clients with the terms of `profile`.
fn world(clients: usize, shards: u16, profile: ListenerProfile) -> World {
    world_on(Disk::None, clients, shards, profile)
}

fn world_on(disk: Disk, clients: usize, shards: u16, profile: ListenerProfile) -> World {
    let keeps = disk == Disk::Late;
    let profiles = vec![Arc::new(profile)];
    let limits = Limits::default();
    let mut world = World::new(Plan { shards, limits, profiles, keeps, seed: 1 }, false);
    for number in 0..clients {
        world.clients.push(Client::new(Version::V5, format!("c{number}"), 0));
    }
    world
}

impl World {
    /// Client `client` connects, to the shard of its session.
    fn join(&mut self, client: usize, receive_maximum: u16) -> usize {
        self.join_for(client, receive_maximum, 100)
    }

    fn join_for(&mut self, client: usize, receive_maximum: u16, session_expiry_s: u32) -> usize {
        let client_id = self.clients[client].name.clone();
        let link = self.open(client, 0);
        self.clients[client].connecting(link, false);
        let connect =
            Connect { client_id, session_expiry_s, receive_maximum, ..Connect::default() };
        self.say(link, ClientPacket::Connect(Box::new(connect)));
        while self.moves() > 0 {
            self.adopt(0);
        }
        link
    }

    fn say(&mut self, link: usize, packet: ClientPacket) {
        self.now_ms += 1;
        self.transports[link].uplink.push_back(packet);
        self.deliver(link, 1, false);
    }

    fn subscribe_to(&mut self, link: usize, filter: &str, qos: u8) {
        let identifier = if filter.starts_with("$share") { 1_000 } else { 0 };
        let request = Request {
            filter: filter.into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        };
        let requests = vec![request];
        self.say(link, ClientPacket::Subscribe { packet_id: 99, identifier, requests });
    }

    fn send(&mut self, link: usize, packet_id: u16, qos: u8, expiry_s: Option<u32>) {
        let payload = packet_id.to_string().into_bytes();
        let topic = "t".into();
        let publish = Publish { qos, topic, packet_id, payload, expiry_s, ..Publish::default() };
        self.say(link, ClientPacket::Publish(publish));
    }

    fn acknowledge(&mut self, link: usize, kind: AcknowledgementKind, packet_id: u16) {
        self.say(link, ClientPacket::Acknowledgement { kind, packet_id, reason: 0 });
    }

    /// Messages a link got: (payload, DUP, Packet Identifier).
    fn messages(&self, link: usize) -> Vec<(String, bool, u16)> {
        let packets = self.transports[link].downlink.iter().filter_map(|packet| match packet {
            BrokerPacket::Publish(publish) => Some(publish),
            _ => None,
        });
        let text = |publish: &Publish| String::from_utf8_lossy(&publish.payload).into_owned();
        packets.map(|publish| (text(publish), publish.dup, publish.packet_id)).collect()
    }
}

/// [MQTT-4.3.3-10]
#[test]
fn a_message_refused_for_the_receive_maximum_is_taken_when_it_comes_again() {
    let profile = ListenerProfile { receive_maximum: 1, ..ListenerProfile::default() };
    let mut world = world(2, 1, profile);
    let reader = world.join(1, 10);
    world.subscribe_to(reader, "t", 2);
    let writer = world.join(0, 10);
    world.send(writer, 1, 2, None);
    world.send(writer, 2, 2, None);
    world.lose(writer);

    let writer = world.join(0, 10);
    world.send(writer, 2, 2, None);

    let payloads: Vec<String> = world.messages(reader).into_iter().map(|held| held.0).collect();
    assert_eq!(payloads, ["1", "2"]);
}

/// Below MQTT 5 a client is not told of a Receive Maximum, so none is held against it.
#[test]
fn a_client_of_3_1_1_is_not_cut_off_for_a_receive_maximum_it_cannot_know() {
    let profile = ListenerProfile { receive_maximum: 1, ..ListenerProfile::default() };
    let mut world = world(1, 1, profile);
    world.clients[0].version = Version::V3_1_1;
    let writer = world.join(0, 10);

    world.send(writer, 1, 2, None);
    world.send(writer, 2, 2, None);

    assert!(!world.transports[writer].is_closing);
}

/// [MQTT-3.3.4-9]
#[test]
fn the_pubcomp_of_an_earlier_connection_gives_no_credit_on_this_one() {
    let mut world = world(2, 1, ListenerProfile::default());
    let reader = world.join(0, 2);
    world.subscribe_to(reader, "t", 2);
    let writer = world.join(1, 10);
    world.send(writer, 1, 2, None);
    world.send(writer, 2, 1, None);
    world.acknowledge(reader, AcknowledgementKind::Pubrec, 1);
    world.lose(reader);
    let reader = world.join(0, 1);
    world.send(writer, 3, 1, None);

    world.acknowledge(reader, AcknowledgementKind::Pubcomp, 1);

    assert_eq!(world.messages(reader), [("2".into(), true, 2)]);
}

/// [MQTT-4.4.0-1]
#[test]
fn a_shared_message_that_nobody_else_takes_is_sent_again_under_its_identifier() {
    let mut world = world(2, 1, ListenerProfile::default());
    let member = world.join(0, 10);
    world.subscribe_to(member, "$share/g/t", 1);
    let writer = world.join(1, 10);
    world.send(writer, 1, 1, None);
    world.lose(member);

    let member = world.join(0, 10);

    assert_eq!(world.messages(member), [("1".into(), true, 1)]);
}

/// [MQTT-3.3.2-5]
#[test]
fn a_message_that_expires_on_its_way_to_another_shard_is_not_sent() {
    let mut world = world(8, 4, ListenerProfile::default());
    let readers: Vec<usize> = (0..7).map(|client| world.join(client, 10)).collect();
    for reader in &readers {
        world.subscribe_to(*reader, "t", 1);
    }
    let writer = world.join(7, 10);
    world.send(writer, 1, 1, Some(1));
    let routes = world.routes();
    assert!(!routes.is_empty(), "somebody lives on another shard");

    world.advance(1_500);
    for route in routes {
        world.carry(route);
    }

    let got = readers.iter().filter(|reader| !world.messages(**reader).is_empty()).count();
    assert!(got < readers.len());
}

/// [MQTT-4.8.2-4]
#[test]
fn a_will_for_its_own_group_goes_to_another_member() {
    let mut world = world(2, 1, ListenerProfile::default());
    let message = Publish { qos: 1, topic: "t".into(), payload: b"w".into(), ..Publish::default() };
    let link = world.open(0, 0);
    world.clients[0].connecting(link, true);
    let connect = Connect {
        client_id: "c0".into(),
        session_expiry_s: 100,
        receive_maximum: 10,
        will: Some(Will { message, delay_s: 0 }),
        ..Connect::default()
    };
    world.say(link, ClientPacket::Connect(Box::new(connect)));
    world.subscribe_to(link, "$share/g/t", 1);
    let other = world.join(1, 10);
    world.subscribe_to(other, "$share/g/t", 1);
    world.lose(other);

    world.say(link, ClientPacket::Disconnect { reason: 4, session_expiry_s: Some(0) });
    let other = world.join(1, 10);

    assert_eq!(world.messages(other).len(), 1);
}

/// [MQTT-3.2.0-1]
#[test]
fn nothing_is_sent_before_the_commit_that_connack_waits_for() {
    let mut world = world_on(Disk::Late, 2, 1, ListenerProfile::default());
    let reader = world.join(0, 10);
    world.commit();
    world.subscribe_to(reader, "t", 1);
    world.commit();
    world.lose(reader);
    let writer = world.join(1, 10);
    world.commit();
    world.send(writer, 1, 1, None);

    // Other terms than before: they are stored, so CONNACK waits.
    let reader = world.join_for(0, 10, 99);
    world.send(writer, 2, 1, None);
    world.say(reader, ClientPacket::Ping);
    assert!(world.transports[reader].downlink.is_empty());
    world.commit();

    let first = world.transports[reader].downlink.front();
    assert!(matches!(first, Some(BrokerPacket::Connack(_))), "{first:?}");
    assert_eq!(world.messages(reader).len(), 2);
}

/// MQTT 5 §4.3.3: what is not committed may come again after a crash, as another message.
#[test]
fn qos_2_waits_for_its_publishers_commit_on_another_shard_too() {
    let mut world = world_on(Disk::Late, 8, 4, ListenerProfile::default());
    let readers: Vec<usize> = (0..7).map(|client| world.join(client, 10)).collect();
    world.commit();
    for reader in &readers {
        world.subscribe_to(*reader, "t", 2);
    }
    world.commit();
    let writer = world.join(7, 10);
    world.commit();

    world.send(writer, 1, 2, None);
    for route in world.routes() {
        world.carry(route);
    }
    assert!(readers.iter().all(|reader| world.messages(*reader).is_empty()));
    world.commit();
    world.commit();

    assert!(readers.iter().all(|reader| world.messages(*reader).len() == 1));
}
