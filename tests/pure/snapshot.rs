//! Snapshots: made, listed, restored and deleted, and what stands in the way of each.

use std::time::Duration;

use crate::support::bench::{Bench, FORCE, GIB, as_rival, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan};
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::memory::{Guest, OnFreeze};
use foundry::host::{DomainState, Domains, Snapshots, View, Volumes};
use foundry::operations::disk::{list_disks, resize};
use foundry::operations::snapshot::{
    self, SnapshotMade, SnapshotMaker, SnapshotRequest, create_snapshot, list_snapshots,
};
use foundry::operations::vm::power::StopOptions;
use foundry::record::VolumeRef;
use foundry::units::{Bytes, SizeRequest};
use foundry::{Code, Error};

const NOTHING: [&str; 0] = [];
pub(super) const ASK: StopOptions = StopOptions { force: false, timeout: Duration::from_secs(30) };

/// A VM whose agent can freeze.
pub(super) fn web() -> Bench {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().freezes(OnFreeze::Thaws));
    bench
}

pub(super) fn create(bench: &Bench, name: &str, freeze: bool) -> Result<SnapshotMade, Error> {
    let name = Some(name.parse().unwrap());
    let request = SnapshotRequest { vm: "web", name, description: Some("a <b>".into()), freeze };
    create_snapshot(&bench.context(), &request)
}

pub(super) fn restore(bench: &Bench, name: &str, later: bool) -> Result<snapshot::Restored, Error> {
    let plan = snapshot::plan_restore(&bench.context(), "web", name, later)?;
    snapshot::restore_snapshot(&bench.context(), &plan, ASK)
}

pub(super) fn delete(bench: &Bench, name: &str) -> Result<(), Error> {
    let plan = snapshot::plan_delete(&bench.context(), "web", name)?;
    snapshot::delete_snapshot(&bench.context(), &plan)
}

