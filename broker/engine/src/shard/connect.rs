//! CONNECT: from the packet to CONNACK, with the verdict of the host between them if one is
//! asked for (MQTT 5 §3.1.4).

use std::sync::Arc;

use super::input::Next;
use super::{Flow, Shard};
use crate::codec::packet::{Connack, Connect, Version};
use crate::codec::{decode, encode};
use crate::connection::{Allowed, Connection, OutboundAliases, Phase};
use crate::host::{AuthenticationStep, ConnectionRef, EventKind, Peer};
use crate::limits::{ListenerProfile, PACKET_SIZE_LARGEST};
use crate::message::{Message, NEVER, Publication};
use crate::reason::ReasonCode;
use crate::router::QueueRef;
use crate::session::{EXPIRY_NEVER, Session, SessionWill, session_key};
use crate::store::{Change, Health, SessionId, StoredWill, Ticket};
use crate::topic::{TOPIC_BYTES_MAX, check_topic_name};

/// Bytes of Client Identifier, mount point and user that are not worth counting: the sessions are
/// counted. A million of the longest would take 60 GB.
const NAMES_FREE: usize = 256;

/// A connection on its way to the shard of its session.
#[derive(Debug)]
pub struct HandOver {
    /// Where it goes.
    pub shard: u16,
    /// The CONNECT that was read.
    connect: Box<Connect>,
    /// The identity, if the host has decided already.
    allowed: Option<Allowed>,
    /// Bytes behind the CONNECT.
    pub(super) rest: Vec<u8>,
    peer: Peer,
    profile: Arc<ListenerProfile>,
    deadline_ms: u64,
}

/// Why a CONNECT is refused: the Reason Code and the Reason String.
pub(super) type Refusal = (ReasonCode, Option<Box<str>>);

fn refusal(reason: ReasonCode, text: &str) -> Refusal {
    (reason, Some(text.into()))
}

impl Shard {
    /// A CONNECT came as the first packet.
    pub(super) fn on_connect(
        &mut self,
        reference: ConnectionRef,
        header: u8,
        body: &[u8],
        now_ms: u64,
    ) -> Next {
        let _ = header; // Its flags were checked by `frame`.
        let mut connect = match decode::connect(body) {
            Ok(connect) => Box::new(connect),
            Err(refused) => {
                self.counters.violations += 1;
                if let (Some(version), Some(connection)) =
                    (refused.version, self.connection_mut(reference))
                {
                    connection.version = version;
                    let text = refused.violation.to_string();
                    self.refuse(reference, (refused.violation.reason, Some(text.into())), now_ms);
                } else {
                    let reason = refused.violation.reason;
                    self.abort(reference, reason, &refused.violation.to_string(), now_ms);
                }
                return Next::Stop(Flow::Close);
            }
        };
        if let Some(connection) = self.connection_mut(reference) {
            note_connect(connection, &connect);
        }
        if let Err(refused) = self.check_connect(reference, &connect) {
            self.refuse_connect(reference, connect, refused, now_ms);
            return Next::Stop(Flow::Close);
        }
        let Some(connection) = self.connection(reference) else { return Next::Stop(Flow::Close) };
        if connect.client_id.is_empty() {
            connect.client_id = "".into();
        } else {
            let key = session_key(&connection.profile.mount_point, &connect.client_id);
            let shard = self.shared.shard_of(&key);
            if shard != self.id {
                return self.leave_for(reference, shard, connect, None);
            }
        }
        self.begin_authentication(reference, connect, now_ms)
    }

    /// Forgets a connection that goes to another shard.
    pub(super) fn leave_for(
        &mut self,
        reference: ConnectionRef,
        shard: u16,
        connect: Box<Connect>,
        allowed: Option<Allowed>,
    ) -> Next {
        // The connect timeout goes on there; taken out, the connection has none.
        let deadline_ms = self.connection(reference).map_or(0, |connection| connection.deadline_ms);
        let Some(connection) = self.remove_connection(reference) else {
            return Next::Stop(Flow::Close);
        };
        let Connection { peer, profile, tail: rest, .. } = connection;
        let hand_over = HandOver { shard, connect, allowed, rest, peer, profile, deadline_ms };
        Next::Stop(Flow::HandOver(Box::new(hand_over)))
    }

    /// Gives up a connection in `State::Leaving`: move the transport to the shard named.
    pub fn hand_over(&mut self, reference: ConnectionRef) -> Option<Box<HandOver>> {
        let connection = self.connection_mut(reference)?;
        let allowed = *connection.allowed.take()?;
        let connect = connection.pending.take()?;
        let key = session_key(&connection.profile.mount_point, &connect.client_id);
        let shard = self.shared.shard_of(&key);
        match self.leave_for(reference, shard, connect, Some(allowed)) {
            Next::Stop(Flow::HandOver(hand_over)) => Some(hand_over),
            _ => None,
        }
    }

