//! The host's part in a CONNECT: parking, verdicts, AUTH exchanges and re-authentication
//! (MQTT 5 §4.12).

use super::fitting::{connect_reason, disconnect_reason};
use super::input::Next;
use super::{Flow, Shard};
use crate::codec::encode;
use crate::codec::packet::{Auth, Connack, Version};
use crate::connection::{Allowed, Phase};
use crate::host::{
    AuthenticationAnswer, AuthenticationRequest, AuthenticationStep, ConnectionRef, EventKind,
    HostRecord, Verdict,
};
use crate::reason::ReasonCode;
use crate::session::session_key;
use crate::store::Ticket;
use crate::violation::Violation;

impl Shard {
    /// Parks a connection until the host has decided.
    pub(super) fn ask_host(
        &mut self,
        reference: ConnectionRef,
        step: AuthenticationStep,
        data: Option<Box<[u8]>>,
        now_ms: u64,
    ) -> Next {
        if self.parked >= self.shared.limits.authentications {
            let text = "too many connections wait for authentication; try again later";
            self.refuse(reference, (ReasonCode::SERVER_BUSY, Some(text.into())), now_ms);
            return Next::Stop(Flow::Close);
        }
        let timeout_ms = self.shared.limits.decision_timeout_ms;
        let shard = self.id;
        let Some((client_id, user)) = self.names_for_host(reference) else {
            return Next::Stop(Flow::Close);
        };
        let Some(connection) = self.connection_mut(reference) else {
            return Next::Stop(Flow::Close);
        };
        connection.is_parked = true;
        let is_first = step == AuthenticationStep::Connect;
        let pending = connection.pending.as_ref().filter(|_| is_first);
        let request = AuthenticationRequest {
            shard,
            connection: reference,
            step,
            client_id,
            username: pending.and_then(|connect| connect.username.clone()),
            user,
            password: pending.and_then(|connect| connect.password.clone()),
            method: connection.method.clone(),
            data,
            listener: connection.profile.name.clone(),
            mount_point: connection.profile.mount_point.clone(),
            peer: connection.peer.clone(),
            protocol_level: level(connection.version),
        };
        // The earlier of the two: a slow host must not outlast the connect timeout.
        let decide_by_ms = now_ms + timeout_ms;
        let by_ms = match connection.deadline_ms {
            0 => decide_by_ms,
            connect_by_ms => connect_by_ms.min(decide_by_ms),
        };
        connection.deadline_ms = by_ms;
        self.parked += 1;
        self.set_connection_timer(reference);
        self.records.push(HostRecord::Authenticate(request));
        Next::Stop(Flow::Pause)
    }

    /// Client Identifier, and the identity of a connection that is open.
    fn names_for_host(&self, reference: ConnectionRef) -> Option<(Box<str>, Box<str>)> {
        let connection = self.connection(reference)?;
        if let Some(connect) = &connection.pending {
            return Some((connect.client_id.clone(), "".into()));
        }
        let session = self.session(connection.session?)?;
        Some((session.names().1.into(), session.user.clone()))
    }

    /// Lets a parked connection go on.
    pub(super) fn unpark(&mut self, reference: ConnectionRef, now_ms: u64) {
        let Some(connection) = self.connection_mut(reference) else { return };
        if !connection.is_parked {
            return;
        }
        connection.is_parked = false;
        connection.heard_at_ms = now_ms;
        connection.deadline_ms = match connection.phase {
            Phase::Open | Phase::Closing => 0,
            _ => now_ms + connection.profile.connect_timeout_ms,
        };
        self.parked -= 1;
        self.set_connection_timer(reference);
        self.mark_dirty(reference);
    }

    /// The host has decided.
    pub(super) fn on_answer(&mut self, answer: AuthenticationAnswer, now_ms: u64) {
        let reference = answer.connection;
        if !self.connection(reference).is_some_and(|connection| connection.is_parked) {
            return; // It ended meanwhile, or the answer came too late.
        }
        self.unpark(reference, now_ms);
        let is_open =
            self.connection(reference).is_some_and(|connection| connection.phase == Phase::Open);
        match answer.verdict {
            Verdict::Refuse { reason, reason_string } => {
                self.refuse(reference, (reason, reason_string), now_ms);
            }
            Verdict::Continue { data } => {
                self.send_auth(reference, ReasonCode::CONTINUE_AUTHENTICATION, Some(&data), now_ms);
            }
            Verdict::Allow { user, data, .. } if is_open => {
                self.finish_reauthentication(reference, &user, data.as_deref(), now_ms);
            }
            Verdict::Allow { user, data, assigned_client_id } => {
                self.admit_allowed(reference, Allowed { user, data }, assigned_client_id, now_ms);
            }
        }
    }

