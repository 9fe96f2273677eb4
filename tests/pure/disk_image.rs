//! What images are by their first bytes, beside what QEMU makes and says of them.

use std::path::Path;
use std::process::Command;

use crate::support::deadline::CommandInTime as _;
use foundry::disk_image::{
    DiskImage, Encryption, ForeignFormat, HEADER_LENGTH, HeaderError, NotADisk, Qcow2, detect_format,
    is_partial_image, is_vhd_footer,
};
use foundry::units::Bytes;
use proptest::prelude::*;

/// Runs a program in a directory and gives what it printed.
fn run(directory: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(program).current_dir(directory).args(arguments).output_in_time().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
    done.stdout
}

/// The beginning of what `qemu-img create` makes of these arguments under the name `a.img`.
fn made(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let _ = std::fs::remove_file(directory.join("a.img"));
    run(directory, "qemu-img", &[&["create", "-q"], arguments].concat());
    head(&directory.join("a.img"))
}

fn head(file: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(file).unwrap();
    bytes.truncate(HEADER_LENGTH.try_into().unwrap());
    bytes
}

fn qcow2(head: &[u8]) -> Qcow2 {
    match detect_format(head) {
        Ok(DiskImage::Qcow2(header)) => header,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(head: &[u8], words: &str) {
    let refusal = detect_format(head).unwrap().refusal().unwrap();
    assert!(refusal.contains(words), "{refusal}");
}

fn patched(head: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut patched = head.to_vec();
    patched[at..at + bytes.len()].copy_from_slice(bytes);
    patched
}

#[test]
fn each_qcow2_of_qemu_img_is_read_as_qemu_img_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        "compat=0.10",
        "compat=1.1",
        "cluster_size=512",
        "cluster_size=2M",
        "compression_type=zstd",
        "extended_l2=on",
        "extended_l2=on,cluster_size=16k",
        "lazy_refcounts=on,refcount_bits=64",
        "preallocation=metadata",
    ] {
        let header = qcow2(&made(dir.path(), &["-f", "qcow2", "-o", options, "a.img", "1234567K"]));
        let info = run(dir.path(), "qemu-img", &["info", "--output=json", "a.img"]);
        let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
        assert_eq!(Some(header.virtual_size.0), info["virtual-size"].as_u64(), "{options}");
        assert_eq!(Some(header.cluster_size.0), info["cluster-size"].as_u64(), "{options}");
        let data = &info["format-specific"]["data"];
        let is = |name: &str, value: &str| data[name].as_str() == Some(value);
        assert_eq!(header.version == 2, is("compat", "0.10"), "{options}");
        assert_eq!(header.zstd, is("compression-type", "zstd"), "{options}");
        assert_eq!(header.extended_l2, data["extended-l2"].as_bool() == Some(true), "{options}");
        let image = DiskImage::Qcow2(header.clone());
        assert_eq!((image.refusal(), image.driver()), (None, Some("qcow2")), "{options}");
        assert_eq!(image.note().is_some(), header.zstd || header.extended_l2, "{options}");
        assert_eq!(image.note_for(5_001_000).is_some(), header.extended_l2, "{options}: QEMU 5.1");
        assert_eq!(image.note_for(7_002_000), None, "{options}: QEMU 7.2");
    }
}

#[test]
fn what_a_qcow2_lies_on_is_named_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), &["-f", "qcow2", "a.img", "1G"]);
    std::fs::rename(dir.path().join("a.img"), dir.path().join("base ,\"x\"")).unwrap();
    for compat in ["compat=0.10", "compat=1.1"] {
        let head =
            made(dir.path(), &["-f", "qcow2", "-o", compat, "-b", "base ,\"x\"", "-F", "qcow2", "a.img"]);
        assert_eq!(qcow2(&head).backing_file.as_deref(), Some("base ,\"x\""));
        refused(&head, r#"it is an overlay on "base ,\"x\"";"#);
        assert_eq!(detect_format(&head).unwrap().driver(), None);
    }
    let head = made(dir.path(), &["-f", "qcow2", "-o", "data_file=d.bin", "a.img", "1G"]);
    refused(&head, "its data is in another file (\"d.bin\")");
    // The bit counts, whether or not a name comes with it.
    let plain = made(dir.path(), &["-f", "qcow2", "a.img", "1G"]);
    refused(&patched(&plain, 79, &[4]), "its data is in another file;");
}