/// What each disk is on, by its file name.
pub(super) fn places(bench: &Bench) -> Vec<String> {
    let uuid = bench.host.uuid_of("web").unwrap();
    let of = |view| {
        let read = DomainDescription::read(&bench.host.domain_xml(uuid, view).unwrap().unwrap()).unwrap();
        let hard = read.disks.into_iter().filter(|d| d.target.starts_with("vd"));
        hard.map(|d| d.source.path().unwrap().rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(View::Current), of(View::Config), "the definitions differ");
    of(View::Config)
}

/// The files with a revision, by name.
pub(super) fn overlays(bench: &Bench) -> Vec<String> {
    let files = bench.host.files().into_iter().filter(|f| f.starts_with("/pool/vms/"));
    let names = files.map(|f| f.rsplit('/').next().unwrap().to_owned());
    names.filter(|name| name.rsplit_once('.').is_some_and(|(_, end)| end.parse::<u32>().is_ok())).collect()
}

pub(super) fn state(bench: &Bench) -> DomainState {
    bench.host.state(bench.host.uuid_of("web").unwrap()).unwrap().unwrap().state
}

fn names(bench: &Bench) -> Vec<String> {
    bench.host.snapshots(bench.host.uuid_of("web").unwrap()).unwrap()
}

fn unchanged(bench: &Bench) -> bool {
    bench.host.changes_since(bench.start.as_ref().unwrap()) == NOTHING
}

#[test]
fn snapshot_puts_each_disk_on_an_overlay_that_the_record_names() {
    for is_off in [false, true] {
        let bench = web();
        if is_off {
            bench.host.set_state("web", DomainState::ShutOff);
        }
        let made = create(&bench, "one", true).unwrap();
        let expected = SnapshotMade { vm: "web".into(), snapshot: "one".into(), frozen: !is_off };
        assert_eq!(made, expected, "a VM that is off needs no freeze");
        assert_eq!(places(&bench), ["web_boot.2", "web_data-vdb.2", "web_data-vdc.2"]);
        let record = bench.record("web");
        for name in overlays(&bench) {
            let recorded = record.volumes.iter().find(|v| v.name == name).unwrap();
            let mark = recorded.overlay_of.as_ref().unwrap();
            assert_eq!((mark.snapshot.as_str(), mark.maker.is_none()), ("one", true));
            assert!(bench.host.volume(&recorded.reference()).unwrap().is_some(), "{name} is listed");
        }
        let listed = list_snapshots(&bench.context(), Some("web")).unwrap();
        assert_eq!(listed, list_snapshots(&bench.context(), None).unwrap());
        assert_eq!(listed[0].disks, ["vda", "vdb", "vdc"], "the seed is left out");
        assert_eq!((listed[0].made_by, listed[0].memory), (SnapshotMaker::Foundry, false));
        assert_eq!(listed[0].description.as_deref(), Some("a <b>"));
        assert!(!bench.host.is_frozen("web"));
        let disks = list_disks(&bench.context(), Some("web")).unwrap();
        let volumes: Vec<_> = disks.iter().filter_map(|d| d.volume.as_deref()).collect();
        assert_eq!(volumes, ["web_cloudinit", "web_boot.2", "web_data-vdb.2", "web_data-vdc.2"]);
        bench.destroy("web", FORCE).unwrap();
        assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
    }
}

#[test]
fn snapshot_without_a_name_has_the_time() {
    let bench = web();
    let request = SnapshotRequest { vm: "web", name: None, description: None, freeze: false };
    let made = create_snapshot(&bench.context(), &request).unwrap();
    assert_eq!(made.snapshot, "2026-01-02-030000");
    let again = create_snapshot(&bench.context(), &request).unwrap_err();
    assert_eq!(again.code(), Code::SnapshotTaken);
}

#[test]
fn restore_discards_what_was_written_since() {
    let bench = web();
    create(&bench, "one", true).unwrap();
    let restored = restore(&bench, "one", false).unwrap();
    assert!(restored.started);
    assert_eq!(state(&bench), DomainState::Running);
    assert_eq!(places(&bench), ["web_boot.3", "web_data-vdb.3", "web_data-vdc.3"]);
    assert_eq!(overlays(&bench), ["web_boot.3", "web_data-vdb.3", "web_data-vdc.3"]);
    for (overlay, base) in [("web_boot.3", "web_boot"), ("web_data-vdc.3", "web_data-vdc")] {
        let volume = bench.host.volume(&VolumeRef::new("foundry-vms", overlay)).unwrap().unwrap();
        assert_eq!(volume.backing.as_deref(), Some(format!("/pool/vms/{base}").as_str()));
    }
    // libvirt knows its overlays, and can delete it.
    assert_eq!(names(&bench), ["one"]);
    delete(&bench, "one").unwrap();
    assert_eq!(places(&bench), ["web_boot", "web_data-vdb", "web_data-vdc"]);
    assert_eq!((overlays(&bench), names(&bench)), (vec![], vec![]));
    assert!(bench.record("web").volumes.iter().all(|v| v.overlay_of.is_none()), "{:?}", bench.record("web"));
}

#[test]
fn restore_of_a_vm_that_is_off_leaves_it_off() {
    let bench = web();
    create(&bench, "one", true).unwrap();
    bench.host.set_state("web", DomainState::ShutOff);
    let definition =
        || bench.host.domain_xml(bench.host.uuid_of("web").unwrap(), View::Config).unwrap().unwrap();
    assert!(definition().contains("<genid"));
    assert!(!restore(&bench, "one", false).unwrap().started);
    assert_eq!(state(&bench), DomainState::ShutOff);
}

#[test]
fn later_snapshots_are_deleted_only_if_that_is_asked_for() {
    let bench = web();
    for name in ["one", "two", "three"] {
        create(&bench, name, true).unwrap();
    }
    assert_eq!(overlays(&bench).len(), 9);
    let error = restore(&bench, "one", false).unwrap_err();
    assert_eq!(error.code(), Code::SnapshotInTheWay);
    assert!(whole(&error).contains("two, three"), "{}", whole(&error));
    let plan = snapshot::plan_restore(&bench.context(), "web", "two", true).unwrap();
    assert_eq!((plan.later.as_slice(), plan.discarded.len()), (["three".to_owned()].as_slice(), 6));
    restore(&bench, "two", true).unwrap();
    assert_eq!(names(&bench), ["one", "two"]);
    assert_eq!(places(&bench), ["web_boot.5", "web_data-vdb.5", "web_data-vdc.5"]);
    assert_eq!(overlays(&bench).len(), 6);
    // The one in the middle, and then the newest.
    delete(&bench, "one").unwrap();
    assert_eq!(overlays(&bench), ["web_boot.5", "web_data-vdb.5", "web_data-vdc.5"]);
    delete(&bench, "two").unwrap();
    assert_eq!(places(&bench), ["web_boot", "web_data-vdb", "web_data-vdc"]);
    assert_eq!(overlays(&bench), NOTHING);
}

#[test]
fn plan_that_is_old_loses_nothing_more_than_was_consented_to() {
    let bench = web();
    create(&bench, "one", true).unwrap();
    let plan = snapshot::plan_restore(&bench.context(), "web", "one", true).unwrap();
    create(&bench, "two", true).unwrap();
    let error = snapshot::restore_snapshot(&bench.context(), &plan, ASK).unwrap_err();
    assert_eq!(error.code(), Code::ChangedMeanwhile, "{}", whole(&error));
    assert_eq!((names(&bench).len(), overlays(&bench).len()), (2, 6));
}

#[test]
fn freeze_needs_an_agent_and_says_how_to_do_without() {
    for (guest, code) in [
        (Guest::new(), Code::AgentSilent),
        (Guest::new().agent_answer("guest-ping", r#"{"return":{}}"#), Code::AgentSilent),
    ] {
        let bench = Bench::with_web();
        bench.host.set_guest("web", guest);
        let error = create(&bench, "one", true).unwrap_err();
        assert_eq!(error.code(), code, "{}", whole(&error));
        let told = whole(&error);
        assert!(told.contains("foundry snapshot create web one --no-freeze"), "{told}");
        assert!(told.contains("nothing was changed") && unchanged(&bench), "{told}");
        assert!(!create(&bench, "one", false).unwrap().frozen);
    }
}

#[test]
fn freeze_that_the_agent_refuses_is_taken_back() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().freezes(OnFreeze::Refuses));
    let error = create(&bench, "one", true).unwrap_err();
    assert!(whole(&error).contains("guest-fsfreeze-freeze"), "{}", whole(&error));
    assert!(bench.record("web").volumes.iter().all(|v| v.overlay_of.is_none()));
    assert_eq!(overlays(&bench), NOTHING);
    create(&bench, "one", false).unwrap();
}

/// The daemon's command to thaw is lost, or the daemon itself.
#[test]
fn guest_that_stays_frozen_is_thawed() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().freezes(OnFreeze::StaysFrozen));
    create(&bench, "one", true).unwrap();
    assert!(!bench.host.is_frozen("web"));
}

