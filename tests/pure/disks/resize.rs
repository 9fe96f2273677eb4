//! How a disk grows, and which one does not.

use foundry::Kind;
use foundry::host::memory::Guest;
use foundry::host::{Affect, Disks, DomainState, Domains, Pools, Volumes};
use foundry::operations::disk::{attach, plan_detach, resize};
use foundry::record::VolumeRef;
use foundry::units::{Bytes, SizeRequest};

use super::{NOTHING, assert_refused, capacity, data_disks, detach_one, disk, grow, off, pairs};
use crate::support::bench::{Bench, GIB, disk_request, foreign, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan, plan_with};

#[test]
fn a_disk_grows_while_it_runs_and_the_manifest_says_so() {
    let bench = Bench::with_web();
    let boot = grow(&bench, "boot", "40GiB").unwrap();
    assert_eq!((boot.from, boot.to, boot.live), (Bytes(20 * GIB), Bytes(40 * GIB), true));
    grow(&bench, "web_data-vdb", "+5GiB").unwrap();
    assert_eq!((capacity(&bench, "web_boot"), capacity(&bench, "web_data-vdb")), (40, 15));
    assert!(bench.host.calls().iter().any(|c| c == "resize_disk web"));
    assert!(!bench.host.calls().iter().any(|c| c.starts_with("resize_volume")));
    assert_eq!(data_disks(&bench), pairs(&[("vdb", "15"), ("vdc", "30")]));
    let record = bench.record("web");
    assert_eq!(record.manifest.spec.boot_disk.unwrap().size_gb.unwrap().to_u64(), Some(40));
    assert_eq!(record.volumes[0].capacity, Bytes(40 * GIB));
    assert_eq!(record.generation, 3);
}

#[test]
fn the_volume_grows_while_it_is_off() {
    let bench = Bench::with_web();
    off(&bench);
    let grown = grow(&bench, "vdc", "31").unwrap();
    assert!(!grown.live && grown.agent.is_none());
    assert_eq!(capacity(&bench, "web_data-vdc"), 31);
    assert!(bench.host.calls().iter().any(|c| c == "resize_volume foundry-vms/web_data-vdc"));
}

#[test]
fn the_size_keeps_the_name_that_the_manifest_gave_it() {
    let bench = Bench::new();
    bench.create(&plan_with(WEB, &[("{device: vdb, sizeGB: 10}", "{device: vdb, sizeGiB: 10}")])).unwrap();
    grow(&bench, "vdb", "11").unwrap();
    let data = bench.record("web").manifest.spec.data_disks;
    assert_eq!((data[0].size_gb, data[0].size_gib.unwrap().to_u64()), (None, Some(11)));
}

#[test]
fn what_has_the_size_already_is_left_alone() {
    let mut bench = Bench::with_web();
    for size in ["20", "20GiB"] {
        let same = grow(&bench, "vda", size).unwrap();
        assert_eq!(same.from, same.to);
    }
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
    // Grown without foundry: only the record has to learn of it.
    bench.host.resize_volume(&VolumeRef::new("foundry-vms", "web_data-vdb"), Bytes(12 * GIB)).unwrap();
    bench.start = None;
    grow(&bench, "vdb", "12").unwrap();
    assert_eq!(data_disks(&bench)[0].1, "12");
}

#[test]
fn nothing_shrinks() {
    let bench = Bench::with_web();
    let told = "disk 'vda' of VM 'web' has 20 GiB and does not shrink to 19 GiB";
    assert_refused(&bench, grow(&bench, "vda", "19GiB"), Kind::Validation, told);
}

#[test]
fn a_relative_size_counts_from_what_is_there() {
    let bench = Bench::with_web();
    bench.host.resize_volume(&VolumeRef::new("foundry-vms", "web_data-vdb"), Bytes(12 * GIB)).unwrap();
    assert_eq!(grow(&bench, "vdb", "+1").unwrap().to, Bytes(13 * GIB));
    bench.host.resize_volume(&VolumeRef::new("foundry-vms", "web_data-vdb"), Bytes(13 * GIB + 512)).unwrap();
    let error = grow(&bench, "vdb", "+1").unwrap_err();
    assert!(whole(&error).contains("give the new size: 14GiB"), "{}", whole(&error));
    let much = resize(&bench.context(), "web", "vda", SizeRequest::By(Bytes(i64::MAX as u64 / GIB * GIB)));
    assert_eq!(much.unwrap_err().kind(), Kind::Validation);
}

