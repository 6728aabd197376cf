//! Who is let in, what time does, and how a server and its connections end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use engine::host::{EventKind, HostCommand, HostMessage, HostRecord, HostWindow};
use engine::limits::ListenerProfile;
use server::{
    ClientCertificate, ListenerConfig, Server, ServerConfig, ServerError, TlsConfig,
    WebSocketConfig,
};
use support::{
    Client, WebSocketStream, certificates, connect_packet, dial, loopback, manual, read_to_end,
    record, socket_address,
};

fn watched(config: &ServerConfig, listeners: &[ListenerConfig]) -> Server {
    let server = Server::start(config, listeners).unwrap();
    server.watch_events(true);
    server
}

/// The next event of this kind.
fn event(server: &Server, kind: EventKind) -> engine::host::Event {
    record(server, |record| match record {
        HostRecord::Event(event) if event.kind == kind => Some(event),
        _ => None,
    })
}

fn proxied(trusted: &str) -> ListenerConfig {
    ListenerConfig { proxy_trusted: Some(vec![trusted.parse().unwrap()]), ..loopback("proxied") }
}

#[test]
fn a_proxy_header_names_the_client() {
    let certificates = certificates();
    let tls = ListenerConfig { tls: Some(certificates.tls()), ..proxied("127.0.0.0/8") };
    let server = watched(&ServerConfig::default(), &[proxied("127.0.0.1"), tls]);
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x00\x09\x07\x5b";

    let mut plain = dial(&server, 0);
    // The header and the first packet may come in one piece, and the header in many.
    let line = [b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 1883\r\n", &connect_packet("a", 0)[..]];
    for byte in line.concat() {
        plain.write_all(&[byte]).unwrap();
    }
    let mut connack = [0; 4];
    plain.read_exact(&mut connack).unwrap();
    assert_eq!(&*event(&server, EventKind::Connected).peer, "192.0.2.1:4711");

    let mut secure = dial(&server, 1);
    secure.write_all(v2).unwrap();
    Client::connect(certificates.dial(secure, None), "b").ping();
    assert_eq!(&*event(&server, EventKind::Connected).peer, "192.0.2.7:9");
}

#[test]
fn a_connection_without_a_trusted_proxy_header_is_closed() {
    let listeners = [proxied("192.0.2.0/24"), proxied("127.0.0.1")];
    let server = watched(&ServerConfig::default(), &listeners);

    let untrusted = read_to_end_or_reset(&mut dial(&server, 0));
    assert_eq!(untrusted, b"");
    assert!(event(&server, EventKind::Refused).detail.contains("proxy.trusted"));

    let mut without = dial(&server, 1);
    without.write_all(&connect_packet("c", 0)).unwrap();
    assert_eq!(read_to_end_or_reset(&mut without), b"");
    assert!(event(&server, EventKind::Aborted).detail.contains("PROXY header"));
}

/// A connection closed with our bytes unread may end in a reset.
fn read_to_end_or_reset(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => bytes,
    }
}

#[test]
fn sessions_of_two_shards_reach_each_other_over_every_layer() {
    let certificates = certificates();
    let tls = ListenerConfig { tls: Some(certificates.tls()), ..loopback("tls") };
    let websocket = ListenerConfig {
        mqtt: false,
        websocket: Some(WebSocketConfig::default()),
        ..loopback("ws")
    };
    let config = ServerConfig { shards: 2, ..ServerConfig::default() };
    let server = Server::start(&config, &[loopback("tcp"), tls, websocket]).unwrap();
    assert_eq!(server.shard_count(), 2);

    // Thirty ids fall on both shards; each connection is accepted by either.
    let mut clients: Vec<Client> = (0..30)
        .map(|number| {
            let id = format!("client {number}");
            match number % 3 {
                0 => Client::connect(dial(&server, 0), &id),
                1 => Client::connect(certificates.dial(dial(&server, 1), None), &id),
                _ => Client::connect(WebSocketStream::open(dial(&server, 2), "/", 7), &id),
            }
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.subscribe(&format!("to/{number}"));
    }
    for number in 0..30 {
        clients[(number + 7) % 30].publish(&format!("to/{number}"), &[0; 1_000]);
    }

    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.message(&format!("to/{number}")), [0; 1_000]);
        client.ping();
    }
}

#[test]
fn a_connection_above_the_limit_is_closed_at_once() {
    let config = ServerConfig { max_connections: 3, ..ServerConfig::default() };
    let limited = ListenerConfig { max_connections: 1, ..loopback("limited") };
    let server = watched(&config, &[limited, loopback("open")]);
    let first = Client::connect(dial(&server, 0), "first");

    assert_eq!(read_to_end_or_reset(&mut dial(&server, 0)), b"");
    let refused = event(&server, EventKind::Refused);
    let mut second = Client::connect(dial(&server, 1), "second");
    let mut third = Client::connect(dial(&server, 1), "third");
    assert_eq!(read_to_end_or_reset(&mut dial(&server, 1)), b"");

    assert_eq!(&*refused.listener, "limited");
    assert!(refused.peer.starts_with("127.0.0.1:"));
    second.ping();
    third.ping();
    drop(first);
    event(&server, EventKind::Disconnected);
    Client::connect(dial(&server, 0), "again").ping();
}

