//! A small MQTT client over any stream, written from the standard and not from the engine.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use engine::host::HostRecord;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use server::{ClientCertificate, ListenerConfig, Server, ServerConfig, TlsConfig, TlsVersion};
use tungstenite::{Bytes, Message, WebSocket};

/// No answer within this is a failure; it is never waited for otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A client that has sent CONNECT and got CONNACK.
pub struct Client {
    stream: Box<dyn Stream>,
}

pub fn manual() -> ServerConfig {
    ServerConfig { manual_clock: true, ..ServerConfig::default() }
}

pub fn loopback(name: &str) -> ListenerConfig {
    ListenerConfig::tcp(name, SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// The socket address behind `tcp://127.0.0.1:40123` and the like.
pub fn socket_address(server: &Server, listener: usize) -> SocketAddr {
    let address = &server.addresses()[listener];
    let (_, place) = address.split_once("://").unwrap();
    place.split('/').next().unwrap().parse().unwrap()
}

pub fn dial(server: &Server, listener: usize) -> TcpStream {
    let stream = TcpStream::connect(socket_address(server, listener)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn text(value: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(value.as_bytes());
    bytes
}

/// Fixed header, remaining length, body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let seven = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { seven | 0x80 } else { seven });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// CONNECT of MQTT 5 with Clean Start.
pub fn connect_packet(client_id: &str, keep_alive_s: u16) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, 0b10]);
    body.extend(keep_alive_s.to_be_bytes());
    body.push(0);
    body.extend(text(client_id));
    packet(0x10, &body)
}

/// PUBLISH of MQTT 5 with QoS 0.
pub fn publish_packet(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.push(0);
    body.extend(payload);
    packet(0x30, &body)
}

impl Client {
    pub fn connect(stream: impl Stream + 'static, client_id: &str) -> Self {
        Self::connect_keep_alive(stream, client_id, 0)
    }

    pub fn connect_keep_alive(
        stream: impl Stream + 'static,
        client_id: &str,
        keep_alive_s: u16,
    ) -> Self {
        let mut client = Self { stream: Box::new(stream) };
        client.send(&connect_packet(client_id, keep_alive_s));
        let (first, body) = client.receive();
        assert_eq!((first, body[1]), (0x20, 0), "CONNACK Success");
        client
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// One packet: its first byte and what follows the remaining length.
    pub fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut first = [0];
        self.stream.read_exact(&mut first).unwrap();
        let (mut length, mut shift) = (0, 0);
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (first[0], body)
    }

    pub fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 1, 0];
        body.extend(text(filter));
        body.push(0);
        self.send(&packet(0x82, &body));
        let (first, body) = self.receive();
        assert_eq!((first, body[3]), (0x90, 0), "SUBACK, granted QoS 0");
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.send(&publish_packet(topic, payload));
    }

    /// The payload of the PUBLISH that must come next on `topic`.
    pub fn message(&mut self, topic: &str) -> Vec<u8> {
        let (first, body) = self.receive();
        assert_eq!(first & 0xf0, 0x30, "PUBLISH");
        let name = text(topic);
        assert_eq!(body[..name.len()], name[..]);
        assert_eq!(body[name.len()], 0, "no properties");
        body[name.len() + 1..].to_vec()
    }

    /// A PINGREQ is answered.
    pub fn ping(&mut self) {
        self.send(&[0xc0, 0]);
        assert_eq!(self.receive(), (0xd0, vec![]), "PINGRESP");
    }

    /// Everything up to the end of the stream, which must come.
    pub fn rest(&mut self) -> Vec<u8> {
        read_to_end(&mut self.stream)
    }
}

/// Everything up to the end of the stream; a reset counts as the end only if `stream` says so.
pub fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // TLS without close_notify, where the broker had no more to say.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        Err(error) => panic!("no end of the stream: {error}"),
    }
    bytes
}

/// An authority, and a certificate of it for 127.0.0.1.
pub struct Certificates {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

pub fn certificates() -> Certificates {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate =
        rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    Certificates { authority, certificate: certificate.pem(), key: key.serialize_pem() }
}

impl Certificates {
    pub fn tls(&self) -> TlsConfig {
        TlsConfig {
            certificate_chain_pem: self.certificate.clone().into_bytes(),
            private_key_pem: self.key.clone().into_bytes(),
            client_ca_pem: None,
            client_certificate: ClientCertificate::None,
            minimum_version: TlsVersion::Tls12,
        }
    }

    /// A TLS stream to a server with a certificate of this authority; `identity` shows its own.
    pub fn dial(
        &self,
        tcp: TcpStream,
        identity: Option<&Certificates>,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain =
                    vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp)
    }
}

/// MQTT in binary WebSocket messages, by tungstenite's client.
pub struct WebSocketStream<S> {
    pub socket: WebSocket<S>,
    read: Vec<u8>,
    /// Bytes of MQTT in one frame.
    frame: usize,
}

impl<S: Read + Write> WebSocketStream<S> {
    pub fn open(stream: S, path: &str, frame: usize) -> Self {
        let (socket, response) = tungstenite::client(upgrade(path, &[]), stream).unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
        Self { socket, read: Vec::new(), frame }
    }
}

/// A WebSocket request for MQTT.
pub fn upgrade(path: &str, headers: &[(&str, &str)]) -> tungstenite::http::Request<()> {
    let mut request = tungstenite::http::Request::builder()
        .uri(format!("ws://127.0.0.1{path}"))
        .header("Host", "127.0.0.1")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", "mqtt");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

impl<S: Read + Write> Read for WebSocketStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.read.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.read = bytes.to_vec(),
                Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return Ok(0),
                Ok(_) => {}
                Err(error) => return Err(std::io::Error::other(error)),
            }
        }
        let bytes = buffer.len().min(self.read.len());
        buffer[..bytes].copy_from_slice(&self.read[..bytes]);
        self.read.drain(..bytes);
        Ok(bytes)
    }
}

impl<S: Read + Write> Write for WebSocketStream<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.chunks(self.frame) {
            let message = Message::Binary(Bytes::copy_from_slice(piece));
            self.socket.write(message).map_err(std::io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush().map_err(std::io::Error::other)
    }
}

/// Records as they come, until one that `wanted` takes.
pub fn record<T>(server: &Server, mut wanted: impl FnMut(HostRecord) -> Option<T>) -> T {
    loop {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(
            server.host_fd(),
            rustix::event::PollFlags::IN,
        )];
        let patience = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut fds, Some(&patience)).unwrap();
        assert_eq!(ready, 1, "the record did not come");
        for record in server.drain(1) {
            if let Some(found) = wanted(record) {
                return found;
            }
        }
    }
}
