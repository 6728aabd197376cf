//! What lies between a socket and MQTT: PROXY header, TLS, WebSocket, in this order. A connection
//! of plain MQTT has none of it, and one that is past its PROXY header drops it.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use engine::connection::Output;
use engine::host::Peer;
use rustls::ServerConfig;

use crate::config::WebSocketConfig;
use crate::proxy::{self, Header, Origin};
use crate::socket::Socket;
use crate::tls::{Decrypted, Tls};
use crate::websocket::WebSocket;

/// The first byte of a CONNECT packet, MQTT 5 §3.1.1.
const CONNECT: u8 = 0x10;

/// Why nothing more comes from the peer.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It ended the stream in good order.
    Closed,
    /// It broke the rules of a layer; the text is for the log.
    Fault(Cow<'static, str>),
}

/// What a listener puts around MQTT.
#[derive(Debug, Clone)]
pub(crate) struct LayerPlan {
    pub(crate) proxy: bool,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) mqtt: bool,
    pub(crate) websocket: Option<Arc<WebSocketConfig>>,
    pub(crate) frame_bytes_max: u64,
}

/// One connection's layers.
#[derive(Debug)]
pub(crate) struct Layers {
    /// The PROXY header as far as it has come.
    proxy: Option<Vec<u8>>,
    tls: Option<Tls>,
    framing: Framing,
    /// As the outer layers know it.
    peer: Peer,
    /// The engine has not been told of `peer` yet.
    peer_changed: bool,
    frame_bytes_max: u64,
}

#[derive(Debug)]
enum Framing {
    /// The first byte will tell.
    Undecided(Arc<WebSocketConfig>),
    Mqtt,
    WebSocket(WebSocket, Arc<WebSocketConfig>),
}

impl Layers {
    /// `None` if the connection is plain MQTT.
    ///
    /// # Errors
    /// TLS cannot start; the text is for the log.
    pub(crate) fn new(plan: &LayerPlan, peer: &Peer) -> Result<Option<Box<Self>>, String> {
        let framing = match &plan.websocket {
            None => Framing::Mqtt,
            Some(config) if plan.mqtt => Framing::Undecided(Arc::clone(config)),
            Some(config) => {
                Framing::WebSocket(WebSocket::new(plan.frame_bytes_max), Arc::clone(config))
            }
        };
        let tls = match &plan.tls {
            Some(config) => {
                Some(Tls::new(Arc::clone(config)).map_err(|error| format!("tls: {error}"))?)
            }
            None => None,
        };
        let layers = Self {
            proxy: plan.proxy.then(Vec::new),
            tls,
            framing,
            peer: peer.clone(),
            peer_changed: false,
            frame_bytes_max: plan.frame_bytes_max,
        };
        Ok((!layers.is_transparent()).then(|| Box::new(layers)))
    }

    /// Nothing is left between the socket and MQTT.
    pub(crate) fn is_transparent(&self) -> bool {
        self.proxy.is_none()
            && self.tls.is_none()
            && !self.peer_changed
            && matches!(self.framing, Framing::Mqtt)
    }

    /// The peer, if it became known better since the last call.
    pub(crate) fn take_peer(&mut self) -> Option<Peer> {
        std::mem::take(&mut self.peer_changed).then(|| self.peer.clone())
    }

