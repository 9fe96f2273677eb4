//! The seed's image, judged by those who read it.

use std::path::Path;
use std::process::Command;

use crate::support::cpu;
use foundry::cloud_init::{SeedFiles, VOLUME_ID, build_seed_files, read_iso, write_iso};
use proptest::prelude::*;

use super::support::{plan, program, run, seed};

fn made() -> SeedFiles {
    build_seed_files(&plan(), &seed(), "web-1").unwrap()
}

fn files(documents: &SeedFiles) -> [(&'static str, &str); 3] {
    [
        ("user-data", &documents.user_data),
        ("meta-data", &documents.meta_data),
        ("network-config", &documents.network_config),
    ]
}

/// A seed's image in a file of its own.
fn in_file(documents: &SeedFiles, test: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seed.iso");
    std::fs::write(&path, write_iso(documents).unwrap()).unwrap();
    test(&path);
}

/// Documents from nothing to more than a directory or a sector holds.
fn sizes() -> Vec<SeedFiles> {
    let of = |n: usize| SeedFiles {
        user_data: "u".repeat(n),
        meta_data: "\u{e9}".repeat(n / 3),
        network_config: "n\n".repeat(n / 2),
        vendor_data: None,
    };
    vec![made(), of(0), of(1), of(2047), of(2048), of(2049), of(6_000_000)]
}

#[test]
fn isoinfo_reads_both_trees() {
    let Some(isoinfo) = program("isoinfo") else { return };
    for documents in sizes() {
        in_file(&documents, |image| {
            for tree in ["-R", "-J"] {
                let list = run(Command::new(&isoinfo).args([tree, "-f", "-i"]).arg(image), b"");
                let mut names: Vec<&str> = std::str::from_utf8(&list).unwrap().lines().collect();
                names.sort_unstable();
                assert_eq!(names, ["/meta-data", "/network-config", "/user-data"], "{tree}");
                for (name, text) in files(&documents) {
                    let path = format!("/{name}");
                    let content = run(Command::new(&isoinfo).args([tree, "-x", &path, "-i"]).arg(image), b"");
                    assert!(content == text.as_bytes(), "{tree} {name}, {} bytes", content.len());
                }
            }
        });
    }
}

#[test]
fn isoinfo_tells_the_volume_and_its_extensions() {
    let Some(isoinfo) = program("isoinfo") else { return };
    in_file(&made(), |image| {
        let told = run(Command::new(&isoinfo).args(["-d", "-i"]).arg(image), b"");
        let told = String::from_utf8(told).unwrap();
        let size = std::fs::metadata(image).unwrap().len();
        for line in [
            format!("Volume id: {VOLUME_ID}"),
            format!("Volume size is: {}", size / 2048),
            "Joliet with UCS level 3 found".into(),
            "Rock Ridge signatures version 1 found".into(),
        ] {
            assert!(told.contains(&line), "{line}\n{told}");
        }
    });
}

#[test]
fn xorriso_reads_it() {
    let Some(xorriso) = program("xorriso") else { return };
    in_file(&made(), |image| {
        let out = image.parent().unwrap().join("out");
        let arguments = ["-abort_on", "WARNING", "-osirrox", "on", "-indev"];
        run(Command::new(&xorriso).args(arguments).arg(image).args(["-extract", "/"]).arg(&out), b"");
        for (name, text) in files(&made()) {
            assert_eq!(std::fs::read_to_string(out.join(name)).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 3);
    });
}

#[test]
fn blkid_finds_the_label() {
    let Some(blkid) = program("blkid") else { return };
    in_file(&made(), |image| {
        let told = run(Command::new(&blkid).args(["-p", "-o", "export"]).arg(image), b"");
        let told = String::from_utf8(told).unwrap();
        assert!(told.lines().any(|l| l == "LABEL=cidata"), "{told}");
        assert!(told.lines().any(|l| l == "TYPE=iso9660"), "{told}");
    });
}

#[test]
fn it_is_only_as_large_as_it_is() {
    let small = write_iso(&made()).unwrap().len();
    assert_eq!(small % 2048, 0);
    assert!(small <= 40 * 2048, "{small}");
    let mut grown = made();
    grown.user_data.push_str(&"#".repeat(5 * 2048));
    assert_eq!(write_iso(&grown).unwrap().len(), small + 5 * 2048);
}

#[test]
fn the_same_documents_give_the_same_bytes() {
    let first = write_iso(&made()).unwrap();
    // The format's dates have seconds: a clock that is read would show.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(write_iso(&made()).unwrap(), first);
    let mut other = made();
    other.meta_data.push('\n');
    assert_ne!(write_iso(&other).unwrap(), first);
}

#[test]
fn what_was_written_is_read_back() {
    for documents in sizes() {
        assert!(read_iso(&write_iso(&documents).unwrap()).unwrap() == documents);
    }
}

/// Makes a seed with genisoimage and reads it.
fn by_genisoimage(options: &[&str]) -> Option<SeedFiles> {
    let genisoimage = program("genisoimage")?;
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files(&made()) {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    std::fs::write(directory.path().join("vendor-data"), "").unwrap();
    let names = ["vendor-data", "user-data", "meta-data", "network-config"];
    let mut command = Command::new(genisoimage);
    command.current_dir(directory.path()).args(["-quiet", "-V", "CIDATA"]).args(options).args(names);
    let image = run(&mut command, b"");
    Some(read_iso(&image).unwrap())
}

#[test]
fn seeds_of_other_tools_are_read() {
    // The last one is what the first foundry's library writes: no extensions, small letters.
    let plain = ["-iso-level", "4", "-allow-lowercase", "-relaxed-filenames"];
    for options in [&["-J", "-R"] as &[&str], &["-J"], &["-R"], &plain] {
        if let Some(documents) = by_genisoimage(options) {
            assert_eq!(documents, made(), "{options:?}");
        }
    }
}

#[test]
fn a_seed_without_network_config_is_read_and_one_without_user_data_is_not() {
    let Some(genisoimage) = program("genisoimage") else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("user-data"), "#cloud-config\n").unwrap();
    let image = |name: &str| {
        let mut command = Command::new(&genisoimage);
        run(command.current_dir(directory.path()).args(["-quiet", "-R", name]), b"")
    };
    let read = read_iso(&image("user-data")).unwrap();
    assert_eq!((read.user_data.as_str(), read.network_config.as_str()), ("#cloud-config\n", ""));
    std::fs::write(directory.path().join("meta-data"), "").unwrap();
    let told = read_iso(&image("meta-data")).unwrap_err().to_string();
    assert_eq!(told, "the image contains no user-data");
}

#[test]
fn what_is_no_image_is_refused() {
    let whole = write_iso(&made()).unwrap();
    for bytes in [&[] as &[u8], &[0; 100_000], &whole[..17 * 2048], &whole[..whole.len() - 5 * 2048]] {
        let told = read_iso(bytes).unwrap_err().to_string();
        assert!(!told.is_empty());
    }
    let mut binary = made();
    binary.user_data = "\u{e9}marker".into();
    let mut image = write_iso(&binary).unwrap();
    let at = image.windows(6).position(|w| w == b"marker").unwrap();
    image[at] = 0xff;
    let told = read_iso(&image).unwrap_err().to_string();
    assert!(told.starts_with("user-data is not text"), "{told}");
}

/// A seed's image with bytes changed where the structures are, and sometimes cut short.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let image = write_iso(&made()).unwrap();
    let sectors = image.len() / 2048;
    let change = (16..sectors, 0..2048usize, prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(1)]);
    let low = (16..sectors, 0..200usize, prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(2)]);
    let cut = prop_oneof![4 => Just(image.len()), 1 => 0..image.len()];
    (proptest::collection::vec(prop_oneof![change, low], 0..40), cut).prop_map(move |(changes, cut)| {
        let mut bytes = image.clone();
        for (sector, offset, value) in changes {
            bytes[sector * 2048 + offset] = value;
        }
        bytes.truncate(cut);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_images_neither_panic_nor_hang(bytes in hostile()) {
        let (_, took) = cpu::time(|| read_iso(&bytes));
        prop_assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert!(read_iso(&bytes).is_err());
    }
}
