//! Uploads and downloads.

use std::io::{Cursor, Read};

use foundry::Kind;
use foundry::host::{HostError, Stopped};
use foundry::units::Bytes;

use crate::bench::{Bench, cases, refused, volume_xml};

cases! {
    what_was_uploaded_is_downloaded needs Streams;
    a_download_ends_with_its_length_or_the_volume needs Streams;
    an_upload_sends_its_length_and_no_more needs Streams;
    an_upload_of_too_little_fails needs Streams;
    an_upload_that_fails_at_its_source_says_why needs Streams;
    an_upload_that_is_stopped_says_so needs Streams;
    zeros_replace_what_was_there needs Streams, Rewriting;
    zeros_at_the_end_do_not_cut_the_volume needs Streams, Rewriting;
    an_image_is_sent_from_behind needs Streams;
    an_uploaded_image_is_seen_as_what_it_is needs Streams;
    a_clone_has_its_sources_content needs Streams;
    a_transfer_needs_its_volume needs Streams;
}

/// Bytes without a period that a chunk could hide, nowhere zero.
fn content(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 | 1
    };
    (0..length).map(|_| next()).collect()
}

fn upload(bench: &Bench<'_>, pool: &str, name: &str, bytes: &[u8]) {
    bench.host().upload(pool, name, &mut &*bytes, 0, bytes.len() as u64).unwrap();
}

fn download(bench: &Bench<'_>, pool: &str, name: &str, length: u64) -> Vec<u8> {
    let mut into = Vec::new();
    bench.host().download(pool, name, &mut into, length).unwrap();
    into
}

/// Compares without printing megabytes.
#[track_caller]
fn assert_same(got: &[u8], want: &[u8]) {
    let differs = got.iter().zip(want).position(|(g, w)| g != w);
    assert_eq!((got.len(), differs), (want.len(), None), "length and first difference");
}

fn what_was_uploaded_is_downloaded(bench: &Bench<'_>) {
    let pool = bench.pool();
    // Around the size of a stream's message, with holes in it.
    for (name, size) in [("a", 1), ("b", 256 * 1024), ("c", 256 * 1024 + 1), ("d", 3 << 20)] {
        let mut bytes = content(size);
        if size > 1 << 20 {
            bytes[300_000..1_500_000].fill(0);
        }
        bench.create(&pool, name, "raw", size as u64);
        upload(bench, &pool, name, &bytes);
        assert_same(&download(bench, &pool, name, size as u64), &bytes);
        assert_eq!(bench.volume(&pool, name).capacity, Bytes(size as u64));
    }
}

fn a_download_ends_with_its_length_or_the_volume(bench: &Bench<'_>) {
    let (pool, bytes) = (bench.pool(), content(5000));
    bench.create(&pool, "a", "raw", 5000);
    upload(bench, &pool, "a", &bytes);
    assert_same(&download(bench, &pool, "a", 10), &bytes[..10]);
    assert_same(&download(bench, &pool, "a", 1 << 20), &bytes);
}

/// One byte too many ends libvirtd 11.3, so that the last look would find nobody.
fn an_upload_sends_its_length_and_no_more(bench: &Bench<'_>) {
    let (pool, bytes) = (bench.pool(), content(10_000));
    bench.create(&pool, "a", "raw", 5000);
    let mut more = Cursor::new(&bytes);
    bench.host().upload(&pool, "a", &mut more, 0, 5000).unwrap();
    assert_eq!(more.position(), 5000, "read from the content");
    assert_same(&download(bench, &pool, "a", 1 << 20), &bytes[..5000]);
}

fn an_upload_of_too_little_fails(bench: &Bench<'_>) {
    let (pool, bytes) = (bench.pool(), content(5000));
    bench.create(&pool, "a", "raw", 10_000);
    let outcome = bench.host().upload(&pool, "a", &mut &*bytes, 0, 10_000);
    let Err(HostError::Transfer { cause, interrupted, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(cause.contains("5000") && !interrupted, "{cause}");
    bench.host().delete_volume(&pool, "a").unwrap();
    assert_eq!(bench.host().volume(&pool, "a").unwrap(), None);
}

/// Gives some bytes and then an error.
struct Fails<F>(usize, F);

impl<F: Fn() -> std::io::Error> Read for Fails<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(self.1());
        }
        let count = self.0.min(buffer.len());
        buffer[..count].fill(b'x');
        self.0 -= count;
        Ok(count)
    }
}

fn an_upload_that_fails_at_its_source_says_why(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.create(&pool, "a", "raw", 1 << 20);
    let mut source = Fails(700_000, || std::io::Error::other("the tape tore"));
    let error = bench.host().upload(&pool, "a", &mut source, 0, 1 << 20).unwrap_err();
    assert_eq!((error.kind(), error.cause().as_deref()), (Kind::Storage, Some("the tape tore")));
    bench.host().delete_volume(&pool, "a").unwrap();
}