#[test]
fn an_encrypted_qcow2_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = ["--object", "secret,id=s,data=x", "-f", "qcow2"];
    let luks = ["-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "a.img", "1M"];
    let head = made(dir.path(), &[secret, luks].concat());
    assert_eq!(qcow2(&head).encryption, Some(Encryption::Luks));
    refused(&head, "it is encrypted (LUKS)");
    refused(&patched(&head, 35, &[1]), "it is encrypted (QEMU's old AES method)");
    refused(&patched(&head, 35, &[9]), "it is encrypted (an unknown method, 9)");
}

#[test]
fn features_that_are_not_known_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let head = made(dir.path(), &["-f", "qcow2", "a.img", "1G"]);
    refused(&patched(&head, 79, &[1]), "it was not closed");
    refused(&patched(&head, 79, &[2]), "QEMU marked it as corrupt");
    refused(&patched(&head, 79, &[0x20]), "unknown qcow2 features: bit 5");
    // QEMU writes the names of the features that it knows; bit 4 is the fifth of them.
    let at = head.windows(16).position(|w| w == b"extended L2 entr").unwrap() - 2;
    assert_eq!(head[at..at + 2], [0, 4]);
    let renamed = patched(&head, at + 1, &[62]);
    refused(&patched(&renamed, 72, &[0xc0]), "bit 62 (\"extended L2 entries\"), bit 63");
}

#[test]
fn snapshots_inside_are_told_and_no_hindrance() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), &["-f", "qcow2", "a.img", "1M"]);
    run(dir.path(), "qemu-img", &["snapshot", "-c", "one", "a.img"]);
    let image = detect_format(&head(&dir.path().join("a.img"))).unwrap();
    assert_eq!(image.refusal(), None);
    assert!(image.note().unwrap().contains("contains a snapshot"));
}

#[test]
fn hostile_headers_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let head = made(dir.path(), &["-f", "qcow2", "a.img", "1G"]);
    for (at, bytes, error) in [
        (4, 9u32.to_be_bytes().as_slice(), HeaderError::Version(9)),
        (8, &u64::MAX.to_be_bytes(), HeaderError::BackingName),
        (20, &8u32.to_be_bytes(), HeaderError::ClusterBits(8)),
        (20, &22u32.to_be_bytes(), HeaderError::ClusterBits(22)),
        (20, &u32::MAX.to_be_bytes(), HeaderError::ClusterBits(u32::MAX)),
        (24, &u64::MAX.to_be_bytes(), HeaderError::VirtualSize(u64::MAX)),
        (79, &[8], HeaderError::Compression(0)),
        (104, &[1], HeaderError::Compression(1)),
        (96, &7u32.to_be_bytes(), HeaderError::RefcountOrder(7)),
        (100, &103u32.to_be_bytes(), HeaderError::Length(103)),
        (100, &u32::MAX.to_be_bytes(), HeaderError::Length(u32::MAX)),
    ] {
        // A length makes the name of a backing file count.
        let named = patched(&head, 16, &1024u32.to_be_bytes());
        assert_eq!(detect_format(&patched(&named, at, bytes)), Err(error), "{at}");
    }
    let (offset, length) = (512u64.to_be_bytes(), 3u32.to_be_bytes());
    let named = patched(&patched(&head, 8, &offset), 16, &length);
    assert_eq!(detect_format(&patched(&named, 512, b"\xff\xfe\xfd")), Err(HeaderError::BackingName));
    for length in 4..112 {
        assert_eq!(detect_format(&head[..length]), Err(HeaderError::Truncated), "{length}");
    }
    refused(&patched(&head, 24, &[0; 8]), "its disk is empty (0 bytes)");
}

