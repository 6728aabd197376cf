//! The scenarios: lay out clients and topics, run, fill in the report.

use crate::client::{now, Handler, Res};
use crate::codec::{Connect, Template};
use crate::flow::{Cfg, Flow, Mark, Stop};
use crate::opener::{Opener, Spec};
use crate::process::own_cpu;
use crate::stats::{round, Hist};
use crate::{Closed, Connections, Ctx, Latency, Layout, Pattern, Pubsub, Storm, Traffic};
use clap::ValueEnum;
use serde_json::{json, Value};
use std::net::{IpAddr, Ipv4Addr};

mod stored;
mod topics;

pub use stored::{offline, retained};
pub use topics::topics;

const MS: u64 = 1_000_000;

fn name_of<T: ValueEnum>(v: T) -> String {
    v.to_possible_value().map_or(String::new(), |p| p.get_name().to_string())
}

fn ns(seconds: f64) -> u64 {
    (seconds.clamp(0.0, 1e6) * 1e9) as u64
}

impl Ctx {
    fn put(&mut self, k: &str, v: Value) {
        self.out.insert(k.into(), v);
    }

    fn head(&mut self, scenario: &str) {
        self.put("scenario", json!(scenario));
        if let Some(l) = self.common.label.clone() {
            self.put("label", json!(l));
        }
        self.put("protocol", json!(self.common.protocol));
        self.put("quickack", json!(self.common.quickack));
    }

    fn client(&self, name: &str) -> Connect {
        Connect {
            client_id: format!("ml-{}-{name}", self.run_id),
            clean: true,
            username: self.common.username.clone(),
            password: self.common.password.clone(),
            ..Default::default()
        }
    }

    /// Opens clients without subscriptions.
    fn open(&mut self, role: &str, n: usize) -> Res<Vec<usize>> {
        let specs: Vec<Spec> = (0..n)
            .map(|i| Spec { connect: self.client(&format!("{role}{i}")), ..Default::default() })
            .collect();
        Opener::new(32, self.eng.v5).run(&mut self.eng, specs.into_iter())
    }

