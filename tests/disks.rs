//! `disk list`, `resize`, `attach` and `detach` on a host in memory: what they do, and what they refuse.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

use std::time::Duration;

use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::memory::{Guest, MemoryHost, OnUnplug};
use foundry::host::{DomainState, Host, Reach, View};
use foundry::manifest;
use foundry::operations::Settings;
use foundry::operations::destroy::{self, carry_out};
use foundry::operations::disks::{
    Attached, Disk, Presence, Request, Resized, attach, detach, list, resize, survey,
};
use foundry::operations::inspect::get;
use foundry::plan::{DiskFormat, VmPlan};
use foundry::record::{Maker, Role, State};
use foundry::units::{Bytes, SizeWish};
use foundry::{Error, Kind, yaml};
use support::{
    Bench, GENTLE, GIB, WEB, as_rival, disk_request, foreign, host_with_neighbours, plan, plan_with, whole,
};

const NOTHING: [&str; 0] = [];

fn attach_one(bench: &Bench, gib: u64) -> Result<Attached, Error> {
    attach(&bench.session(), &disk_request("web", gib))
}

fn attach_as(bench: &Bench, gib: u64, device: &str) -> Result<Attached, Error> {
    let device = Some(device.parse().unwrap());
    attach(&bench.session(), &Request { device, ..disk_request("web", gib) })
}

fn grow(bench: &Bench, disk: &str, size: &str) -> Result<Resized, Error> {
    resize(&bench.session(), "web", disk, size.parse().unwrap())
}

fn detach_one(bench: &Bench, disk: &str, keep: bool) -> Result<(), Error> {
    let found = survey(&bench.session(), "web", disk, keep)?;
    detach(&bench.session(), &found, Duration::from_secs(30))
}

fn off(bench: &Bench) {
    bench.host.set_state("web", DomainState::ShutOff);
}

fn disks(bench: &Bench) -> Vec<Disk> {
    list(&bench.session(), Some("web")).unwrap()
}

fn disk(bench: &Bench, device: &str) -> Disk {
    disks(bench).into_iter().find(|d| d.device == device).unwrap_or_else(|| panic!("no {device}"))
}

/// Targets as it runs, and as it starts next.
fn targets(bench: &Bench) -> [Vec<String>; 2] {
    let uuid = bench.host.uuid_of("web").unwrap();
    [View::Current, View::Persistent].map(|view| {
        let read = DomainDescription::read(&bench.host.domain_xml(uuid, view).unwrap().unwrap()).unwrap();
        read.disks.into_iter().map(|d| d.target).collect()
    })
}

fn capacity(bench: &Bench, volume: &str) -> u64 {
    bench.host.volume("foundry-vms", volume).unwrap().unwrap().capacity.0 / GIB
}

fn recorded(bench: &Bench) -> Vec<String> {
    bench.record("web").volumes.into_iter().map(|v| v.name).collect()
}

