//! Random actions, and the end of a history: everyone reads everything, then everything goes.

use std::sync::Arc;

use engine::codec::packet::{AcknowledgementKind, Version};
use engine::limits::{Limits, ListenerProfile};

use crate::client::Client;
use crate::random::Random;
use crate::wire::{ClientPacket, Connect, Publish, Request, Will};
use crate::world::{Plan, Transport, World};

const TOPICS: [&str; 8] = ["a", "a/b", "a/b/c", "b/c", "$x/a", "/a", "a/", "dd/b"];
const FILTERS: [&str; 14] = [
    "#", "+", "a/#", "+/b", "a/+", "a/b", "$x/#", "+/+/c", "a/b/#", "/+", "a", "b/c", "+/#", "dd/b",
];
const SHARED: [&str; 5] =
    ["$share/g/a/#", "$share/g/+/b", "$share/h/a/b", "$share/h/#", "$share/i/b/c"];
const INVALID: [&str; 6] = ["a#", "a/#/b", "$share//a", "$share/g/", "$share/g+/a", "$queue/a"];

/// Where what lasts goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// Nowhere: all counts as committed at once.
    None,
    /// To a store that commits late, in groups.
    Late,
}

/// What sort of world a seed gives.
fn plan(random: &mut Random, seed: u64, disk: Disk) -> (Plan, bool) {
    let has_small_queues = random.chance(20);
    let limits = Limits {
        session_queue_messages: if has_small_queues { 3 } else { 10_000 },
        ..Limits::default()
    };
    let profiles = vec![
        Arc::new(ListenerProfile::default()),
        Arc::new(ListenerProfile {
            name: "mounted".into(),
            mount_point: "m/".into(),
            receive_maximum: 4,
            inflight_maximum: 3,
            topic_alias_maximum: 2,
            topic_alias_maximum_out: 2,
            keep_alive_max_s: 30,
            session_expiry_max_s: 40,
            ..ListenerProfile::default()
        }),
    ];
    let shards = u16::try_from(random.between(1, 3)).unwrap();
    let keeps = disk == Disk::Late;
    (Plan { shards, limits, profiles, keeps, seed }, has_small_queues)
}

/// Makes a world by its seed, and its clients.
fn begin(seed: u64, disk: Disk, is_traced: bool) -> World {
    let mut random = Random::new(seed ^ 0x5EED);
    let (plan, has_small_queues) = plan(&mut random, seed, disk);
    let mut world = World::new(plan, is_traced);
    for number in 0..random.between(2, 6) {
        let version = random.pick(&[Version::V3_1, Version::V3_1_1, Version::V5, Version::V5]);
        let profile = usize::from(random.chance(25));
        let mut client = Client::new(version, format!("c{number}"), profile);
        // What a small queue drops cannot be told from what another member got.
        client.shares = !has_small_queues && random.chance(40);
        world.clients.push(client);
    }
    world
}

/// Runs one history; panics where the engine and the model differ.
pub fn run(seed: u64, disk: Disk, is_traced: bool) {
    let mut world = begin(seed, disk, is_traced);
    let steps = world.random.between(30, 250);
    for _ in 0..steps {
        world.act();
    }
    world.drain();
    world.model.check_drained();
    world.check_retained();
    world.end_all();
    world.check_empty();
}

impl World {
    /// Does one thing or another.
    fn act(&mut self) {
        let client = self.random.below(self.clients.len());
        match self.random.below(100) {
            0..=3 => self.connect(client, false),
            4..=29 => self.publish(client),
            30..=37 => self.subscribe(client),
            38..=39 => self.unsubscribe(client),
            40..=59 => self.flow(client),
            60..=69 => self.read(client, 1 + self.random.clone().below(4)),
            70..=79 => self.carry_some(),
            80..=82 => self.adopt_some(),
            83..=86 => {
                let by_ms = self.random.pick(&[1, 7, 130, 900, 2_100, 5_300]);
                self.advance(by_ms + self.random.clone().next() % 100);
            }
            87..=88 => self.say_goodbye(client),
            89 => self.say_something_odd(client),
            90..=91 => self.drop_link(),
            92 => self.close_some(),
            93..=97 => self.move_disk(),
            _ => {
                if let Some(link) = self.clients[client].link {
                    self.transports[link].uplink.push_back(ClientPacket::Ping);
                }
            }
        }
        self.reconnect_idle();
    }