    /// Takes a connection over whose CONNECT was read on another shard.
    pub fn adopt(&mut self, hand_over: HandOver, now_ms: u64) -> ConnectionRef {
        let HandOver { connect, allowed, rest, peer, profile, deadline_ms, .. } = hand_over;
        let mut connection = Connection::new(peer, profile, now_ms);
        note_connect(&mut connection, &connect);
        connection.deadline_ms = deadline_ms;
        connection.tail = rest;
        let (slot, generation) = self.connections.insert(connection);
        let reference = ConnectionRef { slot, generation };
        self.counters.connections += 1;
        self.set_connection_timer(reference);
        match allowed {
            Some(allowed) => self.admit(reference, connect, allowed, now_ms),
            None => {
                self.begin_authentication(reference, connect, now_ms);
            }
        }
        self.mark_dirty(reference);
        reference
    }

    /// Asks the host, or lets the client in where nobody has to be asked.
    fn begin_authentication(
        &mut self,
        reference: ConnectionRef,
        connect: Box<Connect>,
        now_ms: u64,
    ) -> Next {
        let Some(connection) = self.connection_mut(reference) else {
            return Next::Stop(Flow::Close);
        };
        connection.phase = Phase::Authenticating;
        if !connection.profile.authenticate {
            self.admit(reference, connect, Allowed::default(), now_ms);
            return match self.connection(reference) {
                Some(connection) if connection.phase == Phase::Open => Next::Packet,
                _ => Next::Stop(Flow::Close),
            };
        }
        let data = connect.authentication_data.clone();
        connection.pending = Some(connect);
        self.ask_host(reference, AuthenticationStep::Connect, data, now_ms)
    }

    /// What the standard and the listener say about a CONNECT, before anybody is asked.
    fn check_connect(&self, reference: ConnectionRef, connect: &Connect) -> Result<(), Refusal> {
        let Some(connection) = self.connection(reference) else {
            return Err((ReasonCode::UNSPECIFIED, None));
        };
        let profile = &connection.profile;
        if profile.redirect != 0 {
            return Err((ReasonCode(profile.redirect), None));
        }
        if self.is_stopping {
            return Err((ReasonCode::SERVER_SHUTTING_DOWN, None));
        }
        if connect.client_id.is_empty() && connect.version != Version::V5 && !connect.clean_start {
            let text = "an empty Client Identifier needs Clean Session 1 [MQTT-3.1.3-8]";
            return Err(refusal(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, text));
        }
        if connect.authentication_method.is_some() && !profile.enhanced_authentication {
            let text = "this listener takes no Authentication Method";
            return Err(refusal(ReasonCode::BAD_AUTHENTICATION_METHOD, text)); // MQTT 5 §4.12
        }
        if let Some(will) = &connect.will {
            if will.qos > profile.maximum_qos {
                let text = "the Will QoS is above the Maximum QoS [MQTT-3.2.2-12]";
                return Err(refusal(ReasonCode::QOS_NOT_SUPPORTED, text));
            }
            if will.retain && !profile.retain_available {
                let text = "retained messages are not available here [MQTT-3.2.2-13]";
                return Err(refusal(ReasonCode::RETAIN_NOT_SUPPORTED, text));
            }
            let bytes = profile.mount_point.len() + will.topic.len();
            if check_topic_name(&will.topic).is_err()
                || super::publish::is_reserved(&will.topic)
                || bytes > TOPIC_BYTES_MAX
            {
                let text = "the Will Topic is not a topic to publish to";
                return Err(refusal(ReasonCode::TOPIC_NAME_INVALID, text));
            }
        }
        Ok(())
    }

    /// The client is let in, unless a limit or another owner of the session forbids it.
    pub(super) fn admit(
        &mut self,
        reference: ConnectionRef,
        mut connect: Box<Connect>,
        allowed: Allowed,
        now_ms: u64,
    ) {
        if let Err(refused) = self.try_admit(reference, &mut connect, allowed, now_ms) {
            self.refuse_connect(reference, connect, refused, now_ms);
        }
    }

    /// Refuses a CONNECT that was read; what is told of it names the client.
    fn refuse_connect(
        &mut self,
        reference: ConnectionRef,
        connect: Box<Connect>,
        refused: Refusal,
        now_ms: u64,
    ) {
        if let Some(connection) = self.connection_mut(reference) {
            connection.pending = Some(connect);
        }
        self.refuse(reference, refused, now_ms);
    }

