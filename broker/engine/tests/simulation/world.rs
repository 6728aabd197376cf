//! A broker of several shards with all that lies between them and the clients: transports, mail
//! on its way, connections that move, a clock, a disk. Nothing happens but by a call.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use engine::codec::packet::Version;
use engine::host::{ConnectionRef, HostRecord, Peer};
use engine::limits::{Limits, ListenerProfile};
use engine::session::session_key;
use engine::shard::{Flow, HandOver, Mail, Shard, State};
use engine::shared::Shared;
use engine::store::Ticket;

use crate::client::Client;
use crate::ledger::LedgerStore;
use crate::model::{Letter, Link, Model, Phase};
use crate::random::Random;
use crate::wire::{BrokerPacket, ClientPacket, next_packet};

/// One transport.
#[derive(Debug)]
pub struct Transport {
    pub client: usize,
    pub version: Version,
    /// Shard and place there; `None` while it moves, and in the end.
    pub place: Option<(usize, ConnectionRef)>,
    /// Packets on their way to the broker.
    pub uplink: VecDeque<ClientPacket>,
    /// What is left of the first of `uplink`, once a part of it arrived.
    partial: Vec<u8>,
    /// Packets the client has not looked at.
    pub downlink: VecDeque<BrokerPacket>,
    /// Bytes of a packet that is not complete.
    incoming: Vec<u8>,
    /// Packets the engine has, and has not handled.
    fed: VecDeque<ClientPacket>,
    is_parked: bool,
    /// The engine is done with it: it is written out, and closed next.
    pub is_closing: bool,
}

/// Mail from one shard to another, and what the model has in it.
type Batch = (Mail, VecDeque<Letter>);

/// A connection on its way to another shard.
#[derive(Debug)]
struct Moving {
    transport: usize,
    hand_over: HandOver,
}

/// What a world is made of.
#[derive(Debug)]
pub struct Plan {
    pub shards: u16,
    pub limits: Limits,
    pub profiles: Vec<Arc<ListenerProfile>>,
    pub keeps: bool,
    pub seed: u64,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    pub now_ms: u64,
    pub model: Model,
    pub clients: Vec<Client>,
    pub transports: Vec<Transport>,
    pub random: Random,
    pub shared: Arc<Shared>,
    shards: Vec<Shard>,
    mail: BTreeMap<(usize, usize), VecDeque<Batch>>,
    moving: Vec<Moving>,
    places: HashMap<(usize, ConnectionRef), usize>,
    pub store: Option<LedgerStore>,
    /// Whether what happens is written down.
    is_traced: bool,
}

impl World {
    /// A broker that has just begun.
    pub fn new(plan: Plan, is_traced: bool) -> Self {
        let Plan { shards, limits, profiles, keeps, seed } = plan;
        let queue_max = limits.session_queue_messages as usize;
        let shared = Shared::new(limits, shards, seed);
        let store = keeps.then(LedgerStore::default);
        let shards = (0..shards).map(|id| match &store {
            Some(store) => Shard::with_store(id, Arc::clone(&shared), Box::new(store.clone())),
            None => Shard::new(id, Arc::clone(&shared)),
        });
        Self {
            now_ms: 1_000,
            model: Model::new(profiles, queue_max, store.clone()),
            clients: Vec::new(),
            transports: Vec::new(),
            random: Random::new(seed),
            shards: shards.collect(),
            shared,
            mail: BTreeMap::new(),
            moving: Vec::new(),
            places: HashMap::new(),
            store,
            is_traced,
        }
    }

