//! The rollback: a fault or a second Ctrl-C in it, its order, and what it leaves.

use super::{NOTHING, assert_honest, first_use, without_pools};
use crate::support::bench::{Bench, FORCE, GENTLE, host_with_neighbours, whole};
use crate::support::faults::assert_named;
use crate::support::manifests::{WEB, plan, plan_with};
use foundry::Kind;
use foundry::host::memory::Effect;

/// What cannot be undone is named, whichever call of the undoing fails after whichever failure.
#[test]
fn a_failure_in_the_undoing_is_told_and_destroy_finishes() {
    let mut incomplete = 0;
    for first in 0.. {
        let mut hit = false;
        for second in first + 1.. {
            let mut bench = Bench::new();
            let before = bench.host.fingerprint();
            bench.host.fail_at(first, Effect::RefuseBefore);
            bench.host.fail_at(second, Effect::RefuseBefore);
            let outcome = bench.create(&plan(WEB));
            hit = bench.host.fault_hit();
            let calls = bench.host.call_count();
            let Err(error) = outcome else { break };
            let label = format!("refused at {first} and {second}: {}", whole(&error));
            bench.host.heal();
            let left = bench.host.changes_since(&before);
            assert_named(&left, &error, &label);
            assert_honest(&left, &error, &label);
            if !left.is_empty() {
                incomplete += 1;
                bench.next_run("web");
                bench.destroy("web", FORCE).unwrap();
                assert_eq!(bench.host.changes_since(&before), NOTHING, "{label}");
            }
            if second >= calls {
                break;
            }
        }
        if !hit {
            break;
        }
    }
    assert!(incomplete > 10, "only {incomplete} undoings failed");
}

/// A start that is reported as failed may have started the guest: its disks must not go under it.
#[test]
fn a_guest_that_runs_is_stopped_before_its_disks_go() {
    let bench = Bench::new();
    bench.host.fail_calls_named_with("start", Effect::RefuseAfterEffect);
    bench.create(&plan(WEB)).unwrap_err();
    let calls = bench.host.calls();
    let first = |verb: &str| calls.iter().position(|c| c.starts_with(verb)).unwrap();
    assert!(first("force_off") < first("delete_volume"), "{calls:?}");

    let bench = Bench::new();
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named_with("start", Effect::RefuseAfterEffect);
    bench.host.fail_calls_named("force_off");
    let error = bench.create(&plan(WEB)).unwrap_err();
    let calls = bench.host.calls();
    assert!(!calls.iter().any(|c| c.starts_with("delete_volume")), "{calls:?}");
    assert_named(&bench.host.changes_since(&before), &error, "it cannot be stopped");
}

/// If the undoing fails halfway, the record must not go on saying that the VM is whole.
#[test]
fn what_is_left_of_a_whole_vm_is_not_called_whole() {
    let mut bench = Bench::new();
    bench.host.fail_calls_named("start");
    bench.host.fail_calls_named("delete_volume foundry-vms/web_boot");
    bench.create(&plan(WEB)).unwrap_err();
    bench.host.heal();
    assert_eq!(bench.record("web").state, foundry::record::RecordState::Creating);
    bench.next_run("web");
    bench.create(&plan(WEB)).unwrap();
}

/// The host of these tests is a remote one, where nobody can remove the console's log.
#[test]
fn a_start_that_fails_on_a_remote_host_leaves_no_domain() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named("start");
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    assert!(!whole(&error).contains("foundry destroy"), "{}", whole(&error));
}

#[test]
fn a_second_ctrl_c_stops_the_undoing_and_names_what_is_left() {
    let mut stopped = 0;
    for n in 0..8 {
        let mut bench = Bench::new();
        let before = bench.host.fingerprint();
        bench.host.fail_calls_named("start");
        let counter = bench.cancel.clone();
        let clean = Bench::new();
        clean.create(&plan(WEB)).unwrap();
        bench.host.on_call(clean.host.call_count() + n, move |_| {
            counter.request();
            counter.request();
        });
        let error = bench.create(&plan(WEB)).unwrap_err();
        let left = bench.host.changes_since(&before);
        assert_named(&left, &error, &format!("insisted {n} calls into the undoing"));
        assert_honest(&left, &error, "insisted");
        if !left.is_empty() {
            stopped += 1;
            assert_eq!(error.kind(), Kind::Interrupted, "{}", whole(&error));
            bench.next_run("web");
            bench.destroy("web", GENTLE).unwrap();
            assert_eq!(bench.host.changes_since(&before), NOTHING);
        }
    }
    assert!(stopped > 3, "the undoing was stopped {stopped} times only");
}

#[test]
fn a_pool_that_was_made_stays_when_the_creation_fails() {
    let bench = first_use();
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named("start");
    bench.create(&plan(WEB)).unwrap_err();
    let changes = bench.host.changes_since(&before);
    assert_eq!(without_pools(changes.clone()), NOTHING);
    assert!(
        changes.iter().any(|c| c.starts_with(
            "+ pool foundry-vms: dir at /var/lib/libvirt/images/foundry/vms, active true, autostart true"
        )),
        "{changes:?}"
    );
}

/// The domain was defined with the path that a volume was to have; a pool that puts it elsewhere would
/// leave the VM without its disk.
#[test]
fn a_volume_that_is_made_elsewhere_ends_the_creation() {
    let host = host_with_neighbours().with_pool("odd", "/odd/");
    let bench = Bench::on(host);
    let before = bench.host.fingerprint();
    let vm = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  storagePool: odd")]);
    let error = bench.create(&vm).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Storage, "volume 'web_boot' was created at /odd//web_boot, not at /odd/web_boot")
    );
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}