#[test]
fn guest_that_another_program_froze_is_left_to_it() {
    let bench = web();
    bench.host.freeze("web");
    let error = create(&bench, "one", true).unwrap_err();
    assert_eq!(error.code(), Code::GuestFrozen);
    assert!(whole(&error).contains("virsh domfsthaw web"), "{}", whole(&error));
    assert!(bench.host.is_frozen("web") && overlays(&bench).is_empty());
}

/// Something that stands in the way of a snapshot.
type Obstacle = (&'static str, fn(&Bench), Code);

#[test]
fn obstacles_are_told_before_anything_is_changed() {
    let obstacles: [Obstacle; 9] = [
        ("paused", |b| b.host.set_state("web", DomainState::Paused), Code::GuestPaused),
        ("crashed", |b| b.host.set_state("web", DomainState::Crashed), Code::GuestPaused),
        ("saved", |b| b.host.save("web"), Code::SavedMemoryInTheWay),
        ("job", |b| b.host.set_block_job("web", "vdb"), Code::DiskBusy),
        ("full", |b| b.host.take_space(1 << 40), Code::OutOfSpace),
        (
            "stopped pool",
            |b| foundry::host::Pools::stop_pool(&b.host, "foundry-vms").unwrap(),
            Code::PoolInactive,
        ),
        (
            "internal",
            |b| {
                let disks = "<disks><disk name='vda' snapshot='internal'/></disks>";
                b.host.add_snapshot(
                    "web",
                    "i",
                    &format!("<domainsnapshot><name>i</name>{disks}</domainsnapshot>"),
                );
            },
            Code::SnapshotInTheWay,
        ),
        ("another tool's overlay", overlay_of_virsh, Code::DiskNotOwn),
        ("name taken", |b| b.host.set_snapshots("web", &["one"]), Code::SnapshotTaken),
    ];
    for (what, happen, code) in obstacles {
        let bench = web();
        happen(&bench);
        foundry::host::Pools::refresh_pool(&bench.host, "foundry-vms").ok();
        let before = bench.host.fingerprint();
        let error = create(&bench, "one", true).unwrap_err();
        assert_eq!(error.code(), code, "{what}: {}", whole(&error));
        assert!(whole(&error).contains("nothing was changed"), "{what}: {}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{what}");
    }
}

/// What `virsh snapshot-create-as web s --disk-only` does.
fn overlay_of_virsh(bench: &Bench) {
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = "<domainsnapshot><name>s</name><disks><disk name='vda' snapshot='external' type='file'>\
               <driver type='qcow2'/><source file='/pool/vms/web_boot.s'/></disk></disks></domainsnapshot>";
    bench.host.create_snapshot(uuid, xml, None).unwrap();
}

#[test]
fn snapshot_of_another_tool_is_listed_and_left_alone() {
    let bench = web();
    overlay_of_virsh(&bench);
    let listed = list_snapshots(&bench.context(), Some("web")).unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].made_by), ("s", SnapshotMaker::Other));
    let before = bench.host.fingerprint();
    for (error, virsh) in [
        (restore(&bench, "s", false).unwrap_err(), "virsh snapshot-revert web s"),
        (delete(&bench, "s").unwrap_err(), "virsh snapshot-delete web s"),
    ] {
        assert_eq!(error.code(), Code::NotFoundrys);
        assert!(whole(&error).contains(virsh), "{}", whole(&error));
    }
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// A snapshot of foundry's, and one of virsh's on top of it.
#[test]
fn later_snapshot_of_another_tool_is_not_deleted_by_a_restore() {
    let bench = web();
    create(&bench, "one", true).unwrap();
    overlay_of_virsh(&bench);
    let error = restore(&bench, "one", true).unwrap_err();
    assert_eq!(error.code(), Code::NotFoundrys, "{}", whole(&error));
    assert!(bench.host.files().contains(&"/pool/vms/web_boot.s".to_owned()));
}

