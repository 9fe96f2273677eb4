//! What gzip, xz, zstd and bzip2 pack is unpacked, whole or not at all.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::deadline::ChildInTime as _;
use crate::support::shown::Shown;
use foundry::transfer::{CompressionFormat, Reason, TransferError};

use super::support::{Bench, noise, read_with_holes, sha256};
use crate::support::http::{Reply, Server};

const FORMATS: [(CompressionFormat, &str, &str); 4] = [
    (CompressionFormat::Gzip, "gzip", ".gz"),
    (CompressionFormat::Xz, "xz", ".xz"),
    (CompressionFormat::Zstd, "zstd", ".zst"),
    (CompressionFormat::Bzip2, "bzip2", ".bz2"),
];

/// What the real program makes of it.
fn packed_by(program: &str, args: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let feed = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let done = child.wait_with_output_in_time().unwrap();
    feed.join().unwrap();
    assert!(done.status.success());
    done.stdout
}

fn unpacked(file: &Path, bytes: &[u8]) -> Result<Vec<u8>, TransferError> {
    unpacked_by(&Bench::new(), file, bytes)
}

fn unpacked_by(bench: &Bench, file: &Path, bytes: &[u8]) -> Result<Vec<u8>, TransferError> {
    std::fs::write(file, bytes).unwrap();
    bench.read(file.to_str().unwrap()).map(|(content, _)| content)
}

fn content() -> Vec<u8> {
    [noise(150_000), vec![0; 1 << 20], noise(150_000)].concat()
}

#[test]
fn each_format_is_told_by_its_content_and_its_digest_is_of_the_packed_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.with-another-name");
    for (format, program, _) in FORMATS {
        let packed = packed_by(program, &[], &content());
        std::fs::write(&file, &packed).unwrap();
        let bench = Bench::new().expecting(sha256(&packed));
        let mut opened = bench.open(file.to_str().unwrap()).unwrap();
        assert_eq!((opened.compressed, opened.data_bytes), (Some(format), None));
        let (bytes, holes) = read_with_holes(&mut opened.content).unwrap();
        assert!(bytes == content() && holes >= 900_000, "{format:?}: zeros inside become holes");
        assert_eq!(opened.finish().unwrap().bytes, packed.len() as u64);
    }
}

#[test]
fn what_is_concatenated_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    for (_, program, _) in FORMATS {
        let two = [packed_by(program, &[], b"one, "), packed_by(program, &[], b"two")].concat();
        assert_eq!(unpacked(&file, &two).unwrap(), b"one, two", "{program}");
        assert_eq!(unpacked(&file, &packed_by(program, &[], b"")).unwrap(), b"", "{program}");
    }
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let zstd = [packed_by("zstd", &[], b"a"), skippable.to_vec(), packed_by("zstd", &[], b"b")].concat();
    assert_eq!(unpacked(&file, &zstd).unwrap(), b"ab");
    let padded = [packed_by("xz", &[], b"a"), vec![0; 8]].concat();
    assert_eq!(unpacked(&file, &padded).unwrap(), b"a");
}

#[test]
fn what_is_cut_off_anywhere_or_damaged_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    for (_, program, _) in FORMATS {
        let (bench, packed) = (Bench::new(), packed_by(program, &[], &noise(1000)));
        // With fewer than six bytes it is nobody's format.
        for length in 6..packed.len() {
            let error = unpacked_by(&bench, &file, &packed[..length]).expect_err(program);
            assert_eq!(error.reason(), Reason::Damaged, "{program} {length}: {error}");
        }
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 0x10;
        assert_eq!(unpacked(&file, &damaged).expect_err(program).reason(), Reason::Damaged, "{program}");
    }
}

/// pzstd begins so. lz4 has such frames, too, and is unpacked by nobody here.
#[test]
fn zstd_may_begin_with_frames_to_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    let frame = |magic: u8, length: usize| {
        let head = [magic, 0x2a, 0x4d, 0x18];
        [&head[..], &u32::try_from(length).unwrap().to_le_bytes(), &noise(length)].concat()
    };
    let zstd = packed_by("zstd", &[], &content());
    for front in [
        frame(0x50, 4),
        frame(0x5f, 0),
        [frame(0x53, 0), frame(0x58, 70_000), frame(0x50, 1)].concat(),
        frame(0x50, 3_000_000),
        [frame(0x50, 600_000), frame(0x50, 600_000)].concat(),
    ] {
        assert!(unpacked(&file, &[front.clone(), zstd.clone()].concat()).unwrap() == content());
        let front = front[..front.len().min(500_000)].to_vec();
        let unlike = [front.as_slice(), b"no zstd at all"].concat();
        assert!(
            unpacked(&file, &unlike).map_or_else(|e| e.reason() == Reason::Damaged, |bytes| bytes == unlike)
        );
    }
    let bench = Bench::new();
    for (bytes, format) in [
        ([frame(0x50, 4), b"\x04\x22\x4d\x18rest".to_vec()].concat(), None),
        (frame(0x50, 4)[..6].to_vec(), None),
        (frame(0x50, 4), Some(CompressionFormat::Zstd)),
        (zstd, Some(CompressionFormat::Zstd)),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(bench.open(file.to_str().unwrap()).unwrap().compressed, format, "{bytes:?}");
    }
}

