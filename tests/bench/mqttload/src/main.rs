//! mqttload: a cheap MQTT load generator for comparing brokers on one machine.

mod client;
mod codec;
mod flow;
mod human;
mod opener;
mod process;
mod scenario;
mod stats;

use clap::{Args, Parser, Subcommand, ValueEnum};
use client::{Engine, Fail};
use serde_json::{json, Map, Value};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// MQTT load generator for comparing brokers side by side (loopback only).
///
/// Prints one JSON object as the last line of stdout and one human line on stderr.
/// Exit status: 0 measured, 1 failed (JSON has "error"), 2 wrong usage, 3 timed out (JSON is
/// partial).
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Args)]
pub struct Common {
    /// Broker address; only loopback addresses (127.0.0.0/8, ::1, localhost) are accepted
    #[arg(long, global = true, default_value = "127.0.0.1")]
    host: String,
    /// Broker TCP port
    #[arg(long, global = true, default_value_t = 1883)]
    port: u16,
    /// Process whose CPU time and memory are measured (with all threads and children)
    #[arg(long, global = true)]
    broker_pid: Option<u32>,
    /// MQTT protocol level: 5, or 4 for MQTT 3.1.1
    #[arg(
        long,
        global = true,
        default_value_t = 5,
        value_parser = clap::value_parser!(u8).range(4..=5)
    )]
    protocol: u8,
    /// Whole run must end within this many seconds (else exit 3 and "timed_out": true)
    #[arg(long, global = true, default_value_t = 60.0)]
    timeout: f64,
    #[arg(long, global = true)]
    username: Option<String>,
    #[arg(long, global = true)]
    password: Option<String>,
    /// Pin the generator to this CPU
    #[arg(long, global = true)]
    cpu: Option<usize>,
    /// Pin all present threads of the broker to this CPU
    #[arg(long, global = true)]
    broker_cpu: Option<usize>,
    /// Acknowledge TCP segments at once after each read, so that a broker that leaves Nagle's
    /// algorithm on (mosquitto without set_tcp_nodelay) does not stall for the delayed-ACK time of
    /// 40 ms
    #[arg(long, global = true)]
    quickack: bool,
    /// Free text copied to the JSON ("label"), e.g. the broker's name
    #[arg(long, global = true)]
    label: Option<String>,
}

#[derive(Subcommand)]
enum Scenario {
    /// Throughput, closed loop: as fast as the broker goes, with a bounded number of messages
    /// under way
    Pubsub(Pubsub),
    /// Latency at a fixed publish rate, open loop (coordinated-omission safe)
    Latency(Latency),
    /// Many idle connections: connect rate, memory per connection, idle CPU
    Connections(Connections),
    /// Reconnect storm: connect, subscribe, disconnect as fast as possible
    Storm(Storm),
    /// N retained messages, then a wildcard subscriber that receives them all
    Retained(Stored),
    /// A persistent session is away while N messages are published, then drains them
    Offline(Stored),
    /// Throughput and memory with many distinct subscriptions (exact, + and #)
    Topics(Topics),
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Debug)]
pub enum Pattern {
    /// Topics are dealt out to the subscribers: every message has one receiver
    OneToOne,
    /// Every subscriber receives every message
    FanOut,
    /// One subscriber receives everything
    FanIn,
    /// The subscribers form one $share group
    Shared,
}

#[derive(Args)]
pub struct Layout {
    #[arg(long, value_enum, default_value = "one-to-one")]
    pattern: Pattern,
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    #[arg(long, default_value_t = 1)]
    subscribers: usize,
    /// Topics; each publisher goes round-robin over its share [default: enough for one each]
    #[arg(long)]
    topics: Option<usize>,
}

#[derive(Args)]
pub struct Traffic {
    /// QoS of publishes and subscriptions
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Payload bytes, at least 20 (timestamp, publisher, sequence)
    #[arg(long, default_value_t = 64, value_parser = payload)]
    payload: usize,
    /// QoS 1/2: unacknowledged publishes per publisher (the broker's Receive Maximum may lower it)
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65535))]
    window: u32,
    /// Seconds of traffic before measuring
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds without any delivery or acknowledgement after which missing messages count as lost
    #[arg(long, default_value_t = 3.0)]
    drain: f64,
    /// Receive Maximum that subscribers announce (MQTT 5; 0: leave it out)
    #[arg(long, default_value_t = 0)]
    receive_max: u16,
}

