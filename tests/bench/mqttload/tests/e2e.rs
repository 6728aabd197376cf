//! Runs the binary against mosquitto (skipped where there is none) and against
//! deliberately bad brokers.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn load(port: u16, args: &str) -> (i32, Value) {
    let out = Command::new(env!("CARGO_BIN_EXE_mqttload"))
        .args(["--port", &port.to_string()])
        .args(args.split_whitespace())
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let last = text
        .lines()
        .last()
        .unwrap_or_else(|| panic!("no output; stderr: {}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code().unwrap(), serde_json::from_str(last).unwrap())
}

struct Mosquitto {
    child: Child,
    port: u16,
    conf: std::path::PathBuf,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.conf);
    }
}

fn mosquitto() -> Option<Mosquitto> {
    let bin = std::env::var("MQTTLOAD_MOSQUITTO").unwrap_or("/usr/sbin/mosquitto".into());
    if !std::path::Path::new(&bin).exists() {
        eprintln!("skipped: {bin} not found");
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = std::env::temp_dir().join(format!("mqttload-e2e-{port}.conf"));
    std::fs::write(
        &conf,
        format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n\
             max_inflight_messages 0\n\
             persistence false\nset_tcp_nodelay true\nlog_type error\nuser root\n"
        ),
    )
    .unwrap();
    let mut child = Command::new(bin).arg("-c").arg(&conf).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(Mosquitto { child, port, conf });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("mosquitto does not listen");
}

fn good(m: &Mosquitto, args: &str) -> Value {
    let (code, v) = load(m.port, &format!("--broker-pid {} {args}", m.child.id()));
    assert_eq!(code, 0, "{args}: {v}");
    assert_eq!(v["ok"], true, "{args}: {v}");
    assert_eq!(v["timed_out"], false);
    v
}

#[test]
fn pubsub_patterns_qos_and_protocols() {
    let Some(m) = mosquitto() else { return };
    for protocol in [4, 5] {
        for qos in 0..3 {
            for (layout, fanout) in [
                ("one-to-one --publishers 2 --subscribers 3 --topics 7", 1),
                ("fan-out --publishers 2 --subscribers 5", 5),
                ("fan-in --publishers 5 --topics 10", 1),
                ("shared --publishers 2 --subscribers 3", 1),
            ] {
                let v = good(
                    &m,
                    &format!(
                        "--protocol {protocol} pubsub --pattern {layout} --qos {qos} \
                         --messages 3000 --warmup 0.05"
                    ),
                );
                assert_eq!(v["measured_published"], 3000);
                assert_eq!(v["measured_delivered"], 3000 * fanout);
                assert_eq!(v["expected"], v["received"]);
                assert!(v["broker_cpu_s"].as_f64().unwrap() > 0.0);
                assert!(v["latency_us"]["p99"].as_f64().unwrap() > 0.0);
            }
        }
    }
}

#[test]
fn other_scenarios() {
    let Some(m) = mosquitto() else { return };
    for qos in 0..3 {
        let v = good(&m, &format!("latency --rate 500 --seconds 1 --warmup 0.2 --qos {qos}"));
        let n = v["latency_us"]["count"].as_u64().unwrap();
        assert!((495..=505).contains(&n), "{n} samples");
    }
    let v = good(&m, "connections --count 300 --hold 0.2 --subscribe-each --source-ips 3");
    assert_eq!(v["connected"], 300);
    assert!(v["broker_rss_after"].as_u64() >= v["broker_rss_before"].as_u64());
    let v = good(&m, "storm --count 300 --rounds 2");
    assert_eq!(v["completed"], 600);
    assert_eq!(v["handshake_us"]["count"], 600);
    good(&m, "--protocol 4 storm --count 100 --no-subscribe");
    let v = good(&m, "retained --messages 2000 --subscribers 2");
    assert_eq!(v["received"], 4000);
    for qos in 1..3 {
        let v = good(&m, &format!("offline --messages 2000 --qos {qos}"));
        assert_eq!(v["drain"]["measured_delivered"], 2000);
        good(&m, &format!("--protocol 4 offline --messages 500 --qos {qos}"));
    }
    let v = good(
        &m,
        "topics --subscriptions 10,1000 --seconds 0.3 --warmup 0.1 --clients 3 --publishers 2",
    );
    assert_eq!(v["steps"].as_array().unwrap().len(), 2);
    assert!(v["steps"][1]["measured_delivered"].as_u64().unwrap() > 0);
}

