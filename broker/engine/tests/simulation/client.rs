//! A client with its own side of the protocol: what it sent and was not answered, what it
//! received and did not release.

use std::collections::{BTreeSet, VecDeque};

use engine::codec::packet::{AcknowledgementKind, Version};

use crate::random::Random;
use crate::wire::{BrokerPacket, ClientPacket, Connack, Publish};

/// A message under way to the broker.
#[derive(Debug)]
struct Outgoing {
    publish: Publish,
    /// PUBREC came.
    is_received: bool,
}

/// One client; it may have several links, of which one is its own.
#[derive(Debug)]
pub struct Client {
    pub version: Version,
    pub name: String,
    pub profile: usize,
    /// It has shared subscriptions; below MQTT 5 it has no others then, because nothing in a
    /// PUBLISH says which subscription it is for.
    pub shares: bool,
    pub link: Option<usize>,
    pub is_connected: bool,
    /// Filters it subscribed to, so that it unsubscribes from some.
    pub filters: Vec<String>,
    outgoing: VecDeque<Outgoing>,
    incoming: BTreeSet<u16>,
    next_id: u16,
    receive_maximum: usize,
    topic_alias_maximum: u16,
    aliases: Vec<String>,
}

impl Client {
    /// A client that never connected.
    pub fn new(version: Version, name: String, profile: usize) -> Self {
        Self {
            version,
            name,
            profile,
            shares: false,
            link: None,
            is_connected: false,
            filters: Vec::new(),
            outgoing: VecDeque::new(),
            incoming: BTreeSet::new(),
            next_id: 1,
            receive_maximum: usize::from(u16::MAX),
            topic_alias_maximum: 0,
            aliases: Vec::new(),
        }
    }

    /// It begins a connection.
    pub fn connecting(&mut self, link: usize, clean_start: bool) {
        self.link = Some(link);
        self.is_connected = false;
        self.aliases.clear();
        if clean_start {
            self.outgoing.clear();
            self.incoming.clear();
        }
    }

    /// Its connection is gone.
    pub fn parted(&mut self) {
        self.link = None;
        self.is_connected = false;
    }

    /// Whether it may send another QoS 1 or 2 message.
    pub fn has_credit(&self) -> bool {
        self.outgoing.len() < self.receive_maximum
    }

    /// A Packet Identifier that is free; small ones come again soon.
    pub fn free_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            let most = u16::try_from(self.outgoing.len()).unwrap().max(11) + 1;
            self.next_id = if id >= most { 1 } else { id + 1 };
            if self.outgoing.iter().all(|held| held.publish.packet_id != id) {
                return id;
            }
        }
    }

    /// A message to send, kept if it is to be acknowledged.
    pub fn publish(&mut self, mut publish: Publish, random: &mut Random) -> ClientPacket {
        if publish.qos > 0 {
            publish.packet_id = self.free_id();
            self.outgoing.push_back(Outgoing { publish: publish.clone(), is_received: false });
        }
        self.use_alias(&mut publish, random);
        ClientPacket::Publish(publish)
    }

    fn use_alias(&mut self, publish: &mut Publish, random: &mut Random) {
        if self.topic_alias_maximum == 0 || random.chance(60) {
            return;
        }
        let known = self.aliases.iter().position(|topic| *topic == publish.topic);
        if let Some(at) = known {
            publish.alias = Some(u16::try_from(at).unwrap() + 1);
            if random.chance(80) {
                publish.topic.clear();
            }
        } else if self.aliases.len() < usize::from(self.topic_alias_maximum) {
            self.aliases.push(publish.topic.clone());
            publish.alias = Some(u16::try_from(self.aliases.len()).unwrap());
        } else {
            let at = random.below(self.aliases.len());
            self.aliases[at].clone_from(&publish.topic);
            publish.alias = Some(u16::try_from(at).unwrap() + 1);
        }
    }

    /// A packet came on its own link: the answers to it.
    pub fn hear(&mut self, packet: &BrokerPacket, random: &mut Random) -> Vec<ClientPacket> {
        match packet {
            BrokerPacket::Connack(connack) => self.on_connack(connack),
            BrokerPacket::Publish(publish) => self.on_publish(publish, random),
            BrokerPacket::Acknowledgement { kind, packet_id, reason } => {
                self.on_acknowledgement(*kind, *packet_id, *reason)
            }
            BrokerPacket::Suback { .. }
            | BrokerPacket::Unsuback { .. }
            | BrokerPacket::Pingresp
            | BrokerPacket::Disconnect { .. } => Vec::new(),
        }
    }

    /// Sends again what was not answered, in order [MQTT-4.4.0-1].
    fn on_connack(&mut self, connack: &Connack) -> Vec<ClientPacket> {
        if connack.reason != 0 {
            return Vec::new();
        }
        self.is_connected = true;
        self.receive_maximum = usize::from(connack.receive_maximum.unwrap_or(u16::MAX));
        self.topic_alias_maximum = connack.topic_alias_maximum.unwrap_or(0);
        if !connack.session_present && self.version != Version::V3_1 {
            self.outgoing.clear();
            self.incoming.clear();
        }
        let again = self.outgoing.iter().map(|held| {
            if held.is_received {
                return answer(AcknowledgementKind::Pubrel, held.publish.packet_id);
            }
            ClientPacket::Publish(Publish { dup: true, ..held.publish.clone() })
        });
        again.collect()
    }

    fn on_publish(&mut self, publish: &Publish, random: &mut Random) -> Vec<ClientPacket> {
        let packet_id = publish.packet_id;
        match publish.qos {
            0 => Vec::new(),
            1 => vec![answer(AcknowledgementKind::Puback, packet_id)],
            _ if self.version == Version::V5 && random.chance(4) => {
                self.incoming.remove(&packet_id);
                let kind = AcknowledgementKind::Pubrec;
                vec![ClientPacket::Acknowledgement { kind, packet_id, reason: 0x83 }]
            }
            _ => {
                self.incoming.insert(packet_id);
                vec![answer(AcknowledgementKind::Pubrec, packet_id)]
            }
        }
    }

    fn on_acknowledgement(
        &mut self,
        kind: AcknowledgementKind,
        packet_id: u16,
        reason: u8,
    ) -> Vec<ClientPacket> {
        let at = self.outgoing.iter().position(|held| held.publish.packet_id == packet_id);
        match (kind, at) {
            (AcknowledgementKind::Pubrel, _) => {
                self.incoming.remove(&packet_id);
                vec![answer(AcknowledgementKind::Pubcomp, packet_id)]
            }
            (AcknowledgementKind::Pubrec, Some(at)) if reason < 0x80 => {
                self.outgoing[at].is_received = true;
                vec![answer(AcknowledgementKind::Pubrel, packet_id)]
            }
            (_, Some(at)) => {
                self.outgoing.remove(at);
                Vec::new()
            }
            (_, None) => Vec::new(),
        }
    }
}

/// An acknowledgement with success.
fn answer(kind: AcknowledgementKind, packet_id: u16) -> ClientPacket {
    ClientPacket::Acknowledgement { kind, packet_id, reason: 0 }
}
