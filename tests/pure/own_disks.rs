//! Which disk of a VM is on which volume of its record: the volume says, not the guest's name of the disk, nor the path
//! that it had when it was made.

use std::time::Duration;

use crate::support::bench::{Bench, GENTLE, GIB, foreign, whole};
use foundry::host::{DomainState, Domains, Pools, View, Volumes};
use foundry::operations::disk::{self, DiskView, Presence};
use foundry::operations::gc;
use foundry::operations::vm::seed;
use foundry::record::VolumeRef;
use foundry::units::{Bytes, SizeRequest};

/// Edits the definition of `web` as `virsh edit` does.
fn edit(bench: &Bench, edit: impl Fn(String) -> String) {
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = bench.host.domain_xml(uuid, View::Config).unwrap().unwrap();
    let edited = edit(xml.clone());
    assert!(edited != xml, "nothing was edited");
    bench.host.define_domain(&edited).unwrap();
}

fn off() -> Bench {
    let bench = Bench::with_web();
    bench.host.set_state("web", DomainState::ShutOff);
    bench
}

/// virt-manager's other bus: `vdb` on virtio becomes `sdb` on SCSI.
fn other_bus(xml: String) -> String {
    xml.replace(r#"dev="vdb" bus="virtio""#, r#"dev="sdb" bus="scsi""#)
}

/// Puts a disk on another file, and leaves the record alone.
fn moved_to(xml: &str, from: &str, to: &str) -> String {
    xml.replace(&format!("<source file=\"{from}"), &format!("<source file=\"{to}"))
}

fn swapped(xml: String) -> String {
    let (vdb, vdc) = ("/pool/vms/web_data-vdb", "/pool/vms/web_data-vdc");
    moved_to(&moved_to(&moved_to(&xml, vdb, "X"), vdc, vdb), "X", vdc)
}

/// Names the disks by pool and volume, not by path (libvirt's domain format page, disk type `volume`).
fn by_volume(xml: String) -> String {
    let edited = xml
        .replace(r#"type="file" device="disk""#, r#"type="volume" device="disk""#)
        .replace(r#"<source file="/pool/vms/web_boot"#, r#"<source pool="foundry-vms" volume="web_boot"#)
        .replace(r#"<source file="/pool/vms/web_data-"#, r#"<source pool="foundry-vms" volume="web_data-"#);
    assert_eq!(edited.matches("<source pool=").count(), 3, "{edited}");
    edited
}

fn listed(bench: &Bench) -> Vec<DiskView> {
    disk::list_disks(&bench.context(), Some("web")).unwrap()
}

fn detach(bench: &Bench, disk: &str) {
    let context = bench.context();
    let detachment = disk::plan_detach(&context, "web", disk, false).unwrap();
    disk::detach(&context, &detachment, Duration::from_secs(5)).unwrap();
}

/// All but that the console's log is on the host, which is not this machine.
fn warnings(bench: &Bench) -> Vec<String> {
    bench.told.warnings().into_iter().filter(|w| !w.contains("console log")).collect()
}

/// Without those of the volumes that this bench has lying about under names as the VM gives them.
fn warnings_of_disks(bench: &Bench) -> Vec<String> {
    warnings(bench).into_iter().filter(|w| !w.contains("no domain uses it")).collect()
}

fn recorded(bench: &Bench) -> Vec<String> {
    bench.record("web").volumes.into_iter().map(|v| v.name).collect()
}

#[test]
fn a_disk_on_another_bus_is_the_same_disk() {
    for word in ["vdb", "sdb", "web_data-vdb"] {
        let bench = off();
        edit(&bench, other_bus);
        let all = listed(&bench);
        let of_volume: Vec<&DiskView> =
            all.iter().filter(|d| d.volume.as_deref() == Some("web_data-vdb")).collect();
        let [disk] = of_volume.as_slice() else { panic!("{all:?}") };
        assert_eq!((disk.device.as_str(), disk.presence), ("sdb", Presence::Attached));
        assert!(disk.role.is_some());

        let size = SizeRequest::To(Bytes(600 * GIB));
        disk::resize(&bench.context(), "web", word, size).unwrap();
        let record = bench.record("web");
        let volume = record.volumes.iter().find(|v| v.name == "web_data-vdb").unwrap();
        assert_eq!(volume.capacity, Bytes(600 * GIB));
        detach(&bench, word);
        assert!(!recorded(&bench).contains(&"web_data-vdb".into()));
        assert!(bench.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdb")).unwrap().is_none());
        let manifest = bench.record("web").manifest;
        assert!(manifest.spec.data_disks.iter().all(|d| d.device.as_deref() != Some("vdb")));
    }
}

/// Changed while it runs: it has the old name until it stops, and the new one from then on.
#[test]
fn a_disk_that_has_two_names_is_detached_by_both() {
    let bench = Bench::with_web();
    edit(&bench, other_bus);
    detach(&bench, "vdb");
    assert!(
        listed(&bench).iter().all(|d| d.volume.as_deref() != Some("web_data-vdb")),
        "{:?}",
        listed(&bench)
    );
    assert!(bench.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdb")).unwrap().is_none());
}

#[test]
fn of_two_disks_that_changed_names_each_keeps_its_volume() {
    let bench = off();
    let sizes = |bench: &Bench| {
        bench.record("web").volumes.into_iter().map(|v| (v.name, v.capacity)).collect::<Vec<_>>()
    };
    let before = sizes(&bench);
    edit(&bench, swapped);
    disk::resize(&bench.context(), "web", "vdb", SizeRequest::To(Bytes(700 * GIB))).unwrap();
    for ((name, was), (_, is)) in before.iter().zip(sizes(&bench)) {
        assert_eq!(is, if name == "web_data-vdc" { Bytes(700 * GIB) } else { *was }, "{name}");
    }
    detach(&bench, "vdb");
    assert!(bench.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdc")).unwrap().is_none());
    assert!(bench.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdb")).unwrap().is_some());
    bench.destroy("web", GENTLE).unwrap();
    assert!(bench.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdb")).unwrap().is_none());
}

#[test]
fn disks_named_by_volume_are_the_recorded_ones() {
    let bench = off();
    edit(&bench, by_volume);
    let all = listed(&bench);
    for (device, name) in [("vda", "web_boot"), ("vdb", "web_data-vdb"), ("vdc", "web_data-vdc")] {
        let disk = all.iter().find(|d| d.device == device).unwrap();
        assert_eq!(disk.volume.as_deref(), Some(name), "{all:?}");
        assert!(disk.role.is_some() && disk.presence == Presence::Attached, "{disk:?}");
    }
    let is_there = |name: &str| bench.host.volume(&VolumeRef::new("foundry-vms", name)).unwrap().is_some();
    detach(&bench, "vdc");
    assert!(is_there("web_boot") && is_there("web_data-vdb") && !is_there("web_data-vdc"));
    assert!(!recorded(&bench).contains(&"web_data-vdc".into()));
    bench.destroy("web", GENTLE).unwrap();
    assert!(!is_there("web_boot") && !is_there("web_data-vdb"));
}

/// Stop the pool, move its directory, define it there, and tell the domain.
fn moved() -> Bench {
    let bench = off();
    let host = &bench.host;
    host.stop_pool("foundry-vms").unwrap();
    host.undefine_pool("foundry-vms").unwrap();
    for volume in bench.record("web").volumes {
        host.put_file(&volume.path.replace("/pool/vms/", "/other/vms/"), b"");
        host.remove_file(&volume.path);
    }
    host.define_pool(
        "<pool type='dir'><name>foundry-vms</name><target><path>/other/vms</path></target></pool>",
    )
    .unwrap();
    host.build_pool("foundry-vms").unwrap();
    host.start_pool("foundry-vms").unwrap();
    edit(&bench, |xml| moved_to(&xml, "/pool/vms/web_", "/other/vms/web_"));
    bench
}

#[test]
fn storage_that_was_moved_with_its_vm_is_still_the_vms() {
    let bench = moved();
    let all = listed(&bench);
    assert!(all.iter().all(|d| d.role.is_some() && d.presence == Presence::Attached), "{all:?}");
    let left = gc::find_leftovers(&bench.context(), None).unwrap();
    assert!(left.found.iter().all(|r| !r.name.starts_with("web/")), "{:?}", left.found);
    disk::resize(&bench.context(), "web", "vdb", SizeRequest::To(Bytes(600 * GIB))).unwrap();
    detach(&bench, "vdb");
    let ejection = seed::plan_eject(&bench.context(), "web", true).unwrap().unwrap();
    seed::eject_seed(&bench.context(), &ejection).unwrap();
    assert_eq!(recorded(&bench), ["web_boot", "web_data-vdc"]);
    bench.destroy("web", GENTLE).unwrap();
    let left: Vec<String> = bench.host.files().into_iter().filter(|f| f.starts_with("/other/")).collect();
    assert_eq!(left, [] as [&str; 0]);
    assert_eq!(warnings_of_disks(&bench), [] as [&str; 0]);
}

/// A volume of that name in the pool is another one as long as the VM is not on it.
#[test]
fn what_the_vm_is_not_on_is_not_its_own_for_its_name() {
    let bench = off();
    let host = &bench.host;
    host.stop_pool("foundry-vms").unwrap();
    host.undefine_pool("foundry-vms").unwrap();
    host.put_file("/other/vms/web_data-vdb", b"somebody's");
    host.define_pool(
        "<pool type='dir'><name>foundry-vms</name><target><path>/other/vms</path></target></pool>",
    )
    .unwrap();
    host.build_pool("foundry-vms").unwrap();
    host.start_pool("foundry-vms").unwrap();
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(host.content("/other/vms/web_data-vdb").unwrap(), b"somebody's");
}

#[test]
fn what_took_the_place_of_a_disk_and_is_no_snapshot_is_not_committed() {
    let bench = off();
    bench.host.put_file("/pool/vms/copy", b"");
    edit(&bench, |xml| moved_to(&xml, "/pool/vms/web_data-vdb", "/pool/vms/copy"));
    let size = SizeRequest::To(Bytes(600 * GIB));
    let error = disk::resize(&bench.context(), "web", "vdb", size).unwrap_err();
    assert!(whole(&error).contains("is not on its own volume"), "{}", whole(&error));
    assert!(!whole(&error).contains("blockcommit"), "{}", whole(&error));
}

#[test]
fn a_volume_that_is_not_there_is_told_of() {
    let bench = off();
    bench.host.remove_file("/pool/vms/web_data-vdb");
    bench.host.refresh_pool("foundry-vms").unwrap();
    bench.destroy("web", GENTLE).unwrap();
    let warnings = warnings_of_disks(&bench);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.starts_with("volume 'web_data-vdb' in pool 'foundry-vms' was missing"), "{warning}");
}

/// `virsh domrename` leaves the console's log where it is.
#[test]
fn the_log_of_a_vm_that_was_renamed_is_its_own() {
    for (taken, told) in
        [(false, "old-console.log on the host"), (true, "foundry writes its logs elsewhere on this host")]
    {
        let bench = off();
        bench.edit_record("web", |record| {
            record["manifest"]["metadata"]["name"] = "old".into();
            record["consoleLog"] = "/var/log/libvirt/qemu/old-console.log".into();
        });
        edit(&bench, |xml| xml.replace("qemu/web-console.log\" append", "qemu/old-console.log\" append"));
        if taken {
            bench.host.define_domain(&foreign("old", "/elsewhere")).unwrap();
        }
        bench.destroy("web", GENTLE).unwrap();
        let warnings = bench.told.warnings();
        assert!(warnings.iter().any(|w| w.contains(told)), "{warnings:?}");
    }
}