    /// Takeover, session, CONNACK.
    fn try_admit(
        &mut self,
        reference: ConnectionRef,
        connect: &mut Connect,
        allowed: Allowed,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connection(reference) else { return Ok(()) };
        let mount_point = connection.profile.mount_point.clone();
        if connect.client_id.is_empty() {
            connect.client_id = self.own_client_id(&mount_point);
            connect.is_assigned = true;
        }
        let key = session_key(&mount_point, &connect.client_id);
        self.check_owner(&key, &allowed.user)?;
        let will = self.make_will(&mount_point, connect)?;
        let user = allowed.user.clone();
        let mut connack = self.connack(reference, connect, allowed);
        let is_limited = connect.maximum_packet_size.is_some();
        if is_limited && self.fitting_connack(reference, connect.version, &mut connack).is_none() {
            let text = "CONNACK is larger than the Maximum Packet Size"; // [MQTT-3.1.2-24]
            return Err(refusal(ReasonCode::PACKET_TOO_LARGE, text));
        }
        let (queue, session_present, ticket) =
            self.open_session(reference, &key, connect, &user, now_ms)?;
        let ticket = ticket.max(self.store_will(queue, will));
        self.open_connection(reference, queue, connect, now_ms);
        connack.session_present = session_present;
        let version = connect.version;
        // The session's creation or change is committed before CONNACK says it is there.
        self.send_committed(reference, ticket, |out| {
            encode::connack(out, version, &connack);
        });
        if let Some(connection) = self.connection_mut(reference) {
            connection.awaits_connack = connection.waiting.is_some();
        }
        self.tell(reference, EventKind::Connected, ReasonCode::SUCCESS, "", now_ms);
        self.restart_session(queue, now_ms);
        Ok(())
    }

    /// A Client Identifier whose session lives on this shard.
    fn own_client_id(&self, mount_point: &str) -> Box<str> {
        loop {
            let client_id = self.shared.assign_client_id();
            let key = session_key(mount_point, &client_id);
            if self.shared.shard_of(&key) == self.id
                && self.keys.get(&key, &self.sessions).is_none()
            {
                return client_id;
            }
        }
    }

    /// A session belongs to the identity that made it.
    fn check_owner(&self, key: &[u8], user: &str) -> Result<(), Refusal> {
        let held = self.keys.get(key, &self.sessions).and_then(|queue| self.session(queue));
        match held {
            Some(session) if *session.user != *user => {
                let text = "the Client Identifier belongs to another user";
                Err(refusal(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, text))
            }
            _ => Ok(()),
        }
    }

    /// Ends what is in the way, and finds or makes the session: (session, whether it was there,
    /// what CONNACK waits for).
    fn open_session(
        &mut self,
        reference: ConnectionRef,
        key: &[u8],
        connect: &Connect,
        user: &str,
        now_ms: u64,
    ) -> Result<(QueueRef, bool, Ticket), Refusal> {
        let expiry_s = self.granted_expiry_s(reference, connect);
        if expiry_s > 0 && self.store.health() != Health::Sound {
            let held = self.keys.get(key, &self.sessions).and_then(|queue| self.session(queue));
            if connect.clean_start || held.is_none_or(|session| session.expiry_s == 0) {
                self.counters.store_refused += 1;
                let text = "the store takes nothing new now";
                return Err(refusal(ReasonCode::QUOTA_EXCEEDED, text));
            }
        }
        if let Some(held) = self.keys.get(key, &self.sessions) {
            self.take_over(held, now_ms);
        }
        let mut ticket = Ticket::default();
        let mut held = self.keys.get(key, &self.sessions);
        if let (Some(queue), true) = (held, connect.clean_start) {
            ticket = self.end_session(queue, now_ms); // [MQTT-3.1.2-4]
            held = None;
        }
        let queue = match held {
            Some(queue) => queue,
            None => self.create_session(key, user, connect.version)?,
        };
        let had_will = self.session(queue).is_some_and(|session| session.will.is_some());
        if let Some(session) = self.session_mut(queue) {
            session.connection = Some(reference);
            session.version = connect.version;
            session.expiry_s = expiry_s;
            session.ends_at_ms = 0;
            session.will = None; // The delay of an old will ends with the reconnect [MQTT-3.1.3-9].
        }
        self.set_session_timer(queue);
        if had_will {
            ticket = ticket.max(self.forget_will(queue));
        }
        ticket = ticket.max(self.store_terms(queue, held.is_none()));
        Ok((queue, held.is_some(), ticket))
    }