    /// Clients without a link connect sooner or later.
    fn reconnect_idle(&mut self) {
        let client = self.random.below(self.clients.len());
        if self.clients[client].link.is_none() && self.random.chance(20) {
            self.connect(client, true);
        }
    }

    /// A client connects, even if it is connected already: then it takes itself over.
    fn connect(&mut self, client: usize, is_idle: bool) {
        if !is_idle && self.clients[client].link.is_some() && self.random.chance(70) {
            return;
        }
        let mut connect = self.random_connect(client);
        if self.random.chance(3) {
            // Nobody can come back to a session whose name was never told.
            connect.client_id.clear();
            connect.session_expiry_s = 0;
        }
        self.open_with(client, connect);
    }

    fn open_with(&mut self, client: usize, connect: Connect) {
        let shards = usize::from(self.shared.shards);
        let shard = self.random.below(shards);
        let link = self.open(client, shard);
        self.clients[client].connecting(link, connect.clean_start);
        if connect.clean_start {
            self.clients[client].filters.clear();
        }
        self.transports[link].uplink.push_back(ClientPacket::Connect(Box::new(connect)));
    }

    fn random_connect(&mut self, client: usize) -> Connect {
        let will = self.random.chance(40).then(|| {
            let message = self.random_message(client);
            let is_v5 = self.clients[client].version == Version::V5;
            let delays: &[u32] = if is_v5 { &[0, 0, 1, 3, 20] } else { &[0] };
            Will { message, delay_s: self.random.pick(delays) }
        });
        let random = &mut self.random;
        Connect {
            client_id: self.clients[client].name.clone(),
            clean_start: random.chance(25),
            keep_alive_s: random.pick(&[0, 0, 0, 5, 60]),
            session_expiry_s: random.pick(&[0, 2, 10, 100, 1_000, u32::MAX]),
            receive_maximum: random.pick(&[1, 2, 3, 10, u16::MAX]),
            maximum_packet_size: random.pick(&[0, 0, 0, 0, 40, 200]),
            topic_alias_maximum: random.pick(&[0, 0, 1, 2, 10]),
            will,
        }
    }

    fn random_message(&mut self, client: usize) -> Publish {
        let number = self.model.messages.len();
        let is_v5 = self.clients[client].version == Version::V5;
        // Messages without a payload cannot be told apart, and which member gets which is open.
        let has_groups = self.clients.iter().any(|client| client.shares);
        let random = &mut self.random;
        let salt = random.next() % 1_000_000;
        let mut payload = format!("{number}-{salt}").into_bytes();
        let retain = random.chance(25);
        if retain && !has_groups && random.chance(35) {
            payload.clear();
        } else if random.chance(8) {
            payload.resize(random.below(200) + payload.len(), b'.');
        } else if random.chance(1) {
            payload.resize(9_000, b'.');
        }
        let properties: &[u8] = match random.below(6) {
            0 if is_v5 => b"\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w",
            1 if is_v5 => b"\x01\x01\x03\0\x02tt\x08\0\x01r\x09\0\x01c",
            _ => b"",
        };
        Publish {
            qos: u8::try_from(random.below(3)).unwrap(),
            retain,
            topic: random.pick(&TOPICS).into(),
            payload,
            expiry_s: (is_v5 && random.chance(25)).then(|| random.between(1, 12)),
            properties: properties.to_vec(),
            ..Publish::default()
        }
    }

    fn publish(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        for _ in 0..self.random.between(1, 3) {
            if !self.clients[client].is_connected || !self.clients[client].has_credit() {
                return;
            }
            let mut message = self.random_message(client);
            if self.random.chance(1) {
                message.topic = self.random.pick(&["$SYS/a", "$share/g/a", "$queue"]).into();
                message.retain = false;
            }
            let packet = self.clients[client].publish(message, &mut self.random);
            self.transports[link].uplink.push_back(packet);
        }
    }

