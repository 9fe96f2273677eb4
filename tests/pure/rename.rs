//! Renaming a VM: what takes the new name and what keeps the old one, refusals, and a fault at every call.

use crate::support::bench::{Bench, FORCE, neighbours_alone, whole};
use crate::support::faults::{each_due_fault, each_fault};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::{DomainState, Domains, View};
use foundry::operations::change;
use foundry::operations::vm::inspect::get_vm;
use foundry::operations::vm::rename::{RenamedVm, rename_vm};
use foundry::{Code, Error, Kind};

const NOTHING: [&str; 0] = [];
const NVRAM: &str = "/var/lib/libvirt/qemu/nvram/web_VARS.fd";

fn rename(bench: &Bench, from: &str, to: &str) -> Result<RenamedVm, Error> {
    rename_vm(&bench.context(), from, &to.parse().unwrap())
}

/// With `web`, which is off.
fn off() -> Bench {
    let mut bench = Bench::with_web();
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    bench.start = Some(bench.host.fingerprint());
    bench.host.forget_calls();
    bench
}

/// What `www` is after the rename.
fn assert_renamed(bench: &Bench, label: &str) {
    let uuid = bench.host.uuid_of("www").unwrap_or_else(|| panic!("{label}: there is no 'www'"));
    assert_eq!(bench.host.uuid_of("web"), None, "{label}");
    let record = bench.record("www");
    assert_eq!(record.domain, uuid, "{label}");
    assert_eq!(record.manifest.metadata.name.as_deref(), Some("www"), "{label}");
    let log = Some("/var/log/libvirt/qemu/www-console.log".to_owned());
    assert_eq!(record.console_log, log, "{label}");
    let described = bench.host.describe(uuid, View::Config).unwrap().unwrap();
    assert_eq!((described.console_log, described.nvram.as_deref()), (log, Some(NVRAM)), "{label}");
    let volumes: Vec<_> = record.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(volumes, ["web_boot", "web_data-vdb", "web_data-vdc", "web_cloudinit"], "{label}");
    assert_eq!(record.history.iter().map(|r| r.generation).collect::<Vec<_>>(), [1, 2], "{label}");
    assert_eq!(record.manifest_of(1).unwrap().metadata.name.as_deref(), Some("web"), "{label}");
}

#[test]
fn a_renamed_vm_keeps_its_identity_and_disks() {
    let bench = off();
    let uuid = bench.host.uuid_of("web").unwrap();
    let renamed = rename(&bench, "web", "www").unwrap();
    assert_eq!((renamed.from.as_str(), renamed.to.as_str(), renamed.was_renamed), ("web", "www", false));
    assert_eq!(renamed.volumes.len(), 4);
    assert_eq!(bench.host.uuid_of("www"), Some(uuid));
    assert_renamed(&bench, "");
    assert_eq!(get_vm(&bench.context(), "www").unwrap().vm.metadata.name.as_deref(), Some("www"));
    bench.host.start(uuid).unwrap();
    bench.destroy("www", FORCE).unwrap();
    assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING);
}

#[test]
fn the_same_again_changes_nothing() {
    let bench = off();
    rename(&bench, "web", "www").unwrap();
    let before = bench.host.fingerprint();
    for name in ["web", "www"] {
        assert!(rename(&bench, name, "www").unwrap().was_renamed);
    }
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    assert_eq!(rename(&bench, "web", "other1").unwrap_err().code(), Code::VmMissing);
}

/// A derived MAC address follows from the name; another one would be another interface to the guest.
#[test]
fn a_mac_address_that_follows_from_the_name_stays() {
    let mut bench = Bench::new();
    bench.create(&plan(SMALL)).unwrap();
    let uuid = bench.host.uuid_of("small").unwrap();
    bench.host.force_off(uuid).unwrap();
    let mac = bench.host.describe(uuid, View::Config).unwrap().unwrap().interfaces[0].mac.clone();
    rename(&bench, "small", "tiny").unwrap();
    let record = bench.record("tiny");
    assert_eq!(record.manifest.spec.network_interfaces[0].mac_address, mac);
    // The manifest of the record still is what the VM is, and so is the one before.
    for generation in [1, 2] {
        let recorded = change::recorded_manifest(&bench.context(), "tiny").unwrap();
        let wanted = recorded.with_revision(&bench.context(), generation).unwrap();
        assert_eq!(change::diff_vm(&bench.context(), &wanted).unwrap(), Some(Vec::new()), "{generation}");
    }
    // A new VM of the old name would have the same address.
    bench.next_operation();
    let error = bench.create(&plan(SMALL)).unwrap_err();
    assert!(whole(&error).contains("tiny"), "{}", whole(&error));
}