/// The data disks of the manifest that `get` shows, as device and size.
fn data_disks(bench: &Bench) -> Vec<(String, String)> {
    let spec = get(&bench.session(), "web").unwrap().vm.spec;
    let told = |d: manifest::DataDisk| (d.device.unwrap(), d.size_gb.unwrap().to_string());
    spec.data_disks.into_iter().map(told).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[track_caller]
fn assert_refused<T>(bench: &Bench, outcome: Result<T, Error>, kind: Kind, told: &str) {
    let error = outcome.map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{}", whole(&error));
    assert!(whole(&error).contains(told), "{told:?} is not in\n{}", whole(&error));
    assert!(whole(&error).contains("nothing was changed"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING, "{}", whole(&error));
}

// list

#[test]
fn a_list_says_what_each_disk_is_and_changes_nothing() {
    let bench = Bench::with_web();
    let told: Vec<_> = disks(&bench)
        .into_iter()
        .map(|d| (d.device, d.role.unwrap(), d.volume.unwrap(), d.size.unwrap().0 / GIB, d.read_only))
        .collect();
    let expected = [
        ("sda", Role::Seed, "web_cloudinit", 0, true),
        ("vda", Role::Boot, "web_boot", 20, false),
        ("vdb", Role::Data, "web_data-vdb", 10, false),
        ("vdc", Role::Data, "web_data-vdc", 30, false),
    ];
    assert_eq!(told, expected.map(|(d, r, v, s, o)| (d.to_owned(), r, v.to_owned(), s, o)));
    assert_eq!(disk(&bench, "vda").backing.as_deref(), Some("/pool/images/debian-12"));
    assert!(disks(&bench).iter().all(|d| d.presence == Presence::Attached && d.allocated.is_some()));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
}

#[test]
fn all_vms_are_listed_foreign_ones_without_a_role() {
    let bench = Bench::with_web();
    let all = list(&bench.session(), None).unwrap();
    let other: Vec<_> = all.iter().filter(|d| d.vm == "other").collect();
    assert_eq!(other.len(), 1);
    assert_eq!((other[0].role, other[0].volume.as_deref()), (None, Some("web_1_boot")));
    assert_eq!(all.len(), 5);
    let error = list(&bench.session(), Some("webb")).unwrap_err();
    assert!(whole(&error).contains("did you mean 'web'?"), "{}", whole(&error));
}

#[test]
fn what_is_in_one_description_only_says_so() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.detach_disk(uuid, "vdb", Reach::Persistent).unwrap();
    bench.host.detach_disk(uuid, "vdc", Reach::Live).unwrap();
    assert_eq!(disk(&bench, "vdb").presence, Presence::UntilStop);
    assert_eq!(disk(&bench, "vdc").presence, Presence::NextStart);
    bench.host.detach_disk(uuid, "vdc", Reach::Persistent).unwrap();
    assert_eq!(disk(&bench, "vdc").presence, Presence::Unfinished);
}

#[test]
fn a_stopped_pool_leaves_what_the_record_knows() {
    let bench = Bench::with_web();
    bench.host.stop_pool("foundry-vms").unwrap();
    let boot = disk(&bench, "vda");
    assert_eq!((boot.size, boot.allocated), (Some(Bytes(20 * GIB)), None));
    assert_eq!(boot.volume.as_deref(), Some("web_boot"));
}

// resize

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
    assert_eq!(record.manifest.spec.boot_disk.unwrap().size_gb.unwrap().whole(), Some(40));
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
    assert_eq!((data[0].size_gb, data[0].size_gib.unwrap().whole()), (None, Some(11)));
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
    bench.host.resize_volume("foundry-vms", "web_data-vdb", Bytes(12 * GIB)).unwrap();
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
    bench.host.resize_volume("foundry-vms", "web_data-vdb", Bytes(12 * GIB)).unwrap();
    assert_eq!(grow(&bench, "vdb", "+1").unwrap().to, Bytes(13 * GIB));
    bench.host.resize_volume("foundry-vms", "web_data-vdb", Bytes(13 * GIB + 512)).unwrap();
    let error = grow(&bench, "vdb", "+1").unwrap_err();
    assert!(whole(&error).contains("say how large it is to be: 14GiB"), "{}", whole(&error));
    let much = resize(&bench.session(), "web", "vda", SizeWish::By(Bytes(i64::MAX as u64 / GIB * GIB)));
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
    refuse(&shared, "vdb", "is used by domain 'thief' too");
}

/// Describes a disk anew, as a snapshot does or somebody who edits the definition.
fn swap_disk(bench: &Bench, target: &str, path: &str, element: &str) {
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>\
         <target dev='{target}' bus='virtio'/>{element}</disk>"
    );
    bench.host.detach_disk(uuid, target, Reach::Both).unwrap();
    bench.host.attach_disk(uuid, &xml, Reach::Both).unwrap();
}

