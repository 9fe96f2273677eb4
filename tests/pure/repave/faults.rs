//! A repave that goes wrong at any call: no volume is leaked, none is lost, and another run ends it.

use super::{NEW, OLD, TRIAL, accept, disks, files, is_full, repave, roll_back, web};
use crate::support::bench::{Bench, FORCE, whole};
use crate::support::shown::Shown;
use foundry::host::memory::Effect;
use foundry::host::{DomainState, Domains, View};
use foundry::operations::Cancel;
use foundry::operations::gc;
use foundry::record::RepaveStage;
use foundry::{Code, Error, Kind};

/// The next run: the process that repaved has ended.
pub(super) fn bury(bench: &mut Bench) {
    bench.host.heal();
    bench.cancel = Cancel::default();
    bench.edit_record("web", |record| {
        if record.get("repave").is_some() {
            record["repave"]["maker"]["started"] = 1.into();
        }
    });
}

/// The disks that the VM has are there, and nothing else is.
#[track_caller]
pub(super) fn assert_whole(bench: &Bench, label: &str) {
    let record = bench.record("web");
    assert_eq!(record.repave, None, "{label}");
    let boot = disks(bench, View::Config)[0].1.clone();
    let names = files(bench);
    match boot.as_str() {
        "/pool/vms/web_boot" => assert_eq!(names, OLD, "{label}"),
        "/pool/vms/web_boot.2" => assert_eq!(names, NEW, "{label}"),
        other => panic!("{label}: {other}"),
    }
    assert_eq!(record.volumes[0].path, boot, "{label}");
    for view in [View::Config, View::Current] {
        for (_, path) in disks(bench, view) {
            assert!(names.contains(&path.replace("/pool/vms/", "")), "{label}: {path} of {names:?}");
        }
    }
}

#[track_caller]
pub(super) fn assert_runs(bench: &Bench, label: &str) {
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::Running, "{label}");
}

#[track_caller]
pub(super) fn destroy_all(bench: &Bench, label: &str) {
    bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
    assert_eq!(files(bench), [] as [&str; 0], "{label}");
}

fn again(bench: &Bench, label: &str) {
    repave(bench, Some("debian-13"), TRIAL).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
    assert_runs(bench, label);
}

pub(super) fn back(bench: &Bench, label: &str) {
    match roll_back(bench) {
        // It is decided: the old boot disk is deleted.
        Err(error) if error.code() == Code::NothingToRollBack => drop(accept(bench).unwrap()),
        outcome => drop(outcome.unwrap_or_else(|e| panic!("{label}: {}", whole(&e)))),
    }
}

/// Lets gc do what it can. Only the decision between two boot disks is left to the user.
pub(super) fn clean_up(bench: &Bench, label: &str) {
    let context = bench.context();
    let leftovers = gc::find_leftovers(&context, None).unwrap();
    let of_web = leftovers.found.iter().map(|l| l.name.as_str()).filter(|name| name.starts_with("web/"));
    let named: Vec<_> = of_web.collect();
    assert_eq!(named, ["web/repave"], "{label}");
    let chosen = gc::choose_leftovers(&context, &leftovers, &[]).unwrap();
    gc::execute_cleanup(&context, None, &chosen, |_| {}).unwrap_or_else(|e| panic!("{label}: {e:?}"));
    if chosen.is_empty() {
        assert_eq!(bench.record("web").repave.unwrap().stage, RepaveStage::OnTrial, "{label}");
        back(bench, label);
    }
}

/// Each run tries a fault at each call, and each fault at a sixth of the calls.
pub(super) fn faults_of(
    fresh: fn() -> Bench,
    act: impl Fn(&Bench) -> Result<(), Error>,
    judge: impl Fn(&mut Bench, Result<(), Error>, usize, &str),
) -> usize {
    let all = {
        let bench = fresh();
        act(&bench).unwrap_or_else(|e| panic!("fails without a fault: {}", whole(&e)));
        bench.host.call_count()
    };
    let mut faults = 0;
    let fixture = fresh();
    for (fault, effect) in Effect::ALL.into_iter().enumerate() {
        for n in (0..all).filter(|n| is_full() || (n + fault).is_multiple_of(Effect::ALL.len())) {
            let mut bench = fixture.fork();
            bench.host.fail_at(n, effect);
            let outcome = act(&bench);
            assert!(bench.host.fault_hit(), "{effect:?} at {n}");
            let label = format!("{effect:?} at call {n}, {}", bench.host.calls()[n]);
            faults += 1;
            judge(&mut bench, outcome, faults, &label);
        }
    }
    assert!(faults >= all, "{faults}");
    faults
}

