//! A creation that goes wrong: at every call, in every way, with a fault in the undoing, by Ctrl-C, and
//! beside another creation.

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, bridge, foreign, host_with_neighbours, whole};
use crate::support::faults::{assert_named, each_fault, shape};
use crate::support::manifests::{WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::Effect;
use foundry::host::{DomainState, Domains, Pools, Volumes};
use foundry::record::VolumeRef;
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];

/// A host on which the pool of VM disks has to be made first.
fn first_use() -> Bench {
    use foundry::host::memory::MemoryHost;
    let host = MemoryHost::new().with_image("foundry-images", "debian-12", "qcow2", GIB);
    Bench::on(host.with_bridges(&[bridge("br0", false)]))
}

/// Everything but pools and their directories, which stay once they are made.
fn without_pools(changes: Vec<String>) -> Vec<String> {
    changes
        .into_iter()
        .filter(|c| !c[2..].starts_with("pool ") && !c[2..].starts_with("directory "))
        .collect()
}

fn asked_for(fresh: &impl Fn() -> Bench) -> std::collections::BTreeSet<String> {
    let bench = fresh();
    bench.create(&plan(WEB)).unwrap();
    shape(&bench.host)
}

/// The heart of it: whatever goes wrong at whichever call, either nothing is left, or exactly what the
/// error names, and `destroy` takes that away; `create` then makes what was asked for.
fn every_fault_is_undone_or_told(fresh: impl Fn() -> Bench + Copy) -> usize {
    let wanted = asked_for(&fresh);
    each_fault(
        fresh,
        |bench| bench.create(&plan(WEB)),
        |bench, outcome, _, label| {
            let before = fresh().host.fingerprint();
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

/// An error that says "nothing" or "everything is removed" must not leave anything, and one that says
/// that something is left is only right where it is, or where nobody can know.
fn assert_honest(left: &[String], error: &Error, label: &str) {
    let told = error.outcome_texts().join("\n");
    if !left.is_empty() {
        assert!(
            !told.contains("nothing was changed") && !told.contains("removed again"),
            "{label}: {told}\n{left:?}"
        );
    } else if told.contains("left behind") {
        assert!(told.contains("may exist") || error.kind() == Kind::Connection, "{label}: {told}");
    }
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

/// Its definition was taken away, and another VM has the name and the volumes' names: nothing of that one's goes, and
/// no advice leads to it.
#[test]
fn what_is_somebody_elses_by_now_is_neither_removed_nor_advised_away() {
    let upload = {
        let clean = Bench::new();
        clean.create(&plan(WEB)).unwrap();
        clean.host.calls().iter().position(|c| c.starts_with("upload")).unwrap()
    };
    let bench = Bench::new();
    bench.host.fail_calls_named("upload");
    bench.host.on_call(upload, |host| {
        host.undefine(host.uuid_of("web").unwrap()).unwrap();
        host.define_domain(&foreign("web", "/pool/vms/web_boot")).unwrap();
    });
    let error = bench.create(&plan(WEB)).unwrap_err();
    let told = whole(&error);
    assert!(!told.contains("foundry destroy"), "{told}");
    assert!(told.contains("VM 'web' was deleted by another process meanwhile"), "{told}");
    assert!(
        told.contains("volume 'web_boot' in pool 'foundry-vms' (it may belong to another VM by now)"),
        "{told}"
    );
    assert!(bench.host.uuid_of("web").is_some());
    assert!(bench.host.files().contains(&"/pool/vms/web_boot".to_owned()));
}

/// As `foundry destroy` does between the mark and the start.
#[test]
fn what_a_rival_destroyed_is_not_told_of_as_left() {
    let calls = {
        let clean = Bench::new();
        clean.create(&plan(WEB)).unwrap();
        clean.host.calls()
    };
    let start = calls.iter().position(|c| c.starts_with("start")).unwrap();
    let bench = Bench::new();
    bench.host.on_call(start, |host| {
        for volume in host.volumes("foundry-vms").unwrap() {
            host.delete_volume(&VolumeRef::new("foundry-vms", &volume.name)).unwrap();
        }
        host.undefine(host.uuid_of("web").unwrap()).unwrap();
    });
    let told = whole(&bench.create(&plan(WEB)).unwrap_err());
    assert!(told.contains("VM 'web' was deleted by another process meanwhile"), "{told}");
    assert!(!told.contains("volume '") && !told.contains("foundry destroy"), "{told}");
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

/// The definition is the reservation: who comes second finds nothing changed, and changes nothing.
#[test]
fn a_rival_that_defines_the_name_in_between_keeps_everything() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let define = clean.host.calls().iter().position(|c| c == "define_domain web").unwrap();
    for n in 1..=define {
        let bench = Bench::new();
        bench.host.on_call(n, |host| {
            host.define_domain(&foreign("web", "/pool/vms/web_1_boot")).unwrap();
        });
        let error = bench.create(&plan(WEB)).unwrap_err();
        assert_eq!(error.kind(), Kind::Vm, "{}", whole(&error));
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
        assert_eq!(
            shape(&bench.host).difference(&shape(&Bench::new().host)).count(),
            1,
            "the rival's domain"
        );
    }
}

/// A volume that somebody else makes after the preflight is not ours to delete.
#[test]
fn a_rivals_volume_made_in_between_stays() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let at = clean.host.calls().iter().position(|c| c == "create_volume foundry-vms/web_data-vdb").unwrap();
    let bench = Bench::new();
    bench.host.on_call(at, |host| {
        let xml = "<volume><name>web_data-vdb</name><capacity>77</capacity></volume>";
        host.create_volume("foundry-vms", xml).unwrap();
    });
    let before = bench.host.fingerprint();
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    let changes = bench.host.changes_since(&before);
    assert_eq!(changes.len(), 1, "{changes:?}\n{}", whole(&error));
    assert!(changes[0].starts_with("+ file /pool/vms/web_data-vdb: raw, capacity 77"), "{changes:?}");
}

/// Two first creations at once both want the default pool; whoever comes second takes what is there.
#[test]
fn a_rival_that_makes_the_pool_in_between_is_no_failure() {
    let wanted = asked_for(&first_use);
    let clean = first_use();
    clean.create(&plan(WEB)).unwrap();
    let at = |call: &str| clean.host.calls().iter().position(|c| c == call).unwrap();
    let xml = "<pool type='dir'><name>foundry-vms</name><target><path>/var/lib/libvirt/images/foundry/vms</path></target></pool>";
    for (call, rival_starts) in [
        ("define_pool foundry-vms", false),
        ("define_pool foundry-vms", true),
        ("start_pool foundry-vms", true),
    ] {
        let bench = first_use();
        bench.host.on_call(at(call), move |host| {
            if host.pool("foundry-vms").unwrap().is_none() {
                host.define_pool(xml).unwrap();
            }
            if rival_starts {
                host.build_pool("foundry-vms").unwrap();
                host.start_pool("foundry-vms").unwrap();
            }
        });
        bench.create(&plan(WEB)).unwrap();
        assert_eq!(shape(&bench.host), wanted, "{call}");
    }
}

/// Whoever deletes an image may have looked who uses it before there was a VM.
#[test]
fn an_image_that_is_deleted_while_a_vm_is_made_from_it_ends_the_creation() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let at = |call: &str| clean.host.calls().iter().position(|c| c == call).unwrap();
    for n in at("define_domain web")..=at("start web") + 1 {
        let bench = Bench::new();
        let before = bench.host.fingerprint();
        bench
            .host
            .on_call(n, |host| host.delete_volume(&VolumeRef::new("foundry-images", "debian-12")).unwrap());
        let error = bench.create(&plan(WEB)).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage, "call {n}: {}", whole(&error));
        assert!(!whole(&error).contains("foundry destroy"), "call {n}: {}", whole(&error));
        let changes = bench.host.changes_since(&before);
        assert!(
            changes.len() == 1 && changes[0].starts_with("- file /pool/images/debian-12"),
            "call {n}: {changes:?}"
        );
        if n > at("create_volume foundry-vms/web_boot") {
            let told =
                "image 'foundry-images:debian-12' was deleted while VM 'web' was being created from it";
            assert_eq!(error.message(), told, "call {n}");
        }
    }
}

/// A VM that runs is not taken away because its pool was stopped or nobody answers.
#[test]
fn an_image_that_cannot_be_looked_at_is_not_taken_for_deleted() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let last = clean.host.call_count() - 1;
    let bench = Bench::new();
    bench.host.on_call(last, |host| host.stop_pool("foundry-images").unwrap());
    bench.create(&plan(WEB)).unwrap();
    let bench = Bench::new();
    bench.host.fail_at(last, Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap();
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
