//! Conversion of real images by the real qemu-img.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use crate::support::again;
use crate::support::deadline::CommandInTime as _;
use crate::support::shown::Shown;
use foundry::convert::{Conversion, ImageFormat, convert_file};
use foundry::disk_image::{DiskImage, detect_format};
use foundry::{Error, Kind};

const MIB: usize = 1 << 20;

/// A disk of 32 MiB: a boot sector, data in two places, and holes.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 32 * MIB];
    disk[..3].copy_from_slice(b"\xeb\x63\x90");
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for start in [MIB, 20 * MIB] {
        disk[start..start + MIB].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i % 251) as u8 | 1);
    }
    disk
}

/// A directory with that disk in a file of that format, as `image`.
fn made(disk: &[u8], options: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("disk"), disk).unwrap();
    qemu_img(dir.path(), &[&["convert", "-f", "raw", "disk", "image", "-O"], options].concat());
    std::fs::remove_file(dir.path().join("disk")).unwrap();
    dir
}

fn qemu_img(directory: &Path, arguments: &[&str]) {
    let done = Command::new("qemu-img").current_dir(directory).args(arguments).output_in_time().unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
}

fn converted(directory: &Path, name: &str, to: ImageFormat) -> Result<File, Error> {
    let image = File::open(directory.join(name)).unwrap();
    convert_file(Conversion {
        from: "disk.img",
        image: &image,
        to,
        directory,
        stop: &|| false,
        written: &|_| {},
    })
}

fn bytes(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[track_caller]
fn refuses(directory: &Path, name: &str, why: &str) {
    for to in [ImageFormat::Qcow2, ImageFormat::Raw] {
        let error = converted(directory, name, to).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Storage, format!("cannot convert disk.img to {}", to.as_str()).as_str())
        );
        assert!(error.cause().unwrap().contains(why), "{error}");
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    }
}

#[test]
fn a_disk_is_the_same_whatever_it_comes_in() {
    let disk = disk();
    for options in [
        ["raw", "-o", "preallocation=off"],
        ["qcow2", "-o", "compat=0.10"],
        ["qcow2", "-c", "-q"],
        ["vmdk", "-o", "subformat=monolithicSparse"],
        ["vmdk", "-o", "subformat=streamOptimized"],
        ["vdi", "-o", "static=off"],
        ["vdi", "-o", "static=on"],
        ["vpc", "-o", "subformat=dynamic,force_size=on"],
        ["vpc", "-o", "subformat=fixed,force_size=on"],
        ["vhdx", "-o", "subformat=dynamic"],
        ["qed", "-o", "cluster_size=64k"],
        ["qcow", "-o", "encryption=off"],
        ["parallels", "-o", "cluster_size=1M"],
    ] {
        let dir = made(&disk, &options);
        let raw = converted(dir.path(), "image", ImageFormat::Raw).unwrap();
        assert!(raw.metadata().unwrap().blocks() * 512 < 4 * MIB as u64, "{options:?}: holes stay holes");
        assert!(bytes(raw) == disk, "{options:?}");
        let qcow2 = bytes(converted(dir.path(), "image", ImageFormat::Qcow2).unwrap());
        assert!(qcow2.len() < 4 * MIB, "{options:?}");
        let Ok(DiskImage::Qcow2(header)) = detect_format(&qcow2) else { panic!("{options:?}") };
        assert_eq!(header.virtual_size.0, disk.len() as u64, "{options:?}");
        // And back, which tells what is in it.
        std::fs::write(dir.path().join("back"), qcow2).unwrap();
        assert!(bytes(converted(dir.path(), "back", ImageFormat::Raw).unwrap()) == disk, "{options:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "{options:?}: no file is left");
    }
}

/// The footer of a VHD image, as the specification has it, with the geometry that its algorithm gives.
fn footer(creator: &[u8; 4], kind: u32, size: u64, geometry: (u16, u8, u8)) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[8..12].copy_from_slice(&2u32.to_be_bytes());
    footer[12..16].copy_from_slice(&0x1_0000u32.to_be_bytes());
    footer[16..24].copy_from_slice(&u64::MAX.to_be_bytes());
    footer[28..32].copy_from_slice(creator);
    footer[40..48].copy_from_slice(&size.to_be_bytes());
    footer[48..56].copy_from_slice(&size.to_be_bytes());
    footer[56..58].copy_from_slice(&geometry.0.to_be_bytes());
    footer[58..60].copy_from_slice(&[geometry.1, geometry.2]);
    footer[60..64].copy_from_slice(&kind.to_be_bytes());
    sum(&mut footer);
    footer
}

