//! Messages that the broker keeps: retained ones, and those for a session that is away.

use super::{mark, ns, MS};
use crate::client::Res;
use crate::codec::{self, Connect, Template};
use crate::flow::{report_interval, Cfg, Flow, Mark, Stop};
use crate::opener::{Opener, Spec};
use crate::stats::round;
use crate::{Ctx, Stored};
use serde_json::{json, Map, Value};

fn stored_cfg(a: &Stored) -> Cfg {
    Cfg {
        qos: a.qos,
        window: a.window,
        fanout: 0,
        outstanding: 0,
        batch: 32,
        coalesce: 0,
        rate: None,
        spin: false,
        warmup_ns: 0,
        stop: Stop::Messages(a.messages),
        drain_ns: ns(a.drain),
    }
}

/// Publishes without a receiver and reports under "publish".
fn publish_phase(ctx: &mut Ctx, flow: &mut Flow) -> Res<()> {
    let r = flow.run(&mut ctx.eng, &mut ctx.broker);
    let mut part = Map::new();
    part.insert("acked".into(), json!(flow.acked));
    if let (Some(b), Some(e)) = (&flow.begin, &flow.end) {
        report_interval(b, e, flow.published, 0, &ctx.broker, &mut part);
        part.remove("deliver_rate");
        part.remove("measured_delivered");
        part.remove("broker_cpu_us_per_delivered");
    }
    ctx.put("publish", Value::Object(part));
    r
}

/// Reports one delivery phase of a stored scenario.
fn deliver_phase(ctx: &Ctx, flow: &Flow, b: &Mark, before: u64) -> Map<String, Value> {
    let e = mark(ctx);
    let mut part = Map::new();
    report_interval(b, &e, 0, flow.unique - before, &ctx.broker, &mut part);
    part.remove("publish_rate");
    part.remove("measured_published");
    if flow.first_at > b.t {
        part.insert("first_message_ms".into(), json!(round((flow.first_at - b.t) as f64 / 1e6, 3)));
    }
    part
}

pub fn retained(ctx: &mut Ctx, a: &Stored) -> Res<()> {
    ctx.head("retained");
    ctx.put("messages", json!(a.messages));
    ctx.put("qos", json!(a.qos));
    ctx.put("payload", json!(a.payload));
    let (v5, prefix) = (ctx.eng.v5, format!("ml/{}", ctx.run_id));
    let topic = |i: u64| format!("{prefix}/site{}/dev{}/sensor{}", i / 100, i / 10 % 10, i % 10);
    let set = |payload| {
        (0..a.messages).map(|i| Template::new(&topic(i), payload, a.qos, true, v5)).collect()
    };
    let conn = ctx.open("p", 1)?[0];
    let rss0 = ctx.broker.rss();
    let mut flow = Flow::new(stored_cfg(a), vec![(conn, set(a.payload))], &[], false);
    publish_phase(ctx, &mut flow)?;
    ctx.rest(200 * MS)?;
    let rss1 = ctx.broker.rss();
    if ctx.broker.pid.is_some() {
        ctx.put("broker_rss_before", json!(rss0));
        ctx.put("broker_rss_stored", json!(rss1));
        ctx.put(
            "rss_bytes_per_message",
            json!(round((rss1 as f64 - rss0 as f64) / a.messages as f64, 1)),
        );
    }
    flow.set_fanout(a.subscribers.max(1));
    let mut result = Ok(());
    let mut rounds = vec![];
    for s in 0..a.subscribers.max(1) {
        let c = Connect { receive_max: a.receive_max, ..ctx.client(&format!("s{s}")) };
        let spec = Spec { connect: c, ..Default::default() };
        let id = Opener::new(1, v5).run(&mut ctx.eng, std::iter::once(spec))?[0];
        flow.set_receiver(id, s);
        let before = flow.unique;
        flow.first_at = 0;
        let b = mark(ctx);
        let packet = codec::subscribe(1, &[format!("{prefix}/#")], a.qos, v5);
        ctx.eng.conn(id).out().extend_from_slice(&packet);
        ctx.eng.flush(id)?;
        result = flow.collect(&mut ctx.eng, &mut ctx.broker, a.messages * (s as u64 + 1));
        let part = deliver_phase(ctx, &flow, &b, before);
        rounds.push(Value::Object(part));
        ctx.eng.disconnect(id);
        if result.is_err() {
            break;
        }
    }
    ctx.put("deliver", if rounds.len() == 1 { rounds.remove(0) } else { json!(rounds) });
    flow.report_deliveries(&mut ctx.out);
    result?;
    // leave nothing behind
    let mut clear = Flow::new(stored_cfg(a), vec![(conn, set(0))], &[], false);
    clear.run(&mut ctx.eng, &mut ctx.broker)?;
    ctx.eng.disconnect_all();
    Ok(())
}

pub fn offline(ctx: &mut Ctx, a: &Stored) -> Res<()> {
    ctx.head("offline");
    for (k, v) in [
        ("messages", json!(a.messages)),
        ("qos", json!(a.qos)),
        ("payload", json!(a.payload)),
        ("topics", json!(a.topics)),
        ("window", json!(a.window)),
    ] {
        ctx.put(k, v);
    }
    let (v5, prefix) = (ctx.eng.v5, format!("ml/{}", ctx.run_id));
    let session =
        Connect { clean: false, expiry: u32::MAX, receive_max: a.receive_max, ..ctx.client("s") };
    let spec = Spec {
        connect: session.clone(),
        filters: vec![format!("{prefix}/#")],
        qos: a.qos,
        ..Default::default()
    };
    let id = Opener::new(1, v5).run(&mut ctx.eng, std::iter::once(spec))?[0];
    ctx.eng.disconnect(id);
    let conn = ctx.open("p", 1)?[0];
    ctx.rest(100 * MS)?;
    let rss0 = ctx.broker.rss();
    let topics = (0..a.topics.max(1))
        .map(|i| Template::new(&format!("{prefix}/t{i}"), a.payload, a.qos, false, v5))
        .collect();
    let mut flow = Flow::new(stored_cfg(a), vec![(conn, topics)], &[], false);
    publish_phase(ctx, &mut flow)?;
    ctx.rest(200 * MS)?;
    let rss1 = ctx.broker.rss();
    if ctx.broker.pid.is_some() {
        ctx.put("broker_rss_before", json!(rss0));
        ctx.put("broker_rss_stored", json!(rss1));
        ctx.put(
            "rss_bytes_per_message",
            json!(round((rss1 as f64 - rss0 as f64) / a.messages as f64, 1)),
        );
    }
    // the session comes back: messages may follow CONNACK at once
    flow.set_fanout(1);
    let b = mark(ctx);
    let id = ctx.eng.connect(&session, None)?;
    flow.set_receiver(id, 0);
    let r = flow.collect(&mut ctx.eng, &mut ctx.broker, a.messages);
    let drain = deliver_phase(ctx, &flow, &b, 0);
    ctx.put("drain", Value::Object(drain));
    flow.report_deliveries(&mut ctx.out);
    r?;
    ctx.rest(100 * MS)?;
    // remove the session
    ctx.eng.disconnect(id);
    let spec =
        Spec { connect: Connect { clean: true, expiry: 0, ..session }, ..Default::default() };
    Opener::new(1, v5).run(&mut ctx.eng, std::iter::once(spec))?;
    ctx.eng.disconnect_all();
    Ok(())
}