    /// The store has the will no more.
    fn forget_will(&mut self, queue: QueueRef) -> Ticket {
        match self.session(queue) {
            Some(session) if session.id != SessionId::default() => {
                let id = session.id;
                self.store.write(Change::Will { id, will: None })
            }
            _ => Ticket::default(),
        }
    }

    /// Tells the store that a session begins, or goes on, under these terms; what CONNACK waits
    /// for, which is nothing where nothing changes.
    fn store_terms(&mut self, queue: QueueRef, is_new: bool) -> Ticket {
        if !self.store.keeps() {
            return Ticket::default();
        }
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else {
            return Ticket::default();
        };
        let (id, expiry_s) = (session.id, session.expiry_s);
        if expiry_s == 0 {
            // It ends with this connection, so a crash ends it too.
            session.id = SessionId::default();
            return self.forget_stored(queue, id);
        }
        let id = if id == SessionId::default() { self.store.new_session() } else { id };
        session.id = id;
        let is_changed = is_new || session.stored_expiry_s != expiry_s;
        session.stored_expiry_s = expiry_s;
        let (key, user) = (session.key.clone(), session.user.clone());
        self.shared.lasting.set(queue, id);
        let ticket = self.store.write(Change::Session { id, key, user, expiry_s });
        if is_changed { ticket } else { Ticket::default() }
    }

    fn create_session(
        &mut self,
        key: &[u8],
        user: &str,
        version: Version,
    ) -> Result<QueueRef, Refusal> {
        use std::sync::atomic::Ordering;
        let limit = u64::from(self.shared.limits.sessions);
        if self.shared.sessions.fetch_add(1, Ordering::Relaxed) >= limit {
            self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(refusal(ReasonCode::QUOTA_EXCEEDED, "the limit of sessions is reached"));
        }
        let mut session = Session::new(key.into(), user.into(), version);
        let bytes = key.len() + user.len();
        if bytes > NAMES_FREE {
            let Some(charge) = self.shared.charge(bytes as u64) else {
                self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
                let text = "the limit of bytes in queues, wills and long names is reached";
                return Err(refusal(ReasonCode::QUOTA_EXCEEDED, text));
            };
            session.name_charge = Some(Box::new(charge));
        }
        let (slot, generation) = self.sessions.insert(session);
        let queue = QueueRef { shard: self.id, slot, generation };
        if let Some(session) = self.session_mut(queue) {
            session.queue_ref = queue;
        }
        self.keys.insert(key, queue, &self.sessions);
        Ok(queue)
    }

    /// Session Expiry Interval as asked, at most what the listener allows. In 3.1 and 3.1.1
    /// Clean Session 0 asks for a session without end.
    fn granted_expiry_s(&self, reference: ConnectionRef, connect: &Connect) -> u32 {
        let maximum = self
            .connection(reference)
            .map_or(EXPIRY_NEVER, |connection| connection.profile.session_expiry_max_s);
        let asked = match connect.version {
            Version::V5 => connect.session_expiry_s,
            _ if connect.clean_start => 0,
            _ => EXPIRY_NEVER,
        };
        asked.min(maximum)
    }

    fn make_will(
        &self,
        mount_point: &str,
        connect: &Connect,
    ) -> Result<Option<Box<SessionWill>>, Refusal> {
        let Some(will) = connect.will.as_ref() else { return Ok(None) };
        let topic = [mount_point.as_bytes(), &will.topic].concat();
        let publication = Publication {
            topic: &topic,
            properties: &will.properties,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            expires_at_ms: NEVER,
        };
        let message = Arc::new(Message::new(&publication));
        let Some(charge) = self.shared.charge(message.size()) else {
            let text = "the limit of bytes in queues, wills and long names is reached";
            return Err(refusal(ReasonCode::QUOTA_EXCEEDED, text));
        };
        Ok(Some(Box::new(SessionWill {
            message,
            charge,
            expiry_s: will.message_expiry_s,
            delay_s: will.delay_interval_s,
            due_at_ms: 0,
        })))
    }

    fn store_will(&mut self, queue: QueueRef, will: Option<Box<SessionWill>>) -> Ticket {
        let Some(session) = self.sessions.get_mut(queue.slot, queue.generation) else {
            return Ticket::default();
        };
        session.will = will;
        let Some(will) = session.will.as_deref().filter(|_| session.id != SessionId::default())
        else {
            return Ticket::default();
        };
        let (message, expiry_s, delay_s) = (Arc::clone(&will.message), will.expiry_s, will.delay_s);
        let will = Some(Box::new(StoredWill { message, expiry_s, delay_s }));
        self.store.write(Change::Will { id: session.id, will })
    }