fn sum(footer: &mut [u8]) {
    footer[64..68].fill(0);
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
}

/// Of makers that it does not know, QEMU takes the geometry for the size, which is less.
#[test]
fn a_vhd_keeps_its_end_whoever_made_it() {
    let mut disk = vec![0; 4 * MIB];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 0xff, 0x1f, 0, 0]);
    disk[4 * MIB - 512..].fill(0xee);
    for creator in
        [b"vbox", b"vpc ", b"qemu", b"vmdk", b"simh", b"86bx", b"wa\0\0", b"win ", b"d2v ", b"qem2"]
    {
        let dir = tempfile::tempdir().unwrap();
        let fixed = [&disk[..], &footer(creator, 2, disk.len() as u64, (120, 4, 17))].concat();
        std::fs::write(dir.path().join("fixed"), &fixed).unwrap();
        std::fs::write(dir.path().join("disk"), &disk).unwrap();
        qemu_img(dir.path(), &["convert", "-O", "vpc", "-o", "force_size=on", "disk", "dynamic"]);
        let mut dynamic = std::fs::read(dir.path().join("dynamic")).unwrap();
        let end = dynamic.len() - 512;
        for at in [0, end] {
            dynamic[at + 28..at + 32].copy_from_slice(creator);
            dynamic[at + 56..at + 60].copy_from_slice(&[0, 120, 4, 17]);
            sum(&mut dynamic[at..at + 512]);
        }
        std::fs::write(dir.path().join("dynamic"), &dynamic).unwrap();
        for name in ["fixed", "dynamic"] {
            let raw = bytes(converted(dir.path(), name, ImageFormat::Raw).unwrap());
            assert!(raw == disk, "{name} by {creator:?}: {} bytes", raw.len());
            let qcow2 = bytes(converted(dir.path(), name, ImageFormat::Qcow2).unwrap());
            let Ok(DiskImage::Qcow2(header)) = detect_format(&qcow2) else { panic!("{name}") };
            assert_eq!(header.virtual_size.0, disk.len() as u64, "{name} by {creator:?}");
        }
        // One that is shorter than its footer says lost something in its middle.
        let cut = [&fixed[..fixed.len() - 512 - 4096], &fixed[fixed.len() - 512..]].concat();
        std::fs::write(dir.path().join("cut"), cut).unwrap();
        let error = converted(dir.path(), "cut", ImageFormat::Raw).unwrap_err();
        assert!(error.to_string().contains("it is truncated"), "{error}");
    }
}

/// Whatever says more than the file holds: a reader would take the rest for zeros.
#[test]
fn what_says_more_than_it_holds_is_refused() {
    let mut disk = disk();
    let end = disk.len() - MIB;
    disk[end..].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i % 249) as u8 | 1);
    for options in [
        ["qcow2", "-o", "compat=0.10"],
        ["qcow2", "-o", "cluster_size=512"],
        ["qcow2", "-o", "extended_l2=on"],
        ["qcow2", "-o", "preallocation=metadata"],
        ["qcow2", "-c", "-q"],
        ["vmdk", "-o", "subformat=monolithicSparse"],
        ["vdi", "-o", "static=off"],
        ["vdi", "-o", "static=on"],
        ["vpc", "-o", "subformat=dynamic,force_size=on"],
        ["vhdx", "-o", "subformat=dynamic"],
        ["vhdx", "-o", "subformat=fixed"],
        ["qed", "-o", "cluster_size=64k"],
        ["qcow", "-o", "encryption=off"],
        ["parallels", "-o", "cluster_size=1M"],
    ] {
        let dir = made(&disk, &options);
        let image = std::fs::read(dir.path().join("image")).unwrap();
        for cut in [512, 65536, image.len() / 2] {
            std::fs::write(dir.path().join("cut"), &image[..image.len() - cut]).unwrap();
            let refused = converted(dir.path(), "cut", ImageFormat::Qcow2);
            // The disk's last block may be shorter than the image's, and VHD has a footer behind it.
            let is_slack = cut == 512 && matches!(options[0], "vpc" | "vdi" | "parallels" | "vhdx");
            assert!(refused.is_err() || is_slack, "{options:?} without its last {cut} bytes");
        }
    }
}

