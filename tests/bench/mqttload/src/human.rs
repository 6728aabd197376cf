//! The report as one line for people.

use serde_json::{json, Map, Value};

/// One line for people.
pub fn human(o: &Map<String, Value>) -> String {
    let mut line = String::from("mqttload");
    for k in ["scenario", "label", "pattern", "qos", "protocol"] {
        if let Some(v) = o.get(k) {
            line += &format!(" {}={}", k, v.to_string().trim_matches('"'));
        }
    }
    let mut parts: Vec<&Map<String, Value>> = vec![o];
    parts.extend(["publish", "deliver", "drain"].iter().filter_map(|k| o.get(*k)?.as_object()));
    parts.extend(
        o.get("steps").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object),
    );
    for p in parts {
        let shown = [
            ("subscriptions", "subscriptions"),
            ("publish_rate", "pub/s"),
            ("deliver_rate", "deliv/s"),
            ("connect_rate", "conn/s"),
            ("handshakes_per_s", "handshakes/s"),
            ("broker_cpu_us_per_msg", "broker-us/msg"),
            ("broker_cpu_us_each", "broker-us/each"),
            ("connect_broker_cpu_us_each", "broker-us/conn"),
            ("generator_cpu_us_per_msg", "gen-us/msg"),
            ("rss_bytes_per_connection", "B/conn"),
            ("rss_bytes_per_subscription", "B/sub"),
            ("rss_bytes_per_message", "B/stored"),
            ("idle_cpu_percent", "idle-cpu%"),
        ];
        for (k, name) in shown {
            if let Some(v) = p.get(k).filter(|v| !v.is_null()) {
                line += &format!(" {name}={v}");
            }
        }
        for (k, name) in [("latency_us", "lat"), ("handshake_us", "handshake")] {
            if let Some(v) = p.get(k).filter(|v| !v.is_null()) {
                line += &format!(" {name}-us p50={} p99={} max={}", v["p50"], v["p99"], v["max"]);
            }
        }
    }
    for k in ["lost", "duplicates", "out_of_order", "unexpected", "wrong_qos", "refused", "dropped"]
    {
        if let Some(n) = o.get(k).filter(|v| v.as_u64() != Some(0)) {
            line += &format!(" {}={n}", k.to_uppercase());
        }
    }
    if o.get("timed_out") == Some(&json!(true)) {
        line += " TIMED OUT";
    }
    if let Some(e) = o.get("error") {
        line += &format!(" ERROR: {}", e.as_str().unwrap_or("?"));
    }
    line
}
