//! Many distinct subscriptions, of which every message matches one.

use super::{cfg, closed, mark, name_of, MS};
use crate::client::Res;
use crate::codec::{Connect, Template};
use crate::flow::Flow;
use crate::opener::{Opener, Spec};
use crate::stats::round;
use crate::{Ctx, Mix, Topics};
use serde_json::{json, Map, Value};

/// Filter number `i` and the one topic (among all of these) that matches it.
fn filter_and_topic(prefix: &str, mix: Mix, i: usize) -> (String, String) {
    let kind = match mix {
        Mix::Mixed => [Mix::Exact, Mix::Plus, Mix::Hash][i % 3],
        m => m,
    };
    match kind {
        Mix::Plus => (format!("{prefix}/p/+/k{i}"), format!("{prefix}/p/n{}/k{i}", i % 100)),
        Mix::Hash => (format!("{prefix}/h/k{i}/#"), format!("{prefix}/h/k{i}/a/b")),
        _ => {
            let t = format!("{prefix}/e/n{}/k{i}", i % 100);
            (t.clone(), t)
        }
    }
}

pub fn topics(ctx: &mut Ctx, a: &Topics) -> Res<()> {
    ctx.head("topics");
    if a.clients == 0
        || a.publishers == 0
        || !a.subscriptions.is_sorted()
        || a.subscriptions.first() < Some(&1)
    {
        return Err(
            "clients and publishers must be at least 1, --subscriptions an ascending list".into()
        );
    }
    for (k, v) in [
        ("mix", json!(name_of(a.mix))),
        ("clients", json!(a.clients)),
        ("publishers", json!(a.publishers)),
        ("qos", json!(a.traffic.qos)),
        ("payload", json!(a.traffic.payload)),
        ("outstanding", json!(a.closed.outstanding)),
        ("batch", json!(a.closed.batch)),
    ] {
        ctx.put(k, v);
    }
    let (v5, prefix) = (ctx.eng.v5, format!("ml/{}", ctx.run_id));
    let subs: Vec<Spec> = (0..a.clients)
        .map(|j| Spec {
            connect: Connect { receive_max: a.traffic.receive_max, ..ctx.client(&format!("s{j}")) },
            ..Default::default()
        })
        .collect();
    let mut opener = Opener::new(32, v5);
    let subs = opener.run(&mut ctx.eng, subs.into_iter())?;
    let pubs = ctx.open("p", a.publishers)?;
    ctx.rest(100 * MS)?;
    let rss0 = ctx.broker.rss();
    let mut have = 0;
    let mut steps: Vec<Value> = vec![];
    let mut totals: Map<String, Value> = Map::new();
    let mut result: Res<()> = Ok(());
    for &want in &a.subscriptions {
        let mut step = Map::new();
        step.insert("subscriptions".into(), json!(want));
        let mut more: Vec<(usize, Vec<String>)> = subs.iter().map(|c| (*c, vec![])).collect();
        for i in have..want {
            more[i % a.clients].1.push(filter_and_topic(&prefix, a.mix, i).0);
        }
        more.retain(|m| !m.1.is_empty());
        let b = mark(ctx);
        result = opener.subscribe(&mut ctx.eng, more, a.traffic.qos);
        let e = mark(ctx);
        if result.is_ok() {
            let added = (want - have).max(1) as f64;
            step.insert(
                "subscribe_rate".into(),
                json!(round(added / ((e.t - b.t) as f64 / 1e9), 1)),
            );
            let cpu = e.cpu.since(&b.cpu).0;
            if ctx.broker.pid.is_some() {
                step.insert("subscribe_cpu_us_each".into(), json!(round(cpu * 1e6 / added, 3)));
                ctx.rest(300 * MS)?;
                let rss = ctx.broker.rss();
                step.insert("broker_rss".into(), json!(rss));
                step.insert(
                    "rss_bytes_per_subscription".into(),
                    json!(round((rss as f64 - rss0 as f64) / want as f64, 1)),
                );
            }
            have = want;
            // every publisher walks all its topics in a scattered order
            let per_pub = pubs.iter().enumerate().map(|(p, conn)| {
                let mut mine: Vec<usize> = (p..want).step_by(a.publishers).collect();
                if mine.is_empty() {
                    mine.push(p % want);
                }
                scatter(&mut mine);
                let t = mine.iter().map(|i| filter_and_topic(&prefix, a.mix, *i).1);
                (
                    *conn,
                    t.map(|t| Template::new(&t, a.traffic.payload, a.traffic.qos, false, v5))
                        .collect(),
                )
            });
            let per_pub: Vec<_> = per_pub.collect();
            let mut flow = Flow::new(closed(cfg(&a.traffic, 1), &a.closed), per_pub, &subs, false);
            result = flow.run(&mut ctx.eng, &mut ctx.broker);
            flow.report(&ctx.broker, &mut step);
        }
        for k in [
            "published",
            "expected",
            "received",
            "lost",
            "duplicates",
            "out_of_order",
            "unexpected",
            "wrong_qos",
            "refused",
        ] {
            let sum = [&step, &totals].iter().filter_map(|m| m.get(k)?.as_u64()).sum::<u64>();
            totals.insert(k.into(), json!(sum));
        }
        steps.push(Value::Object(step));
        if result.is_err() {
            break;
        }
    }
    ctx.out.append(&mut totals);
    ctx.put("steps", json!(steps));
    result?;
    ctx.eng.disconnect_all();
    Ok(())
}

/// Fixed pseudo-random shuffle (runs must be comparable).
fn scatter(v: &mut [usize]) {
    let mut x = 0x9E37_79B9_7F4A_7C15u64;
    for i in (1..v.len()).rev() {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        v.swap(i, (x >> 33) as usize % (i + 1));
    }
}
