//! What was left on a host: what goes, what goes when it is named, what stays; and a fault at every call.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

use std::collections::BTreeMap;

use foundry::host::Host;
use foundry::host::memory::{Effect, MemoryHost};
use foundry::operations::gc::{Choice, Fate, Places, Sort, Survey, carry_out, choose, survey};
use foundry::record::State;
use foundry::{Error, Kind};
use support::images::{Image, origin, qcow2};
use support::{Bench, GENTLE, GIB, WEB, each_fault, plan, shape, whole};

const NOTHING: [&str; 0] = [];

/// What the neighbours look like to who cleans up.
const NEIGHBOURS: [&str; 2] = ["foundry-vms/web_boot.qcow2", "foundry-vms/web_data-vdx"];

fn look(bench: &Bench) -> Survey {
    survey(&bench.session(), None).unwrap()
}

/// Everything that was found but the neighbours: its name, and what becomes of it.
fn fates(found: &Survey) -> BTreeMap<String, Fate> {
    let others = found.remains.iter().filter(|r| !NEIGHBOURS.contains(&r.name.as_str()));
    others.map(|r| (r.name.clone(), r.fate)).collect()
}

fn run(bench: &Bench, named: &[&str]) -> Result<(), Vec<Error>> {
    run_in(bench, None, named)
}

fn run_in(bench: &Bench, places: Option<&Places>, named: &[&str]) -> Result<(), Vec<Error>> {
    let session = bench.session();
    let found = survey(&session, places).map_err(|e| vec![e])?;
    let named: Vec<Choice> = named.iter().map(|name| Choice::from(*name)).collect();
    let chosen = choose(&session, &found, &named).map_err(|e| vec![e])?;
    carry_out(&session, places, &chosen, |_| {})
}

/// The one reason why a name is refused, after which nothing was changed.
#[track_caller]
fn refused(bench: &Bench, named: &[&str]) -> String {
    let before = bench.host.fingerprint();
    let errors = run(bench, named).unwrap_err();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    let [error] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(error.outcomes(), ["nothing was changed"]);
    whole(error)
}

/// Lets the processes have ended that attach disks, and those that import.
fn bury_all(bench: &Bench) {
    bench.edit_record("web", |record| {
        record["maker"]["started"] = 1.into();
        for volume in record["volumes"].as_array_mut().unwrap() {
            if let Some(attaching) = volume.get_mut("attaching") {
                attaching["started"] = 1.into();
            }
        }
    });
    for path in bench.host.files() {
        edit_mark(&bench.host, &path, |mark| mark["started"] = 1.into());
    }
}

/// Changes who imports an image, where one is on its way.
fn edit_mark(host: &MemoryHost, path: &str, edit: impl FnOnce(&mut serde_json::Value)) {
    let content = host.content(path).unwrap();
    let Some(begin) = content.windows(2).position(|two| two == b"\n{").filter(|_| content.starts_with(b"foundry: "))
    else {
        return;
    };
    let begin = begin + 1;
    let end = begin + content[begin..].iter().position(|b| *b == b'\n').unwrap();
    let mut maker = serde_json::from_slice(&content[begin..end]).unwrap();
    edit(&mut maker);
    let maker = serde_json::to_vec(&maker).unwrap();
    host.put_file(path, &[&content[..begin], &maker, &content[end..]].concat());
}

#[test]
fn images_disks_and_other_peoples_volumes_are_not_garbage() {
    let bench = Bench::with_web();
    let found = look(&bench);
    let told: Vec<_> = found.remains.iter().map(|r| (r.kind, r.name.as_str(), r.fate)).collect();
    assert_eq!(told, NEIGHBOURS.map(|name| (Sort::Volume, name, Fate::WhenNamed)));
    run(&bench, &[]).unwrap();
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
}

#[test]
fn a_creation_broken_off_at_any_call_is_removed() {
    let clean = Bench::new().host.fingerprint();
    let mut removed = 0;
    let judge = |bench: &mut Bench, _: Result<_, Error>, effect: Effect, label: &str| {
        let state = bench.host.domain("web").unwrap().map(|_| bench.record("web").state);
        if !effect.breaks() || state == Some(State::Created) {
            return;
        }
        bury_all(bench);
        let is_there = state.is_some();
        assert_eq!(fates(&look(bench)), is_there.then(|| ("web".into(), Fate::Goes)).into_iter().collect(), "{label}");
        run(bench, &[]).unwrap_or_else(|e| panic!("{label}: {e:?}"));
        assert_eq!(bench.host.changes_since(&clean), NOTHING, "{label}");
    };
    each_fault(Bench::new, |bench| { removed += 1; bench.create(&plan(WEB)) }, judge);
    assert!(removed > 20, "{removed}");
}
