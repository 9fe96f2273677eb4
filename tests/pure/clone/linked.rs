//! Linked copies: whatever happens to either VM, nothing writes to the files that both need, and nothing deletes them.

use super::{DISKS, NOTHING, off, request};
use crate::support::bench::{Bench, FORCE, GENTLE, GIB, whole};
use crate::support::faults::each_due_fault;
use crate::support::shown::Shown;
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::{DomainState, Domains, Snapshots, Transfers, View, Volumes, Zeros};
use foundry::operations::disk::{AttachRequest, DiskContent, attach, plan_detach, resize};
use foundry::operations::gc::{LeftoverName, Leftovers, choose_leftovers, execute_cleanup, find_leftovers};
use foundry::operations::snapshot::{delete_snapshot, plan_delete, plan_restore, restore_snapshot};
use foundry::operations::vm::clone::{CloneDisks, CloneRequest, clone_vm};
use foundry::operations::vm::create::CreatedVm;
use foundry::operations::vm::power::StopOptions;
use foundry::operations::vm::repave::{RepaveRequest, RepaveSource, repave_vm};
use foundry::record::{RecordState, VolumeRef};
use foundry::units::{Bytes, SizeRequest};
use foundry::{Code, Error, Kind};

const STOP: StopOptions = StopOptions { force: true, timeout: std::time::Duration::from_secs(5) };

const INTERNAL: &str = "<domainsnapshot><name>one</name><memory snapshot='internal'/></domainsnapshot>";

fn linked(name: &str, address: &str, disks: CloneDisks) -> CloneRequest {
    CloneRequest { disks, ..request(name, &[address]) }
}

fn link(bench: &Bench) -> Result<CreatedVm, Error> {
    clone_vm(&bench.context(), "web", &linked("www", "10.0.0.2", CloneDisks::OnNewSnapshot))
}