#[test]
fn foreign_images_are_named_and_those_on_others_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, format, driver) in [
        (["vmdk", "subformat=monolithicSparse"], ForeignFormat::Vmdk, Some("vmdk")),
        (["vmdk", "subformat=monolithicFlat"], ForeignFormat::Vmdk, None),
        (["vmdk", "subformat=twoGbMaxExtentSparse"], ForeignFormat::Vmdk, None),
        (["vmdk", "subformat=twoGbMaxExtentFlat"], ForeignFormat::Vmdk, None),
        (["vmdk", "subformat=streamOptimized"], ForeignFormat::Vmdk, Some("vmdk")),
        (["vdi", "static=off"], ForeignFormat::Vdi, Some("vdi")),
        (["vdi", "static=on"], ForeignFormat::Vdi, Some("vdi")),
        (["vpc", "subformat=dynamic"], ForeignFormat::Vhd, Some("vpc")),
        (["vhdx", "subformat=dynamic"], ForeignFormat::Vhdx, Some("vhdx")),
        (["qed", "cluster_size=65536"], ForeignFormat::Qed, Some("qed")),
        (["qcow", "encryption=off"], ForeignFormat::Qcow, Some("qcow")),
        (["parallels", "cluster_size=1M"], ForeignFormat::Parallels, Some("parallels")),
    ] {
        let [name, option] = arguments;
        let head = made(dir.path(), &["-f", name, "-o", option, "a.img", "64M"]);
        let image = detect_format(&head).unwrap();
        let DiskImage::Foreign(foreign) = &image else { panic!("{arguments:?}: {image:?}") };
        assert_eq!((foreign.format, image.driver(), image.format()), (format, driver, None), "{arguments:?}");
        let refusal = image.refusal().unwrap();
        assert_eq!(refusal.contains("must be converted"), driver.is_some(), "{refusal}");
    }
    let luks =
        ["--object", "secret,id=s,data=x", "-f", "luks", "-o", "key-secret=s,iter-time=10", "a.img", "1M"];
    refused(&made(dir.path(), &luks), "it is a LUKS image that is encrypted; decrypt it");
}

#[test]
fn foreign_overlays_are_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    for format in ["vmdk", "qed", "qcow"] {
        made(dir.path(), &["-f", format, "a.img", "64M"]);
        std::fs::rename(dir.path().join("a.img"), dir.path().join("base")).unwrap();
        let head = made(dir.path(), &["-f", format, "-b", "base", "-F", format, "a.img"]);
        refused(&head, "has a parent image");
        assert_eq!(detect_format(&head).unwrap().driver(), None, "{format}");
    }
    // Those that qemu-img does not make.
    let vdi = made(dir.path(), &["-f", "vdi", "a.img", "64M"]);
    refused(&patched(&vdi, 0x4c, &4u32.to_le_bytes()), "has a parent image");
    refused(&patched(&vdi, 0x1b8, &[1]), "has a parent image");
    let vhd = made(dir.path(), &["-f", "vpc", "a.img", "64M"]);
    refused(&patched(&vhd, 60, &4u32.to_be_bytes()), "has a parent image");
    let vmdk = made(dir.path(), &["-f", "vmdk", "a.img", "64M"]);
    refused(&patched(&vmdk, 12, &[0; 8]), "has its data in other files");
    refused(
        b"\n# comment\r\n\r\nversion=1\ncreateType=\"monolithicFlat\"\n",
        "*-flat.vmdk that it lists is a raw image",
    );
    refused(b"COWD\x01\0\0\0", "is one part of several");
}

/// Its beginning is that of the disk, so that only the end tells.
#[test]
fn a_vhd_of_fixed_size_is_known_by_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let is_fixed = |subformat| {
        made(dir.path(), &["-f", "vpc", "-o", subformat, "a.img", "1M"]);
        let bytes = std::fs::read(dir.path().join("a.img")).unwrap();
        is_vhd_footer(&bytes[bytes.len() - 512..])
    };
    assert!(is_fixed("subformat=fixed"));
    assert!(!is_fixed("subformat=dynamic"));
    assert!(!is_vhd_footer(&[]) && !is_vhd_footer(b"conectix"));
}