#[test]
fn missing_snapshot_is_told_with_those_that_there_are() {
    let bench = web();
    create(&bench, "before", true).unwrap();
    for error in [restore(&bench, "befor", false).unwrap_err(), delete(&bench, "befor").unwrap_err()] {
        assert_eq!(error.code(), Code::SnapshotMissing);
        assert!(whole(&error).contains("did you mean 'before'"), "{}", whole(&error));
    }
}

/// A merge would change what a clone is based on.
#[test]
fn file_that_another_vm_is_based_on_is_not_merged_into() {
    let bench = web();
    create(&bench, "one", true).unwrap();
    let host = bench.host.clone().with_overlay("foundry-vms", "clone_boot", 20 * GIB, "/pool/vms/web_boot");
    let error = delete(&bench, "one").unwrap_err();
    assert_eq!(error.code(), Code::DiskNotOwn, "{}", whole(&error));
    assert!(whole(&error).contains("clone_boot"), "{}", whole(&error));
    // A restore leaves that file as it is.
    restore(&bench, "one", false).unwrap();
    assert!(host.files().contains(&"/pool/vms/clone_boot".to_owned()));
    // What is based on what was written since is not deleted with it.
    let overlay = "/pool/vms/web_boot.3";
    let _host = bench.host.clone().with_overlay("foundry-vms", "other_boot", 20 * GIB, overlay);
    let error = restore(&bench, "one", false).unwrap_err();
    assert_eq!(error.code(), Code::DiskNotOwn, "{}", whole(&error));
    assert!(bench.host.files().contains(&overlay.to_owned()));
}

#[test]
fn half_deleted_snapshot_is_not_restored() {
    let bench = web();
    create(&bench, "one", true).unwrap();
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = bench.host.full_snapshot(uuid, "one").unwrap().unwrap();
    let half = xml.replacen("</disk>", "<snapshotDeleteInProgress/></disk>", 1);
    bench.host.redefine_snapshot(uuid, &half).unwrap();
    let error = restore(&bench, "one", false).unwrap_err();
    assert_eq!(error.code(), Code::SnapshotInTheWay);
    assert!(whole(&error).contains("foundry snapshot delete web one finishes"), "{}", whole(&error));
    delete(&bench, "one").unwrap();
}

/// Of a snapshot and a resize, one waits for the other or is refused: no disk grows under a snapshot.
#[test]
fn snapshot_meanwhile_stops_a_resize() {
    let calls = {
        let bench = web();
        bench.host.forget_calls();
        grow(&bench).unwrap();
        bench.host.call_count()
    };
    let mut refused = 0;
    for n in 0..calls {
        // With locks, as two processes of one machine have.
        let mut bench = Bench::on(host_with_neighbours().with_locks().unwrap());
        bench.create(&plan(WEB)).unwrap();
        bench.host.forget_calls();
        bench.host.on_call(n, |host| {
            let name = Some("one".parse().unwrap());
            let request = SnapshotRequest { vm: "web", name, description: None, freeze: false };
            if let Err(error) = as_rival(host, |context| create_snapshot(context, &request)) {
                assert_eq!(error.code(), Code::VmTurnTaken, "{}", whole(&error));
            }
        });
        let grown = grow(&bench);
        refused += usize::from(grown.is_err());
        let base = bench.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdb")).unwrap().unwrap();
        let by_then = if grown.is_ok() { base.capacity } else { Bytes(10 * GIB) };
        assert_eq!(base.capacity, by_then, "at {n}");
        if !names(&bench).is_empty() {
            delete(&bench, "one").unwrap_or_else(|e| panic!("at {n}: {}", whole(&e)));
        }
        bench.next_operation();
        bench.destroy("web", FORCE).unwrap();
        assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING, "at {n}");
    }
    assert!(refused > 3, "{refused} of {calls}");
}

fn grow(bench: &Bench) -> Result<(), Error> {
    resize(&bench.context(), "web", "vdb", SizeRequest::To(Bytes(15 * GIB))).map(drop)
}
