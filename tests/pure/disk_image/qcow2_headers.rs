//! qcow2 headers, valid and hostile.

use super::{head, made, patched, qcow2, refused, run};
use foundry::disk_image::{DiskImage, Encryption, HeaderError, detect_format};

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
