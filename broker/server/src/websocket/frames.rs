//! Reading frames: headers in pieces, payloads streamed through, control frames gathered.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::websocket::close;

/// Two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
/// The payload of a ping, pong or close.
const CONTROL_BYTES_MAX: usize = 125;

/// Where the reading of frames stands.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a header that is incomplete.
    header: Vec<u8>,
    /// Payload bytes of the current frame that have not come yet.
    remaining: u64,
    /// Turned so that its first byte is for the next payload byte.
    mask: [u8; 4],
    /// Whose payload it is.
    kind: Option<Kind>,
    /// The payload of a control frame, as far as it has come.
    control: Vec<u8>,
    /// A message is under way that goes on in continuation frames.
    fragmented: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Binary,
    Ping,
    Pong,
    Close,
}

/// A fault of the peer's framing.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: u16,
    pub(super) why: &'static str,
}

const fn protocol_error(why: &'static str) -> Fault {
    Fault { code: close::PROTOCOL_ERROR, why }
}

impl Frames {
    /// Moves the payloads of binary frames to the beginning of `data` and counts them in `bytes`;
    /// gives control frames to `control`. Returns whether the peer closed.
    pub(super) fn unframe(
        &mut self,
        data: &mut [u8],
        start: usize,
        bytes: &mut usize,
        frame_bytes_max: u64,
        mut control: impl FnMut(Kind, &[u8]),
    ) -> Result<bool, Fault> {
        let mut at = start;
        while at < data.len() || (self.kind.is_some() && self.remaining == 0) {
            let Some(kind) = self.kind else {
                at += self.read_header(data.get(at..).unwrap_or(&[]), frame_bytes_max)?;
                continue;
            };
            let here = data.len() - at;
            let count = usize::try_from(self.remaining).map_or(here, |left| left.min(here));
            if kind == Kind::Binary {
                data.copy_within(at..at + count, *bytes);
                if let Some(payload) = data.get_mut(*bytes..*bytes + count) {
                    self.unmask(payload);
                }
                *bytes += count;
            } else if let Some(payload) = data.get_mut(at..at + count) {
                self.unmask(payload);
                self.control.extend_from_slice(payload);
            }
            at += count;
            self.remaining -= count as u64;
            if self.remaining == 0 {
                self.kind = None;
                if kind != Kind::Binary {
                    control(kind, &self.control);
                    self.control.clear();
                    if kind == Kind::Close {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Reads a header, or a piece of one; returns how many bytes it used.
    fn read_header(&mut self, data: &[u8], frame_bytes_max: u64) -> Result<usize, Fault> {
        if self.header.is_empty() {
            let mut cursor = Cursor::new(data);
            if self.parse_header(&mut cursor, frame_bytes_max)? {
                return Ok(usize::try_from(cursor.position()).unwrap_or(data.len()));
            }
            self.header.extend_from_slice(data);
            return Ok(data.len());
        }
        // A header in pieces: byte by byte, at most 14 of them, so none too many is taken.
        for (used, byte) in data.iter().enumerate().take(HEADER_BYTES_MAX) {
            self.header.push(*byte);
            let header = std::mem::take(&mut self.header);
            let complete = self.parse_header(&mut Cursor::new(&header), frame_bytes_max)?;
            self.header = header;
            if complete {
                self.header.clear();
                return Ok(used + 1);
            }
        }
        Ok(data.len().min(HEADER_BYTES_MAX))
    }

    /// Returns whether the header is complete.
    fn parse_header(
        &mut self,
        cursor: &mut Cursor<impl AsRef<[u8]>>,
        frame_bytes_max: u64,
    ) -> Result<bool, Fault> {
        let parsed = FrameHeader::parse(cursor)
            .map_err(|_| protocol_error("a WebSocket frame has a reserved opcode"))?;
        let Some((header, length)) = parsed else { return Ok(false) };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol_error("a WebSocket frame has a reserved bit set"));
        }
        let Some(mask) = header.mask else {
            return Err(protocol_error("a WebSocket frame of a client is not masked"));
        };
        let kind = match header.opcode {
            OpCode::Data(Data::Text) => {
                // [MQTT-6.0.0-1] the server MUST close the connection.
                let why = "a WebSocket text frame, where MQTT takes binary ones only";
                return Err(Fault { code: close::UNSUPPORTED, why });
            }
            OpCode::Data(data) => {
                if self.fragmented != (data == Data::Continue) {
                    return Err(protocol_error("a WebSocket message within another"));
                }
                self.fragmented = !header.is_final;
                Kind::Binary
            }
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(_) => Kind::Close,
        };
        if kind != Kind::Binary && (!header.is_final || length > CONTROL_BYTES_MAX as u64) {
            return Err(protocol_error("a WebSocket control frame is fragmented or too long"));
        }
        if length > frame_bytes_max {
            let why = "a WebSocket frame is longer than the largest packet";
            return Err(Fault { code: close::TOO_BIG, why });
        }
        self.kind = Some(kind);
        self.remaining = length;
        self.mask = mask;
        Ok(true)
    }

    /// Takes the mask off `payload` and turns it for what follows.
    fn unmask(&mut self, payload: &mut [u8]) {
        let mask = u64::from(u32::from_ne_bytes(self.mask));
        let mask = mask << 32 | mask;
        let mut words = payload.chunks_exact_mut(8);
        for word in &mut words {
            if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
                word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ mask).to_ne_bytes());
            }
        }
        for (byte, mask) in words.into_remainder().iter_mut().zip(mask.to_ne_bytes()) {
            *byte ^= mask;
        }
        self.mask.rotate_left(payload.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, Kind};

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length @ 126..=0xffff => {
                bytes.push(0xfe);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                bytes.push(0xff);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    type Controls = Vec<(Kind, Vec<u8>)>;

    /// What frames in these pieces bring: the payload, the control frames, the end.
    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Controls, Result<bool, u16>) {
        let mut frames = Frames::default();
        let (mut payload, mut controls) = (Vec::new(), Vec::new());
        let mut end = Ok(false);
        for piece in pieces {
            let mut data = piece.to_vec();
            let mut bytes = 0;
            let control = |kind, load: &[u8]| controls.push((kind, load.to_vec()));
            end = frames.unframe(&mut data, 0, &mut bytes, 100_000, control);
            payload.extend_from_slice(&data[..bytes]);
            if !matches!(end, Ok(false)) {
                break;
            }
        }
        (payload, controls, end.map_err(|fault| fault.code))
    }

    #[test]
    fn payloads_come_out_in_order_however_the_bytes_are_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let stream = [
            frame(0x82, b"one"),
            frame(0x02, b"two"),
            frame(0x89, b"are you there"),
            frame(0x00, b""),
            frame(0x80, &long[..300]),
            frame(0x8a, b""),
            frame(0x82, b""),
            frame(0x82, b"three"),
        ]
        .concat();
        let expected = [b"onetwo".as_slice(), &long[..300], b"three"].concat();
        let controls = vec![(Kind::Ping, b"are you there".to_vec()), (Kind::Pong, Vec::new())];

        for size in 1..stream.len() {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            assert_eq!(read(&pieces), (expected.clone(), controls.clone(), Ok(false)), "{size}");
        }
        assert_eq!(read(&[&frame(0x82, &long)]).0, long);
    }

