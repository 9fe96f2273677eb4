//! Formats other than qcow2: foreign images, raw disks, installers, and what is no image.

use super::{head, made, patched, refused, run};
use foundry::disk_image::{
    DiskImage, ForeignFormat, NotADisk, detect_format, is_partial_image, is_vhd_footer,
};

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
