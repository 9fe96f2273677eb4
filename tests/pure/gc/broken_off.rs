//! What a command leaves that was broken off at any call.

use super::{NOTHING, bury_all, fates, littered, look, run};
use crate::support::bench::{Bench, GENTLE, disk_request};
use crate::support::faults::{each_fault, shape};
use crate::support::images::{Image, qcow2};
use crate::support::manifests::{WEB, plan};
use foundry::Error;
use foundry::host::Domains;
use foundry::host::memory::Effect;
use foundry::operations::disk::attach;
use foundry::operations::gc::LeftoverAction;
use foundry::record::RecordState;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

#[test]
fn a_creation_broken_off_at_any_call_is_removed() {
    let clean = Bench::new().host.fingerprint();
    let removed = Cell::new(0);
    let judge = |bench: &mut Bench, _: Result<_, Error>, effect: Effect, label: &str| {
        let state = bench.host.domain("web").unwrap().map(|_| bench.record("web").state);
        if !effect.breaks_connection() || state == Some(RecordState::Created) {
            return;
        }
        bury_all(bench);
        let expected: Vec<_> =
            state.map(|_| ("web".to_owned(), LeftoverAction::CleanUp)).into_iter().collect();
        removed.set(removed.get() + expected.len());
        assert_eq!(fates(&look(bench)), expected.into_iter().collect(), "{label}");
        run(bench, &[]).unwrap_or_else(|e| panic!("{label}: {e:?}"));
        assert_eq!(bench.host.changes_since(&clean), NOTHING, "{label}");
    };
    each_fault(Bench::new, |bench| bench.create(&plan(WEB)), judge);
    assert!(removed.get() >= 10, "{}", removed.get());
}

#[test]
fn a_destruction_broken_off_at_any_call_is_finished() {
    let clean = Bench::new().host.fingerprint();
    let finished = Cell::new(0);
    let judge = |bench: &mut Bench, _: Result<_, Error>, effect: Effect, label: &str| {
        let half = bench
            .host
            .domain("web")
            .unwrap()
            .is_some_and(|_| bench.record("web").state == RecordState::Destroying);
        if !effect.breaks_connection() || !half {
            return;
        }
        finished.set(finished.get() + 1);
        bury_all(bench);
        run(bench, &["web"]).unwrap_or_else(|e| panic!("{label}: {e:?}"));
        assert_eq!(bench.host.changes_since(&clean), NOTHING, "{label}");
    };
    each_fault(Bench::with_web, |bench| bench.destroy("web", GENTLE), judge);
    assert!(finished.get() >= 5, "{}", finished.get());
}

/// One that the VM has is kept, since there may be data on it; of one that it has not, nothing is left.
#[test]
fn an_attach_broken_off_at_any_call_is_finished_or_taken_back() {
    let request = || disk_request("web", 1);
    let before = shape(&Bench::with_web().host);
    let whole = Bench::with_web();
    attach(&whole.context(), &request()).unwrap();
    let after = shape(&whole.host);
    let seen = RefCell::new(BTreeSet::new());
    let judge = |bench: &mut Bench, _: Result<_, Error>, effect: Effect, label: &str| {
        if !effect.breaks_connection() {
            return;
        }
        bury_all(bench);
        run(bench, &[]).unwrap_or_else(|e| panic!("{label}: {e:?}"));
        let (now, record) = (shape(&bench.host), bench.record("web"));
        assert!(now == before || now == after, "{label}: {now:#?}");
        let has_disk = record.volumes.iter().any(|v| v.name == "web_data-vdd");
        assert_eq!(has_disk, now == after, "{label}");
        assert_eq!(record.manifest.spec.data_disks.len(), if has_disk { 3 } else { 2 }, "{label}");
        assert!(record.volumes.iter().all(|v| v.attaching.is_none()), "{label}");
        assert_eq!(fates(&look(bench)), [].into(), "{label}");
        seen.borrow_mut().insert(has_disk);
    };
    each_fault(Bench::with_web, |bench| attach(&bench.context(), &request()), judge);
    assert_eq!(seen.take().len(), 2, "some went back and some went on");
}

/// A kill before the mark leaves zeros, which nothing says anything of.
#[test]
fn an_import_broken_off_at_any_call_is_removed() {
    let clean = Bench::new().host.fingerprint();
    let seen = RefCell::new(BTreeSet::new());
    let judge = |bench: &mut Bench, _: Result<_, Error>, effect: Effect, label: &str| {
        let whole = bench.host.content("/pool/images/new.qcow2").is_some_and(|c| c.starts_with(b"QFI"));
        if !effect.breaks_connection() || whole {
            return;
        }
        bury_all(bench);
        let found = fates(&look(bench));
        let name = "foundry-images/new.qcow2";
        match found.get(name) {
            Some(LeftoverAction::WhenNamed) => run(bench, &[name]),
            _ => run(bench, &[]),
        }
        .unwrap_or_else(|e| panic!("{label}: {e:?}"));
        assert_eq!(bench.host.changes_since(&clean), NOTHING, "{label}");
        seen.borrow_mut().extend(found.get(name).map(|fate| fate.as_str()));
    };
    let import = |bench: &Bench| {
        Image::dense(qcow2().as_slice(), qcow2().len() as u64)
            .origin("https://a/b")
            .import(bench, "new.qcow2")
    };
    each_fault(Bench::new, import, judge);
    assert_eq!(seen.take(), ["clean up", "when named"].into());
}

#[test]
fn whoever_cleans_up_can_be_broken_off_at_any_call_too() {
    let clean = Bench::new().host.fingerprint();
    let all = ["foundry-images/gone.qcow2.origin.json", "foundry-images/new.qcow2", "web"];
    assert_eq!(fates(&look(&littered())), all.map(|name| (name.to_owned(), LeftoverAction::CleanUp)).into());
    let judge = |bench: &mut Bench, _: Result<_, Vec<Error>>, _: Effect, label: &str| {
        bury_all(bench);
        run(bench, &[]).unwrap_or_else(|e| panic!("{label}: {e:?}"));
        assert_eq!(bench.host.changes_since(&clean), NOTHING, "{label}");
    };
    let act = |bench: &Bench| run(bench, &[]).map_err(|mut e| e.remove(0));
    let faults = each_fault(littered, act, |bench, outcome, effect, label| {
        judge(bench, outcome.map_err(|e| vec![e]), effect, label);
    });
    assert!(faults > 100, "{faults}");
}
