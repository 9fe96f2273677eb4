//! Attach, detach and resize that go wrong at any call: the host is as it was, or the same command again, a
//! detach or `destroy` cleans up.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::bench::{Bench, FORCE, GIB, disk_request, neighbours_alone, whole};
use crate::support::faults::{each_fault, shape};
use crate::support::shown::Shown;
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::memory::{Guest, OnUnplug};
use foundry::host::{DomainState, Domains, View, Volumes};
use foundry::operations::Cancel;
use foundry::operations::disk::{attach, detach, plan_detach, resize};
use foundry::record::{VolumeRef, VolumeRole};
use foundry::units::{Bytes, SizeRequest};
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];
const NEW: &str = "/pool/vms/web_data-vdd";
const OLD: &str = "/pool/vms/web_data-vdb";

fn attach_it(bench: &Bench) -> Result<(), Error> {
    let request = disk_request("web", 5);
    attach(&bench.context(), &request).map(drop)
}

fn detach_it(bench: &Bench, disk: &str, keep: bool) -> Result<(), Error> {
    let found = plan_detach(&bench.context(), "web", disk, keep)?;
    detach(&bench.context(), &found, Duration::from_secs(5))
}

fn grow_it(bench: &Bench) -> Result<(), Error> {
    resize(&bench.context(), "web", "vdb", SizeRequest::To(Bytes(15 * GIB))).map(drop)
}

/// A VM whose guest takes a moment to let go of a disk.
fn web() -> Bench {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().on_unplug(OnUnplug::AfterLooks(2)));
    bench
}

fn web_off() -> Bench {
    let mut bench = web();
    bench.host.set_state("web", DomainState::ShutOff);
    bench.start = Some(bench.host.fingerprint());
    bench
}

/// What is on the host of [`web`].
fn before() -> &'static BTreeSet<String> {
    static BEFORE: OnceLock<BTreeSet<String>> = OnceLock::new();
    BEFORE.get_or_init(|| shape(&web().host))
}

/// The next run of foundry: whoever attached a disk has ended.
pub(crate) fn bury(bench: &mut Bench) {
    bench.cancel = Cancel::default();
    bench.edit_record("web", |record| {
        for volume in record["volumes"].as_array_mut().unwrap() {
            if volume.get("attaching").is_some() {
                volume["attaching"]["started"] = 1.into();
            }
        }
    });
}

/// The target is in both descriptions of a domain, or in neither.
fn has(bench: &Bench, target: &str) -> bool {
    let uuid = bench.host.uuid_of("web").unwrap();
    let [now, next] = [View::Current, View::Config].map(|view| {
        let read = DomainDescription::read(&bench.host.domain_xml(uuid, view).unwrap().unwrap()).unwrap();
        read.disk(target).is_some()
    });
    assert_eq!(now, next, "{target} is in one description only");
    now
}

fn in_record(bench: &Bench, volume: &str) -> bool {
    bench.record("web").volumes.iter().any(|v| v.path == volume && v.attaching.is_none())
}

fn in_manifest(bench: &Bench, device: &str) -> bool {
    let disks = bench.record("web").manifest.spec.data_disks;
    disks.iter().any(|d| d.device.as_deref() == Some(device))
}

fn there(bench: &Bench, path: &str) -> bool {
    bench.host.files().iter().any(|f| f == path)
}

/// The VM has the disk, everywhere.
fn assert_whole(bench: &Bench, target: &str, path: &str, label: &str) {
    assert!(has(bench, target) && there(bench, path), "{label}");
    assert!(in_record(bench, path) && in_manifest(bench, target), "{label}: {:?}", bench.record("web"));
}

/// The VM has no such disk, anywhere.
fn assert_gone(bench: &Bench, target: &str, path: &str, label: &str) {
    assert!(!has(bench, target) && !there(bench, path), "{label}");
    assert!(!in_manifest(bench, target), "{label}");
    assert!(!bench.record("web").volumes.iter().any(|v| v.path == path), "{label}");
}

fn assert_destroyed(bench: &Bench, label: &str) {
    bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
    assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING, "{label}");
}

/// What every outcome of an attach must be; then the same again, which must finish.
fn judge_attach(bench: &mut Bench, outcome: Result<(), Error>, label: &str) -> bool {
    let unchanged =
        shape(&bench.host) == *before() && !bench.record("web").volumes.iter().any(|v| v.path == NEW);
    match outcome {
        Ok(()) => assert_whole(bench, "vdd", NEW, label),
        Err(error) => {
            let told = error.outcome_texts().join("\n");
            let clean = told.contains("nothing was changed") || told.contains("is removed again");
            assert!(!clean || unchanged, "{label}: {}\n{:?}", whole(&error), bench.host.files());
            assert!(clean || unchanged || told.contains("web_data-vdd"), "{label}: {}", whole(&error));
        }
    }
    bury(bench);
    unchanged
}

