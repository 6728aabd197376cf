//! What peers send before MQTT begins, mutated by seed: PROXY headers, HTTP requests, WebSocket
//! frames. No bytes make a parser panic, and none mean another thing in other pieces.
//!
//! `QUANTUMMQ_FUZZ_SECONDS` says for how long (2 if it does not), `QUANTUMMQ_FUZZ_SEED` where to
//! begin. A failure prints the seed that repeats it at once, and the bytes.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime};

use crate::config::WebSocketConfig;
use crate::layers::Ending;
use crate::proxy::{Header, parse};
use crate::websocket::WebSocket;

/// Inputs do not grow beyond this; a request that is too long is a test of its own.
const INPUT_BYTES_MAX: usize = 4_096;
/// Inputs between two looks at the clock.
const BATCH: u64 = 200;
/// Frames that declare more are refused.
const FRAME_BYTES_MAX: u64 = 1_000;

const REQUEST: &[u8] =
    b"GET /mqtt?a=b HTTP/1.1\r\nHost: broker\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Bytes that mean something to one of the parsers.
const TELLING: &[u8] =
    b"\0\x01\r\n :,PROXY46GET/.\x0d\x20\x21\x11\x31\x7d\x7e\x7f\x80\x82\x88\x89\x8a\xfe\xff";

#[test]
fn mutated_handshakes_do_not_break_the_layers() {
    let seconds = number("QUANTUMMQ_FUZZ_SECONDS").unwrap_or(2);
    let mut seed = number("QUANTUMMQ_FUZZ_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        since.as_secs() << 32 | u64::from(since.subsec_nanos())
    });
    let corpora: [(Check, Vec<Vec<u8>>); 2] =
        [(check_proxy, proxy_headers()), (check_websocket, websocket_streams())];
    for (check, inputs) in &corpora {
        for input in inputs {
            check(&mut Random::new(1), input);
        }
    }

    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..BATCH {
            let mut random = Random::new(seed);
            let (check, inputs) = &corpora[random.below(corpora.len())];
            let input = mutated(&mut random, inputs);
            let checked = catch_unwind(AssertUnwindSafe(|| check(&mut random, &input)));
            if let Err(panic) = checked {
                println!("QUANTUMMQ_FUZZ_SEED={seed} breaks with b\"{}\"", input.escape_ascii());
                resume_unwind(panic);
            }
            seed = seed.wrapping_add(1);
        }
    }
}

type Check = fn(&mut Random, &[u8]);

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}")))
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let binary = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, rest].concat()
    };
    vec![
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 1883\r\n\x10\x0c".to_vec(),
        b"PROXY TCP6 2001:db8::9 ::1 7 1883\r\n\x10\x0c".to_vec(),
        b"PROXY UNKNOWN ffff::1 what ever\r\n\x10\x0c".to_vec(),
        binary(0x21, 0x11, b"\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\x07\x5b\x04\0\x01\0"),
        binary(0x21, 0x21, &[9; 36]),
        binary(0x21, 0x31, &[0; 216]),
        binary(0x20, 0x00, b""),
    ]
}

/// A header stands where it stands, whatever follows it or is still to come.
fn check_proxy(_: &mut Random, input: &[u8]) {
    let whole = parse(input);
    if let Ok(Header::Complete { bytes, .. }) = &whole {
        assert!((1..=input.len()).contains(bytes));
    }
    for end in 0..input.len().min(300) {
        match (parse(&input[..end]), &whole) {
            (Ok(Header::Partial), _) => {}
            (found, whole) => assert_eq!(&found, whole, "{end} bytes say more than all of them"),
        }
    }
}

fn websocket_streams() -> Vec<Vec<u8>> {
    let frame = |first: u8, length: &[u8], payload: &[u8]| {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [&[first], length, &mask, &masked.collect::<Vec<_>>()].concat()
    };
    let frames = [
        frame(0x82, &[0x85], b"whole"),
        frame(0x02, &[0x83], b"two"),
        frame(0x89, &[0x84], b"ping"),
        frame(0x80, &[0xfe, 0, 200], &[7; 200]),
        frame(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 0, 3], b"odd"),
        frame(0x8a, &[0x80], b""),
        frame(0x88, &[0x85], b"\x03\xe8bye"),
    ];
    let conversation = [REQUEST, &frames.concat()].concat();
    let others = frames.iter().map(|frame| [REQUEST, frame].concat());
    others.chain([conversation, REQUEST.to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()]).collect()
}

/// The same MQTT bytes, the same HTTP response and the same end, in one piece or in many. Pongs may
/// differ: one answers all pings of a piece (RFC 6455 §5.5.3).
fn check_websocket(random: &mut Random, input: &[u8]) {
    let whole = receive([input].into_iter());
    assert!(whole.0.len() <= input.len());

    let mut rest = input;
    let pieces = std::iter::from_fn(|| {
        let size = (random.below(40) + 1).min(rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(receive(pieces), whole);
}

/// MQTT bytes, the HTTP response, how it ended.
fn receive<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>, Option<String>) {
    let config = WebSocketConfig { path: Some("/mqtt".into()), allowed_origins: Vec::new() };
    let mut websocket = WebSocket::new(FRAME_BYTES_MAX);
    let (mut mqtt, mut sent, mut ended) = (Vec::new(), Vec::new(), None);
    for piece in pieces {
        let mut data = piece.to_vec();
        let (bytes, ending) = websocket.receive(&mut data, &config);
        mqtt.extend_from_slice(&data[..bytes]);
        websocket.send(None, &mut sent).unwrap();
        if let Some(ending) = ending {
            ended = Some(match ending {
                Ending::Closed => "closed".to_owned(),
                Ending::Fault(why) => why.to_string(),
            });
            break;
        }
    }
    let head = sent.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |end| end + 4);
    sent.truncate(head);
    (mqtt, sent, ended)
}

fn mutated(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = at + random.below(input.len() - at + 1).min(random.below(16) + 1);
        let other = &inputs[random.below(inputs.len())];
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = TELLING[random.below(TELLING.len())],
            2 => drop(input.drain(at..end)),
            3 => input.insert(at, TELLING[random.below(TELLING.len())]),
            4 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            5 => {
                let from = random.below(other.len() + 1);
                let piece: Vec<u8> = other[from..].iter().take(random.below(64)).copied().collect();
                input.splice(at..end, piece);
            }
            _ => input.truncate(at),
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// xorshift64* (Vigna 2016): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`, which is small: the bias is too.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number % bound as u64).unwrap()
    }
}
