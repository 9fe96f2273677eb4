//! Holes: in files, in what comes without, and in what is written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::deadline::CommandInTime as _;
use foundry::content::Content;
use foundry::transfer::{DigestCheck, Reason, SparseFile, SparseWriter, TransferError, ZerosAsHoles};
use tempfile::TempDir;

use super::support::{Bench, noise, read_with_holes};

const MIB: u64 = 1 << 20;

/// 10 MiB: a hole, 64 KiB of data at 4 MiB, a hole, a few bytes at 9 MiB, a hole to the end.
fn holey(dir: &TempDir) -> (PathBuf, Vec<u8>) {
    let path = dir.path().join("holey.raw");
    let file = File::create(&path).unwrap();
    file.write_all_at(&noise(65536), 4 * MIB).unwrap();
    file.write_all_at(b"few", 9 * MIB).unwrap();
    file.set_len(10 * MIB).unwrap();
    let whole = std::fs::read(&path).unwrap();
    (path, whole)
}

fn blocks(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn the_holes_of_a_file_are_skipped_and_its_data_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = holey(&dir);
    let mut file = SparseFile::open(&path).unwrap();
    assert_eq!((file.length(), file.data_bytes().unwrap()), (Some(10 * MIB), blocks(&path)));
    let (bytes, holes) = read_with_holes(&mut file).unwrap();
    assert!(bytes == whole);
    assert_eq!(holes, 10 * MIB - blocks(&path), "just what du(1) does not count");
    let (bytes, holes) = read_with_holes(&mut OnlyRead(SparseFile::open(&path).unwrap())).unwrap();
    assert!((bytes == whole) && holes == 0, "who knows of no holes reads zeros");
}

struct OnlyRead(SparseFile);

impl Read for OnlyRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for OnlyRead {}

#[test]
fn a_hole_counts_in_the_digest_as_what_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = holey(&dir);
    let summed = Command::new("sha256sum").arg(&path).output_in_time().unwrap();
    let hex = String::from_utf8(summed.stdout).unwrap()[..64].to_owned();
    let bench = Bench::new().expecting(hex.parse().unwrap());
    let mut opened = bench.open(path.to_str().unwrap()).unwrap();
    assert_eq!((opened.length, opened.data_bytes), (Some(10 * MIB), Some(blocks(&path))));
    let (bytes, holes) = read_with_holes(&mut opened.content).unwrap();
    assert!(holes >= 9 * MIB);
    let done = opened.finish().unwrap();
    assert_eq!((done.digest.unwrap().hex(), done.bytes), (hex.as_str(), bytes.len() as u64));
}

#[test]
fn a_digest_that_nobody_wants_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = holey(&dir);
    let mut bench = Bench::new();
    bench.check = DigestCheck::Nothing;
    let (bytes, done) = bench.read(path.to_str().unwrap()).unwrap();
    assert!(bytes == whole && done.digest.is_none() && done.bytes == 10 * MIB);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("truncated", |path| File::options().write(true).open(path).unwrap().set_len(MIB).unwrap()),
        ("truncated", |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap()),
        ("grew", |path| File::options().append(true).open(path).unwrap().write_all(b"x").unwrap()),
        ("modified", |path| {
            File::options().write(true).open(path).unwrap().write_all_at(b"x", 5).unwrap();
        }),
    ];
    for (word, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = holey(&dir);
        let mut file = SparseFile::open(&path).unwrap();
        file.read_exact(&mut [0; 1000]).unwrap();
        // The clock of a file system may tick only each few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        change(&path);
        let error = read_with_holes(&mut file).unwrap_err();
        let told = TransferError::find_in(&error).unwrap();
        assert_eq!(told.reason(), Reason::Local);
        assert!(told.to_string().contains(word), "{told}");
    }
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    let (reader, mut writer) = io::pipe().unwrap();
    let thread = std::thread::spawn(move || writer.write_all(&noise(200_000)).unwrap());
    let mut file = SparseFile::new(File::from(std::os::fd::OwnedFd::from(reader)), "pipe".into()).unwrap();
    assert_eq!((file.length(), file.data_bytes().unwrap()), (None, 0));
    assert!(read_with_holes(&mut file).unwrap() == (noise(200_000), 0));
    thread.join().unwrap();
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let told = bench.read(dir.path().to_str().unwrap()).unwrap_err();
    assert!(told.to_string().ends_with("is a directory"), "{told}");
    let told = bench.read("/nowhere/disk.qcow2").unwrap_err();
    assert_eq!(told.to_string(), "cannot read /nowhere/disk.qcow2: no such file");
}

/// A reader that gives a few bytes at a time, as a pipe or a decoder may.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = self.1.min(buffer.len());
        self.0.read(&mut buffer[..step])
    }
}

impl Content for Dribble<'_> {}

#[test]
fn zeros_that_come_are_holes_in_whole_blocks() {
    let block = 64 * 1024;
    let content = [noise(block), vec![0; 3 * block], noise(100), vec![0; 2 * block], vec![0; 50]].concat();
    for step in [1000, 65_536, 1_000_000] {
        let (bytes, holes) = read_with_holes(&mut ZerosAsHoles::new(Dribble(&content, step))).unwrap();
        assert!(bytes == content, "{step}");
        // Three whole ones, and what is behind the block that the 100 bytes lie in, to the end.
        assert_eq!(holes, 3 * block as u64 + (block + 150) as u64, "{step}");
    }
}

#[test]
fn a_hole_is_never_longer_than_was_asked_for() {
    let content = vec![0; 200_000];
    let mut zeros = ZerosAsHoles::new(content.as_slice());
    assert_eq!(zeros.skip_hole(1000).unwrap(), 1000);
    assert_eq!(zeros.read(&mut [1; 500]).unwrap(), 500);
    let mut skipped = 1500;
    while let more @ 1.. = zeros.skip_hole(u64::MAX).unwrap() {
        skipped += more;
    }
    assert_eq!((skipped, zeros.read(&mut [1; 500]).unwrap()), (200_000, 0));
}

#[test]
fn what_is_zero_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let content = [noise(5000), vec![0; 1 << 20], noise(3), vec![0; 1 << 20]].concat();
    for step in [777, 4096, 1 << 20] {
        let path = dir.path().join("out");
        std::fs::write(&path, noise(4 << 20)).unwrap();
        let mut writer = SparseWriter::new(File::options().write(true).open(&path).unwrap()).unwrap();
        for piece in content.chunks(step) {
            writer.write_all(piece).unwrap();
        }
        writer.skip_hole(3 << 20).unwrap();
        let length = writer.finish().unwrap().metadata().unwrap().len();
        let written = std::fs::read(&path).unwrap();
        assert!(written == [content.clone(), vec![0; 3 << 20]].concat(), "{step}");
        assert_eq!(length, written.len() as u64);
        assert!(blocks(&path) <= 8192 + 8192, "{step}: {} bytes stored", blocks(&path));
    }
}

#[test]
fn a_pipe_gets_the_zeros() {
    let (mut reader, writer) = io::pipe().unwrap();
    let thread = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes).unwrap()
    });
    let mut writer = SparseWriter::new(File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
    writer.write_all(&[0; 5000]).unwrap();
    writer.skip_hole(100_000).unwrap();
    writer.write_all(b"end").unwrap();
    drop(writer.finish().unwrap());
    assert_eq!(thread.join().unwrap(), [vec![0; 105_000], b"end".to_vec()].concat());
}
