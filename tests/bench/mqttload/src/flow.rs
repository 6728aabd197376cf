//! The message pump shared by most scenarios: paces publishers, tracks every
//! delivery, and marks the measured interval.

use crate::client::{now, sleep_ns, Engine, Handler, Res};
use crate::codec::{stamp, Publish, Template};
use crate::process::{own_cpu, Broker, Cpu};
use crate::stats::{round, Hist, Seen, Tracker};
use serde_json::{json, Map, Value};

#[derive(Clone, Copy, PartialEq)]
pub enum Stop {
    Messages(u64),
    Nanos(u64),
}

#[derive(Clone)]
pub struct Cfg {
    pub qos: u8,
    pub window: u32,
    /// Deliveries that every published message must cause; 0: nobody listens.
    pub fanout: u64,
    /// Published messages that may still be undelivered (closed loop); 0: unlimited.
    pub outstanding: u64,
    pub batch: u64,
    /// Messages to let pile up per receiving socket before reading (closed loop).
    pub coalesce: u64,
    /// Open loop: published messages per second.
    pub rate: Option<f64>,
    pub spin: bool,
    pub warmup_ns: u64,
    pub stop: Stop,
    /// Give up on missing messages after this long without progress.
    pub drain_ns: u64,
}

pub struct Publisher {
    conn: usize,
    topics: Vec<Template>,
    first_stream: usize,
    next: u64,
}

/// State of everything at one moment, to take differences of.
#[derive(Clone, Copy)]
pub struct Mark {
    pub t: u64,
    pub published: u64,
    pub delivered: u64,
    pub cpu: Cpu,
    pub own: f64,
}

pub struct Flow {
    pub cfg: Cfg,
    pubs: Vec<Publisher>,
    streams: usize,
    receiver: Vec<usize>, // by connection: which receiver
    receivers: usize,
    trackers: Vec<Tracker>,
    /// Shared subscriptions: lowest sequence still in order, by receiver and stream.
    shared_order: Vec<u64>,
    next_pub: usize,
    written_off: u64,
    pub published: u64,
    pub acked: u64,
    pub refused: u64,
    pub received: u64,
    pub unique: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    pub unexpected: u64,
    pub wrong_qos: u64,
    pub first_at: u64,
    pub hist: Hist,
    record: (u64, u64), // stamps from..to go to the histogram
    pub begin: Option<Mark>,
    pub end: Option<Mark>,
}

impl Handler for Flow {
    #[inline]
    fn publish(&mut self, conn: usize, p: &Publish, now: u64) {
        if self.first_at == 0 {
            self.first_at = now;
        }
        self.received += 1;
        self.wrong_qos += (p.qos != self.cfg.qos) as u64;
        let known = stamp(p.payload).and_then(|s| {
            let from = self.pubs.get(s.publisher as usize)?;
            (s.seq < from.next).then_some((s, from))
        });
        let (Some((s, from)), Some(&receiver)) = (known, self.receiver.get(conn)) else {
            self.unexpected += 1;
            return;
        };
        let n = from.topics.len() as u64;
        let (slot, seq) = if n == 1 { (0, s.seq) } else { (s.seq % n, s.seq / n) };
        let stream = from.first_stream + slot as usize;
        // with a fan-out of one, all receivers together must get each message once
        let class = if self.cfg.fanout > 1 { receiver } else { 0 };
        let seen = self.trackers[class * self.streams + stream].see(seq);
        if seen == Seen::Duplicate {
            self.duplicates += 1;
            return;
        }
        self.unique += 1;
        if self.shared_order.is_empty() {
            self.out_of_order += (seen == Seen::Late) as u64;
        } else {
            let min = &mut self.shared_order[receiver * self.streams + stream];
            self.out_of_order += (seq < *min) as u64;
            *min = (seq + 1).max(*min);
        }
        if s.time >= self.record.0 && s.time < self.record.1 {
            self.hist.record(now.saturating_sub(s.time));
        }
    }

    fn acked(&mut self, reason: u8) {
        self.acked += 1;
        self.refused += (reason >= 0x80) as u64;
    }
}

