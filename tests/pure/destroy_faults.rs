//! A destruction that goes wrong at any call: the record stays, and a second `destroy` finishes.

use crate::support::bench::{Bench, FORCE, GENTLE, KEEP, neighbours_alone, whole};
use crate::support::faults::each_fault;
use crate::support::shown::Shown;
use foundry::host::memory::{Effect, Guest, MemoryHost, OnShutdown};
use foundry::host::{Domain, Domains};
use foundry::operations::Cancel;
use foundry::record::RecordState;
use foundry::{Code, Error, Kind};

const NOTHING: [&str; 0] = [];
const OURS: [&str; 4] =
    ["/pool/vms/web_boot", "/pool/vms/web_data-vdb", "/pool/vms/web_data-vdc", "/pool/vms/web_cloudinit"];
const KEPT: [&str; 3] = ["web_boot", "web_data-vdb", "web_data-vdc"];

fn assert_nothing_left(bench: &Bench, label: &str) {
    assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING, "{label}");
}

fn slow() -> Bench {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().on_shutdown(OnShutdown::Never));
    bench
}

fn still_there(bench: &Bench) -> Option<Domain> {
    bench.host.domain("web").unwrap()
}

/// The heart of it: it says what became of the VM, no volume is ever without its record, and a second
/// `destroy` finishes.
#[test]
fn after_a_failure_at_every_call_a_second_destroy_finishes() {
    let faults = each_fault(
        slow,
        |bench| bench.destroy("web", GENTLE),
        |bench, outcome, effect, label| {
            let Err(error) = outcome else {
                // Asking a guest that cannot be asked is no failure.
                assert_nothing_left(bench, label);
                return;
            };
            let unchanged = bench.host.changes_since(bench.start.as_ref().unwrap()).is_empty();
            let told = error.outcome_texts().join("\n");
            assert!(
                unchanged || told.contains("foundry destroy web finishes it"),
                "{label}: {}",
                whole(&error)
            );
            assert!(unchanged || !told.contains("nothing was changed"), "{label}: {told}");
            assert!(
                !effect.breaks_connection() || error.kind() == Kind::Connection,
                "{label}: {}",
                whole(&error)
            );
            let volumes = bench.host.files().iter().any(|f| OURS.contains(&f.as_str()));
            assert!(!volumes || still_there(bench).is_some(), "{label}: nobody knows of the volumes");
            if still_there(bench).is_some() {
                bench.destroy("web", GENTLE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            }
            assert_nothing_left(bench, label);
        },
    );
    assert!(faults > 100, "{faults}");
}

#[test]
fn one_stubborn_volume_does_not_keep_the_others() {
    let bench = Bench::with_web();
    bench.host.fail_calls_named("delete_volume foundry-vms/web_boot");
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    let files = bench.host.files();
    assert!(files.contains(&"/pool/vms/web_boot".to_owned()));
    assert!(!files.contains(&"/pool/vms/web_data-vdb".to_owned()));
    assert!(still_there(&bench).is_some(), "the record names what is left");
    bench.host.heal();
    bench.destroy("web", GENTLE).unwrap();
    assert_nothing_left(&bench, "finished");
}

#[test]
fn several_stubborn_volumes_are_all_named() {
    let bench = Bench::with_web();
    bench.host.fail_calls_named("delete_volume");
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Storage, "4 volumes cannot be deleted"));
    for name in KEPT.into_iter().chain(["web_cloudinit"]) {
        assert!(error.to_string().contains(&format!("'{name}'")), "{error}");
    }
}