fn act(bench: &Bench) -> Result<(), Error> {
    repave(bench, Some("debian-13"), TRIAL).map(drop)
}

/// No volume is leaked or lost; and the same command, a rollback, gc or destroy ends it.
#[test]
fn repave_that_fails_at_any_call_is_ended_by_another_run() {
    let faults = faults_of(
        || web(true),
        act,
        |bench, outcome, number, label| {
            let told = outcome.err().map(|error| error.outcome_texts().join("\n")).unwrap_or_default();
            let is_back =
                ["is removed again", "has its previous boot disk again"].iter().any(|end| told.contains(end));
            if is_back {
                assert_whole(bench, label);
                assert_eq!(files(bench), OLD, "{label}");
            }
            bury(bench);
            // The record names everything that there is.
            let record = bench.record("web");
            let known: Vec<&str> = record.all_volumes().map(|volume| volume.name.as_str()).collect();
            for file in files(bench) {
                assert!(known.contains(&file.as_str()), "{label}: {file} of {known:?}");
            }
            match (number % 4, record.repave.is_some()) {
                (0, _) if is_back || record.repave.is_some() => again(bench, label),
                (1, true) => {
                    back(bench, label);
                    assert_runs(bench, label);
                }
                (2, true) => clean_up(bench, label),
                (3, true) => return destroy_all(bench, label),
                _ => {}
            }
            assert_whole(bench, label);
            destroy_all(bench, label);
        },
    );
    assert!(faults > 60, "{faults}");
}

/// The wait fails, and the rollback fails at any call.
#[test]
fn rollback_of_a_failed_wait_is_finished_by_another() {
    let act = |bench: &Bench| match repave(bench, None, TRIAL) {
        Err(error) if error.kind() == Kind::Timeout && error.outcome_texts().len() == 1 => Ok(()),
        other => other.map(drop),
    };
    faults_of(
        || web(false),
        act,
        |bench, _, _, label| {
            bury(bench);
            if bench.record("web").repave.is_some() {
                back(bench, label);
            }
            assert_whole(bench, label);
            assert_eq!(files(bench), OLD, "{label}");
            assert_runs(bench, label);
            destroy_all(bench, label);
        },
    );
}

fn kept() -> Bench {
    let bench = web(true);
    repave(&bench, Some("debian-13"), None).unwrap();
    bench.host.forget_calls();
    bench
}

#[test]
fn decisions_that_fail_at_any_call_are_finished_by_the_same_again() {
    faults_of(
        kept,
        |bench| roll_back(bench).map(drop),
        |bench, _, _, label| {
            bury(bench);
            if bench.record("web").repave.is_some() {
                roll_back(bench).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            }
            assert_whole(bench, label);
            assert_eq!(files(bench), OLD, "{label}");
            assert_runs(bench, label);
            destroy_all(bench, label);
        },
    );
    faults_of(
        kept,
        |bench| accept(bench).map(drop),
        |bench, _, _, label| {
            bury(bench);
            accept(bench).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_whole(bench, label);
            assert_eq!(files(bench), NEW, "{label}");
            destroy_all(bench, label);
        },
    );
}

#[test]
fn ctrl_c_at_every_call_takes_it_back_or_comes_too_late() {
    let all = {
        let bench = web(true);
        act(&bench).unwrap();
        bench.host.calls()
    };
    let mut interrupted = 0;
    let step = if is_full() { 1 } else { 3 };
    let mut tried = 0;
    for (n, call) in all.iter().enumerate().step_by(step) {
        tried += 1;
        let mut bench = web(true);
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = act(&bench);
        let label = format!("at {n}, {call}");
        match &outcome {
            Ok(()) => assert_eq!(files(&bench), NEW, "{label}"),
            Err(error) => {
                interrupted += 1;
                assert_eq!(error.kind(), Kind::Interrupted, "{label}: {}", whole(error));
                assert_eq!(files(&bench), OLD, "{label}: {}", whole(error));
                assert_runs(&bench, &label);
            }
        }
        assert_whole(&bench, &label);
        bury(&mut bench);
        destroy_all(&bench, &label);
    }
    assert!(interrupted > tried / 3, "{interrupted} of {tried}");
}