#[test]
fn a_disk_on_a_snapshot_is_neither_grown_nor_detached() {
    let mut bench = Bench::with_web();
    bench.host.put_file("/pool/vms/web_data-vdb.snap", b"");
    swap_disk(&bench, "vdb", "/pool/vms/web_data-vdb.snap", "");
    bench.start = Some(bench.host.fingerprint());
    let told = "virsh blockcommit web vdb --active --pivot";
    assert_refused(&bench, grow(&bench, "vdb", "100"), Kind::Vm, told);
    assert_refused(&bench, detach_one(&bench, "vdb", false), Kind::Vm, told);
    let listed = disk(&bench, "vdb");
    assert_eq!(listed.path.as_deref(), Some("/pool/vms/web_data-vdb.snap"));
    assert_eq!(listed.volume, None, "the recorded one is not what it is on");
}

#[test]
fn foreign_and_absent_vms_are_refused() {
    let mut bench = Bench::with_web();
    bench.start = Some(bench.host.fingerprint());
    for outcome in [
        resize(&bench.session(), "other", "vda", SizeWish::To(Bytes(GIB))).map(drop),
        attach(&bench.session(), &disk_request("other", 1)).map(drop),
        survey(&bench.session(), "other", "vda", false).map(drop),
    ] {
        assert_refused(&bench, outcome, Kind::Vm, "was not made by foundry");
    }
    assert_eq!(attach(&bench.session(), &disk_request("wbe", 1)).unwrap_err().kind(), Kind::Vm);
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

// attach

#[test]
fn a_disk_is_attached_now_and_for_good() {
    let bench = Bench::with_web();
    let attached = attach_one(&bench, 5).unwrap();
    assert_eq!((attached.disk.target.as_str(), attached.live), ("vdd", true));
    for targets in targets(&bench) {
        assert!(targets.contains(&"vdd".to_owned()), "{targets:?}");
    }
    assert_eq!(capacity(&bench, "web_data-vdd"), 5);
    let made = bench.host.volume("foundry-vms", "web_data-vdd").unwrap().unwrap();
    assert_eq!((made.format.as_str(), made.mode), ("qcow2", Some(0o600)));
    assert_eq!(
        recorded(&bench),
        ["web_boot", "web_data-vdb", "web_data-vdc", "web_data-vdd", "web_cloudinit"]
    );
    assert_eq!(data_disks(&bench), pairs(&[("vdb", "10"), ("vdc", "30"), ("vdd", "5")]));
    assert!(bench.record("web").volumes.iter().all(|v| v.attaching.is_none()));
    assert_eq!(bench.record("web").generation, 2);
}

/// The record is what `create` takes again: it must make the VM as it is, disk for disk.
#[test]
fn create_of_what_get_shows_makes_the_same_vm() {
    let bench = Bench::with_web();
    let raw = Request {
        device: Some("vdf".parse().unwrap()),
        format: DiskFormat::Raw,
        serial: Some("archive".parse().unwrap()),
        ..disk_request("web", 7)
    };
    attach(&bench.session(), &raw).unwrap();
    attach_one(&bench, 5).unwrap();
    grow(&bench, "vda", "25").unwrap();
    detach_one(&bench, "vdb", false).unwrap();
    let live = |b: &Bench| {
        let uuid = b.host.uuid_of("web").unwrap();
        let mut read =
            DomainDescription::read(&b.host.domain_xml(uuid, View::Persistent).unwrap().unwrap()).unwrap();
        read.disks.sort_by(|a, b| a.target.cmp(&b.target));
        read.disks
    };
    let sizes = |b: &Bench| disks(b).into_iter().map(|d| (d.device, d.size, d.format)).collect::<Vec<_>>();
    let (as_it_is, sizes_now) = (live(&bench), sizes(&bench));
    let mut seen = get(&bench.session(), "web").unwrap();
    foundry::operations::inspect::add_secrets(&bench.session(), &mut seen).unwrap();
    let text = yaml::write(&seen.vm).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    let again = manifest::load(&text, "vm.yaml").unwrap();
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
    let later = attach(&bench.session(), &Request { at_next_start: true, ..disk_request("web", 1) }).unwrap();
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
    assert!(whole(&error).contains("foundry disk attach web 1 --at-next-start"), "{}", whole(&error));
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

// detach

#[test]
fn a_detached_disk_is_gone_with_its_volume() {
    let bench = Bench::with_web();
    let found = survey(&bench.session(), "web", "vdb", false).unwrap();
    let goes = found.volume.clone().unwrap();
    assert_eq!((goes.name.as_str(), goes.capacity), ("web_data-vdb", Bytes(10 * GIB)));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
    detach(&bench.session(), &found, Duration::from_secs(1)).unwrap();
    for targets in targets(&bench) {
        assert!(!targets.contains(&"vdb".to_owned()), "{targets:?}");
    }
    assert!(!bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
    assert_eq!(recorded(&bench), ["web_boot", "web_data-vdc", "web_cloudinit"]);
    assert_eq!(data_disks(&bench), pairs(&[("vdc", "30")]));
    assert!(detach_one(&bench, "vdb", false).unwrap_err().to_string().contains("no disk 'vdb'"));
}

#[test]
fn a_kept_volume_is_nobodys_any_more() {
    let bench = Bench::with_web();
    detach_one(&bench, "vdb", true).unwrap();
    assert_eq!(data_disks(&bench), pairs(&[("vdc", "30")]));
    bench.destroy("web", GENTLE).unwrap();
    let left = bench.host.changes_since(&Bench::new().host.fingerprint());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("/pool/vms/web_data-vdb:"), "{left:?}");
}

#[test]
fn a_slow_guest_is_waited_for() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().on_unplug(OnUnplug::AfterLooks(20)));
    detach_one(&bench, "vdb", false).unwrap();
    assert!(!bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
}

#[test]
fn a_guest_that_does_not_let_go_keeps_its_disk() {
    for keep in [false, true] {
        let bench = Bench::with_web();
        bench.host.set_guest("web", Guest::new().on_unplug(OnUnplug::Never));
        let error = detach_one(&bench, "vdb", keep).unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(whole(&error).contains("did not let go of disk 'vdb' in 30 s"), "{}", whole(&error));
        assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
        assert!(recorded(&bench).contains(&"web_data-vdb".to_owned()), "{keep}");
        assert_eq!(data_disks(&bench).len(), 2);
        assert!(targets(&bench)[1].contains(&"vdb".to_owned()), "it is there at the next start");
        off(&bench);
        detach_one(&bench, "vdb", keep).unwrap();
        assert_eq!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()), keep);
    }
}

