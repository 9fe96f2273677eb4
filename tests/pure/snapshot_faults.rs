//! Snapshots that go wrong at any call: nothing is leaked or lost, no guest stays frozen, and the same command again
//! finishes or takes back.

use super::snapshot::{create, delete, overlays, places, restore};
use crate::support::bench::{Bench, FORCE, neighbours_alone, whole};
use crate::support::manifests::{WEB, plan_with};
use foundry::host::memory::{Effect, Guest, OnFreeze};
use foundry::host::{DomainState, Snapshots};
use foundry::operations::Cancel;
use foundry::{Code, Error, Kind};

const NOTHING: [&str; 0] = [];
const BASES: [&str; 2] = ["web_boot", "web_data-vdb"];

/// A VM with two disks whose agent can freeze. Each disk and each field costs calls.
pub(super) fn web() -> Bench {
    let mut bench = Bench::new();
    let disks = "{device: vdb, sizeGB: 10}, {device: vdc, sizeGB: 30}";
    bench.create(&plan_with(WEB, &[(disks, "{device: vdb, sizeGB: 10}")])).unwrap();
    bench.host.set_guest("web", Guest::new().freezes(OnFreeze::Thaws));
    bench.host.forget_calls();
    bench.start = Some(bench.host.fingerprint());
    bench
}

/// The next run of foundry: the process that made overlays has ended.
pub(super) fn bury(bench: &mut Bench) {
    bench.cancel = Cancel::default();
    bench.edit_record("web", |record| {
        for volume in record["volumes"].as_array_mut().unwrap() {
            if volume.pointer("/overlayOf/maker").is_some() {
                volume["overlayOf"]["maker"]["started"] = 1.into();
            }
        }
    });
}

/// What holds after every fault: the record names every overlay and every disk, and no first file is lost.
pub(super) fn assert_known(bench: &Bench, label: &str) {
    let record = bench.record("web");
    let is_named = |name: &String| record.volumes.iter().any(|v| v.name == *name);
    for name in overlays(bench).iter().chain(&places(bench)) {
        assert!(is_named(name), "{label}: {name} is not in the record");
    }
    for base in BASES {
        assert!(bench.host.files().contains(&format!("/pool/vms/{base}")), "{label}: {base} is lost");
    }
}

fn assert_told(bench: &Bench, outcome: &Result<(), Error>, verb: &str, label: &str) {
    let Err(error) = outcome else { return };
    let told = whole(error);
    let before = bench.start.as_ref().unwrap();
    let is_clean = told.contains("nothing was changed");
    assert!(
        !is_clean || overlays(bench).is_empty() || bench.host.changes_since(before) == NOTHING,
        "{label}: {told}"
    );
    let is_advised = told.contains(verb) || told.contains("foundry start web starts it");
    assert!(overlays_before(bench) || is_advised, "{label}: {told}");
}

/// Whether there are as many overlays as at the start.
fn overlays_before(bench: &Bench) -> bool {
    let lines: Vec<String> = bench.start.as_ref().unwrap().lines().map(str::to_owned).collect();
    overlays(bench).iter().all(|name| lines.iter().any(|line| line.contains(&format!("/{name}:"))))
}

pub(super) fn assert_destroyed(bench: &Bench, label: &str) {
    bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
    assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING, "{label}");
}

fn snapshots(bench: &Bench) -> Vec<String> {
    bench.host.snapshots(bench.host.uuid_of("web").unwrap()).unwrap()
}

/// Calls that change something; for the others it is the same whether they fail before or after their effect.
const CHANGES: [&str; 12] = [
    "set_record",
    "create_snapshot",
    "redefine_snapshot",
    "delete_snapshot",
    "forget_snapshot",
    "create_volume",
    "delete_volume",
    "define_domain",
    "request_shutdown",
    "start",
    "agent",
    "refresh_pool",
];

/// As `each_fault` of the support, with the effects that make a difference, because a snapshot takes many calls.
fn each_fault(
    fresh: impl Fn() -> Bench,
    act: impl Fn(&Bench) -> Result<(), Error>,
    judge: impl Fn(&mut Bench, Result<(), Error>, &str),
) -> usize {
    faults_with(&Effect::ALL, fresh, act, judge)
}

/// As if foundry was killed after each change.
pub(super) fn each_kill(
    fresh: impl Fn() -> Bench,
    act: impl Fn(&Bench) -> Result<(), Error>,
    judge: impl Fn(&mut Bench, Result<(), Error>, &str),
) -> usize {
    faults_with(&[Effect::BrokenAfterEffect], fresh, act, judge)
}