    fn subscribe(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        let held = &mut self.clients[client];
        let random = &mut self.random;
        let is_v5 = held.version == Version::V5;
        let shared = held.shares && (!is_v5 || random.chance(50));
        // It must show through which group a message came: by its identifier, or, below MQTT 5,
        // because the client is in one alone.
        let group = if is_v5 { random.below(SHARED.len()) } else { client % SHARED.len() };
        let list: &[&str] = if shared { &SHARED[group..=group] } else { &FILTERS };
        let mut requests = Vec::new();
        for _ in 0..random.between(1, 3) {
            let filter = if random.chance(3) { random.pick(&INVALID) } else { random.pick(list) };
            if requests.iter().any(|held: &Request| held.filter == filter) {
                continue;
            }
            held.filters.push(filter.into());
            requests.push(Request {
                filter: filter.into(),
                qos: u8::try_from(random.below(if shared { 2 } else { 3 })).unwrap()
                    + u8::from(shared),
                no_local: !filter.starts_with("$share") && random.chance(20),
                retain_as_published: random.chance(40),
                retain_handling: u8::try_from(random.below(3)).unwrap(),
            });
        }
        let identifier = match (shared, random.chance(60)) {
            (true, _) => 1_000 + 100 * u32::try_from(group).unwrap() + random.between(0, 9),
            (false, true) => random.between(1, 300),
            (false, false) => 0,
        };
        let packet_id = held.free_id();
        self.transports[link].uplink.push_back(ClientPacket::Subscribe {
            packet_id,
            identifier,
            requests,
        });
    }

    fn unsubscribe(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        let held = &mut self.clients[client];
        let mut filters = vec![self.random.pick(&FILTERS).to_owned()];
        if !held.filters.is_empty() {
            let at = self.random.below(held.filters.len());
            filters.push(held.filters.remove(at));
        }
        filters.dedup();
        let packet_id = held.free_id();
        self.transports[link].uplink.push_back(ClientPacket::Unsubscribe { packet_id, filters });
    }

    /// Bytes reach the broker.
    fn flow(&mut self, client: usize) {
        // Now and then it is a link that its client has given up.
        let link = if self.random.chance(10) && !self.transports.is_empty() {
            self.random.below(self.transports.len())
        } else {
            let Some(link) = self.clients[client].link else { return };
            link
        };
        let packets = self.random.pick(&[1, 1, 1, 2, 5]);
        let cuts = self.random.chance(15);
        self.tick_on();
        self.deliver(link, packets, cuts);
    }

    /// No two inputs come in the same millisecond, so that few deadlines do.
    fn tick_on(&mut self) {
        self.advance(1);
    }

    /// A client looks at what it got.
    fn read(&mut self, client: usize, packets: usize) {
        let Some(link) = self.clients[client].link else { return };
        for _ in 0..packets {
            let Some(packet) = self.transports[link].downlink.pop_front() else { return };
            let answers = self.clients[client].hear(&packet, &mut self.random);
            self.transports[link].uplink.extend(answers);
        }
    }

    fn carry_some(&mut self) {
        let routes = self.routes();
        if !routes.is_empty() {
            let route = self.random.pick(&routes);
            self.carry(route);
        }
    }

    fn adopt_some(&mut self) {
        if self.moves() > 0 {
            let at = self.random.below(self.moves());
            self.adopt(at);
        }
    }

    fn say_goodbye(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        let reason = self.random.pick(&[0, 0, 4]);
        let is_v5 = self.clients[client].version == Version::V5;
        let reason = if is_v5 { reason } else { 0 };
        let expiry_s = self.random.pick(&[None, None, Some(0), Some(3), Some(50)]);
        let session_expiry_s = expiry_s.filter(|_| is_v5);
        let packet = ClientPacket::Disconnect { reason, session_expiry_s };
        self.transports[link].uplink.push_back(packet);
    }

    /// Packets that break the standard, and acknowledgements of what never was.
    fn say_something_odd(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        let is_v5 = self.clients[client].version == Version::V5;
        let stray = |kind| ClientPacket::Acknowledgement { kind, packet_id: 40_000, reason: 0 };
        let broken = |bytes: &[u8], reason| ClientPacket::Broken { bytes: bytes.to_vec(), reason };
        let packet = match self.random.below(12) {
            0 => stray(AcknowledgementKind::Puback),
            1 => stray(AcknowledgementKind::Pubrec),
            2 => stray(AcknowledgementKind::Pubrel),
            3 => stray(AcknowledgementKind::Pubcomp),
            4 => broken(b"\x36\x05\0\x01a\0\x01", 0x81),
            5 => broken(b"\x80\x00", 0x81),
            6 => broken(b"\x30\x03\0\x01+", 0x90),
            7 => broken(b"\x30\xFF\xFF\xFF\xFF\x7F", 0x81),
            8 => broken(b"\x10\x00", 0x82),
            9 => broken(b"\x00\x00", 0x81),
            10 if is_v5 => broken(b"\x30\x07\0\x01a\x03\x23\xFF\xFF", 0x94),
            11 if is_v5 => broken(b"\x38\x05\0\x01a\0x", 0x81),
            _ => return,
        };
        self.transports[link].uplink.push_back(packet);
    }

