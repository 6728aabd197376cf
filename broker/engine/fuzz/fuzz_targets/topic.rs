//! A Topic Filter and a Topic Name.
#![no_main]

#[path = "../../tests/codec/invariants.rs"]
#[allow(dead_code, reason = "each target asks one of its questions")]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::topic_any(input));
