//! Opens clients: connects and subscribes them with a bounded number of handshakes under way.

use crate::client::{Conn, Engine, Handler, Res};
use crate::codec::{self, Connack, Connect};
use std::collections::VecDeque;
use std::net::IpAddr;

/// A client to open: connection options and its subscriptions.
#[derive(Default)]
pub struct Spec {
    pub connect: Connect,
    pub source: Option<IpAddr>,
    pub filters: Vec<String>,
    pub qos: u8,
}

/// Opens clients with a bounded number of handshakes under way.
pub struct Opener<'a> {
    pub concurrency: usize,
    /// Disconnect each client as soon as it is ready (reconnect storm).
    pub leave: bool,
    /// Time from connect() to CONNACK.
    pub handshake: Option<&'a mut crate::stats::Hist>,
    /// Time from connect() to the last SUBACK.
    pub ready_time: Option<&'a mut crate::stats::Hist>,
    waiting: Vec<Option<(VecDeque<Vec<String>>, u8)>>, // by connection: subscription chunks to send
    v5: bool,
    pub ready: usize,
    pub sessions_present: usize,
}

/// Filters in one SUBSCRIBE packet.
const CHUNK: usize = 100;

fn chunks(filters: Vec<String>) -> VecDeque<Vec<String>> {
    filters.chunks(CHUNK).map(<[_]>::to_vec).collect()
}

impl<'a> Opener<'a> {
    pub fn new(concurrency: usize, v5: bool) -> Self {
        Opener {
            concurrency,
            leave: false,
            handshake: None,
            ready_time: None,
            waiting: vec![],
            v5,
            ready: 0,
            sessions_present: 0,
        }
    }

    /// Connects and subscribes all clients; returns their connection numbers.
    pub fn run(&mut self, eng: &mut Engine, specs: impl Iterator<Item = Spec>) -> Res<Vec<usize>> {
        let mut ids = vec![];
        let mut specs = specs.peekable();
        while specs.peek().is_some() || self.ready < ids.len() {
            while ids.len() - self.ready < self.concurrency {
                let Some(s) = specs.next() else { break };
                let id = eng.connect(&s.connect, s.source)?;
                self.set_waiting(id, s.filters, s.qos);
                ids.push(id);
            }
            eng.turn(self, 100_000_000)?;
        }
        Ok(ids)
    }

    /// Adds subscriptions on connections that are already open.
    pub fn subscribe(
        &mut self,
        eng: &mut Engine,
        more: Vec<(usize, Vec<String>)>,
        qos: u8,
    ) -> Res<()> {
        let target = self.ready + more.len();
        for (id, filters) in more {
            self.set_waiting(id, filters, qos);
            self.next_chunk(eng.conn(id));
            eng.flush(id)?;
        }
        while self.ready < target {
            eng.turn(self, 100_000_000)?;
        }
        Ok(())
    }

    fn set_waiting(&mut self, id: usize, filters: Vec<String>, qos: u8) {
        if self.waiting.len() <= id {
            self.waiting.resize(id + 1, None);
        }
        self.waiting[id] = Some((chunks(filters), qos));
    }

    /// Sends the next SUBSCRIBE; `false` when there is none left.
    fn next_chunk(&mut self, c: &mut Conn) -> bool {
        let Some((queue, qos)) = self.waiting[c.id].as_mut() else { return false };
        let Some(filters) = queue.pop_front() else { return false };
        let packet = codec::subscribe(1, &filters, *qos, self.v5);
        c.out().extend_from_slice(&packet);
        true
    }

    /// Next SUBSCRIBE, or the client is ready; `true` when it should leave.
    fn advance(&mut self, c: &mut Conn, now: u64) -> bool {
        if self.next_chunk(c) {
            return false;
        }
        self.ready += 1;
        self.waiting[c.id] = None;
        if let Some(h) = &mut self.ready_time {
            h.record(now - c.started);
        }
        self.leave
    }
}

impl Handler for Opener<'_> {
    fn connack(&mut self, c: &mut Conn, ack: &Connack, now: u64) -> Res<bool> {
        self.sessions_present += ack.session_present as usize;
        if let Some(h) = &mut self.handshake {
            h.record(now - c.started);
        }
        let qos = self.waiting[c.id].as_ref().map_or(0, |w| w.1);
        if qos > ack.max_qos {
            return Err(format!("broker supports QoS {} at most", ack.max_qos).into());
        }
        Ok(self.advance(c, now))
    }

    fn suback(&mut self, c: &mut Conn, now: u64) -> Res<bool> {
        Ok(self.advance(c, now))
    }
}