/// qemu-img takes what looks like a protocol or an option for one. The data is the file's all the same.
#[test]
fn names_are_nothing_to_qemu_img() {
    let disk = disk();
    for name in [
        "-rf",
        "--help",
        "nbd:localhost:1",
        "json:{\"driver\":\"null-co\",\"size\":\"1G\"}",
        "fat:rw:x",
        "a,file.locking=on",
        "driver=raw,file.filename=x",
        "$(touch x)",
        "new\nline \u{1b}[2J",
        "\u{202e}ä",
    ] {
        let dir = made(&disk, &["vmdk"]);
        std::fs::rename(dir.path().join("image"), dir.path().join(name)).unwrap();
        assert!(bytes(converted(dir.path(), name, ImageFormat::Raw).unwrap()) == disk, "{name:?}");
        // The directory of the result, too.
        let inside = dir.path().join(format!("d{name}"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::rename(dir.path().join(name), inside.join("image")).unwrap();
        assert!(bytes(converted(&inside, "image", ImageFormat::Raw).unwrap()) == disk, "{name:?}");
    }
}

#[test]
fn no_file_but_the_image_is_opened() {
    let dir = made(&disk(), &["vmdk", "-o", "subformat=monolithicFlat"]);
    refuses(dir.path(), "image", "it is a VMDK image that has its data in other files");
    let at = |name: &str| dir.path().join(name);
    let descriptor = |extent: &str| {
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 4 FLAT \"{extent}\" 0\n"
        )
    };
    std::fs::write(at("text"), descriptor("/etc/passwd")).unwrap();
    refuses(dir.path(), "text", "it is a VMDK image that has its data in other files");
    // A sparse one without a capacity is read as the descriptor inside it says.
    qemu_img(dir.path(), &["create", "-q", "-f", "vmdk", "sparse", "1M"]);
    let sparse = File::options().read(true).write(true).open(at("sparse")).unwrap();
    sparse.write_all_at(&[0; 8], 12).unwrap();
    sparse.write_all_at(descriptor("/etc/passwd").as_bytes(), 512).unwrap();
    refuses(dir.path(), "sparse", "it is a VMDK image that has its data in other files");

    for format in ["qcow2", "vmdk", "qed", "qcow"] {
        let base = format!("{format}-base");
        qemu_img(dir.path(), &["create", "-q", "-f", format, &base, "1M"]);
        qemu_img(dir.path(), &["create", "-q", "-f", format, "-b", &base, "-F", format, format]);
        refuses(
            dir.path(),
            format,
            if format == "qcow2" { "it is an overlay on" } else { "has a parent image" },
        );
    }
    qemu_img(dir.path(), &["create", "-q", "-f", "qcow2", "-o", "data_file=data", "split", "1M"]);
    refuses(dir.path(), "split", "its data is in another file (\"data\")");
}

/// What the head does not show, QEMU's driver refuses: VHDX keeps its parent far behind.
#[test]
fn a_vhdx_on_a_parent_is_refused() {
    let dir = made(&disk(), &["vhdx"]);
    let mut image = std::fs::read(dir.path().join("image")).unwrap();
    // The entry "File Parameters" of the metadata table ([MS-VHDX] 2.6.2.1): identity, then where it is.
    let identity = b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
    let table = image.windows(8).position(|w| w == b"metadata").unwrap();
    let entry = image.windows(16).position(|w| w == identity).unwrap();
    let offset = u32::from_le_bytes(image[entry + 16..entry + 20].try_into().unwrap()) as usize;
    image[table + offset + 4] |= 2;
    std::fs::write(dir.path().join("image"), image).unwrap();
    refuses(dir.path(), "image", "Could not open 'the image': Invalid argument");
}

#[test]
fn what_is_no_image_is_refused_before_qemu_img_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    for (content, why) in [
        (b"".as_slice(), "it is empty"),
        (b"<html>404", "it is a web page"),
        (&[0; 4096], "it has neither a qcow2 header nor a boot sector"),
        (b"QFI\xfb\0\0\0\x09", "qcow2 version 9 is unknown"),
    ] {
        std::fs::write(dir.path().join("image"), content).unwrap();
        refuses(dir.path(), "image", why);
    }
}

