//! VMs with disks on LVM, ZFS and Ceph: what is made there, what libvirt is told, what is refused, and that nothing
//! is left.

use std::process::Command;
use std::time::Duration;

use crate::support::bench::{
    Bench, FORCE, GENTLE, GIB, KEEP, disk_request, foreign, host_with_neighbours, whole,
};
use crate::support::command::skip_without;
use crate::support::deadline::CommandInTime as _;
use crate::support::faults::each_fault;
use crate::support::images::{Image, raw};
use crate::support::manifests::{HASH, WEB, plan_with};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::memory::MemoryHost;
use foundry::host::{DomainState, Domains, Pools, View, Volumes};
use foundry::operations::disk::{self, AttachRequest};
use foundry::operations::image::import_image;
use foundry::operations::storage::pools;
use foundry::operations::vm::create::dry_run;
use foundry::operations::vm::inspect::{add_secrets, get_vm};
use foundry::plan::{DiskFormat, VmPlan};
use foundry::record::VolumeRef;
use foundry::units::{Bytes, SizeRequest};

const NOTHING: [&str; 0] = [];

const LVM: &str = "<pool type='logical'><name>fast</name><source><name>vg0</name></source>\
                   <target><path>/dev/vg0</path></target></pool>";
const ZFS: &str = "<pool type='zfs'><name>fast</name><source><name>tank/vms</name></source>\
                   <target><path>/dev/zvol/tank/vms</path></target></pool>";
const CEPH: &str = "<pool type='rbd'><name>fast</name><source><host name='mon1'/>\
                    <host name='10.0.0.2' port='6790'/><name>vms</name><auth type='ceph' username='libvirt'>\
                    <secret usage='client.libvirt secret'/></auth></source></pool>";

/// `web` with its disks in the pool `fast`, and as much else as a test replaces.
fn web(replaced: &[(&str, &str)]) -> VmPlan {
    plan_with(WEB, &[&[("vcpus: 2", "vcpus: 2\n  storagePool: fast")], replaced].concat())
}

fn host(pool: &str) -> MemoryHost {
    host_with_neighbours().with_pool_of(pool)
}

/// The image that a boot disk in such a pool can be made from.
fn image(pool: &str) -> &'static [(&'static str, &'static str)] {
    match pool {
        ZFS => &[("image: debian-12", "empty: true")],
        CEPH => &[("image: debian-12", "image: 'fast:debian'")],
        _ => &[],
    }
}

fn bench(pool: &str) -> Bench {
    let host = host(pool);
    Bench::on(if pool == CEPH { host.with_image("fast", "debian", "raw", 2 * GIB) } else { host })
}

/// The disks of a domain, as libvirt has it.
fn disks_of(bench: &Bench) -> Vec<String> {
    let xml = bench.host.domain_xml(bench.host.uuid_of("web").unwrap(), View::Config).unwrap().unwrap();
    xml.split("<disk ")
        .skip(1)
        .map(|disk| disk.split("</disk>").next().unwrap().replace("\n      ", ""))
        .collect()
}

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
fn a_vm_goes_with_exactly_its_own_volumes() {
    for pool in [LVM, ZFS, CEPH] {
        let bench = bench(pool);
        bench.host.create_volume("fast", "<volume><name>web_data-vdx</name><capacity>1048576</capacity><allocation>1048576</allocation></volume>").unwrap();
        let before = bench.host.fingerprint();
        bench.create(&web(image(pool))).unwrap();
        let mut seen = get_vm(&bench.context(), "web").unwrap();
        add_secrets(&bench.context(), &mut seen).unwrap();
        let shown = seen.vm.spec.cloud_init.unwrap().password_hash;
        assert_eq!(shown.as_deref(), Some(HASH), "{pool}: the seed is read back");
        bench.destroy("web", GENTLE).unwrap();
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{pool}");
        bench.create(&web(image(pool))).unwrap();
        bench.destroy("web", KEEP).unwrap();
        let kept: Vec<String> = bench.host.volumes("fast").unwrap().into_iter().map(|v| v.name).collect();
        assert!(
            kept.contains(&"web_boot".to_owned()) && kept.contains(&"web_data-vdb".to_owned()),
            "{kept:?}"
        );
        assert!(!kept.contains(&"web_cloudinit".to_owned()), "{kept:?}");
    }
}