#[test]
fn an_attach_that_fails_at_any_call_is_finished_by_the_same_again() {
    let faults = each_fault(web, attach_it, |bench, outcome, _, label| {
        judge_attach(bench, outcome, label);
        // Broken off behind its last step it is done, and the same again would be a second disk.
        if !in_record(bench, NEW) {
            attach_it(bench).unwrap_or_else(|e| panic!("{label}, again: {}", whole(&e)));
        }
        assert_whole(bench, "vdd", NEW, label);
        let data = bench.record("web").volumes.into_iter().filter(|v| v.role == VolumeRole::Data).count();
        assert_eq!(data, 3, "{label}: one disk, and not two");
        assert_destroyed(bench, label);
    });
    assert!(faults > 60, "{faults}");
}

#[test]
fn an_attach_that_fails_at_any_call_is_destroyed_without_a_trace() {
    each_fault(web, attach_it, |bench, outcome, _, label| {
        judge_attach(bench, outcome, label);
        assert_destroyed(bench, label);
    });
}

#[test]
fn what_an_attach_left_is_detached() {
    let mut left = 0;
    let counted = std::cell::Cell::new(0);
    each_fault(web, attach_it, |bench, outcome, _, label| {
        if judge_attach(bench, outcome, label) {
            return;
        }
        counted.set(counted.get() + 1);
        detach_it(bench, "vdd", false).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        assert_gone(bench, "vdd", NEW, label);
        assert_eq!(shape(&bench.host), *before(), "{label}");
    });
    left += counted.get();
    assert!(left > 10, "{left}");
}

#[test]
fn ctrl_c_at_every_call_of_an_attach_takes_it_back() {
    let calls = calls(web, attach_it);
    let mut interrupted = 0;
    for n in 0..calls {
        let mut bench = web();
        bench.host.forget_calls();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = attach_it(&bench);
        if let Err(error) = &outcome {
            interrupted += 1;
            assert_eq!(error.kind(), Kind::Interrupted, "at {n}: {}", whole(error));
            assert_gone(&bench, "vdd", NEW, &format!("at {n}: {}", whole(error)));
        }
        judge_attach(&mut bench, outcome, &format!("at {n}"));
        assert_destroyed(&bench, &format!("at {n}"));
    }
    assert!(interrupted > calls / 2, "{interrupted} of {calls}");
}

/// The second Ctrl-C ends the undoing; what is left is named and can be taken away.
#[test]
fn ctrl_c_twice_leaves_what_can_be_found() {
    let calls = calls(web, attach_it);
    for n in 0..calls {
        let mut bench = web();
        bench.host.forget_calls();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| {
            cancel.request();
            cancel.request();
        });
        let outcome = attach_it(&bench);
        if !judge_attach(&mut bench, outcome, &format!("at {n}")) {
            detach_it(&bench, "vdd", false).unwrap();
        }
        assert_gone(&bench, "vdd", NEW, &format!("at {n}"));
    }
}

fn calls(fresh: fn() -> Bench, act: fn(&Bench) -> Result<(), Error>) -> usize {
    let bench = fresh();
    bench.host.forget_calls();
    act(&bench).unwrap();
    bench.host.call_count()
}

/// A disk that is half detached is finished by the same again, or goes with the VM.
fn judge_detach(bench: &mut Bench, outcome: Result<(), Error>, label: &str) {
    match outcome {
        Ok(()) => assert_gone(bench, "vdb", OLD, label),
        Err(error) => {
            let unchanged = bench.host.changes_since(bench.start.as_ref().unwrap()).is_empty();
            let told = error.outcome_texts().join("\n");
            assert!(
                unchanged || told.contains("foundry disk detach web vdb finishes it"),
                "{label}: {}",
                whole(&error)
            );
            assert!(unchanged || !told.contains("nothing was changed"), "{label}: {told}");
            let named = bench.record("web").volumes.iter().any(|v| v.path == OLD);
            assert!(named || !there(bench, OLD), "{label}: nobody knows of the volume");
        }
    }
    bury(bench);
}