fn faults_with(
    effects: &[Effect],
    fresh: impl Fn() -> Bench,
    act: impl Fn(&Bench) -> Result<(), Error>,
    judge: impl Fn(&mut Bench, Result<(), Error>, &str),
) -> usize {
    let fixture = fresh();
    let bench = fixture.fork();
    act(&bench).unwrap();
    let calls = bench.host.calls();
    let mut faults = 0;
    for (n, call) in calls.iter().enumerate() {
        let is_change = CHANGES.contains(&call.split(' ').next().unwrap());
        let makes_a_difference =
            |effect: &&Effect| is_change || matches!(effect, Effect::RefuseBefore | Effect::BrokenBefore);
        for effect in effects.iter().filter(makes_a_difference) {
            let mut bench = fixture.fork();
            bench.host.fail_at(n, *effect);
            let outcome = act(&bench);
            assert!(bench.host.fault_hit(), "call {n} is not made");
            faults += 1;
            bench.host.heal();
            judge(&mut bench, outcome, &format!("{effect:?} at call {n}, {call}"));
        }
    }
    faults
}

fn started(bench: Bench) -> Bench {
    let start = Some(bench.host.fingerprint());
    Bench { start, ..bench }
}

pub(super) fn off() -> Bench {
    let bench = web();
    bench.host.set_state("web", DomainState::ShutOff);
    started(bench)
}

pub(super) fn create_one(bench: &Bench) -> Result<(), Error> {
    create(bench, "one", true).map(drop)
}

#[test]
fn create_that_fails_at_any_call_is_finished_by_the_same_again() {
    for fresh in [web, off] {
        let faults = each_fault(fresh, create_one, |bench, outcome, label| {
            assert!(!bench.host.is_frozen("web"), "{label}");
            assert_known(bench, label);
            assert_told(bench, &outcome, "foundry snapshot create web one", label);
            bury(bench);
            if let Err(error) = create_one(bench) {
                // Only if the first one was done but for its answer.
                assert_eq!(error.code(), Code::SnapshotTaken, "{label}, again: {}", whole(&error));
            }
            assert_eq!(snapshots(bench), ["one"], "{label}");
            assert_known(bench, label);
            assert_eq!((overlays(bench), overlays(bench).len()), (places(bench), 2), "{label}");
            let is_confirmed = |v: &foundry::record::RecordedVolume| {
                v.overlay_of.as_ref().is_none_or(|mark| mark.maker.is_none())
            };
            assert!(bench.record("web").volumes.iter().all(is_confirmed), "{label}");
            delete(bench, "one").unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_eq!(places(bench), BASES, "{label}");
            assert_destroyed(bench, label);
        });
        assert!(faults > 50, "{faults}");
    }
}

#[test]
fn create_that_fails_at_any_call_is_destroyed_without_a_trace() {
    each_kill(web, create_one, |bench, _, label| {
        bury(bench);
        assert_destroyed(bench, label);
    });
}

/// A daemon that froze and never thawed, and a connection that is gone: the next command sees it.
#[test]
fn guest_that_a_killed_command_left_frozen_is_thawed_by_the_next() {
    let frozen = || {
        let bench = web();
        bench.host.set_guest("web", Guest::new().freezes(OnFreeze::StaysFrozen));
        started(bench)
    };
    let left = std::cell::Cell::new(0);
    each_fault(frozen, create_one, |bench, outcome, label| {
        let is_frozen = bench.host.is_frozen("web");
        let is_lost = outcome.as_ref().is_err_and(|e| e.kind() == Kind::Connection);
        assert!(!is_frozen || is_lost, "{label}");
        left.set(left.get() + usize::from(is_frozen));
        bury(bench);
        if let Err(error) = create_one(bench) {
            assert_eq!(error.code(), Code::SnapshotTaken, "{label}, again: {}", whole(&error));
        }
        assert!(!bench.host.is_frozen("web"), "{label}");
        assert_destroyed(bench, label);
    });
    assert!(left.get() > 0, "no fault left the guest frozen");
}

#[test]
fn ctrl_c_at_every_call_of_a_create_leaves_all_or_nothing() {
    let fixture = web();
    let calls = {
        let bench = fixture.fork();
        create_one(&bench).unwrap();
        bench.host.call_count()
    };
    for n in 0..calls {
        let mut bench = fixture.fork();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = create_one(&bench);
        assert!(!bench.host.is_frozen("web"), "at {n}");
        match outcome {
            Ok(()) => assert_eq!((snapshots(&bench).len(), overlays(&bench).len()), (1, 2), "at {n}"),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Interrupted, "at {n}: {}", whole(&error));
                assert_eq!((snapshots(&bench).len(), overlays(&bench).len()), (0, 0), "at {n}");
                assert!(bench.record("web").volumes.iter().all(|v| v.overlay_of.is_none()), "at {n}");
            }
        }
        bury(&mut bench);
        assert_destroyed(&bench, &format!("at {n}"));
    }
}