    /// A transport breaks.
    fn drop_link(&mut self) {
        if !self.transports.is_empty() {
            let link = self.random.below(self.transports.len());
            self.tick_on();
            self.lose(link);
        }
    }

    /// Transports that the engine is done with are closed.
    fn close_some(&mut self) {
        for link in 0..self.transports.len() {
            if self.transports[link].is_closing {
                self.lose(link);
            }
        }
    }

    fn move_disk(&mut self) {
        let Some(store) = &self.store else { return };
        if self.random.chance(40) {
            store.ledger().seal();
        } else {
            self.commit();
        }
    }

    /// Everyone with a session connects, reads and acknowledges until nothing moves.
    pub fn drain(&mut self) {
        self.lose_abandoned();
        for _ in 0..400 {
            self.close_some();
            self.commit();
            for route in self.routes() {
                self.carry(route);
            }
            while self.moves() > 0 {
                self.adopt(0);
            }
            let mut is_still = self.routes().is_empty() && self.model.is_quiet();
            for client in 0..self.clients.len() {
                is_still &= self.drain_client(client);
            }
            // What the clock did meanwhile is to be read as well.
            let is_read = |link: &Transport| link.uplink.is_empty() && link.downlink.is_empty();
            let is_closed = |link: &Transport| link.place.is_none();
            is_still &= self.transports.iter().all(|link| is_closed(link) || is_read(link));
            if is_still && self.routes().is_empty() {
                return;
            }
        }
        panic!("the history does not come to rest");
    }

    /// Ends the links that their clients have given up.
    fn lose_abandoned(&mut self) {
        while self.moves() > 0 {
            self.adopt(0);
        }
        for link in 0..self.transports.len() {
            let client = self.transports[link].client;
            if self.clients[client].link != Some(link) {
                self.lose(link);
            }
        }
    }

    /// Whether there was nothing to do.
    fn drain_client(&mut self, client: usize) -> bool {
        let Some(link) = self.clients[client].link else {
            let is_needed = self.model.sessions.values().any(|held| held.client == client);
            if is_needed {
                let connect = Connect {
                    clean_start: false,
                    keep_alive_s: 0,
                    session_expiry_s: 1_000_000,
                    maximum_packet_size: 0,
                    will: None,
                    ..self.random_connect(client)
                };
                self.open_with(client, connect);
            }
            return !is_needed;
        };
        let is_still =
            self.transports[link].uplink.is_empty() && self.transports[link].downlink.is_empty();
        self.tick_on();
        self.deliver(link, 100, false);
        self.read(client, 100);
        is_still
    }

    /// The retained store holds what the model does.
    fn check_retained(&self) {
        let now_ms = self.now_ms;
        let mut held: Vec<(String, Vec<u8>)> = ["#", "$x/#"]
            .iter()
            .flat_map(|filter| self.shared.retained(filter, 10_000, now_ms))
            .map(|message| (message.topic.into(), message.payload.into_vec()))
            .collect();
        held.sort();
        let messages = &self.model.messages;
        let expected = self.model.retained.iter().map(|(topic, held)| (topic, &messages[*held]));
        let expected: Vec<(String, Vec<u8>)> = expected
            .filter(|(_, message)| !message.is_expired(now_ms))
            .map(|(topic, message)| (topic.clone(), message.payload.clone()))
            .collect();
        assert_eq!(held, expected, "the retained store");
    }

    /// Everyone connects anew and leaves for good.
    fn end_all(&mut self) {
        for client in 0..self.clients.len() {
            let is_v5 = self.clients[client].version == Version::V5;
            let connect = Connect {
                client_id: self.clients[client].name.clone(),
                clean_start: true,
                receive_maximum: 1,
                ..Connect::default()
            };
            self.open_with(client, connect);
            let link = self.clients[client].link.unwrap();
            let session_expiry_s = is_v5.then_some(0);
            let packet = ClientPacket::Disconnect { reason: 0, session_expiry_s };
            self.transports[link].uplink.push_back(packet);
        }
        self.drain();
        for link in 0..self.transports.len() {
            self.lose(link);
        }
        self.drain();
    }
}