#[test]
fn what_follows_behind_the_end_of_xz_and_zstd_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    for program in ["xz", "zstd"] {
        for garbage in [b"g".as_slice(), b"garbage", &[0; 3], &noise(300_000)] {
            let bytes = [packed_by(program, &[], b"content"), garbage.to_vec()].concat();
            let error = unpacked(&file, &bytes).expect_err(program);
            assert_eq!(error.reason(), Reason::Damaged, "{program}: {error}");
        }
    }
}

#[test]
fn zeros_behind_gzip_and_bzip2_are_no_part_of_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    for program in ["gzip", "bzip2"] {
        for count in [1, 2, 3, 300, 300_000] {
            let bytes = [packed_by(program, &[], b"content"), vec![0; count]].concat();
            assert_eq!(unpacked(&file, &bytes).unwrap(), b"content", "{program}");
            assert_eq!(
                unpacked_by(&Bench::new().expecting(sha256(&bytes)), &file, &bytes).unwrap(),
                b"content"
            );
        }
    }
}

/// OpenWrt's images have a signature behind the end; gzip(1) and bzip2(1) pass over it with a warning.
#[test]
fn what_follows_gzip_and_bzip2_is_taken_only_where_the_whole_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("with blank");
    for (program, command) in [("gzip", "gunzip -c"), ("bzip2", "bunzip2 -c")] {
        for behind in [b"g".as_slice(), b"# certificate", b"\0\0x", b"\x1f", b"BZ", &noise(300_000)] {
            let bytes = [packed_by(program, &[], &content()), behind.to_vec()].concat();
            let error = unpacked(&file, &bytes).expect_err(program);
            assert_eq!(error.reason(), Reason::Damaged);
            let count = behind.len();
            let told = if count == 1 { "1 byte follows".into() } else { format!("{count} bytes follow") };
            assert!(error.to_string().contains(&format!("{told} the end of the {program} data")), "{error}");
            let way = format!("{command} '{}' | foundry image import - NAME", file.display());
            assert!(error.hint_text().unwrap().contains(&way), "{error:?}");

            let bench = Bench::new().expecting(sha256(&bytes));
            let mut opened = bench.open(file.to_str().unwrap()).unwrap();
            let passed_over = opened.skipped_counter();
            let (taken, _) = read_with_holes(&mut opened.content).unwrap();
            assert!(taken == content() && passed_over() == count as u64, "{program} {count}");
            assert_eq!(opened.finish().unwrap().bytes, bytes.len() as u64);
            let wrong = unpacked_by(&Bench::new().expecting(sha256(b"else")), &file, &bytes).unwrap_err();
            assert_eq!(wrong.reason(), Reason::Checksum, "{wrong}");
        }
    }
}

/// The content was complete; the download was not.
#[test]
fn the_end_of_the_content_waits_for_the_end_of_the_download_and_its_digest() {
    for (_, program, end) in FORMATS {
        let packed = packed_by(program, &[], &noise(100_000));
        let wrong = sha256(b"of another file");
        let body = packed.clone();
        let server = Server::start(move |_| Reply::new(200, body.clone()));
        let bench = Bench::new().expecting(wrong);
        let mut opened = bench.open(&server.url(&format!("/disk.raw{end}"))).unwrap();
        let mut bytes = Vec::new();
        let error = opened.content.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(TransferError::find_in(&error).unwrap().reason(), Reason::Checksum, "{program}: {error}");
        assert_eq!(bytes.len(), 100_000, "all of it came, and yet there is no end");
        assert!(opened.content.read(&mut [0; 10]).is_err(), "{program}: nor for who asks again");
    }
}

#[test]
fn memory_is_bounded_whatever_the_data_ask_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    let greedy = packed_by("xz", &["--lzma2=preset=0,dict=512MiB"], &noise(100));
    let told = unpacked(&file, &greedy).unwrap_err();
    assert!(told.to_string().contains("128 MiB of memory") && !told.to_string().contains("sound"), "{told}");
    assert!(told.hint_text().unwrap().starts_with("xz -dc "), "{told:?}");
    assert_eq!(unpacked(&file, &packed_by("xz", &["-9"], b"x")).unwrap(), b"x");
    let greedy = packed_by("zstd", &["--long=30", "--single-thread"], &noise(100));
    let told = unpacked(&file, &greedy).unwrap_err();
    assert_eq!(told.reason(), Reason::Damaged, "{told}");
    assert!(told.to_string().contains("128 MiB of memory") && !told.to_string().contains("sound"), "{told}");
    assert!(told.hint_text().unwrap().starts_with("zstd -dc --long=31 "), "{told:?}");
    assert_eq!(unpacked(&file, &packed_by("zstd", &["--long=27"], b"x")).unwrap(), b"x");
}

#[test]
fn names_lose_what_says_how_they_are_packed() {
    for (format, _, end) in FORMATS {
        assert_eq!(format.strip_extension(&format!("disk.raw{end}")), "disk.raw");
        assert_eq!(format.strip_extension(&format!("DISK.RAW{}", end.to_uppercase())), "DISK.RAW");
        assert_eq!(format.strip_extension("disk.raw"), "disk.raw");
    }
}