#[test]
fn what_virsh_has_renamed_is_finished_or_renamed_again() {
    for new in ["www", "shop"] {
        let bench = off();
        bench.host.rename("web", "www");
        let renamed = rename(&bench, "www", new).unwrap();
        assert_eq!(renamed.from, if new == "www" { "web" } else { "www" });
        assert_eq!(bench.record(new).manifest.metadata.name.as_deref(), Some(new));
        bench.destroy(new, FORCE).unwrap();
        assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING);
    }
}

#[test]
fn what_cannot_be_renamed_is_refused_before_anything() {
    type Prepare = fn(&Bench);
    let cases: [(Prepare, &str, Code, &str); 8] = [
        (|b| b.host.set_state("web", DomainState::Running), "www", Code::VmRuns, "foundry stop web"),
        (|b| b.host.set_state("web", DomainState::Paused), "www", Code::VmRuns, "VM 'web' is paused"),
        (|b| b.host.save("web"), "www", Code::SavedMemoryInTheWay, "foundry start web"),
        (|_| {}, "other", Code::NameTaken, "a domain 'other' exists"),
        (
            |b| b.edit_record("web", |record| record["state"] = "destroying".into()),
            "www",
            Code::HalfDestroyed,
            "foundry destroy web",
        ),
        (
            |b| b.edit_record("web", |r| r["volumes"][1]["attaching"] = r["maker"].clone()),
            "www",
            Code::DiskBusy,
            "is attaching a disk",
        ),
        (
            |b| {
                // A domain that virsh has renamed still writes to the log of its old name.
                b.create(&plan_with(SMALL, &[("small", "www")])).unwrap();
                b.host.force_off(b.host.uuid_of("www").unwrap()).unwrap();
                b.host.rename("www", "gone");
            },
            "www",
            Code::NameTaken,
            "domain 'gone' writes to it",
        ),
        (|b| b.edit_record("web", |record| record["domain"] = "0".into()), "www", Code::RecordUnreadable, ""),
    ];
    for (prepare, new, code, said) in cases {
        let bench = off();
        prepare(&bench);
        let before = bench.host.fingerprint();
        let error = rename(&bench, "web", new).unwrap_err();
        assert_eq!(error.code(), code, "{}", whole(&error));
        assert!(whole(&error).contains(said), "{said}: {}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{said}");
    }
    let bench = off();
    assert_eq!(rename(&bench, "other", "www").unwrap_err().code(), Code::NotFoundrys);
    assert_eq!(rename(&bench, "nobody", "www").unwrap_err().code(), Code::VmMissing);
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
}

/// The renamed VM keeps its volumes, so those of a new VM of the old name have the next revision.
#[test]
fn new_vm_of_the_old_name_has_volumes_of_its_own() {
    let mut bench = off();
    rename(&bench, "web", "www").unwrap();
    bench.next_operation();
    let renamed = bench.record("www").volumes;
    let again = plan_with(WEB, &[("10.0.0.1/24", "10.0.0.2/24")]);
    let names = |bench: &Bench, vm| -> Vec<String> {
        bench.record(vm).volumes.iter().map(|volume| volume.name.clone()).collect()
    };
    for _ in 0..2 {
        bench.create(&again).unwrap_or_else(|e| panic!("{}", whole(&e)));
        assert_eq!(
            names(&bench, "web"),
            ["web_boot.2", "web_data-vdb.2", "web_data-vdc.2", "web_cloudinit.2"]
        );
        assert_eq!(bench.record("www").volumes, renamed);
        // Each has its own EFI variables.
        let variables = |vm| {
            let uuid = bench.host.uuid_of(vm).unwrap();
            (bench.host.describe(uuid, View::Config).unwrap().unwrap().nvram.unwrap(), uuid)
        };
        let (file, uuid) = variables("web");
        assert_eq!(file, NVRAM.replace("web_VARS", &format!("{uuid}_VARS")));
        assert_eq!(variables("www").0, NVRAM);
        bench.destroy("web", FORCE).unwrap();
        bench.next_operation();
        for volume in &renamed {
            assert!(bench.host.files().contains(&volume.path), "{}", volume.path);
        }
    }
    // Either can be destroyed first, and a second rename makes room for a third VM.
    bench.create(&again).unwrap();
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    bench.next_operation();
    rename(&bench, "web", "second").unwrap();
    bench.next_operation();
    bench.create(&plan_with(WEB, &[("10.0.0.1/24", "10.0.0.3/24")])).unwrap();
    assert_eq!(names(&bench, "web")[0], "web_boot.3");
    for vm in ["www", "web", "second"] {
        bench.destroy(vm, FORCE).unwrap();
    }
    assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING);
}