#[test]
fn ctrl_c_at_every_call_leaves_something_to_finish() {
    let calls = {
        let bench = slow();
        bench.host.forget_calls();
        bench.destroy("web", GENTLE).unwrap();
        bench.host.call_count()
    };
    let mut interrupted = 0;
    for n in 0..calls {
        let mut bench = slow();
        bench.host.forget_calls();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = bench.destroy("web", GENTLE);
        bench.cancel = Cancel::default();
        if let Err(error) = outcome {
            interrupted += 1;
            assert_eq!(error.kind(), Kind::Interrupted, "at {n}: {}", whole(&error));
            let unchanged = bench.host.changes_since(bench.start.as_ref().unwrap()).is_empty();
            let told = error.outcome_texts().join("\n");
            let spared = ["nothing was changed", "nothing was removed; VM 'web' still runs"]
                .iter()
                .any(|s| told.contains(s));
            assert_eq!(spared, unchanged, "at {n}: {told}");
            bench.destroy("web", GENTLE).unwrap();
        }
        assert_nothing_left(&bench, &format!("at {n}"));
    }
    assert!(interrupted > calls / 2, "{interrupted} of {calls}");
}

/// What happens at a call of an undisturbed destruction that waits for its guest.
fn at_call(name: &str, act: impl FnOnce(&MemoryHost) + Send + 'static) -> (Bench, Error) {
    let clean = slow();
    clean.destroy("web", GENTLE).unwrap();
    let at = clean.host.calls().iter().position(|c| c.starts_with(name)).unwrap();
    let bench = slow();
    let cancel = bench.cancel.clone();
    bench.host.on_call(at, move |host| {
        act(host);
        cancel.request();
    });
    let error = bench.destroy("web", GENTLE).unwrap_err();
    (bench, error)
}

/// Its user thought better of it while the guest was asked: the VM is whole, so that nothing cleans it up.
#[test]
fn ctrl_c_while_the_guest_is_waited_for_leaves_the_vm_whole() {
    let (bench, error) = at_call("request_shutdown", |_| {});
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(error.outcome_texts(), ["nothing was removed; VM 'web' still runs"]);
    assert_eq!(bench.record("web").state, RecordState::Created);
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
}

/// Another destruction may have begun meanwhile, which nothing may call off.
#[test]
fn the_mark_of_another_process_is_not_taken_back() {
    let (bench, error) = at_call("request_shutdown", |host| {
        let domain = host.domain("web").unwrap().unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&domain.record.unwrap()).unwrap();
        record["maker"]["host"] = "another machine".into();
        host.set_record(domain.uuid, &record.to_string()).unwrap();
    });
    let told = error.outcome_texts().join("\n");
    assert!(told.contains("VM 'web' is half destroyed") && !told.contains("nothing was removed"), "{told}");
    let record = bench.record("web");
    assert_eq!((record.state, record.maker.host.as_str()), (RecordState::Destroying, "another machine"));
}

/// It stops between two volumes, not only before and after all of them.
#[test]
fn ctrl_c_spares_the_volumes_to_come() {
    let clean = Bench::with_web();
    clean.destroy("web", GENTLE).unwrap();
    let at = clean.host.calls().iter().position(|c| c == "delete_volume foundry-vms/web_data-vdb").unwrap();
    let bench = Bench::with_web();
    let cancel = bench.cancel.clone();
    bench.host.on_call(at, move |_| cancel.request());
    assert_eq!(bench.destroy("web", GENTLE).unwrap_err().kind(), Kind::Interrupted);
    let left: Vec<bool> = OURS.iter().map(|path| bench.host.files().iter().any(|f| f == path)).collect();
    assert_eq!(left, [false, false, true, true]);
}

/// libvirt's own refusal is what the user needs to know.
#[test]
fn a_guest_that_cannot_be_forced_off_is_told_in_libvirts_words() {
    let bench = Bench::with_web();
    bench.host.fail_calls_named("force_off");
    let error = bench.destroy("web", FORCE).unwrap_err();
    assert_eq!(error.message(), "cannot force off domain 'web'");
    assert_eq!(error.outcome_texts(), ["nothing was removed; VM 'web' still runs"]);
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
    assert!(!bench.host.calls().iter().any(|c| c.starts_with("delete_volume")));
}