#[test]
fn a_detach_that_fails_at_any_call_is_finished_by_the_same_again() {
    for fresh in [web, web_off] {
        let faults = each_fault(
            fresh,
            |b| detach_it(b, "vdb", false),
            |bench, outcome, _, label| {
                let was_done = outcome.is_ok();
                judge_detach(bench, outcome, label);
                if !was_done && bench.record("web").volumes.iter().any(|v| v.path == OLD) {
                    detach_it(bench, "vdb", false)
                        .unwrap_or_else(|e| panic!("{label}, again: {}", whole(&e)));
                }
                assert_gone(bench, "vdb", OLD, label);
                assert_destroyed(bench, label);
            },
        );
        assert!(faults > 50, "{faults}");
    }
}

#[test]
fn a_detach_that_fails_at_any_call_is_destroyed_without_a_trace() {
    each_fault(
        web,
        |b| detach_it(b, "vdb", false),
        |bench, outcome, _, label| {
            judge_detach(bench, outcome, label);
            assert_destroyed(bench, label);
        },
    );
}

/// The heart of --keep: whatever fails, nothing deletes the volume, unless the VM still has it as its own.
#[test]
fn a_disk_that_is_to_be_kept_is_kept_whatever_fails() {
    each_fault(
        web,
        |b| detach_it(b, "vdb", true),
        |bench, _, _, label| {
            bury(bench);
            let owned = bench.record("web").volumes.iter().any(|v| v.path == OLD);
            let attached =
                bench.host.domain_xml(bench.host.uuid_of("web").unwrap(), View::Config).unwrap().unwrap();
            assert!(!owned || attached.contains(OLD), "{label}: destroy would take a disk that was let go");
            if has_any(bench) || in_manifest(bench, "vdb") {
                detach_it(bench, "vdb", true).unwrap_or_else(|e| panic!("{label}, again: {}", whole(&e)));
            }
            assert!(!has_any(bench) && there(bench, OLD) && !in_manifest(bench, "vdb"), "{label}");
            bench.destroy("web", FORCE).unwrap();
            assert!(there(bench, OLD), "{label}");
        },
    );
}

fn has_any(bench: &Bench) -> bool {
    let uuid = bench.host.uuid_of("web").unwrap();
    [View::Current, View::Config].iter().any(|view| {
        let read = DomainDescription::read(&bench.host.domain_xml(uuid, *view).unwrap().unwrap()).unwrap();
        read.disk("vdb").is_some()
    })
}

#[test]
fn ctrl_c_at_every_call_of_a_detach_leaves_something_to_finish() {
    for n in 0..calls(web, |b| detach_it(b, "vdb", false)) {
        let mut bench = web();
        bench.host.forget_calls();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = detach_it(&bench, "vdb", false);
        if let Err(error) = &outcome {
            assert_eq!(error.kind(), Kind::Interrupted, "at {n}: {}", whole(error));
        }
        let was_done = outcome.is_ok();
        judge_detach(&mut bench, outcome, &format!("at {n}"));
        if !was_done {
            detach_it(&bench, "vdb", false).unwrap_or_else(|e| panic!("at {n}, again: {}", whole(&e)));
        }
        assert_gone(&bench, "vdb", OLD, &format!("at {n}"));
    }
}

#[test]
fn a_resize_that_fails_at_any_call_is_finished_by_the_same_again() {
    for fresh in [web, web_off] {
        let faults = each_fault(fresh, grow_it, |bench, outcome, effect, label| {
            let size = |b: &Bench| {
                b.host.volume(&VolumeRef::new("foundry-vms", "web_data-vdb")).unwrap().unwrap().capacity
            };
            if let Err(error) = &outcome {
                let told = error.outcome_texts().join("\n");
                let unchanged = bench.host.changes_since(bench.start.as_ref().unwrap()).is_empty();
                assert!(unchanged || !told.contains("nothing was changed"), "{label}: {}", whole(error));
                assert!(unchanged || told.contains("disk 'vdb'"), "{label}: {}", whole(error));
                assert!(
                    !effect.breaks_connection() || error.kind() == Kind::Connection,
                    "{label}: {}",
                    whole(error)
                );
            }
            let recorded = |b: &Bench| b.record("web").volumes[1].capacity;
            assert!(recorded(bench) <= size(bench), "{label}: the record says more than there is");
            grow_it(bench).unwrap_or_else(|e| panic!("{label}, again: {}", whole(&e)));
            assert_eq!((size(bench), recorded(bench)), (Bytes(15 * GIB), Bytes(15 * GIB)), "{label}");
            assert_destroyed(bench, label);
        });
        assert!(faults > 30, "{faults}");
    }
}
