//! Uploads and downloads.

use foundry::record::VolumeRef;
use std::io::Read;

use foundry::Kind;
use foundry::content::{Content, Sink};
use foundry::host::{HostError, Stopped, Zeros};
use foundry::units::Bytes;

use super::bench::{Bench, cases, refused, volume_xml};

cases! {
    what_was_uploaded_is_downloaded needs Streams;
    a_download_ends_with_its_length_or_the_volume needs Streams;
    an_upload_sends_its_length_and_no_more needs Streams;
    an_upload_of_too_little_fails needs Streams;
    an_upload_that_fails_at_its_source_says_why needs Streams;
    an_upload_that_is_stopped_says_so needs Streams;
    an_upload_ends_with_its_content needs Streams;
    an_upload_writes_no_more_than_there_is_room_for needs Streams;
    an_upload_goes_on_where_the_last_one_ended needs Streams;
    holes_stay_holes_there_and_back needs Streams, Holes;
    zeros_replace_what_was_there needs Streams;
    zeros_at_the_end_do_not_cut_the_volume needs Streams;
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
    bench.host().upload_all(&VolumeRef::new(pool, name), &mut &*bytes, bytes.len() as u64).unwrap();
}

/// Leaves zeros out, and returns how far it came.
fn upload_thin(bench: &Bench<'_>, volume: (&str, &str), content: &mut dyn Content, at: (u64, u64)) -> u64 {
    let zeros = Zeros::Skipped { at_most: u64::MAX };
    bench.host().upload(&VolumeRef::new(volume.0, volume.1), content, at.0, at.1, zeros).unwrap()
}

fn download(bench: &Bench<'_>, pool: &str, name: &str, length: u64) -> Vec<u8> {
    let mut into = Vec::new();
    bench.host().download(&VolumeRef::new(pool, name), &mut into, length).unwrap();
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
    for (name, zeros) in [("a", Zeros::Written), ("b", Zeros::Skipped { at_most: u64::MAX })] {
        bench.create(&pool, name, "raw", 5000);
        let mut rest = &*bytes;
        assert_eq!(
            bench.host().upload(&VolumeRef::new(&pool, name), &mut rest, 0, 5000, zeros).unwrap(),
            5000
        );
        assert_eq!(rest.len(), 5000, "left of the content");
        assert_same(&download(bench, &pool, name, 1 << 20), &bytes[..5000]);
    }
}

fn an_upload_of_too_little_fails(bench: &Bench<'_>) {
    let (pool, bytes) = (bench.pool(), content(5000));
    bench.create(&pool, "a", "raw", 10_000);
    let outcome = bench.host().upload_all(&VolumeRef::new(&pool, "a"), &mut &*bytes, 10_000);
    let Err(HostError::Transfer { cause, interrupted, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(cause.contains("5000") && !interrupted, "{cause}");
    bench.host().delete_volume(&VolumeRef::new(&pool, "a")).unwrap();
    assert_eq!(bench.host().volume(&VolumeRef::new(&pool, "a")).unwrap(), None);
}

/// Nobody knows how much comes out of a compressed image.
fn an_upload_ends_with_its_content(bench: &Bench<'_>) {
    let (pool, bytes) = (bench.pool(), content(700_000));
    bench.host().create_volume(&pool, &thin_xml("a", 512)).unwrap();
    assert_eq!(upload_thin(bench, (&pool, "a"), &mut &*bytes, (0, 1 << 50)), 700_000);
    assert_same(&download(bench, &pool, "a", 1 << 40), &bytes);
    bench.host().refresh_pool(&pool).unwrap();
    assert_eq!(bench.volume(&pool, "a").capacity, Bytes(700_000));
}

fn an_upload_writes_no_more_than_there_is_room_for(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.host().create_volume(&pool, &thin_xml("a", 4 << 20)).unwrap();
    let mut bytes = content(4 << 20);
    bytes[1 << 20..2 << 20].fill(0);
    let mut rest = &*bytes;
    let zeros = Zeros::Skipped { at_most: 3 << 19 };
    // A megabyte, the hole, and half a megabyte more.
    assert_eq!(
        bench.host().upload(&VolumeRef::new(&pool, "a"), &mut rest, 0, 4 << 20, zeros).unwrap(),
        5 << 19
    );
    assert_eq!(rest.len(), 3 << 19, "left of the content");
    assert_same(&download(bench, &pool, "a", 5 << 19), &bytes[..5 << 19]);
}

fn an_upload_goes_on_where_the_last_one_ended(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.host().create_volume(&pool, &thin_xml("a", 512)).unwrap();
    let mut bytes = content(3 << 20);
    bytes[700_000..2_000_000].fill(0);
    let mut offset = 0;
    let mut rest = &*bytes;
    while !rest.is_empty() {
        offset += upload_thin(bench, (&pool, "a"), &mut rest, (offset, 1_000_000));
    }
    assert_eq!(offset, 3 << 20);
    assert_same(&download(bench, &pool, "a", 1 << 40), &bytes);
}

/// Some bytes, a hole, some bytes, a hole; and it counts what is read of it.
struct Holes {
    position: u64,
    read: u64,
}

impl Holes {
    const DATA: u64 = 300_000;
    const STRIDE: u64 = 1 << 30;
    const END: u64 = 4 << 30;

    fn left_of(&self, length: u64) -> u64 {
        (length).saturating_sub(self.position % Self::STRIDE)
    }
}

impl Read for Holes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.left_of(Self::DATA).min(buffer.len() as u64);
        if self.position >= Self::END {
            return Ok(0);
        }
        assert!(count > 0 || buffer.is_empty(), "a hole is read");
        buffer[..count as usize].fill(b'x');
        self.position += count;
        self.read += count;
        Ok(count as usize)
    }
}