#[test]
fn kept_disks_stay_whatever_fails_and_a_second_destroy_does_not_take_them() {
    each_fault(
        slow,
        |bench| bench.destroy("web", KEEP),
        |bench, _, effect, label| {
            let was_marked =
                still_there(bench).is_some() && bench.record("web").state == RecordState::Destroying;
            if was_marked {
                let named: Vec<_> = bench.record("web").volumes.into_iter().map(|v| v.name).collect();
                assert_eq!(named, ["web_cloudinit"], "{label}: what the record names goes next time");
            }
            if still_there(bench).is_some() {
                // Not even one that does not say --keep-disks again, once the first got so far as to write it down.
                bench.destroy("web", if was_marked { GENTLE } else { KEEP }).unwrap();
            }
            let files = bench.host.files();
            for kept in KEPT {
                assert!(files.contains(&format!("/pool/vms/{kept}")), "{label} {effect:?}: {kept} is gone");
            }
            assert!(!files.contains(&"/pool/vms/web_cloudinit".to_owned()), "{label}: the seed stays");
            assert!(still_there(bench).is_none(), "{label}");
        },
    );
}

/// A kill in the middle, then the whole from the beginning: create, kill, destroy, kill, destroy.
#[test]
fn a_destroy_that_is_killed_twice_is_still_finished() {
    let mut bench = slow();
    bench.host.fail_calls_named_with("delete_volume foundry-vms/web_data-vdb", Effect::BrokenAfterEffect);
    bench.destroy("web", FORCE).unwrap_err();
    bench.next_run("web");
    bench.host.fail_calls_named_with("undefine", Effect::BrokenBefore);
    bench.destroy("web", FORCE).unwrap_err();
    bench.next_run("web");
    bench.destroy("web", FORCE).unwrap();
    assert_nothing_left(&bench, "after two kills");
}

/// A job of libvirt's holds the VM, or its QEMU hangs: the mark cannot be written as long as it runs.
#[test]
fn a_vm_that_something_else_works_on_goes_by_force_only() {
    let bench = Bench::with_web();
    bench.host.set_job("web");
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert_eq!(error.code(), Code::VmHeld, "{}", whole(&error));
    for told in ["virsh domjobabort web", "foundry destroy web --force", "nothing was removed"] {
        assert!(whole(&error).contains(told), "{told}: {}", whole(&error));
    }
    assert!(!whole(&error).contains("finishes it"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [&str; 0]);

    bench.destroy("web", FORCE).unwrap();
    assert_eq!(bench.host.changes_since(neighbours_alone()), [] as [&str; 0]);
    let calls = bench.host.calls();
    let at = |call: &str| calls.iter().rposition(|c| c.starts_with(call)).unwrap();
    assert!(at("force_off") < at("set_record"), "{calls:?}");
    assert!(
        at("set_record") < calls.iter().position(|c| c.starts_with("delete_volume")).unwrap(),
        "{calls:?}"
    );
}

/// What makes room is what there is no room to note.
#[test]
fn a_full_file_system_keeps_no_vm_from_going() {
    for running in [true, false] {
        let bench = Bench::with_web();
        if !running {
            bench.host.set_state("web", foundry::host::DomainState::ShutOff);
        }
        bench.host.fill_definitions();
        bench.destroy("web", GENTLE).unwrap();
        assert_eq!(bench.host.changes_since(neighbours_alone()), [] as [&str; 0], "{running}");
    }
}

/// What is to stay of its disks stays by the mark only.
#[test]
fn where_disks_are_to_stay_nothing_goes_without_the_mark() {
    let bench = Bench::with_web();
    bench.host.fill_definitions();
    let error = bench.destroy("web", KEEP).unwrap_err();
    assert_eq!(error.code(), Code::OutOfSpace, "{}", whole(&error));
    assert!(!whole(&error).contains("finishes it"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [&str; 0]);
}
