//! Others who are at it at the same time.

use foundry::Error;
use foundry::host::Domains;
use foundry::operations::disk::{Attached, attach};
use foundry::operations::vm::destroy::{self, execute_destroy};
use foundry::record::{RecordState, VolumeRole};
use foundry::units::Bytes;

use super::{NOTHING, attach_one, data_disks, detach_one, targets};
use crate::support::bench::{Bench, GENTLE, GIB, as_rival, disk_request, whole};

/// The calls of an undisturbed attach.
fn calls_of_an_attach() -> Vec<String> {
    let bench = Bench::with_web();
    bench.host.forget_calls();
    attach_one(&bench, 5).unwrap();
    bench.host.calls()
}

/// A bench on which another run attached a disk of 6 GiB just before the n-th call of one of 5 GiB.
fn with_rival_at(n: usize) -> (Bench, Result<Attached, Error>) {
    let bench = Bench::with_web();
    bench.host.forget_calls();
    bench.host.on_call(n, |host| {
        as_rival(host, |context| attach(context, &disk_request("web", 6))).unwrap();
    });
    let outcome = attach_one(&bench, 5);
    (bench, outcome)
}

/// Two runs of foundry want a disk each: each gets one or says that it did not, and nothing is lost.
#[test]
fn an_attach_between_the_steps_of_another_loses_nothing() {
    let calls = calls_of_an_attach();
    let last_write = calls.iter().rposition(|c| c.starts_with("set_record")).unwrap();
    for n in (0..calls.len()).filter(|n| *n != last_write) {
        let (bench, outcome) = with_rival_at(n);
        let record = bench.record("web");
        let named: Vec<_> = record.volumes.iter().filter(|v| v.role == VolumeRole::Data).collect();
        assert!(named.iter().all(|v| v.attaching.is_none()), "at {n}: {named:?}");
        let wanted = if outcome.is_ok() { 4 } else { 3 };
        assert_eq!(named.len(), wanted, "at {n}: {:?}", outcome.map_err(|e| whole(&e)));
        assert_eq!(data_disks(&bench).len(), wanted, "at {n}");
        let files =
            bench.host.files().into_iter().filter(|f| f.contains("/web_data-vd") && !f.ends_with('x'));
        assert_eq!(files.count(), wanted, "at {n}");
        assert!(record.volumes.iter().any(|v| v.capacity == Bytes(6 * GIB)), "at {n}: the rival's is lost");
        bench.destroy("web", GENTLE).unwrap();
        let left = bench.host.changes_since(&Bench::new().host.fingerprint());
        assert_eq!(left, NOTHING, "at {n}");
    }
}

/// What remains, as libvirt cannot write a record only where it is still the one that was read: all of another
/// run between one's last look and its writing. The disk stays; that it is the VM's own is forgotten, and so
/// `destroy` leaves its volume and says so.
#[test]
fn an_attach_inside_of_the_writing_of_another_is_forgotten_and_its_data_stay() {
    let last_write = calls_of_an_attach().iter().rposition(|c| c.starts_with("set_record")).unwrap();
    let (bench, outcome) = with_rival_at(last_write);
    outcome.unwrap();
    assert!(targets(&bench).iter().all(|t| t.contains(&"vdd".to_owned()) && t.contains(&"vde".to_owned())));
    bench.told.forget();
    bench.destroy("web", GENTLE).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vde".to_owned()));
    assert!(bench.told.warnings().iter().any(|w| w.contains("web_data-vde")), "{:?}", bench.told.warnings());
}

#[test]
fn destroy_waits_for_no_attach_and_refuses() {
    let bench = Bench::with_web();
    let maker = serde_json::to_value(foundry::host::local::this_process()).unwrap();
    bench.edit_record("web", |r| {
        let mut pending = r["volumes"][1].clone();
        pending["name"] = "web_data-vdq".into();
        pending["path"] = "/pool/vms/web_data-vdq".into();
        pending["attaching"] = maker;
        r["volumes"].as_array_mut().unwrap().push(pending);
    });
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert!(whole(&error).contains("is attaching a disk to VM 'web'"), "{}", whole(&error));
    let error = detach_one(&bench, "vdq", false).unwrap_err();
    assert!(whole(&error).contains("is attaching disk 'vdq'"), "{}", whole(&error));
    bench.edit_record("web", |r| r["volumes"][4]["attaching"]["host"] = "another machine".into());
    let error = detach_one(&bench, "vdq", false).unwrap_err();
    assert!(whole(&error).contains("foundry disk detach web vdq --keep"), "{}", whole(&error));
    bench.edit_record("web", |r| {
        r["volumes"][4]["attaching"] = serde_json::to_value(foundry::host::local::this_process()).unwrap()
    });
    assert_eq!(attach_one(&bench, 10).unwrap().disk.target.as_str(), "vdd", "another one is free");
    bench.edit_record("web", |r| r["volumes"][5]["attaching"]["started"] = 1.into());
    bench.destroy("web", GENTLE).unwrap();
}

/// Somebody attaches a disk while the user looks at the question.
#[test]
fn a_disk_that_came_after_the_question_is_not_destroyed_unasked() {
    let bench = Bench::with_web();
    let asked = bench.survey("web", GENTLE).unwrap();
    attach_one(&bench, 5).unwrap();
    let before = bench.host.fingerprint();
    let error = execute_destroy(&bench.context(), &asked).unwrap_err();
    assert!(whole(&error).contains("'web_data-vdd'"), "{}", whole(&error));
    assert!(whole(&error).contains("nothing was removed"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
}

/// A destruction that begins in the middle of an attach: nothing is left that nobody knows of.
#[test]
fn a_destroy_in_the_middle_of_an_attach_leaves_nothing() {
    let calls = {
        let bench = Bench::with_web();
        bench.host.forget_calls();
        attach_one(&bench, 5).unwrap();
        bench.host.call_count()
    };
    for n in 0..calls {
        let bench = Bench::with_web();
        bench.host.forget_calls();
        bench.host.on_call(n, |host| {
            // Refused while the attach is noted; before and after it the VM goes.
            let _ = as_rival(host, |context| {
                execute_destroy(context, &destroy::plan_destroy(context, "web", GENTLE)?)
            });
        });
        let outcome = attach_one(&bench, 5);
        if bench.host.domain("web").unwrap().is_some() {
            outcome.unwrap_or_else(|e| panic!("at {n}: {}", whole(&e)));
            assert_eq!(bench.record("web").state, RecordState::Created);
            bench.destroy("web", GENTLE).unwrap();
        } else {
            outcome.map(drop).unwrap_err();
        }
        assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING, "at {n}");
    }
}