/// As `create_faults.rs` has it for files: nothing is left, or it is named and `destroy` removes it.
#[test]
fn every_fault_is_undone_or_told() {
    for pool in [LVM, ZFS, CEPH] {
        let before = bench(pool).host.fingerprint();
        let faults = each_fault(
            || bench(pool),
            |bench| bench.create(&web(image(pool))),
            |bench, outcome, _, label| {
                let Err(error) = outcome else { return };
                let told = error.outcome_texts().join("\n");
                let left = bench.host.changes_since(&before);
                let files: Vec<&String> = left.iter().filter(|c| c.contains("file ")).collect();
                for file in &files {
                    let name = file.split(':').next().unwrap().rsplit('/').next().unwrap();
                    assert!(told.contains(name), "{pool} {label}: {file} is not in\n{told}");
                }
                if bench.host.uuid_of("web").is_some() {
                    bench.next_run("web");
                    bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
                }
                let left = bench.host.changes_since(&before);
                assert_eq!(left, NOTHING, "{pool} {label}");
            },
        );
        assert!(faults > 100, "{faults}");
    }
}

/// libvirt shows a volume of LVM's at `/dev/VG/LV`; device-mapper, and so whoever wrote a domain's XML, has other
/// names for it.
#[test]
fn a_volume_under_device_mappers_name_is_the_same_volume() {
    let block = |name: &str, path: &str| {
        foreign(name, path).replace("type='file'", "type='block'").replace("file=", "dev=")
    };
    let bench = Bench::on(host(LVM).with_foreign_domain(&block("box", "/dev/mapper/vg0-web_data--vdb")));
    bench.create(&web(&[])).unwrap();
    let demolition = bench.survey("web", GENTLE).unwrap();
    let spared: Vec<&str> = demolition.kept_back.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(spared, ["volume 'web_data-vdb' in pool 'fast'"]);
    let users = pools::pool_info(&bench.context(), "fast").unwrap().users;
    assert_eq!(users, ["box", "web"]);
}

#[test]
fn a_pool_is_stopped_and_deleted_only_when_nobody_needs_it() {
    for pool in [LVM, ZFS, CEPH] {
        let bench = bench(pool);
        bench.create(&web(image(pool))).unwrap();
        let refused = |outcome: Result<bool, foundry::Error>| {
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.kind(), error.message()),
                (Kind::Storage, "pool 'fast' is in use by VM 'web'"),
                "{pool}"
            );
        };
        refused(pools::stop_pool(&bench.context(), "fast", true));
        assert!(bench.host.pool("fast").unwrap().unwrap().autostart, "nothing was changed");
        bench.host.set_state("web", DomainState::ShutOff);
        assert!(pools::stop_pool(&bench.context(), "fast", true).unwrap());
        assert!(!pools::stop_pool(&bench.context(), "fast", false).unwrap());
        // Of a stopped pool libvirt shows no volumes; its VMs are still there.
        refused(pools::delete_pool(&bench.context(), "fast", true).map(|()| true));
        assert!(pools::start_pool(&bench.context(), "fast", true).unwrap());
        assert!(!pools::start_pool(&bench.context(), "fast", false).unwrap());
        let now = bench.host.pool("fast").unwrap().unwrap();
        assert!(now.active && now.autostart);
        bench.destroy("web", GENTLE).unwrap();
        pools::delete_pool(&bench.context(), "fast", true).unwrap();
    }
}