#[test]
fn what_is_not_detached() {
    let refuse = |prepare: &dyn Fn(&Bench), disk: &str, told: &str| {
        let mut bench = Bench::with_web();
        prepare(&bench);
        bench.start = Some(bench.host.fingerprint());
        let outcome = detach_one(&bench, disk, false);
        assert_refused(&bench, outcome, Kind::Vm, told);
    };
    refuse(&|_| {}, "boot", "is its boot disk");
    refuse(&|_| {}, "vda", "is its boot disk");
    refuse(&|_| {}, "sda", "is its cloud-init seed");
    refuse(&|b| b.host.set_state("web", DomainState::Paused), "vdb", "virsh resume web");
    refuse(&|b| b.host.set_block_job("web", "vdb"), "vdb", "a block job works on");
    refuse(&|b| b.host.set_snapshots("web", &["s"]), "vdb", "--keep");
    let mounted = r#"{"return": [{"mountpoint": "/data", "disk": [{"serial": "vdb"}]}]}"#;
    let mount = |b: &Bench| b.host.set_guest("web", Guest::new().agent_answer("guest-get-fsinfo", mounted));
    refuse(&mount, "vdb", "is mounted in the guest at /data");
}

#[test]
fn a_volume_that_others_need_stays() {
    let bench = Bench::with_web();
    bench.host.define_domain(&foreign("thief", "/pool/vms/web_data-vdb")).unwrap();
    let found = survey(&bench.session(), "web", "vdb", false).unwrap();
    assert_eq!(found.volume, None);
    assert!(found.kept.unwrap().1.contains("'thief' uses it too"));
    detach_one(&bench, "vdb", false).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
    assert!(bench.told.warnings().iter().any(|w| w.contains("web_data-vdb")), "{:?}", bench.told.warnings());
    assert!(!recorded(&bench).contains(&"web_data-vdb".to_owned()));
}

