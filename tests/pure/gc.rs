//! Leftovers on a host: what `gc` deletes, what it deletes only if it is named, what it keeps; a fault at every call.

mod broken_off;
mod changed_since;
mod efi_variables;
mod named;

use crate::support::bench::{Bench, whole};
use crate::support::images::{Image, qcow2};
use crate::support::manifests::{SMALL, plan_with};
use crate::support::shown::Shown;
use foundry::Error;
use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{DomainState, Volumes};
use foundry::operations::gc::{
    LeftoverAction, LeftoverName, Leftovers, choose_leftovers, execute_cleanup, find_leftovers,
};
use foundry::record::VolumeRef;
use foundry_host::local::DomainDirectories;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const NOTHING: [&str; 0] = [];

/// What the neighbours look like to who cleans up.
const NEIGHBOURS: [&str; 2] = ["foundry-vms/web_boot.qcow2", "foundry-vms/web_data-vdx"];

fn look(bench: &Bench) -> Leftovers {
    find_leftovers(&bench.context(), None).unwrap()
}

/// Everything that was found but the neighbours: its name, and what becomes of it.
fn fates(found: &Leftovers) -> BTreeMap<String, LeftoverAction> {
    let others = found.found.iter().filter(|r| !NEIGHBOURS.contains(&r.name.as_str()));
    others.map(|r| (r.name.clone(), r.fate)).collect()
}

fn run(bench: &Bench, named: &[&str]) -> Result<(), Vec<Error>> {
    run_in(bench, None, named)
}

fn run_in(bench: &Bench, places: Option<&DomainDirectories>, named: &[&str]) -> Result<(), Vec<Error>> {
    let context = bench.context();
    let found = find_leftovers(&context, places).map_err(|e| vec![e])?;
    let named: Vec<LeftoverName> = named.iter().map(|name| LeftoverName::from(*name)).collect();
    let chosen = choose_leftovers(&context, &found, &named).map_err(|e| vec![e])?;
    execute_cleanup(&context, places, &chosen, |_| {})
}

/// The one reason why a name is refused, after which nothing was changed.
#[track_caller]
fn refused(bench: &Bench, named: &[&str]) -> String {
    let before = bench.host.fingerprint();
    let errors = run(bench, named).unwrap_err();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    let [error] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(error.outcome_texts(), ["nothing was changed"]);
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
    let Some(begin) =
        content.windows(2).position(|two| two == b"\n{").filter(|_| content.starts_with(b"foundry: "))
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

/// A host on which something of each kind was left, and what was there before.
fn littered() -> Bench {
    let bench = Bench::new();
    bench.create(&plan_with(SMALL, &[("name: small", "name: web")])).unwrap();
    bench.edit_record("web", |record| record["state"] = "destroying".into());
    bench.host.set_state("web", DomainState::ShutOff);
    torso(&bench);
    Image::dense(qcow2().as_slice(), qcow2().len() as u64)
        .origin("https://a")
        .import(&bench, "gone.qcow2")
        .unwrap();
    bench.host.delete_volume(&VolumeRef::new("foundry-images", "gone.qcow2")).unwrap();
    bury_all(&bench);
    bench
}

/// An import that was killed in the middle; its process still counts as alive.
fn torso(bench: &Bench) {
    let import = || Image::dense(qcow2().as_slice(), qcow2().len() as u64).import(bench, "new.qcow2");
    static MIDDLE: OnceLock<usize> = OnceLock::new();
    let middle = *MIDDLE.get_or_init(|| {
        let other = Bench::new();
        Image::dense(qcow2().as_slice(), qcow2().len() as u64).import(&other, "new.qcow2").unwrap();
        let calls = other.host.calls();
        let mut uploads = calls.iter().enumerate().filter(|(_, c)| c.starts_with("upload "));
        uploads.nth(1).unwrap().0
    });
    bench.host.forget_calls();
    bench.host.fail_at(middle, Effect::BrokenAfterEffect);
    import().unwrap_err();
    bench.host.heal();
}