    fn admit_allowed(
        &mut self,
        reference: ConnectionRef,
        allowed: Allowed,
        assigned_client_id: Option<Box<str>>,
        now_ms: u64,
    ) {
        let Some(connection) = self.connection_mut(reference) else { return };
        let Some(mut connect) = connection.pending.take() else { return };
        let mount_point = connection.profile.mount_point.clone();
        if let Some(client_id) = assigned_client_id.filter(|_| connect.client_id.is_empty()) {
            let key = session_key(&mount_point, &client_id);
            if self.shared.shard_of(&key) != self.id {
                connect.client_id = client_id;
                connect.is_assigned = true;
                if let Some(connection) = self.connection_mut(reference) {
                    connection.pending = Some(connect);
                    connection.allowed = Some(Box::new(allowed));
                    connection.phase = Phase::Leaving;
                }
                return; // It is dirty since it was unparked: the server asks for its hand-over.
            }
            connect.client_id = client_id;
            connect.is_assigned = true;
        }
        self.admit(reference, connect, allowed, now_ms);
    }

    fn finish_reauthentication(
        &mut self,
        reference: ConnectionRef,
        user: &str,
        data: Option<&[u8]>,
        now_ms: u64,
    ) {
        let is_same = self.session_of(reference).is_some_and(|session| *session.user == *user);
        if !is_same {
            let text = "re-authentication gave another identity";
            self.refuse(reference, (ReasonCode::NOT_AUTHORIZED, Some(text.into())), now_ms);
            return;
        }
        if let Some(connection) = self.connection_mut(reference) {
            connection.is_reauthenticating = false;
        }
        self.send_auth(reference, ReasonCode::SUCCESS, data, now_ms);
    }

    fn send_auth(
        &mut self,
        reference: ConnectionRef,
        reason: ReasonCode,
        data: Option<&[u8]>,
        now_ms: u64,
    ) {
        let Some(connection) = self.connection(reference) else { return };
        let Some(method) = connection.method.clone() else { return };
        let mut auth = Vec::new();
        encode::auth(&mut auth, reason, &method, data, None);
        self.send_whole(reference, Ticket::default(), &auth, now_ms);
    }

    /// An AUTH came.
    pub(super) fn on_auth(
        &mut self,
        reference: ConnectionRef,
        auth: Auth,
        now_ms: u64,
    ) -> Result<Next, Violation> {
        let Some(connection) = self.connection_mut(reference) else {
            return Ok(Next::Stop(Flow::Close));
        };
        if connection.method.is_none() || auth.method != connection.method {
            return Err(Violation::protocol(
                "MQTT-4.12.0-5",
                "the Authentication Method is not that of the CONNECT",
            ));
        }
        let is_open = connection.phase == Phase::Open;
        let step = match (is_open, auth.reason) {
            (true, ReasonCode::REAUTHENTICATE) => {
                connection.is_reauthenticating = true;
                AuthenticationStep::Reauthenticate
            }
            (true, ReasonCode::CONTINUE_AUTHENTICATION) if connection.is_reauthenticating => {
                AuthenticationStep::Continue
            }
            (false, ReasonCode::CONTINUE_AUTHENTICATION) => AuthenticationStep::Continue,
            _ => {
                return Err(Violation::protocol(
                    "MQTT-4.12.0-3",
                    "this AUTH does not belong to an exchange under way",
                ));
            }
        };
        Ok(self.ask_host(reference, step, auth.data, now_ms))
    }

    /// Refuses: CONNACK before the connection is open, DISCONNECT after. It ends either way.
    pub(super) fn refuse(
        &mut self,
        reference: ConnectionRef,
        (reason, text): (ReasonCode, Option<Box<str>>),
        now_ms: u64,
    ) {
        let Some(connection) = self.connection(reference) else { return };
        if connection.phase == Phase::Open {
            let text = text.unwrap_or_default();
            self.disconnect(reference, disconnect_reason(reason), &text, now_ms);
            return;
        }
        let version = connection.version;
        let detail = text.clone().unwrap_or_default();
        // With Request Problem Information 0 a CONNACK may still carry it [MQTT-3.1.2-29].
        let reference_text = connection.profile.server_reference.clone();
        let moves = matches!(reason, ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED);
        let reason = connect_reason(reason);
        let mut connack = Connack {
            reason: reason.0,
            reason_string: text,
            server_reference: (moves && !reference_text.is_empty()).then_some(reference_text),
            ..Connack::default()
        };
        self.counters.connects_refused += 1;
        if let Some(packet) = self.fitting_connack(reference, version, &mut connack) {
            self.send(reference, |out| out.extend_from_slice(&packet));
        }
        self.tell(reference, EventKind::Refused, reason, &detail, now_ms);
        self.begin_closing(reference);
    }
}

/// The protocol level on the wire.
pub(super) fn level(version: Version) -> u8 {
    match version {
        Version::V3_1 => 3,
        Version::V3_1_1 => 4,
        Version::V5 => 5,
    }
}