#[test]
fn what_qemu_img_says_is_told_without_its_names() {
    let dir = made(&disk(), &["vmdk"]);
    let file = File::options().write(true).open(dir.path().join("image")).unwrap();
    file.write_all_at(&9u32.to_le_bytes(), 4).unwrap();
    refuses(dir.path(), "image", "Unsupported VMDK version 9");
    let error = converted(dir.path(), "image", ImageFormat::Raw).unwrap_err().to_string();
    assert_eq!(error, "cannot convert disk.img to raw: Unsupported VMDK version 9");
}

/// An image in an image would be taken for the inner one, with whatever that one names.
#[test]
fn what_comes_out_must_be_a_disk() {
    let inner = made(&disk(), &["qcow2"]);
    let dir = made(&std::fs::read(inner.path().join("image")).unwrap(), &["vmdk"]);
    let error = converted(dir.path(), "image", ImageFormat::Raw).unwrap_err();
    assert_eq!(error.cause(), Some("the data in the image is not a disk: it is itself an image (qcow2)"));
    let dir = made(&vec![0; MIB], &["vdi"]);
    let error = converted(dir.path(), "image", ImageFormat::Raw).unwrap_err();
    assert!(
        error.cause().unwrap().starts_with("the data in the image is not a disk: it has neither"),
        "{error}"
    );
}

#[test]
fn a_conversion_can_be_stopped() {
    let mut disk = vec![0x5a; 192 * MIB];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let dir = made(&disk, &["vdi"]);
    let image = File::open(dir.path().join("image")).unwrap();
    let written = Cell::new(0);
    let stop = || written.get() > 0;
    let tell = |bytes: foundry::units::Bytes| written.set(bytes.0);
    let conversion = Conversion {
        from: "disk.img",
        image: &image,
        to: ImageFormat::Raw,
        directory: dir.path(),
        stop: &stop,
        written: &tell,
    };
    let error = convert_file(conversion).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Interrupted, "interrupted while converting disk.img"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let stopped = Conversion { stop: &|| true, ..conversion };
    assert_eq!(convert_file(stopped).unwrap_err().kind(), Kind::Interrupted);
}

/// A file system of 1 MiB, where this process may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=1M", "foundry-test"];
        let done = Command::new("mount").args(mount).arg(dir.path()).output_in_time().unwrap();
        done.status.success().then_some(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status_in_time();
    }
}

#[test]
fn a_lack_of_room_is_found_before() {
    let Some(small) = Small::new() else { return println!("skipped: no right to mount") };
    for options in [["vmdk"], ["vhdx"], ["raw"]] {
        let dir = made(&disk(), &options);
        let image = File::open(dir.path().join("image")).unwrap();
        let directory = small.0.path();
        let to = ImageFormat::Qcow2;
        let conversion =
            Conversion { from: "disk.img", image: &image, to, directory, stop: &|| false, written: &|_| {} };
        let error = convert_file(conversion).unwrap_err();
        let cause = error.cause().unwrap();
        assert!(cause.starts_with("it temporarily needs up to ") && cause.contains(", and 1"), "{cause}");
        assert_eq!(error.hint_text().as_deref(), Some("set TMPDIR to use another directory"));
    }
}

#[test]
fn qemu_img_may_be_missing() {
    const INSIDE: &str = "FOUNDRY_TEST_WITHOUT_QEMU_IMG";
    if std::env::var_os(INSIDE).is_none() {
        let again = std::env::current_exe().unwrap();
        let test = again::exact(module_path!(), "qemu_img_may_be_missing");
        let dir = made(&disk(), &["vmdk"]);
        let done = Command::new(again)
            .args(["--exact", &test])
            .env(INSIDE, dir.path())
            .env("PATH", "/nonexistent")
            .output_in_time();
        let done = done.unwrap();
        let passed = String::from_utf8_lossy(&done.stdout).lines().any(again::has_passed);
        return assert!(done.status.success() && passed, "{done:?}");
    }
    let dir = std::env::var(INSIDE).unwrap();
    let error = converted(Path::new(&dir), "image", ImageFormat::Raw).unwrap_err();
    assert_eq!(error.cause(), Some("qemu-img is not installed on this machine"));
    assert!(error.hint_text().unwrap().contains("qemu-utils"));
}