/// With two snapshots, of which the first is restored.
pub(super) fn with_two() -> Bench {
    let bench = web();
    create(&bench, "one", true).unwrap();
    create(&bench, "two", true).unwrap();
    bench.host.forget_calls();
    started(bench)
}

pub(super) fn restore_one(bench: &Bench) -> Result<(), Error> {
    restore(bench, "one", true).map(drop)
}

#[test]
fn restore_that_fails_at_any_call_is_finished_by_the_same_again() {
    let effects =
        [Effect::RefuseBefore, Effect::RefuseAfterEffect, Effect::BrokenBefore, Effect::BrokenAfterEffect];
    let faults = faults_with(&effects, with_two, restore_one, |bench, outcome, label| {
        assert_known(bench, label);
        assert_told(bench, &outcome, "foundry snapshot restore web one", label);
        bury(bench);
        restore_one(bench).unwrap_or_else(|e| panic!("{label}, again: {}", whole(&e)));
        assert_known(bench, label);
        assert_eq!(snapshots(bench), ["one"], "{label}");
        assert_eq!((overlays(bench), overlays(bench).len()), (places(bench), 2), "{label}");
        delete(bench, "one").unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        assert_eq!(places(bench), BASES, "{label}");
        assert_destroyed(bench, label);
    });
    assert!(faults > 100, "{faults}");
}

#[test]
fn restore_that_fails_at_any_call_is_destroyed_without_a_trace() {
    each_kill(with_two, restore_one, |bench, _, label| {
        bury(bench);
        assert_destroyed(bench, label);
    });
}

/// Other commands that meet a half restored VM say what to do, and lose nothing.
#[test]
fn commands_after_an_interrupted_restore_lose_nothing() {
    each_kill(with_two, restore_one, |bench, _, label| {
        bury(bench);
        for outcome in [create(bench, "three", false).map(drop), delete(bench, "two"), delete(bench, "one")] {
            if let Err(error) = outcome {
                let told = whole(&error);
                let is_fine = [Code::SnapshotInTheWay, Code::SnapshotMissing].contains(&error.code());
                assert!(is_fine, "{label}: {told}");
                assert!(
                    error.code() != Code::SnapshotInTheWay || told.contains("foundry snapshot restore web"),
                    "{label}: {told}"
                );
            }
            assert_known(bench, label);
        }
        assert_destroyed(bench, label);
    });
}

#[test]
fn ctrl_c_at_every_call_of_a_restore_leaves_something_to_finish() {
    let fixture = with_two();
    let calls = {
        let bench = fixture.fork();
        restore_one(&bench).unwrap();
        bench.host.call_count()
    };
    for n in 0..calls {
        let mut bench = fixture.fork();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = restore_one(&bench);
        if let Err(error) = &outcome {
            assert_eq!(error.kind(), Kind::Interrupted, "at {n}: {}", whole(error));
        }
        assert_known(&bench, &format!("at {n}"));
        bury(&mut bench);
        restore_one(&bench).unwrap_or_else(|e| panic!("at {n}, again: {}", whole(&e)));
        assert_eq!(overlays(&bench), places(&bench), "at {n}");
    }
}

#[test]
fn delete_that_fails_at_any_call_is_finished_by_the_same_again() {
    for (name, left) in [("one", "two"), ("two", "one")] {
        let effects = [Effect::RefuseAfterEffect, Effect::BrokenBefore, Effect::BrokenAfterEffect];
        let faults = faults_with(
            &effects,
            with_two,
            |bench| delete(bench, name),
            |bench, outcome, label| {
                assert_known(bench, label);
                assert_told(bench, &outcome, &format!("foundry snapshot delete web {name}"), label);
                bury(bench);
                if let Err(error) = delete(bench, name) {
                    assert_eq!(error.code(), Code::SnapshotMissing, "{label}, again: {}", whole(&error));
                }
                assert_known(bench, label);
                assert_eq!(snapshots(bench), [left], "{label}");
                assert_eq!((overlays(bench), overlays(bench).len()), (places(bench), 2), "{label}");
                let recorded =
                    bench.record("web").volumes.into_iter().filter(|v| v.overlay_of.is_some()).count();
                assert_eq!(recorded, 2, "{label}");
                assert_destroyed(bench, label);
            },
        );
        assert!(faults > 50, "{faults}");
    }
}