#[test]
fn raw_is_what_a_firmware_would_start() {
    let mut sector = vec![0; 1 << 16];
    assert_eq!(detect_format(&sector), Ok(DiskImage::Unknown));
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(detect_format(&sector), Ok(DiskImage::Unknown), "nothing to start and no partition");
    for (at, bytes, is_raw) in [
        (0, b"\xeb\x63\x90".as_slice(), true),
        // Active, of type 83, from 2048 on, 100 sectors.
        (446, &[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 100, 0, 0, 0], true),
        (494, &[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 100, 0, 0, 0], true),
        (446, &[0x17, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 100, 0, 0, 0], false),
        (446, &[0x80, 0, 0, 0, 0x00, 0, 0, 0, 0, 8, 0, 0, 100, 0, 0, 0], false),
        (446, &[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0], false),
        (446, &[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0], false),
    ] {
        let image = detect_format(&patched(&sector, at, bytes)).unwrap();
        assert_eq!(image == DiskImage::Raw, is_raw, "{at} {bytes:?}");
        assert_eq!(image.driver(), is_raw.then_some("raw"));
        assert_eq!(detect_format(&patched(&sector, at, bytes)[..511]), Ok(DiskImage::Unknown));
    }
}

/// As fdisk writes it, for disks of both sizes of sectors.
#[test]
fn a_gpt_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    for sector in ["512", "4096"] {
        std::fs::write(dir.path().join("a.img"), vec![0; 8 << 20]).unwrap();
        let script = format!("printf 'g\\nn\\n\\n\\n+4M\\nw\\n' | fdisk --sector-size {sector} a.img");
        run(dir.path(), "sh", &["-c", &script]);
        let mut head = head(&dir.path().join("a.img"));
        assert_eq!(detect_format(&head), Ok(DiskImage::Raw), "{sector}");
        head[..512].fill(0);
        assert_eq!(detect_format(&head), Ok(DiskImage::Raw), "{sector}, without the protective MBR");
        let block: usize = sector.parse().unwrap();
        assert_eq!(detect_format(&patched(&head, block + 24, &[2])), Ok(DiskImage::Unknown));
    }
}

#[test]
fn installers_are_no_disks_even_where_they_have_a_boot_sector() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/boot.bin"), [0xeb; 2048]).unwrap();
    run(dir.path(), "genisoimage", &["-quiet", "-o", "a.img", "d"]);
    assert_eq!(
        detect_format(&head(&dir.path().join("a.img"))),
        Ok(DiskImage::NoDisk(NotADisk::Iso { boots: false }))
    );
    run(dir.path(), "genisoimage", &["-quiet", "-b", "boot.bin", "-no-emul-boot", "-o", "a.img", "d"]);
    let installer = head(&dir.path().join("a.img"));
    refused(&installer, "an installer or live system, not a disk");
    let hybrid = patched(&patched(&installer, 0, b"\xeb\x63"), 510, &[0x55, 0xaa]);
    refused(&hybrid, "an installer or live system, not a disk");
}

#[test]
fn what_downloads_turn_out_to_be_is_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), vec![7; 5000]).unwrap();
    for (command, said) in [
        ("gzip -c file", "it is compressed with gzip"),
        ("xz -c file", "it is compressed with xz"),
        ("zstd -qc file", "it is compressed with zstd"),
        ("printf 'BZh91AY&SY'", "it is compressed with bzip2"),
        ("tar -c file", "it is a tar archive"),
        ("printf '\\n  <!DOCTYPE html><title>404'", "it is a web page, not a disk"),
        ("printf '\\357\\273\\277<?xml version=\"1.0\"?>'", "it is XML"),
        ("printf '{\"message\": \"not f\\303\\266und\"}'", "it is JSON"),
        ("printf 'Not Found\\r\\n'", "it is text"),
        ("printf ''", "it is empty"),
        ("cat file", "it has neither a qcow2 header nor a boot sector"),
        ("printf 'a\\033[2J'", "it has neither a qcow2 header nor a boot sector"),
    ] {
        refused(&run(dir.path(), "sh", &["-c", command]), said);
    }
    // A letter that is cut by the end of what is looked at is no sign of anything.
    refused("ä".repeat(1000)[..].as_bytes(), "it is text");
    refused(["a", &"ä".repeat(1000)].concat().as_bytes(), "it is text");
}