impl Flow {
    /// `pubs`: connection and topics of each publisher. `subs`: connections of the receivers.
    pub fn new(cfg: Cfg, pubs: Vec<(usize, Vec<Template>)>, subs: &[usize], shared: bool) -> Self {
        let mut streams = 0;
        let pubs: Vec<Publisher> = pubs
            .into_iter()
            .map(|(conn, topics)| {
                let first_stream = streams;
                streams += topics.len();
                Publisher { conn, topics, first_stream, next: 0 }
            })
            .collect();
        let classes = cfg.fanout.max(1) as usize;
        let mut f = Flow {
            cfg,
            pubs,
            streams,
            receiver: vec![],
            receivers: subs.len(),
            trackers: (0..streams * classes).map(|_| Tracker::default()).collect(),
            shared_order: vec![0; if shared { streams * subs.len() } else { 0 }],
            next_pub: 0,
            written_off: 0,
            published: 0,
            acked: 0,
            refused: 0,
            received: 0,
            unique: 0,
            duplicates: 0,
            out_of_order: 0,
            unexpected: 0,
            wrong_qos: 0,
            first_at: 0,
            hist: Hist::new(),
            record: (u64::MAX, u64::MAX),
            begin: None,
            end: None,
        };
        for (r, conn) in subs.iter().enumerate() {
            f.set_receiver(*conn, r);
        }
        f
    }

    /// From now on every message is due once at each of `n` receivers.
    pub fn set_fanout(&mut self, n: usize) {
        self.cfg.fanout = n as u64;
        self.trackers.resize_with(self.streams * n, Tracker::default);
    }

    pub fn set_receiver(&mut self, conn: usize, receiver: usize) {
        if self.receiver.len() <= conn {
            self.receiver.resize(conn + 1, usize::MAX);
        }
        self.receiver[conn] = receiver;
    }

    pub fn mark(&self, broker: &Broker) -> Mark {
        Mark {
            t: now(),
            published: self.published,
            delivered: self.unique,
            cpu: broker.cpu(),
            own: own_cpu(),
        }
    }