#[test]
fn what_cannot_grow_is_refused_before_anything_is_touched() {
    let refuse = |prepare: &dyn Fn(&Bench), disk: &str, told: &str| {
        let mut bench = Bench::with_web();
        prepare(&bench);
        bench.start = Some(bench.host.fingerprint());
        let outcome = grow(&bench, disk, "100");
        assert_refused(&bench, outcome, Kind::Vm, told);
    };
    refuse(&|_| {}, "sda", "is a CD-ROM");
    refuse(&|_| {}, "web_cloudinit", "is a CD-ROM");
    refuse(&|_| {}, "vdz", "VM 'web' has no disk 'vdz'");
    refuse(&|b| b.host.set_snapshots("web", &["before", "after"]), "vda", "has snapshots: before, after");
    refuse(&|b| b.host.set_block_job("web", "vda"), "vda", "a block job works on disk 'vda'");
    refuse(&|b| b.edit_record("web", |r| r["state"] = "destroying".into()), "vda", "half destroyed");
    let dead = |b: &Bench| {
        b.edit_record("web", |r| r["state"] = "creating".into());
        b.bury_maker("web");
    };
    refuse(&dead, "vda", "the creation of VM 'web' was interrupted");
    refuse(&|b| b.edit_record("web", |r| r["state"] = "creating".into()), "vda", "is being created");
    refuse(&|b| b.edit_record("web", |r| r["version"] = 99.into()), "vda", "newer foundry");
    let undefined = |b: &Bench| b.host.undefine(b.host.uuid_of("web").unwrap()).unwrap();
    refuse(&undefined, "vda", "has no definition");
    for element in ["<readonly/>", "<shareable/>"] {
        let mark = |b: &Bench| swap_disk(b, "vdb", "/pool/vms/web_data-vdb", element);
        refuse(&mark, "vdb", if element.contains("read") { "is read-only" } else { "is shared" });
    }
    let shared = |b: &Bench| {
        b.host.define_domain(&foreign("thief", "/pool/vms/web_data-vdb")).unwrap();
    };
    refuse(&shared, "vdb", "is shared: domain 'thief' uses it too");
}

/// Describes a disk anew, as a snapshot does or somebody who edits the definition.
fn swap_disk(bench: &Bench, target: &str, path: &str, element: &str) {
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>\
         <target dev='{target}' bus='virtio'/>{element}</disk>"
    );
    bench.host.detach_disk(uuid, target, Affect::Both).unwrap();
    bench.host.attach_disk(uuid, &xml, Affect::Both).unwrap();
}

#[test]
fn a_disk_on_a_snapshot_is_neither_grown_nor_detached() {
    let (pool, snapshot) = ("foundry-vms", "web_data-vdb.snap");
    let host = host_with_neighbours().with_overlay(pool, snapshot, 10 * GIB, "/pool/vms/web_data-vdb");
    let mut bench = Bench::on(host);
    bench.create(&plan(WEB)).unwrap();
    swap_disk(&bench, "vdb", "/pool/vms/web_data-vdb.snap", "");
    bench.start = Some(bench.host.fingerprint());
    let told = "virsh blockcommit web vdb --active --pivot --base /pool/vms/web_data-vdb ";
    assert_refused(&bench, grow(&bench, "vdb", "100"), Kind::Vm, told);
    assert_refused(&bench, detach_one(&bench, "vdb", false), Kind::Vm, told);
    let listed = disk(&bench, "vdb");
    assert_eq!(listed.path.as_deref(), Some("/pool/vms/web_data-vdb.snap"));
    assert_eq!(listed.volume.as_deref(), Some(snapshot), "the recorded one is not what it is on");
}

#[test]
fn foreign_and_absent_vms_are_refused() {
    let mut bench = Bench::with_web();
    bench.start = Some(bench.host.fingerprint());
    for outcome in [
        resize(&bench.context(), "other", "vda", SizeRequest::To(Bytes(GIB))).map(drop),
        attach(&bench.context(), &disk_request("other", 1)).map(drop),
        plan_detach(&bench.context(), "other", "vda", false).map(drop),
    ] {
        assert_refused(&bench, outcome, Kind::Vm, "was not made by foundry");
    }
    assert_eq!(attach(&bench.context(), &disk_request("wbe", 1)).unwrap_err().kind(), Kind::Vm);
}

#[test]
fn a_stopped_pool_is_named() {
    let mut bench = Bench::with_web();
    bench.host.stop_pool("foundry-vms").unwrap();
    bench.start = Some(bench.host.fingerprint());
    assert_refused(&bench, grow(&bench, "vda", "21"), Kind::Storage, "foundry pool start foundry-vms");
}

#[test]
fn a_full_file_system_is_found_before_and_a_small_one_told() {
    let bench = Bench::on(host_with_neighbours().with_space(100 * GIB));
    bench.create(&plan(WEB)).unwrap();
    grow(&bench, "vdb", "200GiB").unwrap();
    let warned = bench.told.warnings();
    assert!(warned.iter().any(|w| w.contains("pool 'foundry-vms' has")), "{warned:?}");
    bench.host.take_space(100 * GIB);
    let error = grow(&bench, "vda", "21").unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    assert!(whole(&error).contains("nothing was changed"), "{}", whole(&error));
    assert_eq!(capacity(&bench, "web_boot"), 20);
}

#[test]
fn a_paused_vm_grows_and_its_agent_is_not_asked() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().agent_answer("guest-ping", "{\"return\": {}}"));
    assert_eq!(grow(&bench, "vda", "21").unwrap().agent, Some(true));
    bench.host.set_state("web", DomainState::Paused);
    assert_eq!(grow(&bench, "vda", "22").unwrap().agent, Some(false));
    assert_eq!(capacity(&bench, "web_boot"), 22);
}