#[test]
fn partial_image_is_not_an_image() {
    assert!(is_partial_image(&[0; 1024]) && !is_partial_image(&[]));
    let mark = b"foundry: an image on its way in\n";
    assert!(is_partial_image(mark) && !is_partial_image(b"foundry"));
    // A boot sector behind it makes no image of it.
    let both = patched(&patched(&[0; 1024], 0, mark), 510, &[0x55, 0xaa]);
    assert!(detect_format(&both) == Ok(DiskImage::Unknown) && is_partial_image(&both));
    assert!(!is_partial_image(&patched(&[0; 1024], 1000, &[1])));
}

/// Some header of each kind, to be cut and changed.
fn headers() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut headers: Vec<Vec<u8>> = ["qcow2", "vmdk", "vdi", "vpc", "vhdx", "qed", "qcow", "parallels"]
        .into_iter()
        .map(|format| made(dir.path(), &["-f", format, "a.img", "64M"]))
        .collect();
    headers.push(made(dir.path(), &["-f", "qcow2", "-u", "-b", "/base", "-F", "raw", "a.img", "64M"]));
    headers.push(made(dir.path(), &["-f", "vmdk", "-o", "subformat=monolithicFlat", "a.img", "64M"]));
    headers
}

/// All that can be asked of any bytes.
fn look(head: &[u8]) {
    is_partial_image(head);
    is_vhd_footer(head);
    if let Ok(image) = detect_format(head) {
        assert!(!image.to_string().is_empty());
        assert_eq!(
            image.format().is_some(),
            image.refusal().is_none() || matches!(image, DiskImage::Qcow2(_))
        );
        assert!(image.driver().is_none() || !matches!(image, DiskImage::NoDisk(_) | DiskImage::Unknown));
        image.note();
    }
}

#[test]
fn headers_cut_anywhere_are_answered() {
    for head in headers() {
        for length in 0..head.len().min(2000) {
            look(&head[..length]);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        look(&bytes);
        for magic in ["QFI\u{fb}", "QED\0", "KDMV", "conectix", "EFI PART"] {
            let magic: Vec<u8> = magic.chars().map(|c| c as u8).collect();
            look(&[&magic, &bytes[..]].concat());
            look(&[&magic[..], &[0, 0, 0, 3], &bytes[..]].concat());
        }
    }

    /// Where QEMU opens an image, foundry reads the same of it; where foundry finds none of its paths, QEMU
    /// has none either.
    #[test]
    fn changed_headers_are_read_as_qemu_reads_them(
        changes in prop::collection::vec((8usize..120, prop_oneof![Just(0u8), Just(1), Just(2), Just(255), any::<u8>()]), 1..4),
        overlay in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let arguments: &[&str] = if overlay {
            &["-f", "qcow2", "-u", "-b", "/nonexistent/base", "-F", "raw", "a.img", "64M"]
        } else {
            &["-f", "qcow2", "a.img", "64M"]
        };
        let file = dir.path().join("a.img");
        made(dir.path(), arguments);
        let mut bytes = std::fs::read(&file).unwrap();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        std::fs::write(&file, &bytes).unwrap();
        bytes.truncate(1 << 16);
        let info = Command::new("qemu-img").args(["info", "--output=json", "-f", "qcow2"]).arg(&file).output_in_time().unwrap();
        if info.status.success() {
            let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
            let backing = info["backing-filename"].as_str().filter(|name| !name.is_empty());
            match detect_format(&bytes) {
                Ok(DiskImage::Qcow2(header)) => {
                    prop_assert_eq!(Some(header.virtual_size.0 / 512 * 512), info["virtual-size"].as_u64());
                    prop_assert_eq!(Some(header.cluster_size), info["cluster-size"].as_u64().map(Bytes));
                    prop_assert_eq!(header.encryption.is_some(), info["encrypted"].as_bool() == Some(true));
                    // QEMU takes a name to end at a NUL.
                    let name = header.backing_file.as_deref().map(|n| n.split('\0').next().unwrap());
                    prop_assert_eq!(name.filter(|name| !name.is_empty()), backing);
                }
                // It is refused, which is right whatever QEMU makes of it.
                Err(HeaderError::BackingName) => {}
                other => prop_assert!(false, "QEMU opens it: {:?}", other),
            }
        }
    }
}