    /// The connection is open from here on.
    fn open_connection(
        &mut self,
        reference: ConnectionRef,
        queue: QueueRef,
        connect: &Connect,
        now_ms: u64,
    ) {
        let Some(connection) = self.connection_mut(reference) else { return };
        let window = connect.receive_maximum.min(connection.profile.inflight_maximum).max(1);
        let aliases = connect.topic_alias_maximum.min(connection.profile.topic_alias_maximum_out);
        connection.phase = Phase::Open;
        connection.session = Some(queue);
        connection.deadline_ms = 0;
        connection.heard_at_ms = now_ms;
        connection.aliases_out = (aliases > 0).then(|| Box::new(OutboundAliases::new(aliases)));
        let keep_alive_s =
            server_keep_alive_s(&connection.profile, connect).unwrap_or(connect.keep_alive_s);
        connection.keep_alive_ms = u64::from(keep_alive_s) * 1_500; // [MQTT-3.1.2-22]
        self.set_connection_timer(reference);
        self.counters.clients_connected += 1;
        let bytes_max = self.shared.limits.session_queue_bytes;
        if let Some(session) = self.session_mut(queue) {
            session.inflight.restart(window, bytes_max);
            if let Some(received) = &mut session.received {
                received.restart();
            }
        }
    }

    fn connack(&self, reference: ConnectionRef, connect: &Connect, allowed: Allowed) -> Connack {
        let mut connack = Connack::default();
        let Some(connection) = self.connection(reference) else { return connack };
        if connect.version != Version::V5 {
            return connack;
        }
        let profile = &connection.profile;
        let expiry_s = connect.session_expiry_s.min(profile.session_expiry_max_s);
        connack.session_expiry_s = (expiry_s != connect.session_expiry_s).then_some(expiry_s);
        connack.receive_maximum =
            (profile.receive_maximum != u16::MAX).then_some(profile.receive_maximum);
        connack.maximum_qos = (profile.maximum_qos < 2).then_some(profile.maximum_qos);
        connack.retain_available = (!profile.retain_available).then_some(false);
        connack.maximum_packet_size = (profile.maximum_packet_size < PACKET_SIZE_LARGEST)
            .then_some(profile.maximum_packet_size);
        connack.topic_alias_maximum =
            (profile.topic_alias_maximum > 0).then_some(profile.topic_alias_maximum);
        connack.assigned_client_id = connect.is_assigned.then(|| connect.client_id.clone());
        connack.server_keep_alive_s = server_keep_alive_s(profile, connect);
        if connect.request_response_information {
            connack.response_information =
                response_topics(&profile.response_information, &connect.client_id);
        }
        if connection.method.is_some() {
            connack.authentication_method.clone_from(&connection.method); // [MQTT-4.12.0-5]
            connack.authentication_data = allowed.data;
        }
        connack
    }
}

/// What a CONNECT says about all that is sent from then on, CONNACK first.
fn note_connect(connection: &mut Connection, connect: &Connect) {
    connection.version = connect.version;
    connection.problem_information = connect.request_problem_information;
    let asked = connect.maximum_packet_size.unwrap_or(PACKET_SIZE_LARGEST);
    connection.maximum_packet_size = asked.min(PACKET_SIZE_LARGEST);
    connection.asked_to_last = connect.session_expiry_s > 0;
    connection.method.clone_from(&connect.authentication_method);
}

/// The beginning of a client's own topics for responses (MQTT 5 §3.2.2.3.15): its identifier, one
/// level, with what Topic Names cannot hold or levels are made of written as `%` and two digits.
fn response_topics(prefix: &str, client_id: &str) -> Option<Box<str>> {
    if prefix.is_empty() {
        return None;
    }
    let mut topics = String::from(prefix);
    for letter in client_id.chars() {
        match letter {
            '+' => topics.push_str("%2B"),
            '#' => topics.push_str("%23"),
            '/' => topics.push_str("%2F"),
            '%' => topics.push_str("%25"),
            _ => topics.push(letter),
        }
    }
    topics.push('/');
    // A Topic Name has at most 65,535 bytes; half of one is of no use.
    (topics.len() < usize::from(u16::MAX)).then(|| topics.into())
}

/// Server Keep Alive, if another is to be used than the client asked for [MQTT-3.2.2-21]. Only
/// MQTT 5 can be told.
fn server_keep_alive_s(profile: &ListenerProfile, connect: &Connect) -> Option<u16> {
    let maximum = profile.keep_alive_max_s;
    let is_too_long = connect.keep_alive_s == 0 || connect.keep_alive_s > maximum;
    (connect.version == Version::V5 && maximum != 0 && is_too_long).then_some(maximum)
}