impl Content for Holes {
    fn skip_hole(&mut self, limit: u64) -> std::io::Result<u64> {
        if self.left_of(Self::DATA) > 0 || self.position >= Self::END {
            return Ok(0);
        }
        let hole = self.left_of(Self::STRIDE).min(limit);
        self.position += hole;
        Ok(hole)
    }
}

/// Notes data and holes instead of keeping them.
#[derive(Default)]
struct Extents(Vec<(bool, u64)>);

impl Extents {
    fn add(&mut self, is_data: bool, length: u64) {
        match self.0.last_mut() {
            Some((last, sum)) if *last == is_data => *sum += length,
            _ => self.0.push((is_data, length)),
        }
    }
}

impl std::io::Write for Extents {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.add(true, bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Extents {
    fn write_hole(&mut self, length: u64) -> std::io::Result<()> {
        self.add(false, length);
        Ok(())
    }
}

/// 4 GiB with 1.2 MB in them: no byte of a hole is read, sent, stored or received.
fn holes_stay_holes_there_and_back(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.host().create_volume(&pool, &thin_xml("a", Holes::END)).unwrap();
    let mut source = Holes { position: 0, read: 0 };
    assert_eq!(upload_thin(bench, (&pool, "a"), &mut source, (0, 1 << 50)), Holes::END);
    assert_eq!(source.read, 4 * Holes::DATA);
    bench.host().refresh_pool(&pool).unwrap();
    let seen = bench.volume(&pool, "a");
    assert_eq!(seen.capacity, Bytes(Holes::END));
    assert!((4 * Holes::DATA..8 * Holes::DATA).contains(&seen.allocation.0), "{seen:?}");

    let mut extents = Extents::default();
    bench.host().download(&VolumeRef::new(&pool, "a"), &mut extents, 1 << 50).unwrap();
    let total: u64 = extents.0.iter().map(|(_, length)| length).sum();
    let data: u64 = extents.0.iter().filter(|(is_data, _)| *is_data).map(|(_, length)| length).sum();
    assert_eq!(total, Holes::END);
    assert!(data < 8 * Holes::DATA, "{:?}", extents.0);
}

/// Gives some bytes and then an error.
struct Fails<F>(usize, F);

impl<F: Fn() -> std::io::Error> Content for Fails<F> {}

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
    let error = bench.host().upload_all(&VolumeRef::new(&pool, "a"), &mut source, 1 << 20).unwrap_err();
    assert_eq!((error.kind(), error.cause().as_deref()), (Kind::Storage, Some("the tape tore")));
    bench.host().delete_volume(&VolumeRef::new(&pool, "a")).unwrap();
}

fn an_upload_that_is_stopped_says_so(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.create(&pool, "a", "raw", 1 << 20);
    let mut source = Fails(700_000, || std::io::Error::other(Stopped));
    let error = bench.host().upload_all(&VolumeRef::new(&pool, "a"), &mut source, 1 << 20).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    bench.host().delete_volume(&VolumeRef::new(&pool, "a")).unwrap();
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
        let zeros = Zeros::Written;
        bench
            .host()
            .upload(&VolumeRef::new(&pool, name), &mut &*rest, head as u64, rest.len() as u64, zeros)
            .unwrap();
        let torso = [&vec![0; head], rest].concat();
        assert_same(&download(bench, &pool, name, 1 << 30), &torso);
        upload(bench, &pool, name, first);
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

/// A raw volume that takes nothing until it is written.
fn thin_xml(name: &str, capacity: u64) -> String {
    format!(
        "<volume><name>{name}</name><capacity>{capacity}</capacity><allocation>0</allocation>\
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
    bench.host().clone_volume(&pool, &xml, &VolumeRef::new(&pool, "source")).unwrap();
    assert_same(&download(bench, &pool, "clone", 1 << 30), &bytes);
}

fn a_transfer_needs_its_volume(bench: &Bench<'_>) {
    let pool = bench.pool();
    refused(bench.host().upload_all(&VolumeRef::new(&pool, "absent"), &mut &b"x"[..], 1), Kind::Storage);
    refused(bench.host().download(&VolumeRef::new(&pool, "absent"), &mut Vec::new(), 1), Kind::Storage);
}