fn an_upload_that_is_stopped_says_so(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.create(&pool, "a", "raw", 1 << 20);
    let mut source = Fails(700_000, || std::io::Error::other(Stopped));
    let error = bench.host().upload(&pool, "a", &mut source, 0, 1 << 20).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    bench.host().delete_volume(&pool, "a").unwrap();
}

fn zeros_replace_what_was_there(bench: &Bench<'_>) {
    let (pool, size) = (bench.pool(), 1 << 20);
    bench.create(&pool, "a", "raw", size as u64);
    upload(bench, &pool, "a", &content(size));
    let mut second = content(size);
    second[..600_000].fill(0);
    upload(bench, &pool, "a", &second);
    assert_same(&download(bench, &pool, "a", size as u64), &second);
}

fn zeros_at_the_end_do_not_cut_the_volume(bench: &Bench<'_>) {
    let (pool, size) = (bench.pool(), 4 << 20);
    bench.create(&pool, "a", "raw", size);
    let mut bytes = content(1 << 20);
    bytes[300_000..].fill(0);
    upload(bench, &pool, "a", &bytes);
    bytes.resize(4 << 20, 0);
    assert_same(&download(bench, &pool, "a", size), &bytes);
    bench.host().refresh_pool(&pool).unwrap();
    assert_eq!(bench.volume(&pool, "a").capacity, Bytes(size));
}

/// An upload has an offset, so that what makes an image one comes last. A hole at the end of the first
/// part ends where the volume does, and the second part, without holes, cuts nothing off.
fn an_image_is_sent_from_behind(bench: &Bench<'_>) {
    let (pool, head) = (bench.pool(), 64 << 10);
    for (name, size, holes) in [
        ("full", (3 << 20) + 512, 0..0),
        ("hole-in-front", 3 << 20, head..1 << 20),
        ("hole-behind", (3 << 20) + 512, 1 << 20..(3 << 20) + 512),
        ("hole", 2 << 20, head..2 << 20),
        ("a-byte-more", head + 1, 0..0),
    ] {
        let mut bytes = content(size);
        bytes[holes].fill(0);
        bench.host().create_volume(&pool, &allocated_xml(name, size)).unwrap();
        let (first, rest) = bytes.split_at(head);
        bench.host().upload(&pool, name, &mut &*rest, head as u64, rest.len() as u64).unwrap();
        let torso = [&vec![0; head], rest].concat();
        assert_same(&download(bench, &pool, name, 1 << 30), &torso);
        bench.host().upload(&pool, name, &mut &*first, 0, head as u64).unwrap();
        assert_same(&download(bench, &pool, name, 1 << 30), &bytes);
        bench.host().refresh_pool(&pool).unwrap();
        assert_eq!(bench.volume(&pool, name).capacity, Bytes(size as u64), "{name}");
    }
}

/// A raw volume that takes its whole size at once.
fn allocated_xml(name: &str, size: usize) -> String {
    format!(
        "<volume><name>{name}</name><capacity>{size}</capacity><allocation>{size}</allocation>\
         <target><format type='raw'/></target></volume>"
    )
}

/// The first cluster of a qcow2 image of 5 GiB: enough for libvirt, which reads its header.
fn qcow2_header() -> Vec<u8> {
    let mut header = vec![0; 65_536];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &16u32.to_be_bytes());
    put(24, &(5u64 << 30).to_be_bytes());
    put(96, &4u32.to_be_bytes());
    put(100, &104u32.to_be_bytes());
    header
}

fn an_uploaded_image_is_seen_as_what_it_is(bench: &Bench<'_>) {
    let (pool, bytes) = (bench.pool(), qcow2_header());
    bench.create(&pool, "called.img", "raw", bytes.len() as u64);
    upload(bench, &pool, "called.img", &bytes);
    bench.host().refresh_pool(&pool).unwrap();
    let seen = bench.volume(&pool, "called.img");
    assert_eq!((seen.format.as_str(), seen.capacity), ("qcow2", Bytes(5 << 30)));
    assert_same(&download(bench, &pool, "called.img", 1 << 30), &bytes);
}

fn a_clone_has_its_sources_content(bench: &Bench<'_>) {
    let (pool, bytes) = (bench.pool(), content(1 << 20));
    bench.create(&pool, "source", "raw", 1 << 20);
    upload(bench, &pool, "source", &bytes);
    let xml = volume_xml("clone", "raw", 1 << 20, None);
    bench.host().clone_volume(&pool, &xml, &pool, "source").unwrap();
    assert_same(&download(bench, &pool, "clone", 1 << 30), &bytes);
}

fn a_transfer_needs_its_volume(bench: &Bench<'_>) {
    let pool = bench.pool();
    refused(bench.host().upload(&pool, "absent", &mut &b"x"[..], 0, 1), Kind::Storage);
    refused(bench.host().download(&pool, "absent", &mut Vec::new(), 1), Kind::Storage);
}