    /// Takes all of `input`, and returns the MQTT bytes in it; they lie in `input` or `scratch`.
    pub(crate) fn open<'a>(
        &mut self,
        mut input: &'a mut [u8],
        scratch: &'a mut Vec<u8>,
    ) -> (&'a [u8], Option<Ending>) {
        if let Some(held) = &mut self.proxy {
            match read_proxy_header(held, input) {
                Ok(None) => return (&[], None),
                Ok(Some((origin, used))) => {
                    self.proxy = None;
                    if let Origin::Client(address) = origin {
                        self.peer.address = address.to_string().into();
                        self.peer_changed = true;
                    }
                    input = input.get_mut(used..).unwrap_or_default();
                }
                Err(why) => return (&[], Some(Ending::Fault(why.into()))),
            }
        }
        let mut ending = None;
        if let Some(tls) = &mut self.tls {
            scratch.clear();
            match tls.decrypt(input, scratch) {
                Decrypted::Open => {}
                Decrypted::HandshakeDone => {
                    if let Some(certificate) = tls.certificate() {
                        self.peer.certificate = Some(certificate);
                        self.peer_changed = true;
                    }
                }
                Decrypted::Closed => ending = Some(Ending::Closed),
                Decrypted::Fault(why) => ending = Some(Ending::Fault(why.into())),
            }
            input = scratch.as_mut_slice();
        }
        let (bytes, framing_ending) = self.unframe(input);
        (input.get(..bytes).unwrap_or(&[]), framing_ending.or(ending))
    }

    /// Moves the MQTT bytes of `input` to its beginning; returns how many they are.
    fn unframe(&mut self, input: &mut [u8]) -> (usize, Option<Ending>) {
        if let (Framing::Undecided(config), Some(first)) = (&self.framing, input.first()) {
            // A WebSocket begins with "GET"; whatever is neither is the engine's to refuse.
            self.framing = if *first == b'G' && *first != CONNECT {
                Framing::WebSocket(WebSocket::new(self.frame_bytes_max), Arc::clone(config))
            } else {
                Framing::Mqtt
            };
        }
        match &mut self.framing {
            Framing::WebSocket(websocket, config) if !input.is_empty() => {
                websocket.receive(input, config)
            }
            _ => (input.len(), None),
        }
    }

    /// The layers have bytes of their own to write.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::wants_write)
            || matches!(&self.framing, Framing::WebSocket(websocket, _) if websocket.wants_write())
    }

    /// Writes what waits in the layers and then `output`, until the socket takes no more.
    ///
    /// Returns whether all was taken. # Errors: the socket's, `WouldBlock` excepted.
    pub(crate) fn send(
        &mut self,
        mut output: Option<&mut Output>,
        socket: &Socket,
    ) -> io::Result<bool> {
        let Self { tls, framing, .. } = self;
        let Some(tls) = tls else {
            return match framing {
                Framing::WebSocket(websocket, _) => websocket.send(output, &mut &*socket),
                _ => {
                    output.map_or(Ok(true), |output| crate::transport::send(output, &mut &*socket))
                }
            };
        };
        loop {
            let output = output.as_deref_mut();
            let taken = match framing {
                Framing::WebSocket(websocket, _) => websocket.send(output, &mut tls.writer())?,
                _ => match output {
                    Some(output) => crate::transport::send(output, &mut tls.writer())?,
                    None => true,
                },
            };
            let sent = tls.send(socket)?;
            if taken || !sent {
                return Ok(taken && sent);
            }
        }
    }

    /// Queues what says goodbye: a close frame, then the end of TLS. Nothing can follow it.
    pub(crate) fn finish(&mut self) {
        if let Framing::WebSocket(websocket, _) = &mut self.framing {
            websocket.finish();
            if let (true, Some(tls)) = (websocket.wants_write(), &mut self.tls) {
                // A full buffer means a slow peer, which then does without the close frame.
                let _ = websocket.send(None, &mut tls.writer());
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.finish();
        }
    }
}

/// Returns the origin and how many bytes of `input` the header's rest was, once it is complete.
fn read_proxy_header(
    held: &mut Vec<u8>,
    input: &[u8],
) -> Result<Option<(Origin, usize)>, &'static str> {
    let before = held.len();
    let parsed = if before == 0 {
        proxy::parse(input)?
    } else {
        held.extend_from_slice(input);
        proxy::parse(held)?
    };
    match parsed {
        Header::Complete { origin, bytes } => Ok(Some((origin, bytes.saturating_sub(before)))),
        Header::Partial => {
            if before == 0 {
                held.extend_from_slice(input);
            }
            Ok(None)
        }
    }
}
