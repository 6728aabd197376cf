//! MQTT in WebSocket frames (RFC 6455), streamed: payloads are unmasked in the read buffer and
//! handed on at once, so that a frame of any declared length costs no memory. Frame headers are
//! read and written by tungstenite.

mod frames;
mod outgoing;
mod request;

use std::io::{self, IoSlice, Write};

use engine::connection::Output;
use tungstenite::protocol::frame::coding::Control;

use crate::config::WebSocketConfig;
use crate::layers::Ending;
use crate::websocket::frames::{Frames, Kind};
use crate::websocket::outgoing::Outgoing;
use crate::websocket::request::Answer;

/// Slices of output in one write.
const SLICES: usize = 16;

/// Status codes of close frames, RFC 6455 §7.4.1.
mod close {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const PROTOCOL_ERROR: u16 = 1002;
    pub(super) const UNSUPPORTED: u16 = 1003;
    pub(super) const TOO_BIG: u16 = 1009;

    /// What a close frame is answered with: its own status code, none where it has none, and a
    /// protocol error where the code is not one to be sent, or the reason not UTF-8 (§5.5.1).
    pub(super) fn answer(load: &[u8]) -> Vec<u8> {
        let Some((code, reason)) = load.split_first_chunk() else {
            return if load.is_empty() { Vec::new() } else { PROTOCOL_ERROR.to_be_bytes().into() };
        };
        let code = u16::from_be_bytes(*code);
        let is_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let code =
            if is_sent && std::str::from_utf8(reason).is_ok() { code } else { PROTOCOL_ERROR };
        code.to_be_bytes().into()
    }
}

/// One connection's framing.
#[derive(Debug)]
pub(crate) struct WebSocket {
    input: Input,
    output: Outgoing,
    /// Frames that declare more are refused.
    frame_bytes_max: u64,
}

/// What is being read.
#[derive(Debug)]
enum Input {
    /// The opening request, incomplete.
    Request(Vec<u8>),
    /// Frames.
    Frames(Frames),
    /// Nothing more: a close frame or an error came.
    Ended,
}

impl WebSocket {
    pub(crate) fn new(frame_bytes_max: u64) -> Self {
        Self { input: Input::Request(Vec::new()), output: Outgoing::default(), frame_bytes_max }
    }

    /// Takes all of `data`; the MQTT bytes in it are moved to its beginning.
    ///
    /// Returns how many they are, and why nothing more comes if that is so.
    pub(crate) fn receive(
        &mut self,
        data: &mut [u8],
        config: &WebSocketConfig,
    ) -> (usize, Option<Ending>) {
        let mut start = 0;
        if let Input::Request(held) = &mut self.input {
            let before = held.len();
            held.extend_from_slice(data);
            match request::answer(held, config) {
                Answer::Partial => return (0, None),
                Answer::Open { response, bytes } => {
                    start = bytes.saturating_sub(before);
                    self.output.lead = response;
                    self.input = Input::Frames(Frames::default());
                }
                Answer::Refuse { response, why } => {
                    self.output.lead = response;
                    self.output.closed = true;
                    self.input = Input::Ended;
                    return (0, Some(Ending::Fault(why.into())));
                }
            }
        }
        let Input::Frames(frames) = &mut self.input else { return (0, None) };
        let mut bytes = 0;
        let result =
            frames.unframe(
                data,
                start,
                &mut bytes,
                self.frame_bytes_max,
                |kind, load| match kind {
                    Kind::Ping => self.output.queue_control(Control::Pong, load),
                    Kind::Close => {
                        self.output.queue_control(Control::Close, &close::answer(load));
                        self.output.closed = true;
                    }
                    Kind::Pong | Kind::Binary => {}
                },
            );
        let ending = match result {
            Ok(false) => return (bytes, None),
            Ok(true) => Ending::Closed,
            Err(fault) => {
                self.output.close(fault.code);
                Ending::Fault(fault.why.into())
            }
        };
        self.input = Input::Ended;
        (bytes, Some(ending))
    }

    /// Something besides output is to be written.
    pub(crate) fn wants_write(&self) -> bool {
        !self.output.lead.is_empty() || !self.output.control.is_empty()
    }

    /// Queues a close frame, unless one was sent.
    pub(crate) fn finish(&mut self) {
        if matches!(self.input, Input::Request(_)) {
            self.output.closed = true;
        } else {
            self.output.close(close::NORMAL);
        }
    }

    /// Writes what waits, and `output` in binary frames, until `wire` takes no more.
    ///
    /// Returns whether all was taken. # Errors: the wire's, `WouldBlock` excepted.
    pub(crate) fn send(
        &mut self,
        mut output: Option<&mut Output>,
        wire: &mut dyn Write,
    ) -> io::Result<bool> {
        loop {
            self.output.begin_frame(output.as_deref());
            let mut payload = [IoSlice::new(&[]); SLICES - 1];
            let filled = match output.as_deref() {
                Some(output) if self.output.frame_left > 0 => output.slices(&mut payload),
                _ => 0,
            };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let payload = payload.get(..filled).unwrap_or(&[]);
            let (count, offered) = self.output.gather(payload, &mut slices);
            if offered == 0 {
                return Ok(true);
            }
            let taken = match wire.write_vectored(slices.get(..count).unwrap_or(&[])) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let payload = self.output.taken(taken);
            if let Some(output) = output.as_deref_mut() {
                output.advance(payload);
            }
            if taken < offered {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::close;

    #[test]
    fn a_close_frame_is_answered_with_a_code_that_may_be_sent() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"\x03\xe8", b"\x03\xe8"),
            (b"\x03\xe9bye", b"\x03\xe9"),
            (b"\x0f\xa0", b"\x0f\xa0"),
            (b"\x03", b"\x03\xea"),
            (b"\x03\xed", b"\x03\xea"),
            (b"\xff\xff", b"\x03\xea"),
            (b"\x03\xe8\xff", b"\x03\xea"),
        ];
        for (load, expected) in cases {
            assert_eq!(close::answer(load), expected, "{load:?}");
        }
    }
}
