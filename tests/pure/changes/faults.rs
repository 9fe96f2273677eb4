//! An apply that goes wrong at any call: nothing is lost, and the same again finishes it.

use super::{apply_with, described, diff, restart};
use crate::support::bench::{Bench, FORCE, neighbours_alone, whole};
use crate::support::manifests::{WEB, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::Effect;
use foundry::host::{Domains, View};
use foundry::operations::Cancel;
use foundry::plan::VmPlan;
use foundry::{Error, Kind};

/// Five changes, of all kinds.
fn wanted() -> VmPlan {
    plan_with(
        WEB,
        &[
            ("vcpus: 2", "vcpus: 3\n  autostart: false"),
            ("memoryGiB: 4", "memoryGiB: 2"),
            ("bridge: br0", "bridge: br1"),
            ("{device: vdc, sizeGB: 30}", "{device: vdc, sizeGB: 31}, {device: vdd, sizeGB: 5}"),
            ("{role: web}", "{role: db}"),
        ],
    )
}

fn act(bench: &Bench) -> Result<(), Error> {
    apply_with(bench, wanted(), false).map(drop)
}

fn off() -> Bench {
    let mut bench = Bench::with_web();
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    bench.start = Some(bench.host.fingerprint());
    bench
}

/// The next run: whoever attached a disk has ended.
fn bury(bench: &mut Bench) {
    bench.host.heal();
    bench.cancel = Cancel::default();
    bench.edit_record("web", |record| {
        for volume in record["volumes"].as_array_mut().unwrap() {
            if volume.get("attaching").is_some() {
                volume["attaching"]["started"] = 1.into();
            }
        }
    });
}

/// The same again must finish it; then the VM is what the manifest says, and `destroy` finds all of it.
fn finish(bench: &mut Bench, outcome: Result<(), Error>, label: &str) {
    if let Err(error) = &outcome {
        let unchanged = bench.host.changes_since(bench.start.as_ref().unwrap()).is_empty();
        let told = error.outcome_texts().join("\n");
        assert!(
            unchanged || !told.contains("nothing was changed") || told.contains("same command"),
            "{label}: {}",
            whole(error)
        );
    }
    bury(bench);
    act(bench).unwrap_or_else(|e| panic!("{label}, again: {}", whole(&e)));
    restart(bench, "web");
    let left = diff(bench, wanted());
    assert!(left.is_empty(), "{label}: {left:?}");
    let next = described(bench, "web", View::Config);
    assert_eq!(next.disks.len(), 5, "{label}: {:?}", next.disks);
    bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
    assert_eq!(bench.host.changes_since(neighbours_alone()), [] as [&str; 0], "{label}");
}

/// How many calls an apply makes.
fn calls(fresh: fn() -> Bench) -> usize {
    let bench = fresh();
    bench.host.forget_calls();
    act(&bench).unwrap();
    bench.host.call_count()
}

/// Whether all is to be tried. Each run tries a fault at each call, and each fault at a sixth of the calls.
fn is_due(n: usize, fault: usize) -> bool {
    std::env::var("FOUNDRY_TEST_FULL").as_deref() == Ok("1") || (n + fault).is_multiple_of(Effect::ALL.len())
}

#[test]
fn an_apply_that_fails_at_any_call_is_finished_by_the_same_again() {
    for fresh in [Bench::with_web as fn() -> Bench, off] {
        let mut faults = 0;
        let all = calls(fresh);
        let fixture = fresh();
        for (fault, effect) in Effect::ALL.into_iter().enumerate() {
            for n in (0..all).filter(|n| is_due(*n, fault)) {
                let mut bench = fixture.fork();
                bench.host.forget_calls();
                bench.host.fail_at(n, effect);
                let outcome = act(&bench);
                assert!(bench.host.fault_hit(), "{effect:?} at {n}");
                faults += 1;
                let label = format!("{effect:?} at call {n}, {}", bench.host.calls()[n]);
                finish(&mut bench, outcome, &label);
            }
        }
        assert!(faults >= all, "{faults}");
    }
}

#[test]
fn ctrl_c_at_every_call_leaves_something_to_finish() {
    let (mut interrupted, mut tried) = (0, 0);
    for n in (0..calls(Bench::with_web)).filter(|n| is_due(*n, 0) || is_due(*n, 2)) {
        tried += 1;
        let mut bench = Bench::with_web();
        bench.host.forget_calls();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = act(&bench);
        if let Err(error) = &outcome {
            interrupted += 1;
            assert_eq!(error.kind(), Kind::Interrupted, "at {n}: {}", whole(error));
        }
        finish(&mut bench, outcome, &format!("at {n}"));
    }
    assert!(interrupted > tried / 2, "{interrupted} of {tried}");
}
