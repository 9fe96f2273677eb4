//! How a disk comes.

use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::{Domains, View, Volumes};
use foundry::operations::Settings;
use foundry::operations::disk::{AttachRequest, DiskContent, Presence, attach};
use foundry::operations::vm::inspect::get_vm;
use foundry::plan::{DiskFormat, VmPlan};
use foundry::record::VolumeRef;
use foundry::units::Bytes;
use foundry::{Kind, manifest, yaml};

use super::{
    NOTHING, assert_refused, attach_as, attach_one, capacity, data_disks, detach_one, disk, disks, grow, off,
    pairs, recorded, targets,
};
use crate::support::bench::{Bench, GENTLE, GIB, disk_request, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan};

#[test]
fn a_disk_is_attached_now_and_for_good() {
    let bench = Bench::with_web();
    let attached = attach_one(&bench, 5).unwrap();
    assert_eq!((attached.disk.target.as_str(), attached.live), ("vdd", true));
    for targets in targets(&bench) {
        assert!(targets.contains(&"vdd".to_owned()), "{targets:?}");
    }
    assert_eq!(capacity(&bench, "web_data-vdd"), 5);
    let made = bench.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdd")).unwrap().unwrap();
    assert_eq!((made.format.as_str(), made.mode), ("qcow2", Some(0o600)));
    assert_eq!(
        recorded(&bench),
        ["web_boot", "web_data-vdb", "web_data-vdc", "web_data-vdd", "web_cloudinit"]
    );
    assert_eq!(data_disks(&bench), pairs(&[("vdb", "10"), ("vdc", "30"), ("vdd", "5")]));
    assert!(bench.record("web").volumes.iter().all(|v| v.attaching.is_none()));
    assert_eq!(bench.record("web").generation, 2);
}

/// To go back to a snapshot takes the disk away, and its volume is nobody's then.
#[test]
fn an_attach_beside_a_snapshot_is_warned_of() {
    let bench = Bench::with_web();
    attach_one(&bench, 1).unwrap();
    assert_eq!(bench.told.warnings(), NOTHING);
    bench.host.set_snapshots("web", &["before", "after"]);
    attach_one(&bench, 1).unwrap();
    let warnings = bench.told.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in ["VM 'web' has snapshots: before, after", "leaves its volume 'web_data-vde'"] {
        assert!(warnings[0].contains(part), "{warnings:?}");
    }
}

/// The record is what `create` takes again: it must make the VM as it is, disk for disk.
#[test]
fn create_of_what_get_shows_makes_the_same_vm() {
    let bench = Bench::with_web();
    let raw = AttachRequest {
        device: Some("vdf".parse().unwrap()),
        content: DiskContent::New { size: Bytes(7 * GIB), format: DiskFormat::Raw },
        serial: Some("archive".parse().unwrap()),
        ..disk_request("web", 7)
    };
    attach(&bench.context(), &raw).unwrap();
    attach_one(&bench, 5).unwrap();
    grow(&bench, "vda", "25").unwrap();
    detach_one(&bench, "vdb", false).unwrap();
    let live = |b: &Bench| {
        let uuid = b.host.uuid_of("web").unwrap();
        let mut read =
            DomainDescription::read(&b.host.domain_xml(uuid, View::Config).unwrap().unwrap()).unwrap();
        read.disks.sort_by(|a, b| a.target.cmp(&b.target));
        read.disks
    };
    let sizes = |b: &Bench| disks(b).into_iter().map(|d| (d.device, d.size, d.format)).collect::<Vec<_>>();
    let (as_it_is, sizes_now) = (live(&bench), sizes(&bench));
    let mut seen = get_vm(&bench.context(), "web").unwrap();
    foundry::operations::vm::seed_content::add_secrets(&bench.context(), &mut seen).unwrap();
    let text = yaml::write(&seen.vm).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    let again = manifest::load_text(&text, "vm.yaml").unwrap();
    bench.create(&VmPlan::from_manifest(&again[0], &Settings::default().defaults(None)).unwrap()).unwrap();
    assert_eq!(live(&bench), as_it_is);
    let seedless = |mut all: Vec<(String, Option<Bytes>, Option<String>)>| {
        all.retain(|d| d.0 != "sda");
        all
    };
    assert_eq!(seedless(sizes(&bench)), seedless(sizes_now));
}

#[test]
fn a_kept_disks_name_is_passed_over() {
    let bench = Bench::with_web();
    detach_one(&bench, "vdb", true).unwrap();
    assert_eq!(attach_one(&bench, 1).unwrap().disk.target.as_str(), "vdd");
    let mut bench = bench;
    bench.start = Some(bench.host.fingerprint());
    assert_refused(&bench, attach_as(&bench, 1, "vdb"), Kind::Storage, "volume 'web_data-vdb' exists");
    assert_refused(&bench, attach_as(&bench, 1, "vdc"), Kind::Vm, "VM 'web' has a disk 'vdc'");
}

#[test]
fn at_the_next_start_means_not_now() {
    let bench = Bench::with_web();
    let later =
        attach(&bench.context(), &AttachRequest { at_next_start: true, ..disk_request("web", 1) }).unwrap();
    assert!(!later.live);
    let [now, next] = targets(&bench);
    assert!(!now.contains(&"vdd".to_owned()) && next.contains(&"vdd".to_owned()));
    assert_eq!(disk(&bench, "vdd").presence, Presence::NextStart);
    // Its volume is nobody's yet, so it grows as one.
    assert!(!grow(&bench, "vdd", "2").unwrap().live);
    detach_one(&bench, "vdd", false).unwrap();
    assert_eq!(bench.record("web").volumes.len(), 4);
}

#[test]
fn without_a_slot_everything_is_taken_back_and_the_way_out_told() {
    let bench = Bench::on(host_with_neighbours().with_free_slots(1));
    bench.create(&plan(WEB)).unwrap();
    attach_one(&bench, 1).unwrap();
    let before = bench.host.fingerprint();
    let error = attach_one(&bench, 1).unwrap_err();
    assert!(whole(&error).contains("foundry disk attach web 1GiB --at-next-start"), "{}", whole(&error));
    assert!(whole(&error).contains("everything that was made is removed again"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn a_vm_that_is_off_gets_its_disk_at_the_next_start() {
    let bench = Bench::with_web();
    off(&bench);
    assert!(!attach_one(&bench, 1).unwrap().live);
    assert_eq!(disk(&bench, "vdd").presence, Presence::Attached);
    bench.host.start(bench.host.uuid_of("web").unwrap()).unwrap();
    assert!(targets(&bench)[0].contains(&"vdd".to_owned()));
}

#[test]
fn all_devices_can_be_taken_and_then_none_is_left() {
    let bench = Bench::with_web();
    off(&bench);
    // One of the names is that of a neighbour's volume.
    for _ in ('d'..='z').skip(1) {
        attach_one(&bench, 1).unwrap();
    }
    let error = attach_one(&bench, 1).unwrap_err();
    assert!(whole(&error).contains("vdb to vdz, or the names"), "{}", whole(&error));
}