/// Whatever fails: the renamed VM keeps its volumes, and what is left of the new one goes with `destroy`.
#[test]
fn creation_of_the_old_name_that_fails_at_any_call_harms_neither() {
    let renamed = || {
        let mut bench = off();
        rename(&bench, "web", "www").unwrap();
        bench.next_operation();
        bench.start = Some(bench.host.fingerprint());
        bench
    };
    let again = plan_with(WEB, &[("10.0.0.1/24", "10.0.0.2/24")]);
    let faults = each_due_fault(
        renamed,
        |bench| bench.create(&again),
        |bench, outcome, _, label| {
            bench.next_run("web");
            bench.next_operation();
            if outcome.is_err() && bench.host.uuid_of("web").is_some() {
                let volumes = bench.record("web").volumes;
                assert!(volumes.iter().all(|v| v.name.ends_with(".2")), "{label}: {volumes:?}");
            }
            if bench.host.uuid_of("web").is_some() {
                bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            }
            assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING, "{label}");
        },
    );
    assert!(faults > 20, "{faults}");
}

#[test]
fn a_rename_that_fails_at_any_call_is_finished_by_the_same_again() {
    let faults = each_fault(
        off,
        |bench| rename(bench, "web", "www"),
        |bench, outcome, effect, label| {
            if let Err(error) = &outcome {
                let told = error.outcome_texts().join("\n");
                let has_renamed = bench.host.uuid_of("www").is_some();
                assert!(
                    effect.breaks_connection() || told.contains("same command") == has_renamed,
                    "{label}: {}",
                    whole(error)
                );
            }
            bench.next_operation();
            rename(bench, "web", "www").unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_renamed(bench, label);
            bench.destroy("www", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING, "{label}");
        },
    );
    assert!(faults > 60, "{faults}");
}

/// However far a rename came, `destroy` finds all of the VM by the name that it has.
#[test]
fn a_rename_that_was_broken_off_is_destroyed_by_either_name() {
    each_fault(
        off,
        |bench| rename(bench, "web", "www"),
        |bench, _, _, label| {
            bench.next_operation();
            let name = if bench.host.uuid_of("web").is_some() { "web" } else { "www" };
            bench.destroy(name, FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING, "{label}");
        },
    );
}

#[test]
fn ctrl_c_at_every_call_leaves_something_to_finish() {
    let bench = off();
    rename(&bench, "web", "www").unwrap();
    for n in 0..bench.host.call_count() {
        let mut bench = off();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        if let Err(error) = rename(&bench, "web", "www") {
            assert_eq!(error.kind(), Kind::Interrupted, "at {n}: {}", whole(&error));
        }
        bench.next_operation();
        rename(&bench, "web", "www").unwrap_or_else(|e| panic!("at {n}: {}", whole(&e)));
        assert_renamed(&bench, &format!("at {n}"));
    }
}

/// The names of the files still begin with the old name, and some are below overlays only.
#[test]
fn a_vm_with_snapshots_is_renamed_restored_and_destroyed_without_a_trace() {
    use super::snapshot::{ASK, create};
    use foundry::operations::snapshot::{delete_snapshot, plan_delete, plan_restore, restore_snapshot};
    for after_rename in [false, true] {
        let bench = off();
        create(&bench, "one", false).unwrap();
        create(&bench, "two", false).unwrap();
        rename(&bench, "web", "www").unwrap();
        let context = bench.context();
        if after_rename {
            let plan = plan_delete(&context, "www", "two").unwrap();
            delete_snapshot(&context, &plan).unwrap_or_else(|e| panic!("{}", whole(&e)));
            let plan = plan_restore(&context, "www", "one", false).unwrap();
            restore_snapshot(&context, &plan, ASK).unwrap_or_else(|e| panic!("{}", whole(&e)));
        }
        let left = foundry::operations::gc::find_leftovers(&context, None).unwrap().found;
        let of_it: Vec<_> = left.iter().filter(|left| left.name.contains("www/")).collect();
        assert!(of_it.is_empty(), "{of_it:?}");
        bench.destroy("www", FORCE).unwrap_or_else(|e| panic!("{}", whole(&e)));
        assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING, "{after_rename}");
    }
}
