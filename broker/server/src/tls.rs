//! TLS by rustls: configurations made from PEM, and one connection's state with bounded buffers.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection, version};

use crate::config::{ClientCertificate, TlsConfig, TlsVersion};
use crate::socket::Socket;

/// Plaintext, and as much ciphertext, that waits in rustls for a slow reader; what is beyond stays
/// in the engine's output, where its bounds count.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What rustls needs for new connections.
///
/// # Errors
/// A full sentence on the part that cannot be used.
pub(crate) fn server_config(config: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = match config.minimum_version {
        TlsVersion::Tls12 => &[&version::TLS12, &version::TLS13],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("the versions cannot be used: {error}"))?;
    let builder = match config.client_certificate {
        ClientCertificate::None => builder.with_no_client_auth(),
        asked => {
            let roots = Arc::new(client_roots(config)?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if asked == ClientCertificate::Optional {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier = verifier
                .build()
                .map_err(|error| format!("the client authorities cannot be used: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&config.certificate_chain_pem, "the certificate chain")?;
    let key = PrivateKeyDer::from_pem_slice(&config.private_key_pem)
        .map_err(|error| format!("the private key cannot be read: {error}"))?;
    let mut built = builder.with_single_cert(chain, key).map_err(|error| {
        format!(
            "the certificate and its key cannot be used: {error}; check that they belong together"
        )
    })?;
    if config.client_certificate == ClientCertificate::None {
        built.ticketer = ring::Ticketer::new()
            .map_err(|error| format!("no random numbers for session tickets: {error}"))?;
    } else {
        // A resumed session would not have its certificate verified again.
        built.session_storage = Arc::new(NoServerSessionStorage {});
        built.send_tls13_tickets = 0;
    }
    Ok(Arc::new(built))
}

fn client_roots(config: &TlsConfig) -> Result<RootCertStore, String> {
    let Some(pem) = &config.client_ca_pem else {
        return Err("client certificates are asked for, but no authority is given".to_owned());
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "the file of client authorities")? {
        roots
            .add(certificate)
            .map_err(|error| format!("a client authority cannot be used: {error}"))?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(format!("{what} has no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{what} cannot be read: {error}")),
    }
}

/// One connection's TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: ServerConnection,
    handshaking: bool,
}

/// What came of some ciphertext.
pub(crate) enum Decrypted {
    /// More may come.
    Open,
    /// The handshake is complete now.
    HandshakeDone,
    /// The peer ended the stream.
    Closed,
    /// The peer broke TLS; an alert waits to be sent.
    Fault(String),
}

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        Ok(Self { connection, handshaking: true })
    }

    /// Takes all of `ciphertext` and appends what it holds to `plaintext`.
    pub(crate) fn decrypt(&mut self, mut ciphertext: &[u8], plaintext: &mut Vec<u8>) -> Decrypted {
        while !ciphertext.is_empty() {
            match self.connection.read_tls(&mut ciphertext) {
                Ok(0) => return Decrypted::Closed,
                Ok(_) => {}
                Err(error) => return Decrypted::Fault(format!("tls: {error}")),
            }
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.read_plaintext(plaintext);
                    return Decrypted::Fault(format!("tls: {error}"));
                }
            };
            self.read_plaintext(plaintext);
            if state.peer_has_closed() {
                return Decrypted::Closed;
            }
        }
        if self.handshaking && !self.connection.is_handshaking() {
            self.handshaking = false;
            return Decrypted::HandshakeDone;
        }
        Decrypted::Open
    }

    fn read_plaintext(&mut self, plaintext: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        while let Ok(chunk) = reader.fill_buf() {
            let bytes = chunk.len();
            if bytes == 0 {
                break;
            }
            plaintext.extend_from_slice(chunk);
            reader.consume(bytes);
        }
    }

    /// The client's certificate, DER, if it showed one.
    pub(crate) fn certificate(&self) -> Option<Arc<[u8]>> {
        self.connection.peer_certificates()?.first().map(|leaf| Arc::from(leaf.as_ref()))
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Takes plaintext, up to the buffer's limit; what it does not take must wait.
    pub(crate) fn writer(&mut self) -> impl Write {
        self.connection.writer()
    }

    /// Ends our side of the stream.
    pub(crate) fn finish(&mut self) {
        self.connection.send_close_notify();
    }

    /// Writes ciphertext until none is left or the socket takes no more.
    ///
    /// Returns whether all was taken. # Errors: the socket's, `WouldBlock` excepted.
    pub(crate) fn send(&mut self, socket: &Socket) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut &*socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