#[derive(Args)]
pub struct Closed {
    /// Published messages that may be on their way to their receivers, all publishers together;
    /// 0: no limit
    #[arg(long, default_value_t = 500)]
    outstanding: u64,
    /// Most PUBLISH packets in one write
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Let about this many messages pile up per receiving socket before reading (saves CPU of the
    /// generator and wake-ups in the broker; adaptive, never longer than a quarter of the time that
    /// the broker needs for what is outstanding); 0: react at once
    #[arg(long, default_value_t = 32)]
    coalesce: u64,
}

#[derive(Args)]
pub struct Pubsub {
    #[command(flatten)]
    layout: Layout,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    closed: Closed,
    /// Measure this many messages instead of --seconds
    #[arg(long)]
    messages: Option<u64>,
}

#[derive(Args)]
pub struct Latency {
    #[command(flatten)]
    layout: Layout,
    #[command(flatten)]
    traffic: Traffic,
    /// Messages published per second, all publishers together
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Poll instead of sleeping, so that the generator's own wake-ups don't add to the latency
    #[arg(long)]
    spin: bool,
}

#[derive(Args)]
pub struct Connections {
    /// Connections to open (limited by the open-files limits of generator and broker)
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Handshakes under way at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Loopback source addresses 127.0.0.2 and up to spread over [default: one per 5000
    /// connections]
    #[arg(long)]
    source_ips: Option<usize>,
    /// One distinct subscription per client
    #[arg(long)]
    subscribe_each: bool,
    /// Keep alive in seconds (no PINGREQ is sent: 0, or longer than the run)
    #[arg(long, default_value_t = 0)]
    keepalive: u16,
    /// Seconds to stay connected and measure idle CPU
    #[arg(long, default_value_t = 5.0)]
    hold: f64,
}

#[derive(Args)]
pub struct Storm {
    /// Distinct clients
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// How often each client connects
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Clients between connect and disconnect at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Loopback source addresses 127.0.0.2 and up to spread over [default: one per 5000 connects]
    #[arg(long)]
    source_ips: Option<usize>,
    /// Connect and disconnect only
    #[arg(long)]
    no_subscribe: bool,
}

#[derive(Args)]
pub struct Stored {
    /// Messages (retained: each on its own topic)
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// QoS of publishes and subscription
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: u8,
    /// Payload bytes, at least 20
    #[arg(long, default_value_t = 64, value_parser = payload)]
    payload: usize,
    /// Unacknowledged publishes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65535))]
    window: u32,
    /// Receive Maximum that the subscriber announces (MQTT 5; 0: leave it out)
    #[arg(long, default_value_t = 0)]
    receive_max: u16,
    /// offline: topics the messages are spread over
    #[arg(long, default_value_t = 10)]
    topics: usize,
    /// retained: subscribers that receive the whole set, one after the other
    #[arg(long, default_value_t = 1)]
    subscribers: usize,
    /// Seconds without any delivery after which missing messages count as lost
    #[arg(long, default_value_t = 3.0)]
    drain: f64,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Debug)]
pub enum Mix {
    /// A third of each of the others
    Mixed,
    /// prefix/e/<n>/k<i>
    Exact,
    /// prefix/p/+/k<i>
    Plus,
    /// prefix/h/k<i>/#
    Hash,
}

#[derive(Args)]
pub struct Topics {
    /// Subscriptions; a list measures each size in turn, adding subscriptions in between
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    subscriptions: Vec<usize>,
    /// Clients that hold the subscriptions
    #[arg(long, default_value_t = 10)]
    clients: usize,
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    #[arg(long, value_enum, default_value = "mixed")]
    mix: Mix,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    closed: Closed,
}

fn payload(s: &str) -> Result<usize, String> {
    let n: usize = s.parse().map_err(|e| format!("{e}"))?;
    if !(codec::STAMP_LEN..=100_000_000).contains(&n) {
        return Err(format!(
            "must be {}..=100000000 (timestamp, publisher id and sequence are in it)",
            codec::STAMP_LEN
        ));
    }
    Ok(n)
}

/// Loopback only, and no name lookups: this tool must never load a foreign machine.
fn loopback(host: &str) -> Result<IpAddr, String> {
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        h => h.trim_matches(['[', ']']).parse().map_err(|_| {
            format!(
                "--host {h}: not an IP address; mqttload only targets loopback \
                 (127.0.0.0/8, ::1 or localhost)"
            )
        })?,
    };
    match ip.is_loopback() {
        true => Ok(ip),
        false => Err(format!(
            "--host {host}: refused, not a loopback address; mqttload only targets 127.0.0.0/8 \
             or ::1"
        )),
    }
}