    /// Fails early, and in words, where sockets would run out.
    fn check_nofile(&self, sockets: usize) -> Res<()> {
        let need = sockets as u64 + 32;
        if need > self.nofile {
            return Err(format!(
                "{sockets} connections need {need} open files, the generator's hard limit \
                 (ulimit -Hn) is {}",
                self.nofile
            )
            .into());
        }
        match self.broker.nofile() {
            Some(n) if n < need => {
                eprintln!(
                    "mqttload: warning: the broker's limit of open files is {n}, fewer than {need}"
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets the broker finish what it is doing; messages that arrive are ignored.
    fn rest(&mut self, d: u64) -> Res<()> {
        struct Nothing;
        impl Handler for Nothing {}
        let end = now() + d;
        while now() < end {
            self.eng.turn(&mut Nothing, end.saturating_sub(now()))?;
        }
        Ok(())
    }
}

fn mark(ctx: &Ctx) -> Mark {
    Mark { t: now(), published: 0, delivered: 0, cpu: ctx.broker.cpu(), own: own_cpu() }
}

/// Addresses to connect from: one port range each.
fn sources(ctx: &Ctx, asked: Option<usize>, auto: usize) -> Res<Vec<Option<IpAddr>>> {
    let n = asked.unwrap_or(auto).min(250);
    if n <= 1 && asked.is_none() || n == 0 {
        return Ok(vec![None]);
    }
    if ctx.eng.target.is_ipv6() {
        return Err("--source-ips needs an IPv4 --host".into());
    }
    Ok((0..n).map(|i| Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + i as u8)))).collect())
}

fn cfg(t: &Traffic, fanout: u64) -> Cfg {
    Cfg {
        qos: t.qos,
        window: t.window,
        fanout,
        outstanding: 0,
        batch: u64::MAX,
        coalesce: 0,
        rate: None,
        spin: false,
        warmup_ns: ns(t.warmup),
        stop: Stop::Nanos(ns(t.seconds)),
        drain_ns: ns(t.drain),
    }
}

fn closed(c: Cfg, a: &Closed) -> Cfg {
    Cfg { outstanding: a.outstanding, batch: a.batch, coalesce: a.coalesce, ..c }
}

pub fn pubsub(ctx: &mut Ctx, a: &Pubsub) -> Res<()> {
    ctx.head("pubsub");
    let mut c = closed(cfg(&a.traffic, 1), &a.closed);
    if let Some(n) = a.messages {
        c.stop = Stop::Messages(n);
    }
    ctx.put("outstanding", json!(a.closed.outstanding));
    ctx.put("batch", json!(a.closed.batch));
    ctx.put("coalesce", json!(a.closed.coalesce));
    laid_out(ctx, &a.layout, &a.traffic, c)
}

pub fn latency(ctx: &mut Ctx, a: &Latency) -> Res<()> {
    ctx.head("latency");
    if !(a.rate > 0.0 && a.rate <= 1e8) {
        return Err("--rate must be positive".into());
    }
    ctx.put("rate", json!(a.rate));
    ctx.put("spin", json!(a.spin));
    let c = Cfg { rate: Some(a.rate), spin: a.spin, ..cfg(&a.traffic, 1) };
    laid_out(ctx, &a.layout, &a.traffic, c)
}

/// Publishers and subscribers in one of the patterns.
fn laid_out(ctx: &mut Ctx, l: &Layout, t: &Traffic, mut cfg: Cfg) -> Res<()> {
    let (p, s) = (l.publishers, l.subscribers);
    let topics = l.topics.unwrap_or(if l.pattern == Pattern::OneToOne { p.max(s) } else { p });
    if p == 0 || s == 0 || topics == 0 {
        return Err("publishers, subscribers and topics must be at least 1".into());
    }
    if l.pattern == Pattern::OneToOne && topics < s {
        return Err("one-to-one needs at least as many topics as subscribers".into());
    }
    if l.pattern == Pattern::FanIn && s > 1 {
        return Err("fan-in has one subscriber".into());
    }
    if l.pattern == Pattern::FanOut {
        cfg.fanout = s as u64;
    }
    ctx.check_nofile(p + s)?;
    for (k, v) in [
        ("pattern", json!(name_of(l.pattern))),
        ("publishers", json!(p)),
        ("subscribers", json!(s)),
        ("topics", json!(topics)),
        ("qos", json!(t.qos)),
        ("payload", json!(t.payload)),
        ("window", json!(t.window)),
    ] {
        ctx.put(k, v);
    }
    let prefix = format!("ml/{}", ctx.run_id);
    let topic = |i: usize| format!("{prefix}/t{i}");
    let subs: Vec<Spec> = (0..s)
        .map(|j| Spec {
            connect: Connect { receive_max: t.receive_max, ..ctx.client(&format!("s{j}")) },
            filters: match l.pattern {
                Pattern::OneToOne => (j..topics).step_by(s).map(topic).collect(),
                Pattern::Shared => vec![format!("$share/g{}/{prefix}/#", ctx.run_id)],
                _ => vec![format!("{prefix}/#")],
            },
            qos: t.qos,
            ..Default::default()
        })
        .collect();
    let subs = Opener::new(32, ctx.eng.v5).run(&mut ctx.eng, subs.into_iter())?;
    let pubs = ctx.open("p", p)?.into_iter().enumerate().map(|(i, conn)| {
        let mine: Vec<usize> =
            if i < topics { (i..topics).step_by(p).collect() } else { vec![i % topics] };
        (
            conn,
            mine.into_iter()
                .map(|k| Template::new(&topic(k), t.payload, t.qos, false, ctx.eng.v5))
                .collect(),
        )
    });
    let pubs = pubs.collect();
    ctx.rest(100 * MS)?;
    let mut flow = Flow::new(cfg, pubs, &subs, l.pattern == Pattern::Shared);
    let r = flow.run(&mut ctx.eng, &mut ctx.broker);
    flow.report(&ctx.broker, &mut ctx.out);
    r?;
    ctx.eng.disconnect_all();
    Ok(())
}

pub fn connections(ctx: &mut Ctx, a: &Connections) -> Res<()> {
    ctx.head("connections");
    ctx.check_nofile(a.count)?;
    let from = sources(ctx, a.source_ips, a.count.div_ceil(5_000))?;
    for (k, v) in [
        ("count", json!(a.count)),
        ("concurrency", json!(a.concurrency)),
        ("subscribe_each", json!(a.subscribe_each)),
        ("keepalive", json!(a.keepalive)),
    ] {
        ctx.put(k, v);
    }
    let rss0 = ctx.broker.rss();
    let pss0 = ctx.broker.pss();
    let specs: Vec<Spec> = (0..a.count)
        .map(|i| Spec {
            connect: Connect { keepalive: a.keepalive, ..ctx.client(&format!("c{i}")) },
            source: from[i % from.len()],
            filters: if a.subscribe_each {
                vec![format!("ml/{}/c{i}/inbox", ctx.run_id)]
            } else {
                vec![]
            },
            qos: 0,
        })
        .collect();
    let mut hist = Hist::new();
    let m0 = mark(ctx);
    let mut opener = Opener::new(a.concurrency as usize, ctx.eng.v5);
    opener.handshake = Some(&mut hist);
    let r = opener.run(&mut ctx.eng, specs.into_iter());
    let connected = opener.ready;
    let m1 = mark(ctx);
    let secs = (m1.t - m0.t) as f64 / 1e9;
    ctx.put("connected", json!(connected));
    ctx.put("connect_seconds", json!(round(secs, 4)));
    ctx.put("connect_rate", json!(round(connected as f64 / secs, 1)));
    ctx.put("handshake_us", hist.json_us());
    cpu_of(ctx, "connect_", &m0, &m1, connected as u64);
    r?;
    ctx.rest(500 * MS)?;
    if ctx.broker.pid.is_some() {
        let (rss1, pss1) = (ctx.broker.rss(), ctx.broker.pss());
        let per = |a: u64, b: u64| json!(round((b as f64 - a as f64) / connected.max(1) as f64, 1));
        ctx.put("broker_rss_before", json!(rss0));
        ctx.put("broker_rss_after", json!(rss1));
        ctx.put("rss_bytes_per_connection", per(rss0, rss1));
        ctx.put("broker_pss_before", json!(pss0));
        ctx.put("broker_pss_after", json!(pss1));
        ctx.put("pss_bytes_per_connection", per(pss0, pss1));
    }

    struct Hold {
        dropped: u64,
    }
    impl Handler for Hold {
        fn closed(&mut self, _why: String) -> Res<()> {
            self.dropped += 1;
            Ok(())
        }
    }
    let mut hold = Hold { dropped: 0 };
    let m2 = mark(ctx);
    let end = m2.t + ns(a.hold);
    let mut r = Ok(0);
    while now() < end && r.is_ok() {
        r = ctx.eng.turn(&mut hold, end.saturating_sub(now()));
    }
    let m3 = mark(ctx);
    let secs = (m3.t - m2.t) as f64 / 1e9;
    ctx.put("hold_seconds", json!(round(secs, 3)));
    ctx.put("dropped", json!(hold.dropped));
    if ctx.broker.pid.is_some() {
        let idle = m3.cpu.since(&m2.cpu).0;
        ctx.put("idle_cpu_s", json!(round(idle, 6)));
        ctx.put("idle_cpu_percent", json!(round(idle / secs * 100.0, 4)));
    }
    r?;
    // many brokers take long over mass disconnects: say how long this one was busy with it
    let m4 = mark(ctx);
    ctx.eng.disconnect_all();
    ctx.rest(500 * MS)?;
    let m5 = mark(ctx);
    cpu_of(ctx, "disconnect_", &m4, &m5, connected as u64);
    if ctx.broker.pid.is_some() {
        let rss = ctx.broker.rss();
        ctx.put("broker_rss_end", json!(rss));
    }
    Ok(())
}

/// CPU of broker and generator between two marks, also per `n` operations.
fn cpu_of(ctx: &mut Ctx, prefix: &str, b: &Mark, e: &Mark, n: u64) {
    let own = e.own - b.own;
    ctx.put(&format!("{prefix}generator_cpu_s"), json!(round(own, 4)));
    if ctx.broker.pid.is_some() {
        let (total, user, sys) = e.cpu.since(&b.cpu);
        ctx.put(&format!("{prefix}broker_cpu_s"), json!(round(total, 4)));
        ctx.put(&format!("{prefix}broker_user_s"), json!(round(user, 4)));
        ctx.put(&format!("{prefix}broker_sys_s"), json!(round(sys, 4)));
        ctx.put(
            &format!("{prefix}broker_cpu_us_each"),
            json!(round(total * 1e6 / n.max(1) as f64, 2)),
        );
    }
}

pub fn storm(ctx: &mut Ctx, a: &Storm) -> Res<()> {
    ctx.head("storm");
    let total = a.count * a.rounds;
    ctx.check_nofile(a.concurrency as usize)?;
    let from = sources(ctx, a.source_ips, total.div_ceil(5_000))?;
    for (k, v) in [
        ("count", json!(a.count)),
        ("rounds", json!(a.rounds)),
        ("concurrency", json!(a.concurrency)),
        ("subscribe", json!(!a.no_subscribe)),
    ] {
        ctx.put(k, v);
    }
    let names: Vec<Connect> = (0..a.count).map(|i| ctx.client(&format!("c{i}"))).collect();
    let run = ctx.run_id.clone();
    let specs = (0..total).map(|k| {
        let i = k % a.count;
        Spec {
            connect: names[i].clone(),
            source: from[k % from.len()],
            filters: if a.no_subscribe { vec![] } else { vec![format!("ml/{run}/c{i}/inbox")] },
            qos: 0,
        }
    });
    let rss0 = ctx.broker.rss();
    let (mut handshake, mut ready) = (Hist::new(), Hist::new());
    let m0 = mark(ctx);
    let mut opener = Opener::new(a.concurrency as usize, ctx.eng.v5);
    opener.leave = true;
    opener.handshake = Some(&mut handshake);
    opener.ready_time = Some(&mut ready);
    let r = opener.run(&mut ctx.eng, specs);
    let done = opener.ready;
    let secs = (now() - m0.t) as f64 / 1e9;
    let rest = if r.is_ok() { ctx.rest(100 * MS) } else { Ok(()) }; // the last disconnects
    let m1 = mark(ctx);
    ctx.put("completed", json!(done));
    ctx.put("seconds", json!(round(secs, 4)));
    ctx.put("handshakes_per_s", json!(round(done as f64 / secs, 1)));
    ctx.put("handshake_us", handshake.json_us());
    ctx.put("ready_us", ready.json_us());
    cpu_of(ctx, "", &m0, &m1, done as u64);
    if ctx.broker.pid.is_some() {
        let rss1 = ctx.broker.rss();
        ctx.put("broker_rss_before", json!(rss0));
        ctx.put("broker_rss_after", json!(rss1));
    }
    r?;
    rest
}