#[test]
fn refuses_other_hosts_and_fails_cleanly() {
    let (code, v) = load(1, "--host 192.0.2.1 pubsub");
    assert_eq!(code, 1);
    assert!(v["error"].as_str().unwrap().contains("loopback"), "{v}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, v) = load(free, "pubsub");
    assert_eq!((code, &v["ok"]), (1, &Value::Bool(false)));
    assert!(v["error"].as_str().unwrap().contains("refused"), "{v}");
}

#[test]
fn silent_broker_times_out() {
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port();
    for s in ["pubsub", "latency", "connections", "storm", "retained", "offline", "topics"] {
        let (code, v) = load(port, &format!("--timeout 0.3 {s}"));
        assert_eq!((code, &v["timed_out"]), (3, &Value::Bool(true)), "{s}: {v}");
    }
}

/// A QoS 0 broker for one subscriber that loses, repeats and reorders on purpose.
fn bad_broker() -> u16 {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = l.local_addr().unwrap().port();
    let sub: Arc<Mutex<Option<TcpStream>>> = Arc::default();
    std::thread::spawn(move || {
        for s in l.incoming() {
            let (mut s, sub) = (s.unwrap(), sub.clone());
            std::thread::spawn(move || {
                let mut n = 0;
                let mut held: Option<Vec<u8>> = None;
                loop {
                    let mut frame = vec![0; 2];
                    if s.read_exact(&mut frame).is_err() {
                        return;
                    }
                    while frame.last().unwrap() & 0x80 != 0 {
                        frame.push(0);
                        let end = frame.len() - 1;
                        s.read_exact(&mut frame[end..]).unwrap();
                    }
                    let len =
                        frame[1..].iter().rev().fold(0usize, |a, b| a << 7 | (b & 0x7f) as usize);
                    let head = frame.len();
                    frame.resize(head + len, 0);
                    s.read_exact(&mut frame[head..]).unwrap();
                    match frame[0] >> 4 {
                        1 => s.write_all(&[0x20, 3, 0, 0, 0]).unwrap(),
                        8 => {
                            s.write_all(&[0x90, 4, frame[head], frame[head + 1], 0, 0]).unwrap();
                            *sub.lock().unwrap() = Some(s.try_clone().unwrap());
                        }
                        3 => {
                            let mut to = sub.lock().unwrap();
                            let to = to.as_mut().unwrap();
                            n += 1;
                            match n % 100 {
                                10 => {}                                       // lost
                                20 => to.write_all(&frame.repeat(3)).unwrap(), // two duplicates
                                30 => held = Some(frame),                      // after the next one
                                _ => {
                                    to.write_all(&frame).unwrap();
                                    if let Some(h) = held.take() {
                                        to.write_all(&h).unwrap();
                                    }
                                }
                            }
                        }
                        _ => {}
                    }
                }
            });
        }
    });
    port
}

#[test]
fn detects_loss_duplicates_and_reordering() {
    let (code, v) = load(bad_broker(), "pubsub --messages 1000 --warmup 0 --drain 0.5");
    assert_eq!(code, 0, "{v}");
    assert_eq!(v["ok"], false);
    for (k, n) in [
        ("published", 1000),
        ("lost", 10),
        ("duplicates", 20),
        ("out_of_order", 10),
        ("received", 1010),
    ] {
        assert_eq!(v[k], n, "{k}: {v}");
    }
}