pub struct Ctx {
    pub eng: Engine,
    pub broker: process::Broker,
    pub common: Common,
    pub run_id: String,
    pub nofile: u64,
    pub out: Map<String, Value>,
}

fn setup(common: Common) -> Result<Ctx, Fail> {
    let ip = loopback(&common.host)?;
    if !(common.timeout > 0.0 && common.timeout < 1e6) {
        return Err("--timeout must be positive".into());
    }
    let broker = process::Broker::new(common.broker_pid)?;
    if let Some(cpu) = common.cpu {
        process::pin(0, cpu)?;
    }
    if let Some(cpu) = common.broker_cpu {
        broker.pin(cpu)?;
    }
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1u64) }; // precise short sleeps
    let deadline = client::now() + (common.timeout * 1e9) as u64;
    let mut eng = Engine::new(SocketAddr::new(ip, common.port), common.protocol == 5, deadline)?;
    eng.quickack = common.quickack;
    let run_id = format!("{:x}{:x}", std::process::id(), client::now() & 0xff_ffff_ffff);
    Ok(Ctx { eng, broker, common, run_id, nofile: process::raise_nofile(), out: Map::new() })
}

fn main() {
    let Cli { common, scenario } = Cli::parse();
    // last resort, should the event loop itself hang
    let limit = Duration::from_secs_f64(common.timeout.clamp(0.0, 1e6) + 5.0);
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        println!("{}", json!({"timed_out": true, "ok": false, "error": "watchdog"}));
        std::process::exit(3);
    });
    let mut ctx = match setup(common) {
        Ok(c) => c,
        Err(e) => {
            let Fail::Other(e) = e else { unreachable!() };
            eprintln!("mqttload: {e}");
            println!("{}", json!({"error": e, "timed_out": false, "ok": false}));
            std::process::exit(1);
        }
    };
    let result = match &scenario {
        Scenario::Pubsub(a) => scenario::pubsub(&mut ctx, a),
        Scenario::Latency(a) => scenario::latency(&mut ctx, a),
        Scenario::Connections(a) => scenario::connections(&mut ctx, a),
        Scenario::Storm(a) => scenario::storm(&mut ctx, a),
        Scenario::Retained(a) => scenario::retained(&mut ctx, a),
        Scenario::Offline(a) => scenario::offline(&mut ctx, a),
        Scenario::Topics(a) => scenario::topics(&mut ctx, a),
    };
    let out = &mut ctx.out;
    let code = match &result {
        Ok(()) => 0,
        Err(Fail::Timeout) => 3,
        Err(Fail::Other(e)) => {
            out.insert("error".into(), json!(e));
            1
        }
    };
    out.insert("timed_out".into(), json!(code == 3));
    let clean =
        ["lost", "duplicates", "out_of_order", "unexpected", "wrong_qos", "refused", "dropped"]
            .iter()
            .all(|k| out.get(*k).is_none_or(|v| v.as_u64() == Some(0)));
    out.insert("ok".into(), json!(code == 0 && clean));
    eprintln!("{}", human::human(out));
    println!("{}", Value::Object(std::mem::take(out)));
    std::process::exit(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn only_loopback() {
        for good in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"] {
            assert!(loopback(good).is_ok(), "{good}");
        }
        for bad in ["10.0.0.1", "0.0.0.0", "192.168.1.1", "::", "fe80::1", "example.org", ""] {
            assert!(loopback(bad).is_err(), "{bad}");
        }
    }
}