/// Somebody takes the volume into use while the guest is waited for.
#[test]
fn a_volume_that_others_need_by_now_stays() {
    let bench = Bench::with_web();
    bench.host.forget_calls();
    let found = survey(&bench.session(), "web", "vdb", false).unwrap();
    let rival = |host: &MemoryHost| {
        host.define_domain(&foreign("thief", "/pool/vms/web_data-vdb")).unwrap();
    };
    bench.host.on_call(1, rival);
    detach(&bench.session(), &found, Duration::from_secs(1)).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
}

#[test]
fn a_disk_that_foundry_did_not_make_is_detached_and_its_file_stays() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.put_file("/srv/precious", b"data");
    let xml = "<disk type='file' device='disk'><source file='/srv/precious'/><target dev='vdx' bus='virtio'/></disk>";
    bench.host.attach_disk(uuid, xml, Reach::Both).unwrap();
    detach_one(&bench, "vdx", false).unwrap();
    assert!(bench.host.files().contains(&"/srv/precious".to_owned()));
    assert!(!targets(&bench)[0].contains(&"vdx".to_owned()));
    assert_eq!(bench.record("web").volumes.len(), 4);
}

// others at the same time

/// The calls of an undisturbed attach.
fn calls_of_an_attach() -> Vec<String> {
    let bench = Bench::with_web();
    bench.host.forget_calls();
    attach_one(&bench, 5).unwrap();
    bench.host.calls()
}

/// A bench on which another run attached a disk of 6 GiB just before the n-th call of one of 5 GiB.
fn with_rival_at(n: usize) -> (Bench, Result<Attached, Error>) {
    let bench = Bench::with_web();
    bench.host.forget_calls();
    bench.host.on_call(n, |host| {
        as_rival(host, |session| attach(session, &disk_request("web", 6))).unwrap();
    });
    let outcome = attach_one(&bench, 5);
    (bench, outcome)
}

/// Two runs of foundry want a disk each: each gets one or says that it did not, and nothing is lost.
#[test]
fn an_attach_between_the_steps_of_another_loses_nothing() {
    let calls = calls_of_an_attach();
    let last_write = calls.iter().rposition(|c| c.starts_with("set_record")).unwrap();
    for n in (0..calls.len()).filter(|n| *n != last_write) {
        let (bench, outcome) = with_rival_at(n);
        let record = bench.record("web");
        let named: Vec<_> = record.volumes.iter().filter(|v| v.role == Role::Data).collect();
        assert!(named.iter().all(|v| v.attaching.is_none()), "at {n}: {named:?}");
        let wanted = if outcome.is_ok() { 4 } else { 3 };
        assert_eq!(named.len(), wanted, "at {n}: {:?}", outcome.map_err(|e| whole(&e)));
        assert_eq!(data_disks(&bench).len(), wanted, "at {n}");
        let files =
            bench.host.files().into_iter().filter(|f| f.contains("/web_data-vd") && !f.ends_with('x'));
        assert_eq!(files.count(), wanted, "at {n}");
        assert!(record.volumes.iter().any(|v| v.capacity == Bytes(6 * GIB)), "at {n}: the rival's is lost");
        bench.destroy("web", GENTLE).unwrap();
        let left = bench.host.changes_since(&Bench::new().host.fingerprint());
        assert_eq!(left, NOTHING, "at {n}");
    }
}