#[test]
fn handshakes_that_are_never_finished_end_at_the_connect_timeout() {
    let certificates = certificates();
    let tls = ListenerConfig { tls: Some(certificates.tls()), ..loopback("tls") };
    let websocket = ListenerConfig {
        mqtt: false,
        websocket: Some(WebSocketConfig::default()),
        ..loopback("ws")
    };
    let listeners = [loopback("tcp"), tls, websocket, proxied("127.0.0.1")];
    let timeout = listeners[0].profile.connect_timeout_ms;
    let server = Server::start(&manual(), &listeners).unwrap();
    let beginnings: [&[u8]; 4] =
        [b"\x10\x20\0\x04MQ", b"\x16\x03\x01\x02", b"GET / HT", b"PROXY T"];
    let mut streams: Vec<TcpStream> = (0..4).map(|listener| dial(&server, listener)).collect();
    for (stream, beginning) in streams.iter_mut().zip(beginnings) {
        stream.write_all(beginning).unwrap();
    }

    server.advance(timeout - 1);
    let still_open = server.counters().connections;
    server.advance(1);

    assert_eq!(still_open, 4);
    for mut stream in streams {
        // What comes besides the end is the TLS alert.
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert!(bytes.len() < 20, "{bytes:02x?}");
    }
}

#[test]
fn the_keep_alive_runs_on_the_clock_that_is_moved() {
    for shards in [1, 2] {
        let server =
            Server::start(&ServerConfig { shards, ..manual() }, &[loopback("tcp")]).unwrap();
        let mut silent = Client::connect_keep_alive(dial(&server, 0), "silent", 10);
        let mut lively = Client::connect_keep_alive(dial(&server, 0), "lively", 10);

        server.advance(14_999);
        // Written before the clock moves on, it is handled before the clock moves on.
        lively.send(&[0xc0, 0]);
        server.advance(10);

        let (first, body) = silent.receive();
        assert_eq!((first, body[0]), (0xe0, 0x8d), "Keep Alive timeout"); // [MQTT-3.1.2-22]
        assert_eq!(silent.rest(), b"");
        assert_eq!(lively.receive().0, 0xd0);
        lively.ping();
    }
}

#[test]
fn a_graceful_stop_says_goodbye_to_everyone() {
    let certificates = certificates();
    let tls = ListenerConfig { tls: Some(certificates.tls()), ..loopback("tls") };
    let config = ServerConfig { shards: 2, ..ServerConfig::default() };
    let server = Server::start(&config, &[loopback("tcp"), tls]).unwrap();
    let address = socket_address(&server, 0);
    let mut clients: Vec<Client> = (0..6)
        .map(|number| Client::connect(dial(&server, 0), &format!("client {number}")))
        .collect();
    clients.push(Client::connect(certificates.dial(dial(&server, 1), None), "secure"));

    assert!(server.stop(Duration::from_secs(10)));

    for client in &mut clients {
        let (first, body) = client.receive();
        assert_eq!((first, body[0]), (0xe0, 0x8b), "Server shutting down");
        assert_eq!(client.rest(), b"");
    }
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    assert!(server.stop(Duration::ZERO), "a second call only answers");
}

#[test]
fn a_client_that_reads_nothing_holds_a_stop_no_longer_than_its_deadline() {
    let server = Server::start(&manual(), &[loopback("tcp")]).unwrap();
    let mut stuck = Client::connect(dial(&server, 0), "stuck");
    let mut publisher = Client::connect(dial(&server, 0), "publisher");
    stuck.subscribe("flood");
    for _ in 0..15 {
        publisher.publish("flood", &vec![0; 1_000_000]);
    }
    publisher.ping();

    assert!(!server.stop(Duration::from_millis(100)));
}

#[test]
fn a_new_certificate_serves_new_connections_and_leaves_the_old() {
    let (old, new) = (certificates(), certificates());
    let listener = ListenerConfig { tls: Some(old.tls()), ..loopback("tls") };
    let server = Server::start(&ServerConfig::default(), &[listener, loopback("tcp")]).unwrap();
    let mut before = Client::connect(old.dial(dial(&server, 0), None), "before");

    server.reload_tls("tls", &new.tls()).unwrap();
    let broken = TlsConfig { private_key_pem: old.tls().private_key_pem, ..new.tls() };
    let mismatch = server.reload_tls("tls", &broken);

    Client::connect(new.dial(dial(&server, 0), None), "after").ping();
    before.ping();
    assert!(matches!(mismatch, Err(ServerError::Tls { .. })), "{mismatch:?}");
    let plain = server.reload_tls("tcp", &new.tls());
    assert!(matches!(plain, Err(ServerError::Listener { .. })));
    let unknown = server.reload_tls("nobody", &new.tls());
    assert!(matches!(unknown, Err(ServerError::UnknownListener { .. })));
}

