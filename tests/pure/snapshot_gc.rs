//! `gc` and `doctor` after commands on snapshots that were killed after any change.

use super::snapshot::{create, delete, overlays, places, state};
use super::snapshot_faults::{
    assert_destroyed, assert_known, bury, create_one, each_kill, off, restore_one, web, with_two,
};
use crate::support::bench::{Bench, whole};
use foundry::Error;
use foundry::operations::doctor::examine_host;
use foundry::operations::gc::{
    Leftover, LeftoverAction, LeftoverKind, choose_leftovers, execute_cleanup, find_leftovers,
};
use foundry::operations::snapshot::{add_snapshots, add_snapshots_to_all};
use foundry::operations::vm::inspect::{get_vm, list_vms};

/// What `gc` lists of the VM: neither its disks nor its overlays are offered for deletion by hand.
fn leftovers_of_web(bench: &Bench, label: &str) -> Vec<Leftover> {
    let found = find_leftovers(&bench.context(), None).unwrap().found;
    let of_web: Vec<Leftover> = found.into_iter().filter(|left| left.name.starts_with("web/")).collect();
    for left in &of_web {
        assert_eq!(left.kind, LeftoverKind::Snapshot, "{label}: {left}");
        let advice = left.advice.as_ref().map(foundry::error::Advice::to_log_line).unwrap_or_default();
        assert!(!advice.contains("detach"), "{label}: {advice}");
    }
    of_web
}

/// Whether doctor warns of an interrupted command.
fn doctor_warns(bench: &Bench) -> bool {
    let report = examine_host(&bench.context(), false).unwrap();
    report.checks.iter().any(|check| check.name == "interrupted" && check.found.contains("with web"))
}

/// Runs gc, and returns how many leftovers of the VM it had.
fn clean_up(bench: &mut Bench, label: &str) -> usize {
    bury(bench);
    let of_web = leftovers_of_web(bench, label);
    for left in &of_web {
        assert_eq!(left.fate, LeftoverAction::CleanUp, "{label}: {left}: {}", left.reason);
    }
    assert!(!doctor_warns(bench) || !of_web.is_empty(), "{label}: doctor knows more than gc");
    let context = bench.context();
    let found = find_leftovers(&context, None).unwrap();
    let chosen = choose_leftovers(&context, &found, &[]).unwrap();
    let outcome = execute_cleanup(&context, None, &chosen, |_| {});
    outcome.unwrap_or_else(|errors| panic!("{label}: {}", errors.iter().map(whole).collect::<String>()));
    assert_eq!(leftovers_of_web(bench, label).len(), 0, "{label}, after gc");
    assert!(!doctor_warns(bench), "{label}");
    assert!(!bench.host.is_frozen("web"), "{label}");
    assert_known(bench, label);
    let is_confirmed =
        |v: &foundry::record::RecordedVolume| v.overlay_of.as_ref().is_none_or(|mark| mark.maker.is_none());
    let record = bench.record("web");
    assert!(record.volumes.iter().all(is_confirmed), "{label}");
    of_web.len()
}

/// Every kill of a command, then gc; afterwards the VM is as if nothing had been interrupted.
fn gc_settles(fresh: fn() -> Bench, act: fn(&Bench) -> Result<(), Error>, least: usize) {
    let settled = std::cell::Cell::new(0);
    each_kill(fresh, act, |bench, _, label| {
        settled.set(settled.get() + clean_up(bench, label));
        let made = create(bench, "after", false);
        made.unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        let used: Vec<String> = overlays(bench);
        let recorded = bench.record("web").volumes;
        let is_recorded = |name: &String| recorded.iter().any(|v| v.name == *name);
        assert!(used.iter().all(is_recorded), "{label}: {used:?}");
        assert!(places(bench).iter().all(|name| used.contains(name)), "{label}");
        delete(bench, "after").unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        assert_destroyed(bench, label);
    });
    assert!(settled.get() >= least, "gc settled {} leftovers, expected {least}", settled.get());
}

#[test]
fn gc_settles_a_create_that_was_killed_anywhere() {
    gc_settles(web, create_one, 2);
    gc_settles(off, create_one, 2);
}

#[test]
fn gc_settles_a_restore_that_was_killed_anywhere() {
    gc_settles(with_two, restore_one, 6);
}

#[test]
fn gc_settles_a_delete_that_was_killed_anywhere() {
    gc_settles(with_two, |bench| delete(bench, "two"), 1);
    gc_settles(with_two, |bench| delete(bench, "one"), 1);
}

/// The rest of a restore would be done to a guest that writes on, so the user decides.
#[test]
fn restore_that_was_interrupted_before_the_vm_started_is_kept_with_its_command() {
    let seen = std::cell::Cell::new(0);
    each_kill(with_two, restore_one, |bench, _, label| {
        bury(bench);
        if state(bench) != foundry::host::DomainState::ShutOff {
            return;
        }
        let is_half = leftovers_of_web(bench, label).iter().any(|left| left.reason.contains("were set back"));
        if !is_half {
            return;
        }
        bench.host.set_state("web", foundry::host::DomainState::Running);
        let left = leftovers_of_web(bench, label);
        let kept: Vec<&Leftover> = left.iter().filter(|left| left.fate == LeftoverAction::Keep).collect();
        let [kept] = kept.as_slice() else { panic!("{label}: {left:?}") };
        assert!(kept.reason.contains("was started before its restore was finished"), "{label}: {kept:?}");
        let advice = kept.advice.as_ref().unwrap().to_log_line();
        assert!(
            advice.contains("SnapshotRestore") && advice.ends_with("restores it again"),
            "{label}: {advice}"
        );
        seen.set(seen.get() + 1);
    });
    assert!(seen.get() > 0, "no kill left a restore half done");
}

#[test]
fn snapshots_are_in_the_status_of_get_and_list() {
    let bench = with_two();
    let context = bench.context();
    let mut one = get_vm(&context, "web").unwrap();
    add_snapshots(&context, &mut one).unwrap();
    let mut all = list_vms(&context, true).unwrap();
    add_snapshots_to_all(&context, &mut all).unwrap();
    for seen in all {
        let status = seen.vm.status.unwrap();
        let names: Vec<&str> = status.snapshots.iter().map(|s| s.name.as_str()).collect();
        let expected: &[&str] = if seen.domain.name == "web" { &["one", "two"] } else { &[] };
        assert_eq!(names, expected, "{}", seen.domain.name);
        if seen.domain.name == "web" {
            assert_eq!(one.vm.status.as_ref().unwrap().snapshots, status.snapshots);
            assert!(status.snapshots.iter().all(|s| s.created_at.is_some()));
        }
    }
}