    /// Writes down what happens, if somebody reads it.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.is_traced {
            println!("{:>8} ms  {}", self.now_ms, text());
        }
    }

    /// A client opens a transport to a shard.
    pub fn open(&mut self, client: usize, shard: usize) -> usize {
        let (version, profile) = (self.clients[client].version, self.clients[client].profile);
        let terms = Arc::clone(&self.model.profiles[profile]);
        let reference = self.shards[shard].open(Peer::default(), terms, self.now_ms);
        let transport = self.transports.len();
        self.places.insert((shard, reference), transport);
        self.transports.push(Transport {
            client,
            version,
            place: Some((shard, reference)),
            uplink: VecDeque::new(),
            partial: Vec::new(),
            downlink: VecDeque::new(),
            incoming: Vec::new(),
            fed: VecDeque::new(),
            is_parked: false,
            is_closing: false,
        });
        self.model.links.push(Link::new(client, version, profile, shard, self.now_ms));
        transport
    }

    /// Some of what is on its way to the broker arrives: whole packets, and perhaps a part.
    pub fn deliver(&mut self, transport: usize, packets: usize, cuts: bool) {
        let held = &mut self.transports[transport];
        let Some((shard, reference)) = held.place else { return };
        if held.is_parked || held.is_closing {
            return;
        }
        let mut bytes = std::mem::take(&mut held.partial);
        let is_partial = !bytes.is_empty();
        let mut whole = Vec::new();
        for at in 0..packets {
            let Some(packet) = held.uplink.pop_front() else { break };
            if at > 0 || !is_partial {
                bytes.extend_from_slice(&packet.encode(held.version));
            }
            whole.push(packet);
        }
        // Of a broken packet the first bytes may say enough, and much of a large one counts as a
        // sign of life: these come in one piece.
        let is_broken =
            bytes.len() > 2_000 || matches!(whole.last(), Some(ClientPacket::Broken { .. }));
        if let Some(packet) = if cuts && !is_broken { whole.pop() } else { None } {
            let length = packet.encode(held.version).len().min(bytes.len());
            let cut = self.random.below(length) + 1;
            held.partial = bytes.split_off(bytes.len() - cut);
            held.uplink.push_front(packet);
        }
        if bytes.is_empty() {
            return;
        }
        self.note(|| {
            format!(
                "link {transport} of client {} → shard {shard}: {whole:?}",
                self.transports[transport].client
            )
        });
        if !whole.is_empty() {
            self.model.links[transport].heard_ms = self.now_ms;
        }
        self.transports[transport].fed.extend(whole);
        self.model.begin(self.now_ms);
        let flow = self.shards[shard].receive(reference, &bytes, self.now_ms);
        self.follow(transport, flow);
        self.finish();
    }

    /// Does what the engine says, and tells the model what it handled.
    fn follow(&mut self, transport: usize, flow: Flow) {
        match flow {
            Flow::Read | Flow::Close => self.apply(transport),
            Flow::Pause => self.transports[transport].is_parked = true,
            Flow::HandOver(hand_over) => {
                let held = &mut self.transports[transport];
                let place = held.place.take().unwrap();
                self.places.remove(&place);
                self.model.links[transport].shard = None;
                self.moving.push(Moving { transport, hand_over: *hand_over });
            }
        }
    }

    /// The model handles the packets that the engine did.
    fn apply(&mut self, transport: usize) {
        while let Some(packet) = self.transports[transport].fed.pop_front() {
            self.apply_packet(transport, &packet);
        }
    }

    fn apply_packet(&mut self, transport: usize, packet: &ClientPacket) {
        let Some((shard, _)) = self.transports[transport].place else { return };
        match (self.model.links[transport].phase, packet) {
            (Phase::Closing, _) => {}
            (Phase::Connecting, ClientPacket::Connect(connect)) => {
                let home = self.home(transport, &connect.client_id).unwrap_or(shard);
                assert_eq!(home, shard, "a session lives where its key says");
                let is_refused =
                    connect.client_id.is_empty() && !connect.clean_start && !self.is_v5(transport);
                if is_refused || connect.client_id.is_empty() && self.is_v3_1(transport) {
                    self.model.refuse(transport, 0x85);
                } else {
                    self.model.connect(transport, connect, shard, "");
                }
            }
            (Phase::Connecting, _) => self.model.links[transport].close(None),
            (Phase::Open, packet) => self.apply_open(transport, packet),
        }
    }

    fn apply_open(&mut self, transport: usize, packet: &ClientPacket) {
        let model = &mut self.model;
        match packet {
            ClientPacket::Connect(_) => model.disconnect(transport, 0x82),
            ClientPacket::Publish(publish) => model.publish(transport, publish),
            ClientPacket::Acknowledgement { kind, packet_id, reason } => {
                model.acknowledge(transport, *kind, *packet_id, *reason);
            }
            ClientPacket::Subscribe { packet_id, identifier, requests } => {
                model.subscribe(transport, *packet_id, *identifier, requests);
            }
            ClientPacket::Unsubscribe { packet_id, filters } => {
                model.unsubscribe(transport, *packet_id, filters);
            }
            ClientPacket::Ping => model.links[transport].pings += 1,
            ClientPacket::Disconnect { reason, session_expiry_s } => {
                model.goodbye(transport, *reason, *session_expiry_s);
            }
            ClientPacket::Broken { reason, .. } => model.disconnect(transport, *reason),
        }
    }

    fn is_v5(&self, transport: usize) -> bool {
        self.transports[transport].version == Version::V5
    }

    fn is_v3_1(&self, transport: usize) -> bool {
        self.transports[transport].version == Version::V3_1
    }

    /// The shard a session lives on; any if the broker is to name it.
    fn home(&self, transport: usize, client_id: &str) -> Option<usize> {
        let mount_point = &self.model.profile(transport).mount_point;
        let key = session_key(mount_point, client_id);
        (!client_id.is_empty()).then(|| usize::from(self.shared.shard_of(&key)))
    }

    /// Moves that are under way.
    pub fn moves(&self) -> usize {
        self.moving.len()
    }

    /// A connection reaches the shard of its session.
    pub fn adopt(&mut self, at: usize) {
        let Moving { transport, hand_over } = self.moving.remove(at);
        let shard = usize::from(hand_over.shard);
        self.note(|| format!("link {transport} moves to shard {shard}"));
        self.model.begin(self.now_ms);
        let reference = self.shards[shard].adopt(hand_over, self.now_ms);
        self.places.insert((shard, reference), transport);
        let held = &mut self.transports[transport];
        held.place = Some((shard, reference));
        // It goes on when the engine says so, with what came behind the CONNECT.
        held.is_parked = true;
        self.model.links[transport].shard = Some(shard);
        self.model.links[transport].heard_ms = self.now_ms;
        if let Some(connect) = self.transports[transport].fed.pop_front() {
            self.apply_packet(transport, &connect);
        }
        self.finish();
    }

    /// Routes on which mail is waiting.
    pub fn routes(&self) -> Vec<(usize, usize)> {
        self.mail.iter().filter(|(_, held)| !held.is_empty()).map(|(route, _)| *route).collect()
    }

    /// The oldest mail of a route arrives.
    pub fn carry(&mut self, route: (usize, usize)) {
        let Some((mut mail, letters)) = self.mail.get_mut(&route).and_then(VecDeque::pop_front)
        else {
            return;
        };
        self.note(|| format!("mail {route:?}: {letters:?}"));
        self.model.begin(self.now_ms);
        self.shards[route.1].accept(&mut mail, self.now_ms);
        for Letter { session, owed } in letters {
            self.model.arrive(session, owed);
        }
        self.finish();
    }

    /// A transport ends: what is on its way is gone.
    pub fn lose(&mut self, transport: usize) {
        let held = &mut self.transports[transport];
        let Some((shard, reference)) = held.place.take() else { return };
        held.uplink.clear();
        held.downlink.clear();
        held.is_closing = true;
        let client = held.client;
        if self.clients[client].link == Some(transport) {
            self.clients[client].parted();
        }
        self.places.remove(&(shard, reference));
        self.note(|| format!("link {transport} is lost"));
        self.model.begin(self.now_ms);
        self.shards[shard].lost(reference, self.now_ms);
        self.model.lost(transport);
        self.model.links[transport].shard = None;
        self.finish();
    }

    /// Time passes; deadlines are run one after the other.
    pub fn advance(&mut self, by_ms: u64) {
        let until_ms = self.now_ms + by_ms;
        loop {
            let due = (0..self.shards.len()).filter_map(|shard| {
                let engine = self.shards[shard].next_deadline();
                let model = self.model.next_deadline(shard);
                let first = engine.into_iter().chain(model).min()?;
                Some((first.max(self.now_ms), shard))
            });
            let Some((at_ms, shard)) = due.min().filter(|(at_ms, _)| *at_ms <= until_ms) else {
                break;
            };
            self.now_ms = at_ms;
            self.model.begin(at_ms);
            self.shards[shard].tick(at_ms);
            self.model.tick(shard);
            self.finish();
        }
        self.now_ms = until_ms;
    }

    /// The disk takes what was written so far, or the shards hear that it has.
    pub fn commit(&mut self) {
        let Some(store) = &self.store else { return };
        let ticket = store.ledger().commit();
        self.note(|| format!("commit of {ticket}"));
        self.model.begin(self.now_ms);
        for shard in &mut self.shards {
            shard.commit(Ticket(ticket), self.now_ms);
        }
        self.finish();
    }

    /// After each call: outputs are written, mail is taken, everything is compared.
    fn finish(&mut self) {
        self.model.allow_drops();
        for shard in 0..self.shards.len() {
            while let Some(reference) = self.shards[shard].next_dirty() {
                self.attend(shard, reference);
            }
            self.shards[shard].records().retain(|record| !matches!(record, HostRecord::Event(_)));
        }
        self.collect_mail();
        self.model.check_step();
        self.compare_states();
    }

    fn attend(&mut self, shard: usize, reference: ConnectionRef) {
        let Some(transport) = self.places.get(&(shard, reference)).copied() else { return };
        match self.shards[shard].state(reference) {
            State::Closing => self.transports[transport].is_closing = true,
            State::Parked => self.transports[transport].is_parked = true,
            State::Leaving => panic!("nobody is asked in this world"),
            State::Open => {
                if std::mem::take(&mut self.transports[transport].is_parked) {
                    let flow = self.shards[shard].resume(reference, self.now_ms);
                    self.follow(transport, flow);
                    self.model.allow_drops();
                }
            }
        }
        self.write(shard, reference, transport);
    }

    fn write(&mut self, shard: usize, reference: ConnectionRef, transport: usize) {
        let engine = &mut self.shards[shard];
        let held = &mut self.transports[transport];
        while let Some(output) = engine.output(reference) {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = output.slices(&mut slices);
            let bytes: Vec<u8> =
                slices[..count].iter().flat_map(|slice| slice.iter()).copied().collect();
            output.advance(bytes.len());
            held.incoming.extend_from_slice(&bytes);
        }
        engine.written(reference, self.now_ms);
        while let Some((packet, size)) = {
            let held = &mut self.transports[transport];
            next_packet(&mut held.incoming, held.version)
        } {
            self.note(|| format!("link {transport} ← {packet:?}"));
            self.model.observe(transport, &packet, size);
            self.transports[transport].downlink.push_back(packet);
        }
    }

    fn collect_mail(&mut self) {
        for from in 0..self.shards.len() {
            for (to, mail) in self.shards[from].outbox().iter_mut().enumerate() {
                let letters = self.model.outbox.remove(&(from, to)).unwrap_or_default();
                if !mail.is_empty() || !letters.is_empty() {
                    let batch = (std::mem::take(mail), letters);
                    self.mail.entry((from, to)).or_default().push_back(batch);
                }
            }
        }
    }

    /// The engine and the model agree who is connected, and how many sessions there are.
    fn compare_states(&mut self) {
        for (at, transport) in self.transports.iter().enumerate() {
            let Some((shard, reference)) = transport.place else { continue };
            let is_closing = self.shards[shard].state(reference) == State::Closing;
            let link = &self.model.links[at];
            assert_eq!(is_closing, link.phase == Phase::Closing, "link {at} is over: {link:?}");
        }
        for (at, shard) in self.shards.iter().enumerate() {
            let sessions = self.model.sessions.values().filter(|held| held.shard == at);
            assert_eq!(shard.counters().sessions, sessions.count() as u64, "sessions");
        }
        let subscriptions = self.model.sessions.values().map(|held| held.subscriptions.len());
        assert_eq!(self.shared.tree().len(), subscriptions.sum::<usize>(), "subscriptions");
    }

    /// Everything that is counted, when nothing is left: zero.
    pub fn check_empty(&self) {
        let shared = &self.shared;
        assert!(shared.tree().is_empty() && shared.tree().bytes() == 0, "the tree is empty");
        for shard in &self.shards {
            let counters = shard.counters();
            assert_eq!(counters.sessions, 0);
            assert_eq!(counters.connections, 0);
            assert_eq!(counters.clients_connected, 0);
            assert_eq!((counters.queued_messages, counters.queued_bytes), (0, 0), "queues");
            assert_eq!(shard.next_deadline(), None, "timers");
        }
        let subscriptions = self.shards.iter().map(|shard| shard.counters().subscriptions);
        let sum = subscriptions.fold(0, u64::wrapping_add);
        assert_eq!(sum, 0, "the shards' counts of subscriptions add up");
    }
}
