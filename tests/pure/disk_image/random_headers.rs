//! Headers that are cut off, random, or patched at random.

use super::made;
use crate::support::deadline::CommandInTime as _;
use foundry::disk_image::{DiskImage, HeaderError, detect_format, is_partial_image, is_vhd_footer};
use foundry::units::Bytes;
use proptest::prelude::*;
use std::process::Command;
use std::sync::LazyLock;

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

/// A plain image and an overlay.
static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let plain: &[&str] = &["-f", "qcow2", "a.img", "64M"];
    let overlay: &[&str] = &["-f", "qcow2", "-u", "-b", "/nonexistent/base", "-F", "raw", "a.img", "64M"];
    [plain, overlay].map(|arguments| {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path(), arguments);
        std::fs::read(dir.path().join("a.img")).unwrap()
    })
});

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
        let file = dir.path().join("a.img");
        let mut bytes = IMAGES[usize::from(overlay)].clone();
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
