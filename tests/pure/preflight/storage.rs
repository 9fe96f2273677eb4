//! Pools, room and images.

use super::{assert_finds, found};
use crate::support::bench::{Bench, GIB, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::{Pools, Transfers, Volumes};
use foundry::operations::preflight::preflight;
use foundry::plan::VmPlan;
use foundry::record::VolumeRef;
use foundry::{Code, Kind};

fn with_image(image: &str) -> VmPlan {
    plan_with(WEB, &[("image: debian-12", &format!("image: '{image}'"))])
}

#[test]
fn pools_must_be_there_and_be_such_that_disks_can_be_made() {
    let bench = Bench::new();
    let in_pool = |pool: &str| plan_with(WEB, &[("vcpus: 2", &format!("vcpus: 2\n  storagePool: {pool}"))]);
    assert_finds(
        &bench,
        &in_pool("foundry-vm"),
        Kind::Storage,
        "there is no pool 'foundry-vm'\n    did you mean 'foundry-vms'?",
    );
    assert!(found(&bench, &in_pool("ssd")).text().contains("foundry pool add ssd dir PATH creates one"));
    let xml = "<pool type='iscsi'><name>luns</name><target><path>/dev/disk/by-path</path></target></pool>";
    bench.host.define_pool(xml).unwrap();
    assert_finds(
        &bench,
        &in_pool("luns"),
        Kind::Storage,
        "pool 'luns' is of type iscsi, and libvirt cannot create volumes in it\n    use a pool of type dir, fs, netfs, logical, zfs or rbd",
    );
    let xml = "<pool type='gluster'><name>far</name><target><path>/far</path></target></pool>";
    bench.host.define_pool(xml).unwrap();
    assert_finds(&bench, &in_pool("far"), Kind::Storage, "pool 'far' is of type gluster");
}

#[test]
fn disks_need_room_now_and_later() {
    let bench = Bench::on(host_with_neighbours().with_space(3 << 20));
    assert_finds(&bench, &plan(WEB), Kind::Storage, "the VM needs 4 MiB at once");
    let bench = Bench::on(host_with_neighbours().with_space(30 * GIB));
    preflight(&bench.context(), &plan(WEB)).unwrap();
    assert!(bench.told.warnings()[0].starts_with("the disks can grow to 60 GiB, but pool 'foundry-vms' has"));
    let raw = plan_with(
        WEB,
        &[("image: debian-12}", "image: debian-12, format: raw}"), ("sizeGB: 20", "sizeGB: 40")],
    );
    assert_finds(&bench, &raw, Kind::Storage, "the VM needs 40 GiB");
}

#[test]
fn an_image_that_is_not_there_is_told_with_the_nearest() {
    let bench = Bench::new();
    assert_finds(
        &bench,
        &with_image("debian-21"),
        Kind::Storage,
        "image 'debian-21' not found in pool 'foundry-images'\n    did you mean 'debian-12'?",
    );
    let no_pool = "there is no pool 'golden'\n    foundry pool list";
    assert_finds(&bench, &with_image("golden:debian-12"), Kind::Storage, no_pool);
    let bench = Bench::on(host_with_neighbours().with_inactive_pool("golden", "/golden"));
    assert_finds(
        &bench,
        &with_image("golden:x"),
        Kind::Storage,
        "pool 'golden' is not started\n    foundry pool start golden",
    );
}

#[test]
fn an_image_that_is_not_there_is_told_with_the_command_that_brings_it() {
    let bench = Bench::on(host_with_neighbours().with_pool("golden", "/golden"));
    let cases = [
        ("debian-13.qcow2", "\n    foundry image pull debian-13 adds one"),
        ("golden:debian-13.qcow2", "\n    foundry image pull debian-13 --pool golden adds one"),
        ("golden:own.qcow2", "\n    foundry image import FILE own.qcow2 --pool golden adds one"),
    ];
    for (image, told) in cases {
        assert_finds(&bench, &with_image(image), Kind::Storage, told);
    }
}

/// FACTS 14: qemu-img makes such a disk without complaint.
#[test]
fn a_disk_that_is_smaller_than_its_image_is_refused() {
    let bench = Bench::on(host_with_neighbours().with_image("foundry-images", "big", "qcow2", 21 * GIB));
    assert_finds(
        &bench,
        &with_image("big"),
        Kind::Storage,
        "spec.bootDisk.sizeGB: image 'foundry-images:big' needs 21 GiB, but the boot disk has only 20 GiB",
    );
    let bench = Bench::on(host_with_neighbours().with_image("foundry-images", "fits", "qcow2", 20 * GIB));
    preflight(&bench.context(), &with_image("fits")).unwrap();
}

/// What libvirt says of an image may be from before it was written.
#[test]
fn the_header_says_what_an_image_is_not_libvirt() {
    let bench = Bench::new();
    let mut boot_sector: &[u8] = &[&[0xeb, 0xfe][..], &[0; 508], &[0x55, 0xaa]].concat();
    bench.host.upload_all(&VolumeRef::new("foundry-images", "debian-12"), &mut boot_sector, 512).unwrap();
    assert_eq!(
        bench.host.volume(&VolumeRef::new("foundry-images", "debian-12")).unwrap().unwrap().format,
        "qcow2"
    );
    let ready = preflight(&bench.context(), &plan(WEB)).unwrap();
    assert_eq!(ready.storage.image.unwrap().format, "raw");

    // And the other way round: a qcow2 of 30 GiB in what libvirt takes for a raw file of 1 MiB.
    let bench =
        Bench::on(host_with_neighbours().with_image("foundry-images", "img", "raw", 1 << 20).with_image(
            "tmp",
            "big",
            "qcow2",
            30 * GIB,
        ));
    let header = bench.host.content("/pool/tmp/big").unwrap();
    bench
        .host
        .upload_all(&VolumeRef::new("foundry-images", "img"), &mut header.as_slice(), header.len() as u64)
        .unwrap();
    assert_finds(&bench, &with_image("img"), Kind::Storage, "image 'foundry-images:img' needs 30 GiB");
}

#[test]
fn what_is_no_bootable_image_is_refused_with_the_reason() {
    let vmdk = [b"KDMV".as_slice(), &[0; 600]].concat();
    let host = host_with_neighbours()
        .with_overlay("foundry-images", "overlay", GIB, "/pool/images/debian-12")
        .with_volume("foundry-images", "text", &[b'a'; 1000])
        .with_volume("foundry-images", "vmdk", &vmdk)
        .with_volume("foundry-images", "broken", b"QFI\xfb\0\0\0\x03");
    let bench = Bench::on(host);
    for (name, reason) in [
        ("overlay", "it is an overlay on \"/pool/images/debian-12\""),
        ("text", "it is text, not a disk"),
        ("vmdk", "VMDK"),
        ("broken", "the qcow2 header is truncated"),
    ] {
        assert_finds(
            &bench,
            &with_image(name),
            Kind::Storage,
            &format!("image 'foundry-images:{name}' cannot be used"),
        );
        assert!(
            found(&bench, &with_image(name)).text().contains(reason),
            "{}",
            found(&bench, &with_image(name))
        );
    }
}

#[test]
fn an_image_by_path_is_a_volume_or_a_file_of_this_machine() {
    let bench = Bench::new();
    let ready = preflight(&bench.context(), &with_image("/pool/images/debian-12")).unwrap();
    assert_eq!(ready.storage.image.unwrap().volume.unwrap().name, "debian-12");
    assert_finds(
        &bench,
        &with_image("/srv/x.qcow2"),
        Kind::Storage,
        "image '/srv/x.qcow2' is in no pool of the host",
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.img");
    let path = path.to_str().unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    // FACTS 15: the file is looked for.
    assert_finds(&bench, &with_image(path), Kind::Storage, "cannot be read: no such file");
    std::fs::write(path, bench.host.content("/pool/images/debian-12").unwrap()).unwrap();
    let image = preflight(&bench.context(), &with_image(path)).unwrap().storage.image.unwrap();
    assert_eq!((image.path.as_str(), image.format.as_str(), image.virtual_size.0), (path, "qcow2", 2 * GIB));
    // A link is followed once, and what it led to is what the VM gets.
    let link = folder.path().join("link.img");
    std::os::unix::fs::symlink(path, &link).unwrap();
    let linked = preflight(&bench.context(), &with_image(link.to_str().unwrap())).unwrap();
    assert_eq!(linked.storage.image.unwrap().path, path);
    let raw = plan_with(WEB, &[("image: debian-12}", &format!("image: '{path}', format: raw}}"))]);
    assert_finds(&bench, &raw, Kind::Storage, "is in no pool, so that libvirt cannot copy it to a raw disk");
}

/// What was looked at is what QEMU opens only if nobody else can put something in its place.
#[test]
fn an_image_by_path_that_others_can_replace_is_refused() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("pub");
    std::fs::create_dir(&below).unwrap();
    let path = below.join("x.qcow2");
    let bench = Bench::on(host_with_neighbours().local());
    std::fs::write(&path, bench.host.content("/pool/images/debian-12").unwrap()).unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = || found(&bench, &with_image(path.to_str().unwrap()));
    let fine = || preflight(&bench.context(), &with_image(path.to_str().unwrap())).unwrap();
    set(&path, 0o644);
    fine();
    set(&below, 0o777);
    let error = refused();
    assert_eq!((error.kind(), error.code()), (Kind::Storage, Code::ImageOfOthers));
    assert!(error.text().contains("is writable by other users (mode 777)"), "{}", whole(&error));
    set(&below, 0o1777);
    fine();
    set(&path, 0o666);
    assert_eq!(refused().code(), Code::ImageOfOthers);
    set(&path, 0o644);
    set(&below, 0o755);
    // Only root can give a file away.
    if chown(&path, Some(12345), None).is_ok() {
        assert!(refused().text().contains("belongs to user 12345"));
    }
}

/// A device would be the host's own disk to the guest, and a FIFO is never done.
#[test]
fn an_image_by_path_is_a_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    for (path, what) in [
        (fifo.to_str().unwrap(), "it is a FIFO, not a regular file"),
        ("/dev/null", "it is a character device, not a regular file"),
        (link.to_str().unwrap(), "it is a character device, not a regular file"),
        (folder.path().to_str().unwrap(), "it is a directory, not a regular file"),
    ] {
        let error = found(&bench, &with_image(path));
        assert_eq!(error.code(), Code::NotAnImage, "{}", whole(&error));
        assert!(error.text().contains(what), "{}", whole(&error));
    }
}
