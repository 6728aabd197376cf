//! The corpus of the fuzzers, made from the tables: what is on disk equals them.
//!
//! `QUANTUMMQ_WRITE_CORPUS=1 cargo test -p engine corpus` writes it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use engine::codec::packet::Version;

use crate::topics::{INVALID_FILTERS, MATCHES};
use crate::{malformed, vectors::vectors};

/// A whole packet: the first byte, the Remaining Length, the body.
pub fn packet(header: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![header];
    let mut length = body.len();
    while length > 0x7F {
        bytes.push(u8::try_from(length & 0x7F).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend_from_slice(body);
    bytes
}

/// The byte that stands for a version in the corpus.
fn version_byte(version: Version) -> u8 {
    match version {
        Version::V3_1 => 0,
        Version::V3_1_1 => 1,
        Version::V5 => 2,
    }
}

/// By fuzz target, then by name.
pub fn corpus() -> BTreeMap<(&'static str, String), Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut stream = Vec::new();
    for vector in vectors() {
        let bytes = vector.bytes();
        stream.extend_from_slice(&bytes);
        let input = [&[version_byte(vector.version)], bytes.as_slice()].concat();
        files.insert(("decode", vector.name.to_owned()), input);
    }
    for wrong in malformed::all() {
        let bytes = packet(wrong.header, &wrong.body);
        let input = [&[version_byte(wrong.version)], bytes.as_slice()].concat();
        let before = files.insert(("decode", format!("wrong-{}", wrong.name)), input);
        assert!(before.is_none(), "{} has a name of its own", wrong.name);
    }
    let frames: [(&str, &[u8]); 6] = [
        ("first-byte-alone", b"\x30"),
        ("length-of-four-bytes", b"\x30\xFF\xFF\xFF\x7F"),
        ("length-of-five-bytes", b"\x30\x80\x80\x80\x80\x01"),
        ("length-not-shortest", b"\x30\x80\x00"),
        ("length-that-goes-on", b"\x30\x80\x80"),
        ("every-packet", &stream),
    ];
    for (name, bytes) in frames {
        files.insert(("frame", name.to_owned()), bytes.to_vec());
    }
    let filters = INVALID_FILTERS.iter().map(|(filter, _)| (*filter, "a"));
    let pairs = MATCHES.iter().map(|(filter, topic, _)| (*filter, *topic)).chain(filters);
    for (number, (filter, topic)) in pairs.enumerate() {
        let input = format!("{filter}\0{topic}").into_bytes();
        files.insert(("topic", format!("pair-{number:02}")), input);
    }
    files
}

/// Where the corpus is.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn the_corpus_on_disk_is_that_of_the_tables() {
    let corpus = corpus();
    let folder = folder();
    if env::var_os("QUANTUMMQ_WRITE_CORPUS").is_some() {
        write(&folder, &corpus);
    }

    let mut differing = BTreeSet::new();
    for ((target, name), bytes) in &corpus {
        if fs::read(folder.join(target).join(name)).ok().as_ref() != Some(bytes) {
            differing.insert(format!("{target}/{name}"));
        }
    }
    for target in ["decode", "frame", "topic"] {
        for file in fs::read_dir(folder.join(target)).into_iter().flatten() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if !corpus.contains_key(&(target, name.clone())) && !is_finding(&name) {
                differing.insert(format!("{target}/{name}"));
            }
        }
    }

    assert!(
        differing.is_empty(),
        "run `QUANTUMMQ_WRITE_CORPUS=1 cargo test -p engine corpus`: {differing:?}"
    );
}

/// Whether a fuzzer wrote the file: it names what it finds by a hash, and Git ignores that.
fn is_finding(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn write(folder: &Path, corpus: &BTreeMap<(&'static str, String), Vec<u8>>) {
    for target in ["decode", "frame", "topic"] {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).unwrap();
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            if !is_finding(&file.file_name().into_string().unwrap()) {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }
    for ((target, name), bytes) in corpus {
        fs::write(folder.join(target).join(name), bytes).unwrap();
    }
}