fn with_copy() -> Bench {
    let mut bench = off();
    link(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
    bench.next_operation();
    bench
}

fn described(bench: &Bench, vm: &str) -> DomainDescription {
    bench.host.describe(bench.host.uuid_of(vm).unwrap(), View::Config).unwrap().unwrap()
}

/// The files that the disks of a VM are on, without the seed.
fn disks(bench: &Bench, vm: &str) -> Vec<String> {
    let paths = described(bench, vm).disks.into_iter().filter_map(|d| d.source.path().map(str::to_owned));
    paths.filter(|path| !path.contains("cloudinit")).collect()
}

fn snapshots(bench: &Bench) -> Vec<String> {
    bench.host.snapshots(bench.host.uuid_of("web").unwrap()).unwrap()
}

/// The copy's disks are on files that exist, have what the original's guest wrote, and that no VM writes to.
#[track_caller]
fn assert_sound(bench: &Bench, copy: &str, label: &str) {
    let written: Vec<String> = ["web", "www", "third"]
        .into_iter()
        .filter(|vm| bench.host.uuid_of(vm).is_some())
        .flat_map(|vm| disks(bench, vm))
        .collect();
    for disk in disks(bench, copy) {
        let backing = |path: &str| bench.host.volume_at(path).unwrap().unwrap().backing;
        let mut below = backing(&disk);
        assert!(below.is_some(), "{label}: {disk} is on nothing");
        while let Some(path) = below {
            assert!(bench.host.files().contains(&path), "{label}: {path} is gone");
            assert!(!written.contains(&path), "{label}: {path} is written to");
            below = backing(&path);
        }
    }
    for (disk, at) in DISKS {
        let content = bench.host.content(&format!("/pool/vms/{disk}")).unwrap();
        let at = usize::try_from(at).unwrap();
        assert_eq!(content.get(at..at + disk.len()), Some(disk.as_bytes()), "{label}: {disk}");
    }
}

/// The files of the original among the leftovers.
fn left_disks(found: &Leftovers) -> Vec<String> {
    let names = found.found.iter().map(|leftover| leftover.name.clone());
    names.filter(|name| DISKS.iter().any(|(disk, _)| *name == format!("foundry-vms/{disk}"))).collect()
}

/// Destroys what is there of both, in this order, and deletes what the last one named. Nothing is left then.
#[track_caller]
fn assert_removed(bench: &Bench, order: [&str; 2], label: &str) {
    for vm in order.into_iter().filter(|vm| bench.host.uuid_of(vm).is_some()) {
        bench.destroy(vm, FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
    }
    let context = bench.context();
    let found = find_leftovers(&context, None).unwrap();
    let named: Vec<LeftoverName> = left_disks(&found).iter().map(|name| name.as_str().into()).collect();
    if !named.is_empty() {
        let chosen = choose_leftovers(&context, &found, &named).unwrap();
        execute_cleanup(&context, None, &chosen, |_| {}).unwrap_or_else(|e| panic!("{label}: {e:?}"));
    }
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING, "{label}");
}

#[test]
fn linked_copy_is_on_the_files_of_a_snapshot() {
    let bench = with_copy();
    assert_sound(&bench, "www", "");
    assert_eq!(snapshots(&bench), ["linked-www"]);
    assert_eq!(
        disks(&bench, "web"),
        ["/pool/vms/web_boot.2", "/pool/vms/web_data-vdb.2", "/pool/vms/web_data-vdc.2"]
    );
    let copy = described(&bench, "www");
    let chains: Vec<_> = ["vda", "vdb", "vdc"].map(|t| copy.disk(t).unwrap().clone()).into();
    assert_eq!(chains[0].backing_chain, ["/pool/vms/web_boot", "/pool/images/debian-12"]);
    assert_eq!(chains[1].backing_chain, ["/pool/vms/web_data-vdb"]);
    assert_eq!(chains[2].backing_chain, ["/pool/vms/web_data-vdc"]);
    let formats: Vec<_> = chains.iter().map(|d| d.backing_format.as_deref().unwrap()).collect();
    assert_eq!(formats, ["qcow2", "qcow2", "raw"]);
    let (old, new) = (bench.record("web"), bench.record("www"));
    for ((first, second), (disk, _)) in old.volumes.iter().zip(&new.volumes).zip(DISKS) {
        assert_eq!(second.capacity, first.capacity);
        assert_eq!(second.backing.as_ref(), Some(&format!("/pool/vms/{disk}")));
        let found = bench.host.volume(&second.reference()).unwrap().unwrap();
        assert_eq!((found.format.as_str(), found.backing), ("qcow2", second.backing.clone()));
    }
    assert_eq!((&new.image, &new.image_origin), (&old.image, &old.image_origin));
    assert_ne!(new.instance_id, old.instance_id);
    assert_eq!(bench.host.domain("www").unwrap().unwrap().state, DomainState::Running);
    let wanted = foundry::operations::change::recorded_manifest(&bench.context(), "www").unwrap();
    let manifest = wanted.manifest.clone();
    let wanted = wanted.with_manifest(&bench.context(), manifest).unwrap();
    assert_eq!(foundry::operations::change::diff_vm(&bench.context(), &wanted).unwrap(), Some(Vec::new()));
}

/// What could write to the files below the copy, or delete them, is refused and names the copy or the snapshot.
#[test]
fn original_of_a_linked_copy_keeps_its_files() {
    let bench = with_copy();
    let context = bench.context();
    let before = bench.host.fingerprint();
    let refused = |outcome: Result<(), Error>, said: &str| {
        let error = outcome.unwrap_err();
        assert!(whole(&error).contains(said), "{said}: {}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{said}");
    };
    refused(plan_delete(&context, "web", "linked-www").map(drop), "domain 'www' uses it too");
    refused(plan_detach(&context, "web", "vdb", false).map(drop), "linked-www");
    let bigger = SizeRequest::To(Bytes(40 * GIB));
    refused(resize(&context, "web", "vdb", bigger).map(drop), "linked-www");
    let repave = RepaveRequest { vm: "web", source: RepaveSource::Recorded, stop: STOP, wait: None };
    refused(repave_vm(&context, &repave).map(drop), "linked-www");
    // The copy itself can be repaved and grown: its own volumes change.
    resize(&context, "www", "vdb", bigger).unwrap();
    let repave = RepaveRequest { vm: "www", ..repave };
    repave_vm(&context, &repave).unwrap_or_else(|e| panic!("{}", whole(&e)));
    foundry::operations::vm::repave::roll_back_repave(&context, "www", STOP).unwrap();
    assert_sound(&bench, "www", "");
    // A restore discards what was written since, and nothing below.
    restore_snapshot(&context, &plan_restore(&context, "web", "linked-www", false).unwrap(), STOP).unwrap();
    assert_sound(&bench, "www", "restored");
    assert_eq!(disks(&bench, "web")[0], "/pool/vms/web_boot.3");
    assert_removed(&bench, ["web", "www"], "");
}

#[test]
fn files_of_a_destroyed_original_are_named_by_the_destroy_of_the_last_copy() {
    let bench = with_copy();
    bench.destroy("web", GENTLE).unwrap();
    assert_sound(&bench, "www", "");
    for (disk, _) in DISKS {
        let told = bench.told.warnings().join("\n");
        assert!(
            told.contains(&format!("left: volume '{disk}' in pool 'foundry-vms': domain 'www'")),
            "{told}"
        );
    }
    // They are nobody's disks now, and still no one else's.
    bench.create(&crate::support::manifests::plan(crate::support::manifests::SMALL)).unwrap();
    let existing = DiskContent::Existing(VolumeRef::new("foundry-vms", "web_data-vdb"));
    let request =
        AttachRequest { vm: "small", content: existing, device: None, serial: None, at_next_start: false };
    assert_eq!(attach(&bench.context(), &request).unwrap_err().code(), Code::VolumeTaken);
    bench.destroy("small", FORCE).unwrap();
    assert_eq!(left_disks(&find_leftovers(&bench.context(), None).unwrap()), NOTHING);
    bench.told.forget();
    let survey = bench.survey("www", FORCE).unwrap();
    let left: Vec<&str> = survey.left.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(left, DISKS.map(|(disk, _)| format!("volume '{disk}' in pool 'foundry-vms'")));
    assert!(survey.left.iter().all(|left| left.advice.is_some()));
    assert_removed(&bench, ["www", "web"], "");
}

#[test]
fn after_the_copy_the_snapshot_is_an_ordinary_one() {
    let bench = with_copy();
    bench.destroy("www", FORCE).unwrap();
    let context = bench.context();
    let told = bench.told.warnings().join("\n");
    assert!(!told.contains("web_"), "{told}");
    delete_snapshot(&context, &plan_delete(&context, "web", "linked-www").unwrap()).unwrap();
    assert_eq!(disks(&bench, "web"), DISKS.map(|(disk, _)| format!("/pool/vms/{disk}")));
    assert_removed(&bench, ["web", "www"], "");
}

/// One snapshot serves many copies, while the original runs; a copy of the copy has the whole chain, too.
#[test]
fn copies_of_a_snapshot_need_no_change_of_the_original() {
    let mut bench = with_copy();
    bench.host.start(bench.host.uuid_of("web").unwrap()).unwrap();
    let before = bench.record("web");
    let third = linked("third", "10.0.0.3", CloneDisks::OnSnapshot("linked-www".into()));
    clone_vm(&bench.context(), "web", &third).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(bench.record("web"), before);
    assert_sound(&bench, "third", "");
    bench.destroy("third", FORCE).unwrap();
    bench.next_operation();
    bench.host.set_state("www", DomainState::ShutOff);
    for disks in [CloneDisks::Copied, CloneDisks::OnNewSnapshot] {
        let full = disks == CloneDisks::Copied;
        clone_vm(&bench.context(), "www", &linked("third", "10.0.0.3", disks)).unwrap();
        assert_sound(&bench, "third", "");
        let chain = described(&bench, "third").disk("vda").unwrap().backing_chain.clone();
        let own: &[&str] = if full { &[] } else { &["/pool/vms/www_boot"] };
        let expected = [own, &["/pool/vms/web_boot", "/pool/images/debian-12"]].concat();
        assert_eq!(chain, expected);
        bench.destroy("third", FORCE).unwrap();
        bench.next_operation();
    }
    let missing = linked("third", "10.0.0.3", CloneDisks::OnSnapshot("other".into()));
    let error = clone_vm(&bench.context(), "web", &missing).unwrap_err();
    assert_eq!(error.code(), Code::SnapshotMissing, "{}", whole(&error));
}

/// A guest can write the header of an overlay into its raw disk. It decides nothing.
#[test]
fn header_in_a_raw_disk_is_not_believed() {
    let bench = off();
    let mut header = vec![0; 4096];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    let volume = VolumeRef::new("foundry-vms", "web_data-vdc");
    let length = header.len() as u64;
    bench.host.upload(&volume, &mut header.as_slice(), 0, length, Zeros::Written).unwrap();
    link(&bench).unwrap();
    let copy = described(&bench, "www");
    let disk = copy.disk("vdc").unwrap();
    assert_eq!(disk.backing_chain, ["/pool/vms/web_data-vdc"]);
    assert_eq!(disk.backing_format.as_deref(), Some("raw"));
    assert_eq!(bench.record("www").volumes[2].capacity, Bytes(3 * GIB));
}

#[test]
fn what_cannot_be_linked_is_refused_before_anything() {
    type Prepare = fn(&Bench);
    let cases: [(Prepare, &str, &str, Code, &str); 4] = [
        (|b| b.host.set_state("web", DomainState::Running), "www", "10.0.0.2", Code::VmRuns, "--snapshot"),
        (|_| {}, "www", "10.0.0.1", Code::AddressTaken, "VM 'web' already has the address"),
        (|_| {}, "other", "10.0.0.2", Code::NameTaken, "a domain 'other' exists"),
        (
            |b| b.host.add_snapshot("web", "one", INTERNAL),
            "www",
            "10.0.0.2",
            Code::SnapshotInTheWay,
            "internal",
        ),
    ];
    for (prepare, name, address, code, said) in cases {
        let bench = off();
        prepare(&bench);
        let before = bench.host.fingerprint();
        let wish = linked(name, address, CloneDisks::OnNewSnapshot);
        let error = clone_vm(&bench.context(), "web", &wish).unwrap_err();
        assert_eq!(error.code(), code, "{}", whole(&error));
        assert!(whole(&error).contains(said), "{said}: {}", whole(&error));
        assert!(whole(&error).contains("nothing was changed"), "{}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{said}");
    }
}

/// The next run of foundry: the process that made overlays or the copy has ended.
fn bury(bench: &mut Bench) {
    bench.next_run("www");
    bench.next_operation();
    bench.edit_record("web", |record| {
        for volume in record["volumes"].as_array_mut().unwrap() {
            if volume.pointer("/overlayOf/maker").is_some() {
                volume["overlayOf"]["maker"]["started"] = 1.into();
            }
        }
    });
}

/// Whatever fails at whichever call: the files below are as they were, the same again makes the copy, and what is
/// destroyed in either order leaves nothing.
#[test]
fn link_that_fails_at_any_call_harms_nothing_and_is_finished_by_the_same_again() {
    let faults = each_due_fault(off, link, |bench, outcome, effect, label| {
        if outcome.is_ok() {
            return assert_sound(bench, "www", label);
        }
        let error = outcome.map(drop).unwrap_err();
        let is_whole =
            bench.host.uuid_of("www").is_some() && bench.record("www").state == RecordState::Created;
        // The original is as before, or the error says that it is not.
        let is_as_before = snapshots(bench).is_empty();
        let told = error.outcome_texts().join("\n");
        assert!(is_as_before || told.contains("linked-www"), "{label}: {}", whole(&error));
        // As long as there is a rest of the copy, the snapshot has a user.
        let has_rest = bench.host.uuid_of("www").is_some();
        assert!(effect.breaks_connection() || is_as_before || has_rest, "{label}: {}", whole(&error));
        bury(bench);
        match link(bench) {
            Ok(_) => {}
            Err(e) if is_whole => assert!(e.text().contains("VM 'www' exists"), "{label}: {}", whole(&e)),
            Err(e) => panic!("{label}, again: {}", whole(&e)),
        }
        assert_eq!(snapshots(bench), ["linked-www"], "{label}");
        assert_sound(bench, "www", label);
        let order = if label.len() % 2 == 0 { ["web", "www"] } else { ["www", "web"] };
        bury(bench);
        assert_removed(bench, order, label);
    });
    assert!(faults > 60, "{faults}");
}

/// A killed run leaves volumes that `destroy` and `gc` know, without the same command again.
#[test]
fn killed_link_is_removed_by_destroy_and_gc() {
    each_due_fault(off, link, |bench, _, effect, label| {
        if effect.breaks_connection() {
            bury(bench);
            assert_removed(bench, ["web", "www"], label);
        }
    });
}

#[test]
fn ctrl_c_at_every_call_of_a_link_leaves_the_original_as_it_was_or_a_copy() {
    let clean = off();
    link(&clean).unwrap();
    let calls = clean.host.calls();
    for (n, call) in calls.iter().enumerate() {
        let mut bench = off();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        match link(&bench) {
            Ok(_) => assert_sound(&bench, "www", call),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Interrupted, "at {call}: {}", whole(&error));
                assert_eq!(snapshots(&bench), NOTHING, "at {call}");
                assert_eq!(
                    disks(&bench, "web"),
                    DISKS.map(|(disk, _)| format!("/pool/vms/{disk}")),
                    "at {call}"
                );
            }
        }
        bury(&mut bench);
        assert_removed(&bench, ["web", "www"], call);
    }
}
