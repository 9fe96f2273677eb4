//! Downloads that are kept: used as long as they are current, taken up where they broke, never trusted blindly.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use foundry::transfer::{Cache, Reason};
use tempfile::TempDir;

use super::support::{Bench, TestPace, noise, sha256};
use crate::support::http::{Reply, Server};

const LENGTH: usize = 500_000;

fn bench(dir: &TempDir) -> Bench {
    Bench { cache: Some(Cache::new(dir.path().join("foundry/downloads"))), ..Bench::new() }
}

fn files(dir: &TempDir) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(dir.path().join("foundry/downloads")) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap()[17..].to_owned(), entry.path()))
        .collect();
    files.sort();
    files
}

fn names(dir: &TempDir) -> Vec<String> {
    files(dir).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn what_is_kept_is_transferred_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::of_file(noise(LENGTH));
    let bench = bench(&dir);
    bench.read(&server.url("/a/disk.qcow2.xz")).unwrap();
    assert_eq!(names(&dir), ["disk.qcow2.xz", "disk.qcow2.xz.json"]);
    for (_, file) in files(&dir) {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let opened = bench.open(&server.url("/a/disk.qcow2.xz")).unwrap();
    assert_eq!((opened.from_cache, opened.length), (true, Some(LENGTH as u64)));
    let done = opened.finish().unwrap();
    assert_eq!(done.digest, Some(sha256(&noise(LENGTH))));
    let methods: Vec<String> = server.requests().into_iter().map(|r| r.method).collect();
    assert_eq!(methods, ["GET", "HEAD"]);
    assert!(
        self::bench(&dir).expecting(sha256(&noise(LENGTH))).read(&server.url("/a/disk.qcow2.xz")).is_ok()
    );
    assert_eq!(server.requests().len(), 2, "the digest that is wanted says enough");
    assert!(!bench.open(&server.url("/b/disk.qcow2.xz")).unwrap().from_cache, "another address");
}

#[test]
fn nothing_secret_of_an_address_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::of_file(noise(LENGTH));
    let address = |token: &str| {
        server.url(&format!("/disk.xz?token={token}")).replace("http://", "http://me:SECRETPW@")
    };
    bench(&dir).read(&address("TTTT")).unwrap();
    let note = std::fs::read_to_string(&files(&dir)[1].1).unwrap();
    assert!(!note.contains("TTTT") && !note.contains("SECRETPW"), "{note}");
    assert!(bench(&dir).open(&address("TTTT")).unwrap().from_cache);
    assert!(!bench(&dir).open(&address("UUUU")).unwrap().from_cache, "another address");
}

#[test]
fn what_changed_on_the_server_is_downloaded_anew() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|request| match request.nth {
        0 => Reply::file(request, &noise(LENGTH), "v1"),
        _ => Reply::file(request, &noise(1000), "v2"),
    });
    let bench = bench(&dir);
    assert!(bench.read(&server.url("/x")).unwrap().0 == noise(LENGTH));
    assert!(bench.read(&server.url("/x")).unwrap().0 == noise(1000));
    assert!(bench.open(&server.url("/x")).unwrap().from_cache);
    assert_eq!(names(&dir), ["x", "x.json"]);
}

#[test]
fn what_a_run_left_is_taken_up_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|request| match request.nth {
        0 => Reply::file(request, &noise(LENGTH), "v1").cut_after(200_000),
        _ => Reply::file(request, &noise(LENGTH), "v1"),
    });
    let mut first = bench(&dir);
    first.pace = TestPace { stop_after: Some(1), ..TestPace::default() };
    assert_eq!(first.read(&server.url("/x")).unwrap_err().reason(), Reason::Stopped);
    assert_eq!(names(&dir), ["x.part", "x.part.json"]);
    let second = bench(&dir).expecting(sha256(&noise(LENGTH)));
    let (bytes, done) = second.read(&server.url("/x")).unwrap();
    assert!(bytes == noise(LENGTH));
    assert_eq!((server.requests()[1].header("range"), done.bytes), (Some("bytes=200000-"), LENGTH as u64));
    assert_eq!(names(&dir), ["x", "x.json"]);
    assert!(std::fs::read(&files(&dir)[0].1).unwrap() == noise(LENGTH));
}

#[test]
fn a_part_of_something_else_is_not_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|request| match request.nth {
        0 => Reply::file(request, &noise(LENGTH), "v1").cut_after(200_000),
        _ => Reply::file(request, &noise(1000), "v2"),
    });
    let mut first = bench(&dir);
    first.pace = TestPace { stop_after: Some(1), ..TestPace::default() };
    first.read(&server.url("/x")).unwrap_err();
    assert!(bench(&dir).read(&server.url("/x")).unwrap().0 == noise(1000));
    assert!(std::fs::read(&files(&dir)[0].1).unwrap() == noise(1000));
}

#[test]
fn what_is_wrong_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::of_file(noise(LENGTH));
    let failed = bench(&dir).expecting(sha256(b"else")).read(&server.url("/x")).unwrap_err();
    assert_eq!(failed.reason(), Reason::Checksum);
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn what_was_damaged_in_the_cache_is_found_and_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::of_file(noise(LENGTH));
    bench(&dir).read(&server.url("/x")).unwrap();
    let kept = files(&dir)[0].1.clone();
    let mut bytes = std::fs::read(&kept).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    assert_eq!(bench(&dir).read(&server.url("/x")).unwrap_err().reason(), Reason::Checksum);
    assert!(bench(&dir).read(&server.url("/x")).unwrap().0 == noise(LENGTH));
    std::fs::write(&kept, b"short").unwrap();
    assert!(bench(&dir).read(&server.url("/x")).unwrap().0 == noise(LENGTH));
}

#[test]
fn two_at_once_do_not_share() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::of_file(noise(LENGTH));
    let (one, two) = (bench(&dir), bench(&dir));
    let slow = one.open(&server.url("/x")).unwrap();
    assert!(two.read(&server.url("/x")).unwrap().0 == noise(LENGTH));
    assert_eq!(names(&dir), ["x.part", "x.part.json"]);
    slow.finish().unwrap();
    assert!(std::fs::read(&files(&dir)[0].1).unwrap() == noise(LENGTH));
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("foundry"), "a file").unwrap();
    let server = Server::of_file(noise(1000));
    let failed = bench(&dir).read(&server.url("/x")).unwrap_err();
    assert!(failed.to_string().contains("foundry/downloads"), "{failed}");
}

/// The note of a part says of which digest it is to be, which is more than any server says.
#[test]
fn a_part_of_what_is_expected_is_taken_up_whatever_the_server_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|request| {
        let reply = Reply::file(request, &noise(LENGTH), "v1").without("ETag").without("Last-Modified");
        if request.nth == 0 { reply.cut_after(200_000) } else { reply }
    });
    let expecting = |bytes: &[u8]| bench(&dir).expecting(sha256(bytes));
    let mut stopped = expecting(&noise(LENGTH));
    stopped.pace = TestPace { stop_after: Some(1), ..TestPace::default() };
    stopped.read(&server.url("/x")).unwrap_err();
    assert_eq!(names(&dir), ["x.part", "x.part.json"]);
    assert!(expecting(&noise(LENGTH)).read(&server.url("/x")).unwrap().0 == noise(LENGTH));
    let asked = server.requests();
    assert_eq!(
        (asked.len(), asked[1].header("range"), asked[1].header("if-range")),
        (2, Some("bytes=200000-"), None)
    );
    assert_eq!(names(&dir), ["x", "x.json"]);
}
