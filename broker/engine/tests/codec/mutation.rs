//! The corpus, mutated by seed: no bytes make the codec panic or contradict itself.
//!
//! `QUANTUMMQ_FUZZ_SECONDS` says for how long (3 if it does not), `QUANTUMMQ_FUZZ_SEED` where to
//! begin. A failure prints the seed that repeats it at once, and the bytes.

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime};

use crate::corpus::corpus;
use crate::invariants::{decode_any, frame_any, topic_any};

/// Inputs do not grow beyond this: some packets' worth.
const INPUT_BYTES_MAX: usize = 8_192;

/// Inputs between two looks at the clock.
const BATCH: u64 = 1_000;

type Check = fn(&[u8]);

const TARGETS: [(&str, Check); 3] =
    [("decode", decode_any), ("frame", frame_any), ("topic", topic_any)];

#[test]
fn mutated_packets_do_not_break_the_codec() {
    let seconds = number("QUANTUMMQ_FUZZ_SECONDS").unwrap_or(3);
    let mut seed = number("QUANTUMMQ_FUZZ_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        since.as_secs() << 32 | u64::from(since.subsec_nanos())
    });
    println!("mutation: {seconds} s from QUANTUMMQ_FUZZ_SEED={seed}");
    let corpus = Corpus::new();
    corpus.replay();

    let start = Instant::now();
    let mut next_line = Duration::from_secs(10);
    let mut count = 0_u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..BATCH {
            corpus.mutate(seed);
            seed = seed.wrapping_add(1);
        }
        count += BATCH;
        if start.elapsed() >= next_line {
            println!("mutation: {count} inputs in {} s", start.elapsed().as_secs());
            next_line += Duration::from_secs(10);
        }
    }
    println!("mutation: {count} inputs, none broke the codec");
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}")))
}

/// The inputs of each target.
struct Corpus {
    inputs: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Corpus {
    fn new() -> Self {
        let mut inputs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((target, _), bytes) in corpus() {
            inputs.entry(target).or_default().push(bytes);
        }
        Self { inputs }
    }

    fn replay(&self) {
        for (target, check) in TARGETS {
            for input in &self.inputs[target] {
                run(target, check, input, None);
            }
        }
    }

    /// One input, all of it decided by the seed.
    fn mutate(&self, seed: u64) {
        let mut random = Random::new(seed);
        // Decoding is what most of the rules are in.
        let (target, check) = TARGETS[[0, 0, 0, 0, 0, 0, 1, 2][random.below(8)]];
        let inputs = &self.inputs[target];
        let mut input = inputs[random.below(inputs.len())].clone();
        for _ in 0..=random.below(4) {
            let other = &inputs[random.below(inputs.len())];
            mutate_once(&mut random, &mut input, other);
        }
        input.truncate(INPUT_BYTES_MAX);
        if target == "decode" && random.below(2) == 0 {
            mend_length(&mut input);
        }
        run(target, check, &input, Some(seed));
    }
}

fn run(target: &str, check: Check, input: &[u8], seed: Option<u64>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        let bytes = input.escape_ascii();
        match seed {
            Some(seed) => println!("QUANTUMMQ_FUZZ_SEED={seed} breaks {target} with b\"{bytes}\""),
            None => println!("an input of the corpus breaks {target}: b\"{bytes}\""),
        }
        resume_unwind(panic);
    }
}

/// Bytes that mean something: bounds of integers, identifiers, wildcards, pieces of UTF-8.
const TELLING: &[u8] = b"\0\x01\x02\x03\x0B\x11\x1F\x23\x26\x7F\x80\xFF/+#$\xC3\xED\xEF\xF4\xBF";

fn mutate_once(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(input.len() + 1);
    let end = at + random.below(input.len() - at + 1).min(random.below(16) + 1);
    match random.below(8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = TELLING[random.below(TELLING.len())];
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.byte();
            }
        }
        3 => drop(input.drain(at..end)),
        4 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        5 => input.insert(at, TELLING[random.below(TELLING.len())]),
        6 => {
            let from = random.below(other.len() + 1);
            let piece = other[from..].iter().take(random.below(32)).copied().collect::<Vec<_>>();
            input.splice(at..end, piece);
        }
        _ => input.truncate(at),
    }
}

/// Makes the Remaining Length of the first packet fit, so that its body is decoded.
fn mend_length(input: &mut Vec<u8>) {
    if input.len() < 3 {
        return;
    }
    let old = input[2..].iter().take(3).take_while(|byte| **byte >= 0x80).count() + 1;
    let end = (2 + old).min(input.len());
    let body = input.split_off(end);
    let header = input[1];
    input.truncate(1);
    input.extend_from_slice(&crate::corpus::packet(header, &body));
}

/// xorshift64* (Vigna 2016): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far apart, and never at 0, where the generator would stay.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// A number below `bound`, which is small: the bias is too.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from((self.next() >> 33) % bound as u64).unwrap()
    }
}
