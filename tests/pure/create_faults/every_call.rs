//! A fault or Ctrl-C at each call.

use super::{NOTHING, asked_for, assert_honest, first_use, without_pools};
use crate::support::bench::{Bench, FORCE, whole};
use crate::support::faults::{assert_named, each_fault, shape};
use crate::support::manifests::{WEB, plan};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::{DomainState, Domains};

/// The heart of it: whatever goes wrong at whichever call, either nothing is left, or exactly what the
/// error names, and `destroy` takes that away; `create` then makes what was asked for.
fn every_fault_is_undone_or_told(fresh: impl Fn() -> Bench + Copy) -> usize {
    let wanted = asked_for(&fresh);
    let before = fresh().host.fingerprint();
    each_fault(
        fresh,
        |bench| bench.create(&plan(WEB)),
        |bench, outcome, _, label| {
            let Err(error) = outcome else {
                assert_eq!(shape(&bench.host), wanted, "{label}: it says that all went well");
                return;
            };
            let left = without_pools(before_and_now(&before, bench));
            assert_named(&left, &error, label);
            assert_honest(&left, &error, label);
            if !left.is_empty() {
                bench.next_run("web");
                bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            }
            assert_eq!(without_pools(before_and_now(&before, bench)), NOTHING, "{label}");
            bench.create(&plan(WEB)).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_eq!(shape(&bench.host), wanted, "{label}");
        },
    )
}

fn before_and_now(before: &foundry::host::memory::Fingerprint, bench: &Bench) -> Vec<String> {
    bench.host.changes_since(before)
}

#[test]
fn a_failure_at_every_call_leaves_nothing_or_says_what() {
    let faults = every_fault_is_undone_or_told(Bench::new);
    assert!(faults > 100, "{faults} faults are not all calls in all ways");
}

#[test]
fn a_failure_at_every_call_of_a_first_use_too() {
    every_fault_is_undone_or_told(first_use);
}

/// A process that is killed looks to the host like a connection that breaks and stays broken. The next
/// `create` of the same manifest replaces what it left, without a `destroy` in between.
#[test]
fn after_a_kill_at_every_call_the_same_create_ends_with_what_was_asked_for() {
    let wanted = asked_for(&Bench::new);
    each_fault(
        Bench::new,
        |bench| bench.create(&plan(WEB)),
        |bench, outcome, effect, label| {
            if !effect.breaks_connection() {
                return;
            }
            // The look after the start changes nothing any more: all is there.
            let Err(error) = outcome else {
                assert_eq!(shape(&bench.host), wanted, "{label}");
                return;
            };
            assert_eq!(error.kind(), Kind::Connection, "{label}");
            bench.next_run("web");
            let again = bench.create(&plan(WEB));
            // From the mark on it is whole, started or not.
            let whole_already =
                bench.record("web").state == foundry::record::RecordState::Created && again.is_err();
            if whole_already {
                assert!(again.unwrap_err().text().contains("VM 'web' exists"), "{label}");
            } else {
                assert_eq!(shape(&bench.host), wanted, "{label}");
            }
        },
    );
}

#[test]
fn ctrl_c_at_every_call_leaves_nothing_unless_the_vm_runs() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let calls = clean.host.calls();
    for (n, call) in calls.iter().enumerate() {
        let bench = Bench::new();
        let before = bench.host.fingerprint();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = bench.create(&plan(WEB));
        // What is asked after the start only looks.
        if calls[..=n].iter().any(|call| call.starts_with("start ")) {
            outcome.unwrap();
            assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::Running);
            continue;
        }
        let error = outcome.map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "at {call}: {}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), NOTHING, "at {call}");
        assert_honest(&[], &error, call);
    }
}

/// A signal may make the call that is under way fail.
#[test]
fn ctrl_c_that_breaks_its_call_is_an_interruption_too() {
    let bench = Bench::new();
    let cancel = bench.cancel.clone();
    bench.host.fail_calls_named("upload");
    let upload = {
        let clean = Bench::new();
        clean.create(&plan(WEB)).unwrap();
        clean.host.calls().iter().position(|c| c.starts_with("upload")).unwrap()
    };
    bench.host.on_call(upload, move |_| cancel.request());
    assert_eq!(bench.create(&plan(WEB)).unwrap_err().kind(), Kind::Interrupted);
}
