//! Clients of every kind of transport talk to each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use engine::host::{EventKind, HostRecord};
use server::{Address, ListenerConfig, Server, ServerConfig, ServerError, WebSocketConfig};
use support::{
    Client, Stream, WebSocketStream, certificates, connect_packet, dial, loopback, packet, record,
    socket_address, upgrade,
};

/// Two clients, made by `open`, reach each other with small and large messages.
fn exchange<S: Stream + 'static>(open: impl Fn() -> S) {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let mut subscriber = Client::connect(open(), "subscriber");
    let mut publisher = Client::connect(open(), "publisher");
    subscriber.subscribe("a/+");

    for _ in 0..3 {
        publisher.publish("a/b", b"small");
        publisher.publish("a/c", &large);
    }

    for _ in 0..3 {
        assert_eq!(subscriber.message("a/b"), b"small");
        assert!(subscriber.message("a/c") == large);
    }
    subscriber.ping();
    publisher.ping();
}

fn start(listeners: &[ListenerConfig]) -> Server {
    let server = Server::start(&ServerConfig::default(), listeners).unwrap();
    server.watch_events(true);
    server
}

#[test]
fn clients_over_tcp_reach_each_other() {
    let server = start(&[loopback("tcp")]);

    exchange(|| dial(&server, 0));
}

#[test]
fn clients_over_ipv6_and_ipv4_share_a_wildcard_listener() {
    let server = start(&[ListenerConfig::tcp("six", "[::]:0".parse().unwrap())]);
    let port = socket_address(&server, 0).port();

    exchange(|| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
    exchange(|| std::net::TcpStream::connect(("::1", port)).unwrap());
    let peers = std::iter::repeat_with(|| {
        record(&server, |record| match record {
            HostRecord::Event(event) if event.kind == EventKind::Connected => Some(event.peer),
            _ => None,
        })
    });
    let peers: Vec<_> = peers.take(3).collect();
    assert!(peers[0].starts_with("127.0.0.1:"), "{peers:?}");
    assert!(peers[2].starts_with("[::1]:"), "{peers:?}");
}

#[test]
fn clients_over_tls_reach_each_other() {
    let certificates = certificates();
    let listener = ListenerConfig { tls: Some(certificates.tls()), ..loopback("tls") };
    let server = start(&[listener]);
    assert!(server.addresses()[0].starts_with("tls://127.0.0.1:"));

    exchange(|| certificates.dial(dial(&server, 0), None));
}

#[test]
fn mqtt_and_websocket_share_a_port() {
    let websocket = Some(WebSocketConfig { path: Some("/mqtt".into()), ..Default::default() });
    let server = start(&[ListenerConfig { websocket, ..loopback("both") }]);

    exchange(|| dial(&server, 0));
    // [MQTT-6.0.0-2] packets need not be aligned with frames.
    exchange(|| WebSocketStream::open(dial(&server, 0), "/mqtt", 60_000));
    exchange(|| WebSocketStream::open(dial(&server, 0), "/mqtt", 4_000_000));
    let mut one = WebSocketStream::open(dial(&server, 0), "/mqtt", 1);
    one.write_all(&connect_packet("in pieces of a byte", 0)).unwrap();
    one.flush().unwrap();
    let mut connack = [0; 4];
    one.read_exact(&mut connack).unwrap();
    assert_eq!((connack[0], connack[3]), (0x20, 0));
}

#[test]
fn clients_over_secure_websocket_reach_each_other() {
    let certificates = certificates();
    let listener = ListenerConfig {
        tls: Some(certificates.tls()),
        mqtt: false,
        websocket: Some(WebSocketConfig::default()),
        ..loopback("wss")
    };
    let server = start(&[listener]);
    assert!(server.addresses()[0].starts_with("wss://127.0.0.1:"));

    let open = || certificates.dial(dial(&server, 0), None);
    exchange(|| WebSocketStream::open(open(), "/any", 50_000));
}

#[test]
fn a_websocket_ping_is_answered_and_a_text_frame_ends_the_connection() {
    let listener = ListenerConfig {
        mqtt: false,
        websocket: Some(WebSocketConfig::default()),
        ..loopback("ws")
    };
    let server = start(&[listener]);
    let mut stream = WebSocketStream::open(dial(&server, 0), "/", 100);

    stream.socket.send(tungstenite::Message::Ping("hello".into())).unwrap();
    let pong = stream.socket.read().unwrap();
    stream.socket.send(tungstenite::Message::Text("{}".into())).unwrap();
    let close = stream.socket.read().unwrap();

    assert_eq!(pong, tungstenite::Message::Pong("hello".into()));
    let tungstenite::Message::Close(Some(frame)) = close else { panic!("{close}") };
    assert_eq!(u16::from(frame.code), 1003); // [MQTT-6.0.0-1]
}

#[test]
fn a_foreign_origin_is_refused_and_told() {
    let listener = ListenerConfig {
        mqtt: false,
        websocket: Some(WebSocketConfig::default()),
        ..loopback("ws")
    };
    let server = start(&[listener]);

    let request = upgrade("/", &[("Origin", "https://evil.example")]);
    let refused = tungstenite::client(request, dial(&server, 0));

    let Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) = refused
    else {
        panic!("not refused")
    };
    assert_eq!(response.status(), 403);
    let detail = record(&server, |record| match record {
        HostRecord::Event(event) if event.kind == EventKind::Aborted => Some(event.detail),
        _ => None,
    });
    assert!(detail.contains("ws.allowed_origins"), "{detail}");
}

#[test]
fn a_unix_socket_has_its_mode_and_replaces_only_a_dead_one() {
    let folder = std::env::temp_dir().join(format!("quantummq-unix-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("mqtt.sock");
    // A process that died left its file behind.
    drop(UnixListener::bind(&path).unwrap());
    let address = Address::Unix { path: path.clone(), mode: 0o620 };
    let listener = ListenerConfig { address, ..loopback("unix") };

    let server = start(std::slice::from_ref(&listener));
    exchange(|| UnixStream::connect(&path).unwrap());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    let second = Server::start(&ServerConfig::default(), std::slice::from_ref(&listener)).err();
    drop(server);

    assert_eq!(mode & 0o777, 0o620);
    assert!(matches!(second, Some(ServerError::SocketInUse { .. })), "{second:?}");
    assert!(!path.exists(), "the file goes with the server");
    std::fs::write(&path, "precious").unwrap();
    let third = Server::start(&ServerConfig::default(), &[listener]).err();
    assert!(matches!(third, Some(ServerError::NotASocket { .. })), "{third:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn last_words_reach_a_client_that_goes_on_sending() {
    let server = start(&[loopback("tcp")]);
    let mut stream = dial(&server, 0);
    stream.write_all(&connect_packet("c", 0)).unwrap();

    // A reserved packet type, and more than is read in one go after it.
    let mut bytes = packet(0xf3, b"");
    bytes.resize(300_000, 0);
    stream.write_all(&bytes).unwrap();

    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let connack_bytes = 2 + usize::from(answer[1]);
    assert_eq!(answer[connack_bytes], 0xe0, "DISCONNECT {answer:02x?}");
    assert_eq!(answer[connack_bytes + 2], 0x81, "Malformed Packet");
}