#[test]
fn a_client_certificate_is_verified_and_handed_to_the_host() {
    let (ours, stranger) = (certificates(), certificates());
    let tls = TlsConfig {
        client_ca_pem: Some(ours.authority.clone().into_bytes()),
        client_certificate: ClientCertificate::Required,
        ..ours.tls()
    };
    let profile =
        ListenerProfile { name: "tls".into(), authenticate: true, ..ListenerProfile::default() };
    let listener = ListenerConfig { tls: Some(tls), profile, ..loopback("tls") };
    let server = Server::start(&ServerConfig::default(), &[listener]).unwrap();

    let mut stream = ours.dial(dial(&server, 0), Some(&ours));
    stream.write_all(&connect_packet("device", 0)).unwrap();
    stream.flush().unwrap();
    let request = record(&server, |record| match record {
        HostRecord::Authenticate(request) => Some(request),
        _ => None,
    });
    let mut refused = Vec::new();
    for identity in [None, Some(&stranger)] {
        let mut stream = ours.dial(dial(&server, 0), identity);
        // The handshake may fail at the first write or the first read.
        let _ = stream.write_all(&connect_packet("stranger", 0));
        refused.push(stream.read(&mut [0; 10]).unwrap_err());
    }

    assert_eq!(&*request.client_id, "device");
    let shown = request.peer.certificate.unwrap();
    let pem = rustls::pki_types::pem::PemObject::from_pem_slice(ours.certificate.as_bytes());
    let sent: rustls::pki_types::CertificateDer = pem.unwrap();
    assert_eq!(*shown, *sent);
    assert_eq!(refused.len(), 2);
}

#[test]
fn the_host_publishes_and_subscribes() {
    let config = ServerConfig { shards: 2, ..ServerConfig::default() };
    let server = Server::start(&config, &[loopback("tcp")]).unwrap();
    let mut client = Client::connect(dial(&server, 0), "client");
    client.subscribe("from/host");
    let window = Arc::new(HostWindow::default());
    server.command(HostCommand::Subscribe { id: 1, filter: "from/+".into(), window });
    let message =
        HostMessage { topic: "from/host".into(), payload: (*b"x").into(), ..Default::default() };
    server.command(HostCommand::Publish { token: 2, messages: vec![message] });
    assert_eq!(client.message("from/host"), b"x");
    client.publish("from/client", b"y");

    let (mut topics, mut completed) = (Vec::new(), Vec::new());
    while topics.len() < 2 || completed.len() < 2 {
        record(&server, |record| match record {
            HostRecord::Delivery { message, .. } => {
                topics.push(message.topic);
                Some(())
            }
            HostRecord::Completion { token, .. } => {
                completed.push(token);
                Some(())
            }
            _ => None,
        });
    }
    assert_eq!(topics, ["from/host".into(), "from/client".into()]);
    assert_eq!(completed, [1, 2]);
    server.command(HostCommand::Sessions { token: 3 });
    let mut sessions = 0;
    for _ in 0..server.shard_count() {
        sessions += record(&server, |record| match record {
            HostRecord::Sessions { token: 3, sessions } => Some(sessions.len()),
            _ => None,
        });
    }
    assert_eq!(sessions, 1);
}

#[test]
fn what_cannot_be_listened_on_is_said_with_a_way_out() {
    let server = Server::start(&ServerConfig::default(), &[loopback("first")]).unwrap();
    let taken = ListenerConfig::tcp("second", socket_address(&server, 0));
    let mute = ListenerConfig { mqtt: false, ..loopback("mute") };

    let in_use = Server::start(&ServerConfig::default(), &[taken]).err().unwrap().to_string();
    let mute = Server::start(&ServerConfig::default(), &[mute]).err().unwrap().to_string();

    assert!(in_use.starts_with("listener second: cannot listen on 127.0.0.1:"), "{in_use}");
    assert!(in_use.ends_with("stop what listens there or choose another port"), "{in_use}");
    assert!(mute.starts_with("listener mute: "), "{mute}");
}

#[test]
fn a_torn_tls_stream_is_an_end_and_no_more() {
    let certificates = certificates();
    let listener = ListenerConfig { tls: Some(certificates.tls()), ..loopback("tls") };
    let server = watched(&ServerConfig::default(), &[listener]);
    let mut garbage = dial(&server, 0);

    garbage.write_all(&[0x10; 2_000]).unwrap();
    let answer = read_to_end(&mut garbage);
    let mut torn = Client::connect(certificates.dial(dial(&server, 0), None), "torn");
    torn.ping();
    drop(torn);

    assert_eq!(answer[0], 0x15, "a TLS alert");
    event(&server, EventKind::Disconnected);
    Client::connect(certificates.dial(dial(&server, 0), None), "next").ping();
}
