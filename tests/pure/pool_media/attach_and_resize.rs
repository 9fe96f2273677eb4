//! Attaching and resizing disks.

use super::{CEPH, LVM, NOTHING, ZFS, bench, disks_of, host, image, web};
use crate::support::bench::{Bench, GIB, disk_request, whole};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::Volumes;
use foundry::operations::disk::{self, AttachRequest, DiskContent};
use foundry::plan::DiskFormat;
use foundry::record::VolumeRef;
use foundry::units::{Bytes, SizeRequest};
use std::time::Duration;

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
    let content = DiskContent::New { size, format: DiskFormat::Qcow2 };
    let request = AttachRequest { vm: "web", content, device: None, serial: None, at_next_start: false };
    let error = disk::attach(&bench.context(), &request).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    assert!(whole(&error).contains("the disk needs 60 GiB at once"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}