    pub fn expected(&self) -> u64 {
        self.published * self.cfg.fanout
    }

    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.unique)
    }

    /// Deliveries still hoped for.
    fn pending(&self) -> u64 {
        self.expected().saturating_sub(self.unique + self.written_off)
    }

    fn unacked(&self) -> u64 {
        if self.cfg.qos > 0 {
            self.published - self.acked
        } else {
            0
        }
    }

    fn idle(&self) -> bool {
        self.pending() == 0 && self.unacked() == 0
    }

    /// Events to wait for before the next look at the sockets: enough to make reads worthwhile,
    /// but few enough that neither the broker nor a socket buffer runs dry or full meanwhile.
    fn pile(&self) -> f64 {
        let per_socket = self.cfg.coalesce.min(65_536 / self.pubs[0].topics[0].len() as u64).max(1);
        let acking = if self.cfg.qos > 0 { self.pubs.len() } else { 0 };
        let all = per_socket * (self.receivers + acking).max(1) as u64;
        all.min((self.pending() + self.unacked()) / 4) as f64
    }

    /// Queues and writes up to `n` messages of one publisher; returns how many.
    fn send(
        &mut self,
        eng: &mut Engine,
        i: usize,
        mut n: u64,
        scheduled: Option<&Schedule>,
    ) -> Res<u64> {
        let count = self.pubs.len() as u64;
        let p = &mut self.pubs[i];
        let c = eng.conn(p.conn);
        if c.backlog() > 64 * 1024 {
            return Ok(0);
        }
        if self.cfg.qos > 0 {
            let window = self.cfg.window.min(c.receive_max);
            let free = (window - c.inflight.min(window)) as u64;
            // refill the window in lumps, or every acknowledgement would cost a write
            if scheduled.is_none() && free < n.min(self.cfg.batch).min(window as u64 / 4) {
                return Ok(0);
            }
            n = n.min(free);
        }
        let t = now();
        let topics = p.topics.len() as u64;
        for _ in 0..n {
            let pid = if self.cfg.qos > 0 { c.take_pid() } else { 0 };
            let time = scheduled.map_or(t, |s| s.time_of(p.next * count + i as u64));
            p.topics[(p.next % topics) as usize].put(c.out(), pid, time, i as u32, p.next);
            p.next += 1;
        }
        self.published += n;
        if n > 0 {
            eng.flush(p.conn)?;
        }
        Ok(n)
    }

    /// Closed loop: publishes up to `left` messages as far as windows and `outstanding` allow.
    fn pump(&mut self, eng: &mut Engine, left: u64) -> Res<()> {
        let mut budget = left;
        if self.cfg.outstanding > 0 && self.cfg.fanout > 0 {
            let free =
                self.cfg.outstanding.saturating_sub(self.pending().div_ceil(self.cfg.fanout));
            let lump = (self.cfg.outstanding / 4).min(self.cfg.batch * 4);
            if free < lump.min(left) {
                return Ok(());
            }
            budget = budget.min(free);
        }
        let mut stuck = 0;
        while budget > 0 && stuck < self.pubs.len() {
            let n = self.send(eng, self.next_pub, self.cfg.batch.min(budget), None)?;
            self.next_pub = (self.next_pub + 1) % self.pubs.len();
            stuck = if n == 0 { stuck + 1 } else { 0 };
            budget -= n;
        }
        Ok(())
    }

    /// Open loop: publishes everything that is due. Returns the time of the next message.
    fn pump_due(&mut self, eng: &mut Engine, s: &Schedule, until: u64) -> Res<u64> {
        let due = s.due(until);
        let count = self.pubs.len() as u64;
        if self.published < due {
            for k in 0..self.pubs.len() {
                let i = (self.next_pub + k) % self.pubs.len();
                // messages i, i + count, i + 2 count, ... are this publisher's
                let mine = (due + count - 1 - i as u64) / count;
                let n = mine.saturating_sub(self.pubs[i].next);
                if n > 0 {
                    self.send(eng, i, n, Some(s))?;
                }
            }
            self.next_pub = (self.next_pub + 1) % self.pubs.len();
        }
        Ok(s.time_of(due))
    }

    /// Publishes and receives until the stop condition, then waits for what is missing.
    pub fn run(&mut self, eng: &mut Engine, broker: &mut Broker) -> Res<()> {
        let r = self.run_inner(eng, broker);
        if self.begin.is_some() && self.end.is_none() {
            self.end = Some(self.mark(broker)); // for the partial report
        }
        r
    }

    fn run_inner(&mut self, eng: &mut Engine, broker: &mut Broker) -> Res<()> {
        #[derive(PartialEq)]
        enum Phase {
            Warmup,
            Settle,
            Measure,
            Drain,
        }
        use Phase::*;
        const SAMPLE: u64 = 100_000_000;
        let start = now();
        let schedule = self.cfg.rate.map(|r| Schedule { start, step: 1e9 / r });
        let warm_end = start + self.cfg.warmup_ns;
        let mut end_at = u64::MAX;
        let mut phase = Warmup;
        let mut sample_at = start;
        let (mut progress, mut progress_at) = (0, start);
        let mut pace = Pace { at: start, done: 0, ns_each: 0.0 };
        loop {
            let t = now();
            let done = self.unique + self.acked;
            if done != progress || self.idle() {
                (progress, progress_at) = (done, t);
            }
            if t >= sample_at {
                broker.rss();
                sample_at = t + SAMPLE;
            }
            // phase changes
            if phase == Warmup && t >= warm_end {
                phase = match self.cfg.stop {
                    Stop::Messages(_) if self.published > 0 => Settle,
                    _ => Measure,
                };
            }
            if phase == Settle && self.idle() {
                phase = Measure;
            }
            if phase == Measure && self.begin.is_none() {
                let m = self.mark(broker);
                if let Stop::Nanos(d) = self.cfg.stop {
                    end_at = m.t + d;
                }
                self.record = (m.t, end_at);
                self.begin = Some(m);
            }
            let mut left = u64::MAX;
            if phase == Measure {
                if t >= end_at {
                    self.end = Some(self.mark(broker));
                    phase = Drain;
                } else if let (Stop::Messages(n), Some(b)) = (self.cfg.stop, &self.begin) {
                    left = n - (self.published - b.published);
                    if left == 0 && self.idle() {
                        self.end = Some(self.mark(broker));
                        return Ok(());
                    }
                }
            }
            // open loop: what was due in the interval is still sent
            let behind =
                phase == Drain && schedule.as_ref().is_some_and(|s| self.published < s.due(end_at));
            if phase == Drain && self.idle() && !behind {
                return Ok(());
            }
            // nothing moves any more: what is missing is lost
            if t > progress_at + self.cfg.drain_ns && !self.idle() {
                let last = phase == Drain || left == 0;
                self.written_off += self.pending();
                progress_at = t;
                if last || self.unacked() > 0 {
                    if self.end.is_none() {
                        self.end =
                            Some(Mark { t: progress_at - self.cfg.drain_ns, ..self.mark(broker) });
                    }
                    return match self.unacked() {
                        0 => Ok(()),
                        n => Err(format!("{n} publishes not acknowledged").into()),
                    };
                }
            }
            // publish
            let mut wake = sample_at.min(end_at);
            if phase == Warmup {
                wake = wake.min(warm_end);
            }
            if let Some(s) = &schedule {
                let next = self.pump_due(eng, s, if phase == Drain { end_at } else { t })?;
                if phase != Drain {
                    wake = if self.cfg.spin { 0 } else { wake.min(next) };
                }
            } else if phase == Warmup || (phase == Measure && left > 0) {
                self.pump(eng, left)?;
            }
            // receive
            if self.cfg.coalesce > 0 {
                pace.update(t, done);
                let ns = (self.pile() * pace.ns_each).min(20e6) as u64;
                if ns > 5_000 {
                    sleep_ns(ns);
                }
            }
            eng.turn(self, wake.saturating_sub(now()))?;
        }
    }

    /// Receives only, until `want` distinct messages came or none came for the drain time.
    pub fn collect(&mut self, eng: &mut Engine, broker: &mut Broker, want: u64) -> Res<()> {
        let (mut seen, mut at) = (self.received, now());
        let mut sample_at = 0;
        while self.unique < want {
            eng.turn(self, 20_000_000)?;
            let t = now();
            if t >= sample_at {
                broker.rss();
                sample_at = t + 20_000_000;
            }
            if self.received != seen {
                (seen, at) = (self.received, t);
            } else if t > at + self.cfg.drain_ns {
                break;
            }
        }
        Ok(())
    }

    pub fn report(&self, broker: &Broker, out: &mut Map<String, Value>) {
        out.insert("published".into(), json!(self.published));
        self.report_deliveries(out);
        if let (Some(b), Some(e)) = (&self.begin, &self.end) {
            let (published, delivered) = (e.published - b.published, e.delivered - b.delivered);
            report_interval(b, e, published, delivered, broker, out);
        }
        out.insert("latency_us".into(), self.hist.json_us());
    }

    pub fn report_deliveries(&self, out: &mut Map<String, Value>) {
        for (k, v) in [
            ("expected", self.expected()),
            ("received", self.received),
            ("lost", self.lost()),
            ("duplicates", self.duplicates),
            ("out_of_order", self.out_of_order),
            ("unexpected", self.unexpected),
            ("wrong_qos", self.wrong_qos),
            ("refused", self.refused),
        ] {
            out.insert(k.into(), json!(v));
        }
    }
}