    #[test]
    fn a_close_frame_ends_the_reading_and_is_handed_on() {
        let stream =
            [frame(0x82, b"last"), frame(0x88, b"\x03\xe8bye"), frame(0x82, b"no")].concat();

        let (payload, controls, end) = read(&[&stream]);

        assert_eq!(payload, b"last");
        assert_eq!(controls, [(Kind::Close, b"\x03\xe8bye".to_vec())]);
        assert_eq!(end, Ok(true));
    }

    #[test]
    fn what_rfc_6455_forbids_is_answered_with_its_code() {
        let cases = [
            ("a text frame", frame(0x81, b"x"), 1003),
            ("a reserved bit", frame(0xc2, b"x"), 1002),
            ("a reserved opcode", frame(0x83, b"x"), 1002),
            ("a reserved control opcode", frame(0x8b, b""), 1002),
            ("no mask", vec![0x82, 0x01, b'x'], 1002),
            ("a continuation of nothing", frame(0x80, b"x"), 1002),
            ("a message in a message", [frame(0x02, b"x"), frame(0x82, b"y")].concat(), 1002),
            ("a fragmented ping", frame(0x09, b""), 1002),
            ("a long ping", frame(0x89, &[0; 126]), 1002),
            ("too long a frame", frame(0x82, &vec![0; 100_001]), 1009),
            ("an absurd length", [vec![0x82, 0xff], vec![0xff; 8], vec![0; 4]].concat(), 1009),
        ];
        for (name, bytes, code) in cases {
            let whole = [frame(0x82, b"before"), bytes].concat();

            let (payload, _, end) = read(&[&whole]);

            assert_eq!(end, Err(code), "{name}");
            assert!(payload.starts_with(b"before"), "{name}");
        }
    }
}
