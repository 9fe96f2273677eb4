//! Creation in pools on LVM, ZFS and Ceph, and what is refused there.

use super::{CEPH, LVM, NOTHING, ZFS, bench, disks_of, host, image, web};
use crate::support::bench::{Bench, GIB, host_with_neighbours, whole};
use crate::support::command::skip_without;
use crate::support::deadline::CommandInTime as _;
use crate::support::images::{Image, raw};
use crate::support::manifests::{WEB, plan_with};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::Volumes;
use foundry::host::memory::MemoryHost;
use foundry::operations::image::import_image;
use foundry::operations::vm::create::dry_run;
use foundry::record::VolumeRef;
use std::process::Command;

#[test]
fn on_lvm_disks_are_raw_volumes_of_full_size() {
    let bench = bench(LVM);
    bench.create(&web(&[])).unwrap();
    let calls = bench.host.calls();
    assert!(calls.contains(&"clone_volume fast/web_boot".to_owned()), "{calls:?}");
    assert!(!calls.iter().any(|c| c.starts_with("resize")), "libvirt cannot resize there: {calls:?}");
    let sizes: Vec<(String, String, u64, u64)> = bench
        .host
        .volumes("fast")
        .unwrap()
        .into_iter()
        .map(|v| (v.path, v.format, v.capacity.0, v.allocation.0))
        .collect();
    let raw = |name: &str, size| (format!("/dev/vg0/web_{name}"), "raw".into(), size, size);
    let expected = [
        raw("boot", 20 * GIB),
        raw("cloudinit", 4 << 20),
        raw("data-vdb", 10 * GIB),
        raw("data-vdc", 30 * GIB),
    ];
    assert_eq!(sizes, expected);
    let disks = disks_of(&bench);
    for (disk, name) in disks.iter().zip(["boot", "data-vdb", "data-vdc"]) {
        assert!(disk.starts_with("type=\"block\" device=\"disk\""), "{disk}");
        assert!(
            disk.contains(r#"<driver name="qemu" type="raw" cache="none" io="native" discard="unmap"/>"#)
        );
        assert!(disk.contains(&format!(r#"<source dev="/dev/vg0/web_{name}"/>"#)), "{disk}");
    }
    assert!(disks[3].starts_with("type=\"block\" device=\"cdrom\""), "{}", disks[3]);
    assert!(
        disks[3].contains(r#"<source dev="/dev/vg0/web_cloudinit"/>"#) && disks[3].contains("<readonly/>")
    );
    let said = bench.told.done();
    assert!(
        said.contains(&"Storage created (20 GiB boot + 40 GiB data, a copy of the image)".to_owned()),
        "{said:?}"
    );
}

#[test]
fn on_zfs_disks_are_thin_and_boot_from_no_image() {
    let bench = bench(ZFS);
    let error = bench.create(&web(&[])).unwrap_err();
    assert!(error.text().contains("libvirt cannot copy image 'foundry-images:debian-12' into a ZFS pool"));
    bench.create(&web(image(ZFS))).unwrap();
    let volumes = bench.host.volumes("fast").unwrap();
    for volume in volumes.iter().filter(|v| !v.name.ends_with("cloudinit")) {
        assert_eq!((volume.allocation.0, volume.format.as_str()), (0, "raw"), "{volume:?}");
    }
    // The seed takes its room at once, like everywhere.
    let seed = volumes.iter().find(|v| v.name == "web_cloudinit").unwrap();
    assert_eq!((seed.capacity.0, seed.allocation.0), (1 << 20, 1 << 20));
    assert!(disks_of(&bench)[0].contains(r#"<source dev="/dev/zvol/tank/vms/web_boot"/>"#));
}

#[test]
fn at_ceph_the_boot_disk_is_a_clone_and_the_seed_is_elsewhere() {
    let bench = bench(CEPH);
    bench.create(&web(image(CEPH))).unwrap();
    let steps: Vec<String> =
        bench.host.calls().into_iter().filter(|c| c.contains("_volume ") || c.contains("upload ")).collect();
    assert_eq!(
        steps,
        [
            "clone_volume fast/web_boot",
            "resize_volume fast/web_boot",
            "create_volume fast/web_data-vdb",
            "create_volume fast/web_data-vdc",
            "create_volume foundry-vms/web_cloudinit",
            "upload foundry-vms/web_cloudinit",
        ]
    );
    assert_eq!(bench.host.volume(&VolumeRef::new("fast", "web_boot")).unwrap().unwrap().capacity.0, 20 * GIB);
    let disks = disks_of(&bench);
    assert!(disks[0].starts_with("type=\"network\" device=\"disk\""), "{}", disks[0]);
    let source = r#"<source protocol="rbd" name="vms/web_boot">  <host name="mon1"/>  <host name="10.0.0.2" port="6790"/>  <auth username="libvirt">    <secret type="ceph" usage="client.libvirt secret"/>  </auth></source>"#;
    assert!(disks[0].contains(source), "{}", disks[0]);
    assert!(disks[0].contains(r#"<driver name="qemu" type="raw" discard="unmap"/>"#), "{}", disks[0]);
    assert!(disks[3].contains(r#"<source file="/pool/vms/web_cloudinit"/>"#), "{}", disks[3]);
    let said = bench.told.done();
    assert!(
        said.contains(&"Storage created (20 GiB boot + 40 GiB data, a clone of the image)".to_owned()),
        "{said:?}"
    );
    // What a boot disk was cloned from stays as long as that is there.
    let info =
        foundry::operations::image::image_info(&bench.context(), &VolumeRef::new("fast", "debian")).unwrap();
    assert_eq!(info.vms, ["web"]);
}

#[test]
fn the_seed_finds_a_pool_of_its_own() {
    // The default one is made for it, where the VM's pool is the user's default.
    let mut on_ceph =
        Bench::on(MemoryHost::new().with_pool_of(CEPH).with_image("fast", "debian", "raw", GIB));
    on_ceph.settings.vm_pool = "fast".parse().unwrap();
    let plan = web(&[("image: debian-12", "image: 'fast:debian'"), ("bridge: br0", "bridge: br0")]);
    on_ceph.create(&plan).unwrap();
    assert!(on_ceph.host.volume(&VolumeRef::new("foundry-vms", "web_cloudinit")).unwrap().is_some());
    // And where that cannot hold it either, it is said.
    let two = CEPH
        .replace("<name>fast</name>", "<name>foundry-vms</name>")
        .replace("<name>vms</name>", "<name>b</name>");
    let bench = Bench::on(
        MemoryHost::new().with_pool_of(CEPH).with_pool_of(&two).with_image("fast", "debian", "raw", GIB),
    );
    let error = bench.create(&plan).unwrap_err();
    let sentence = "pool 'fast' cannot hold a cloud-init seed, nor can pool 'foundry-vms'";
    assert!(error.text().contains(sentence), "{}", whole(&error));
}

#[test]
fn what_such_a_pool_cannot_hold_is_refused_before_anything_is_made() {
    let image_at_path = [("image: debian-12", "image: /somewhere/debian.qcow2")];
    let qcow2 = [("image: debian-12}", "image: debian-12, format: qcow2}")];
    type Replaced<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Replaced<'_>, &str); 4] = [
        (LVM, &qcow2, "spec.bootDisk.format: pool 'fast' holds raw disks, not qcow2"),
        (CEPH, &[], "libvirt can clone an image to Ceph pool 'fast' only from that pool"),
        (LVM, &image_at_path, "image '/somewhere/debian.qcow2' is in no pool"),
        (ZFS, &[], "libvirt cannot copy image"),
    ];
    for (pool, replaced, sentence) in cases {
        let bench = bench(pool);
        let before = bench.host.fingerprint();
        let error = bench.create(&web(replaced)).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage);
        assert!(error.text().contains(sentence), "{}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), NOTHING);
    }
    // What is at Ceph no other pool's disks can lie on, nor be copied from.
    for pool in [None, Some(LVM)] {
        let ceph = CEPH.replace("<name>fast</name>", "<name>ceph</name>");
        let host = host_with_neighbours().with_pool_of(&ceph).with_image("ceph", "debian", "raw", GIB);
        let replaced = [("image: debian-12", "image: 'ceph:debian'")];
        let (host, plan) = match pool {
            None => (host, plan_with(WEB, &replaced)),
            Some(xml) => (host.with_pool_of(xml), web(&replaced)),
        };
        let error = Bench::on(host).create(&plan).unwrap_err();
        assert!(error.text().contains("image 'ceph:debian' is in Ceph"), "{}", whole(&error));
    }
    // LVM takes everything at once.
    let small = Bench::on(host(LVM).with_space(50 * GIB));
    let error = small.create(&web(&[])).unwrap_err();
    assert!(error.text().contains("the VM needs 60 GiB"), "{}", whole(&error));
}

/// `format: raw` says what is so anyway.
#[test]
fn raw_may_be_said() {
    let (bench, plain) = (bench(LVM), bench(LVM));
    bench.create(&web(&[("image: debian-12}", "image: debian-12, format: raw}")])).unwrap();
    plain.create(&web(&[])).unwrap();
    let formats = |bench: &Bench| -> Vec<String> {
        let volumes = bench.host.volumes("fast").unwrap();
        volumes.into_iter().map(|volume| format!("{}: {}", volume.name, volume.format)).collect()
    };
    assert_eq!(formats(&bench), formats(&plain));
}

#[test]
fn images_are_imported_into_pools_of_files_only() {
    for pool in [LVM, ZFS, CEPH] {
        let bench = bench(pool);
        let before = bench.host.fingerprint();
        let bytes = raw();
        let mut image = Image::unknown(&*bytes);
        let error =
            import_image(&bench.context(), "fast", &"x.raw".parse().unwrap(), &mut image).unwrap_err();
        assert!(error.message().ends_with("but images need a pool of files"), "{}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), NOTHING);
    }
}

/// By libvirt's own schema.
#[test]
fn the_domains_are_valid() {
    for pool in [LVM, ZFS, CEPH] {
        let xml = dry_run(&bench(pool).context(), &web(image(pool))).unwrap().domain_xml;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("domain.xml");
        std::fs::write(&file, &xml).unwrap();
        let Ok(done) = Command::new("virt-xml-validate").arg(&file).arg("domain").output_in_time() else {
            return skip_without("virt-xml-validate", "libvirt-clients");
        };
        assert!(done.status.success(), "{}\n{xml}", String::from_utf8_lossy(&done.stderr));
    }
}