/// Rates, CPU per message and memory between two marks.
pub fn report_interval(
    b: &Mark,
    e: &Mark,
    published: u64,
    delivered: u64,
    broker: &Broker,
    out: &mut Map<String, Value>,
) {
    let secs = (e.t.saturating_sub(b.t) as f64 / 1e9).max(1e-9);
    let own = e.own - b.own;
    let moved = published + delivered;
    let per =
        |cpu: f64, n: u64| if n > 0 { json!(round(cpu * 1e6 / n as f64, 4)) } else { Value::Null };
    let mut put = |k: &str, v: Value| out.insert(k.into(), v);
    put("seconds", json!(round(secs, 4)));
    put("measured_published", json!(published));
    put("measured_delivered", json!(delivered));
    put("publish_rate", json!(round(published as f64 / secs, 1)));
    put("deliver_rate", json!(round(delivered as f64 / secs, 1)));
    put("generator_cpu_s", json!(round(own, 4)));
    put("generator_cpu_util", json!(round(own / secs, 3)));
    put("generator_cpu_us_per_msg", per(own, moved));
    if broker.pid.is_some() {
        let (total, user, sys) = e.cpu.since(&b.cpu);
        put("broker_cpu_s", json!(round(total, 4)));
        put("broker_user_s", json!(round(user, 4)));
        put("broker_sys_s", json!(round(sys, 4)));
        put("broker_cpu_util", json!(round(total / secs, 3)));
        put("broker_cpu_us_per_delivered", per(total, delivered));
        put("broker_cpu_us_per_msg", per(total, moved));
        put(
            "generator_to_broker_cpu",
            if total > 0.0 { json!(round(own / total, 3)) } else { Value::Null },
        );
        put("broker_rss_max", json!(broker.rss_max));
        put("broker_pss", json!(broker.pss()));
        put("broker_threads", json!(broker.threads()));
    }
}

/// Open-loop timetable.
struct Schedule {
    start: u64,
    step: f64,
}

impl Schedule {
    fn time_of(&self, k: u64) -> u64 {
        self.start + (k as f64 * self.step) as u64
    }

    /// Number of messages with a time before or at `t`.
    fn due(&self, t: u64) -> u64 {
        let mut n = (t.saturating_sub(self.start) as f64 / self.step) as u64;
        while self.time_of(n) <= t {
            n += 1; // rounding
        }
        n
    }
}

/// Recent time per delivery or acknowledgement.
struct Pace {
    at: u64,
    done: u64,
    ns_each: f64,
}

impl Pace {
    fn update(&mut self, t: u64, done: u64) {
        if t > self.at + 5_000_000 {
            let n = done - self.done;
            self.ns_each = if n > 0 { (t - self.at) as f64 / n as f64 } else { 0.0 };
            (self.at, self.done) = (t, done);
        }
    }
}
