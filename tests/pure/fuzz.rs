//! The fuzz targets on inputs near good ones: cut, changed and put together anew. libFuzzer goes on where these end.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::bench::Bench;
use crate::support::fuzzed;
use crate::support::manifests::yaml_files;

const SUMS: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  debian-12.qcow2\n\
    SHA256 (debian-13.qcow2) = fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n";

/// Puts each of `edits` into bytes: where, how much goes there, what comes.
fn edited(mut bytes: Vec<u8>, edits: Vec<(Index, usize, Vec<u8>)>) -> Vec<u8> {
    for (at, gone, new) in edits {
        let at = at.index(bytes.len() + 1);
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, new);
    }
    bytes
}

fn edits() -> impl Strategy<Value = Vec<(Index, usize, Vec<u8>)>> {
    vec((any::<Index>(), 0..16_usize, vec(any::<u8>(), 0..6)), 0..4)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn example(file: Index) -> Vec<u8> {
    let files = yaml_files("examples");
    fs::read(&files[file.index(files.len())]).unwrap()
}

fn record() -> Vec<u8> {
    let bench = Bench::with_web();
    serde_json::to_vec(&bench.record("web")).unwrap()
}

/// A header of each kind of image that foundry tells apart by its first bytes.
fn head(kind: Index) -> Vec<u8> {
    let magics: [&[u8]; 6] = [
        b"QFI\xfb\0\0\0\x03",
        b"KDMV\x01\0\0\0",
        b"vhdxfile",
        b"conectix\0\0\0\x02",
        b"\xfd7zXZ\0",
        b"\x1f\x8b\x08",
    ];
    let mut head = magics[kind.index(magics.len())].to_vec();
    head.resize(4096, 0);
    head
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_checksum_file_gives_what_it_holds(edits in edits(), name in "[a-z0-9.*/ -]{0,20}") {
        let sums = text(&edited(SUMS.into(), edits));
        fuzzed::checksum_file(&sums, &name);
        fuzzed::checksum_file(&sums, "debian-12.qcow2");
    }

    #[test]
    fn an_image_is_used_or_refused(kind in any::<Index>(), edits in edits(), length in 0..4096_usize) {
        let mut head = edited(head(kind), edits);
        fuzzed::disk_image(&head);
        head.truncate(length);
        fuzzed::disk_image(&head);
    }

    #[test]
    fn a_manifest_is_read_and_rendered_or_refused(file in any::<Index>(), edits in edits()) {
        let manifest = text(&edited(example(file), edits));
        fuzzed::manifest(&manifest);
        fuzzed::render(&manifest);
    }

    #[test]
    fn a_record_is_read_or_left_alone(edits in edits()) {
        fuzzed::record(&text(&edited(record(), edits)));
    }
}