/// What remains, as libvirt cannot write a record only where it is still the one that was read: all of another
/// run between one's last look and its writing. The disk stays; that it is the VM's own is forgotten, and so
/// `destroy` leaves its volume and says so.
#[test]
fn an_attach_inside_of_the_writing_of_another_is_forgotten_and_its_data_stay() {
    let last_write = calls_of_an_attach().iter().rposition(|c| c.starts_with("set_record")).unwrap();
    let (bench, outcome) = with_rival_at(last_write);
    outcome.unwrap();
    assert!(targets(&bench).iter().all(|t| t.contains(&"vdd".to_owned()) && t.contains(&"vde".to_owned())));
    bench.told.forget();
    bench.destroy("web", GENTLE).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vde".to_owned()));
    assert!(bench.told.warnings().iter().any(|w| w.contains("web_data-vde")), "{:?}", bench.told.warnings());
}

#[test]
fn destroy_waits_for_no_attach_and_refuses() {
    let bench = Bench::with_web();
    let maker = serde_json::to_value(Maker::current()).unwrap();
    bench.edit_record("web", |r| {
        let mut pending = r["volumes"][1].clone();
        pending["name"] = "web_data-vdq".into();
        pending["path"] = "/pool/vms/web_data-vdq".into();
        pending["attaching"] = maker;
        r["volumes"].as_array_mut().unwrap().push(pending);
    });
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert!(whole(&error).contains("is attaching a disk to VM 'web'"), "{}", whole(&error));
    let error = detach_one(&bench, "vdq", false).unwrap_err();
    assert!(whole(&error).contains("is attaching disk 'vdq'"), "{}", whole(&error));
    bench.edit_record("web", |r| r["volumes"][4]["attaching"]["host"] = "another machine".into());
    let error = detach_one(&bench, "vdq", false).unwrap_err();
    assert!(whole(&error).contains("foundry disk detach web vdq --keep"), "{}", whole(&error));
    bench.edit_record("web", |r| {
        r["volumes"][4]["attaching"] = serde_json::to_value(Maker::current()).unwrap()
    });
    assert_eq!(attach_one(&bench, 10).unwrap().disk.target.as_str(), "vdd", "another one is free");
    bench.edit_record("web", |r| r["volumes"][5]["attaching"]["started"] = 1.into());
    bench.destroy("web", GENTLE).unwrap();
}

/// Somebody attaches a disk while the user looks at the question.
#[test]
fn a_disk_that_came_after_the_question_is_not_destroyed_unasked() {
    let bench = Bench::with_web();
    let asked = bench.survey("web", GENTLE).unwrap();
    attach_one(&bench, 5).unwrap();
    let before = bench.host.fingerprint();
    let error = carry_out(&bench.session(), &asked).unwrap_err();
    assert!(whole(&error).contains("'web_data-vdd'"), "{}", whole(&error));
    assert!(whole(&error).contains("nothing was removed"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
}

/// A destruction that begins in the middle of an attach: nothing is left that nobody knows of.
#[test]
fn a_destroy_in_the_middle_of_an_attach_leaves_nothing() {
    let calls = {
        let bench = Bench::with_web();
        bench.host.forget_calls();
        attach_one(&bench, 5).unwrap();
        bench.host.call_count()
    };
    for n in 0..calls {
        let bench = Bench::with_web();
        bench.host.forget_calls();
        bench.host.on_call(n, |host| {
            // Refused while the attach is noted; before and after it the VM goes.
            let _ = as_rival(host, |session| carry_out(session, &destroy::survey(session, "web", GENTLE)?));
        });
        let outcome = attach_one(&bench, 5);
        if bench.host.domain("web").unwrap().is_some() {
            outcome.unwrap_or_else(|e| panic!("at {n}: {}", whole(&e)));
            assert_eq!(bench.record("web").state, State::Created);
            bench.destroy("web", GENTLE).unwrap();
        } else {
            outcome.map(drop).unwrap_err();
        }
        assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING, "at {n}");
    }
}