#[test]
fn a_further_disk_is_as_those_of_its_pool_are() {
    for (pool, kind, path, takes) in [
        (LVM, "block", "dev=\"/dev/vg0/web_data-vdd\"", 2 * GIB),
        (ZFS, "block", "dev=\"/dev/zvol/tank/vms/web_data-vdd\"", 0),
        (CEPH, "network", "name=\"vms/web_data-vdd\"", 0),
    ] {
        let bench = bench(pool);
        bench.create(&web(image(pool))).unwrap();
        let before = bench.host.fingerprint();
        let request = disk_request("web", 2);
        let attached = disk::attach(&bench.context(), &request).unwrap();
        assert_eq!((attached.disk.format, attached.live), (DiskFormat::Raw, true), "{pool}");
        let made = bench.host.volume(&VolumeRef::new("fast", "web_data-vdd")).unwrap().unwrap();
        assert_eq!((made.capacity.0, made.allocation.0), (2 * GIB, takes), "{pool}");
        let xml = disks_of(&bench).pop().unwrap();
        assert!(xml.starts_with(&format!("type=\"{kind}\"")) && xml.contains(path), "{pool}: {xml}");
        let found = disk::plan_detach(&bench.context(), "web", "vdd", false).unwrap();
        disk::detach(&bench.context(), &found, Duration::from_secs(1)).unwrap();
        assert_eq!(
            bench.host.changes_since(&before).iter().filter(|c| c.contains("file ")).count(),
            0,
            "{pool}"
        );
    }
}

#[test]
fn what_libvirt_cannot_grow_is_said_with_what_can() {
    for (pool, by_hand) in [
        (LVM, Some("lvextend --size 42949672960b /dev/vg0/web_data-vdb")),
        (ZFS, Some("zfs set volsize=42949672960 tank/vms/web_data-vdb")),
        (CEPH, None),
    ] {
        let bench = bench(pool);
        bench.create(&web(image(pool))).unwrap();
        let before = bench.host.fingerprint();
        let outcome = disk::resize(&bench.context(), "web", "vdb", SizeRequest::To(Bytes(40 * GIB)));
        match by_hand {
            Some(command) => {
                let error = outcome.unwrap_err();
                assert_eq!(error.kind(), Kind::Storage);
                assert!(error.hint_text().unwrap().contains(command), "{}", whole(&error));
                assert_eq!(bench.host.changes_since(&before), NOTHING);
            }
            None => assert_eq!(outcome.unwrap().to.0, 40 * GIB),
        }
    }
}

#[test]
fn a_volume_group_without_room_takes_no_further_disk() {
    let bench = Bench::on(host(LVM).with_space(100 * GIB));
    bench.create(&web(&[])).unwrap();
    let before = bench.host.fingerprint();
    let size = Bytes(60 * GIB);
    let (device, format, serial) = (None, DiskFormat::Qcow2, None);
    let request = AttachRequest { vm: "web", size, device, format, serial, at_next_start: false };
    let error = disk::attach(&bench.context(), &request).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    assert!(whole(&error).contains("the disk needs 60 GiB at once"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// One iSCSI unit in use says nothing of the other disks under `/dev/disk/by-path`.
#[test]
fn units_of_other_targets_are_not_a_pools() {
    let luns = "<pool type='iscsi'><name>luns</name><source><host name='san'/><device path='iqn.2026-01.com.example:a'/>\
                </source><target><path>/dev/disk/by-path</path></target></pool>";
    let other = foreign("box", "/dev/disk/by-path/pci-0000-nvme-1")
        .replace("type='file'", "type='block'")
        .replace("file=", "dev=");
    let bench = Bench::on(host_with_neighbours().with_pool_of(luns).with_foreign_domain(&other));
    assert_eq!(pools::pool_info(&bench.context(), "luns").unwrap().users, Vec::<String>::new());
    pools::delete_pool(&bench.context(), "luns", true).unwrap();
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
