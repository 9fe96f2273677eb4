//! What was left on a host: what goes, what goes when it is named, what stays; and a fault at every call.

use foundry::record::VolumeRef;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::support::bench::{Bench, GENTLE, GIB, disk_request, foreign, host_with_neighbours, whole};
use crate::support::faults::{each_fault, shape};
use crate::support::images::{Image, qcow2};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{Disks, DomainState, Domains, Volumes};
use foundry::operations::disk::attach;
use foundry::operations::gc::{
    LeftoverAction, LeftoverKind, LeftoverName, Leftovers, choose_leftovers, execute_cleanup, find_leftovers,
};
use foundry::record::RecordState;
use foundry::units::Bytes;
use foundry::{Error, Kind};
use foundry_host::local::DomainDirectories;

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

#[test]
fn images_disks_and_other_peoples_volumes_are_not_garbage() {
    let bench = Bench::with_web();
    let found = look(&bench);
    let told: Vec<_> = found.found.iter().map(|r| (r.kind, r.name.as_str(), r.fate)).collect();
    assert_eq!(told, NEIGHBOURS.map(|name| (LeftoverKind::Volume, name, LeftoverAction::WhenNamed)));
    run(&bench, &[]).unwrap();
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
}

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

#[test]
fn what_somebody_works_on_stays() {
    for (host, told) in [(None, "process "), (Some("another machine"), "a process on another machine ")] {
        let edit = |maker: &mut serde_json::Value| {
            if let Some(host) = host {
                maker["host"] = host.into();
            }
        };
        let bench = Bench::new();
        bench.host.fail_calls_named_with("upload", Effect::BrokenBefore);
        bench.create(&plan(WEB)).unwrap_err();
        bench.host.heal();
        bench.edit_record("web", |record| edit(&mut record["maker"]));
        torso(&bench);
        edit_mark(&bench.host, "/pool/images/new.qcow2", edit);
        let before = bench.host.fingerprint();
        let found = look(&bench);
        let names = ["foundry-images/new.qcow2", "web"];
        assert_eq!(fates(&found), names.map(|name| (name.to_owned(), LeftoverAction::Keep)).into());
        for remains in found.found.iter().filter(|r| names.contains(&r.name.as_str())) {
            assert!(remains.reason.starts_with(told), "{remains:?}");
        }
        run(&bench, &[]).unwrap();
        assert_eq!(bench.host.changes_since(&before), NOTHING);
        for name in names {
            assert!(refused(&bench, &[name]).contains("cannot be cleaned up: "), "{name}");
        }
    }
}

/// A destruction that goes on may be waiting for its guest to shut down.
#[test]
fn a_destruction_that_goes_on_is_left_alone() {
    let bench = Bench::with_web();
    bench.host.fail_calls_named_with("request_shutdown", Effect::BrokenBefore);
    bench.destroy("web", GENTLE).unwrap_err();
    bench.host.heal();
    let why = refused(&bench, &["web"]);
    assert!(why.contains(&format!("process {} destroys it", std::process::id())), "{why}");
    assert!(why.contains("hint: foundry destroy web"), "{why}");
}

/// A destruction that was killed while its guest was asked, or a half made VM that somebody started.
#[test]
fn a_half_vm_that_runs_goes_only_when_it_is_named() {
    for (state, what) in [("creating", "creation"), ("destroying", "destruction")] {
        let bench = Bench::with_web();
        bench.edit_record("web", |record| record["state"] = state.into());
        bury_all(&bench);
        let before = bench.host.fingerprint();
        let found = look(&bench);
        assert_eq!(fates(&found), [("web".to_owned(), LeftoverAction::WhenNamed)].into());
        let web = found.found.iter().find(|r| r.name == "web").unwrap();
        assert_eq!(web.reason, format!("its {what} was interrupted, and it is running"));
        run(&bench, &[]).unwrap();
        assert_eq!(bench.host.changes_since(&before), NOTHING);
        run(&bench, &["web"]).unwrap();
        assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
    }
}

#[test]
fn a_half_vm_that_was_started_since_stays() {
    let bench = littered();
    let context = bench.context();
    let found = find_leftovers(&context, None).unwrap();
    let chosen = choose_leftovers(&context, &found, &["web".into()]).unwrap();
    bench.host.set_state("web", DomainState::Running);
    let before = bench.host.fingerprint();
    let errors = execute_cleanup(&context, None, &chosen, |_| {}).unwrap_err();
    assert!(whole(&errors[0]).contains("it is running now"), "{errors:?}");
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn what_is_named_goes_and_nothing_else() {
    let bench = littered();
    let before = bench.host.fingerprint();
    run(&bench, &[NEIGHBOURS[0]]).unwrap();
    let [gone] = &bench.host.changes_since(&before)[..] else { panic!() };
    assert!(gone.starts_with("- file /pool/vms/web_boot.qcow2: "), "{gone}");
}

#[test]
fn a_name_that_may_not_go_is_refused_before_anything_is_done() {
    let bench = Bench::on(
        host_with_neighbours()
            .with_image("ssd", "spare", "qcow2", GIB)
            .with_image("foundry-vms", "base", "qcow2", GIB)
            .with_overlay("foundry-vms", "on-base", GIB, "/pool/vms/base")
            .with_inactive_pool("off", "/off"),
    );
    let orphan = NEIGHBOURS[1];
    for (name, why) in [
        ("foundry-vms/web_1_boot", "domain 'other' uses it"),
        ("foundry-vms/base", "volume 'on-base' in pool 'foundry-vms' is based on it"),
        ("foundry-images/debian-12", "it is an image"),
        ("foundry-vms/none", "there is no volume 'none' in pool 'foundry-vms'"),
        ("ssd/spare", "foundry keeps no disks in pool 'ssd'"),
        ("nix/x", "there is no pool 'nix'"),
        ("off/x", "pool 'off' is not started"),
        ("other", "no half-made or half-destroyed VM has that name"),
        ("/etc/passwd", "files of a remote host cannot be checked"),
    ] {
        let told = refused(&bench, &[orphan, name]);
        assert!(told.contains(why), "{name}: {told}");
    }
}

#[test]
fn a_pool_that_a_record_names_is_one_of_foundrys() {
    let bench = Bench::on(host_with_neighbours().with_image("ssd", "spare", "qcow2", GIB));
    assert_eq!(fates(&look(&bench)), [].into());
    bench.create(&plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 4\n  storagePool: ssd")])).unwrap();
    assert_eq!(fates(&look(&bench)), [("ssd/spare".to_owned(), LeftoverAction::WhenNamed)].into());
}

/// A VM that was made of it while the user thought about it.
#[test]
fn a_volume_that_is_used_since_it_was_looked_at_stays() {
    let orphan = NEIGHBOURS[1];
    type Change = fn(&MemoryHost);
    let changes: [(&str, Change); 3] = [
        ("domain 'late' uses it", |host| {
            host.define_domain(&foreign("late", "/pool/vms/web_data-vdx")).unwrap();
        }),
        ("it is another volume now", |host| {
            host.resize_volume(&VolumeRef::new("foundry-vms", "web_data-vdx"), Bytes(2 * GIB)).unwrap();
        }),
        ("is based on it", |host| {
            let xml = "<volume><name>late</name><capacity>9</capacity><target><format type='qcow2'/></target>\
                       <backingStore><path>/pool/vms/web_data-vdx</path><format type='qcow2'/></backingStore></volume>";
            host.create_volume("foundry-vms", xml).unwrap();
        }),
    ];
    for (why, change) in changes {
        let bench = Bench::new();
        let context = bench.context();
        let found = find_leftovers(&context, None).unwrap();
        let chosen = choose_leftovers(&context, &found, &[orphan.into()]).unwrap();
        change(&bench.host);
        let before = bench.host.fingerprint();
        let errors = execute_cleanup(&context, None, &chosen, |_| {}).unwrap_err();
        assert!(whole(&errors[0]).contains(why), "{why}: {errors:?}");
        assert_eq!(errors[0].kind(), Kind::Storage);
        assert_eq!(bench.host.changes_since(&before), NOTHING);
    }
}

/// The name is another VM's by now, whose disks have the same names.
#[test]
fn a_half_vm_that_was_replaced_since_stays() {
    let bench = littered();
    let context = bench.context();
    let found = find_leftovers(&context, None).unwrap();
    let chosen = choose_leftovers(&context, &found, &["web".into()]).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    bench.create(&plan(WEB)).unwrap();
    let before = bench.host.fingerprint();
    execute_cleanup(&context, None, &chosen, |_| {}).unwrap();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    assert!(bench.told.done().contains(&"VM 'web' was deleted by another process meanwhile".to_owned()));
}

/// The record names a disk that the VM does not have: its user may have unplugged it and want it back.
#[test]
fn a_disk_that_was_unplugged_stays_with_a_word() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.detach_disk(uuid, "vdb", foundry::host::Affect::Both).unwrap();
    let found = look(&bench);
    assert_eq!(fates(&found), [("web/vdb".to_owned(), LeftoverAction::Keep)].into());
    let why = refused(&bench, &["web/vdb"]);
    assert!(why.contains("hint: foundry disk detach web vdb removes it"), "{why}");
    assert!(refused(&bench, &["foundry-vms/web_data-vdb"]).contains("the record of VM 'web' names it"));
}

/// Only a regular file of that directory, named as libvirt names it, of no domain by whatever name.
#[test]
fn efi_variables_of_domains_that_are_gone_go_when_named() {
    let folder = tempfile::tempdir().unwrap();
    let places = DomainDirectories {
        nvram: folder.path().join("nvram"),
        definitions: folder.path().join("qemu"),
        saved: folder.path().join("save"),
    };
    std::fs::create_dir(&places.nvram).unwrap();
    std::fs::create_dir(&places.definitions).unwrap();
    let file = |name: &str| places.nvram.join(name);
    for name in ["gone_VARS.fd", "other_VARS.fd", "odd_VARS.fd", "defined_VARS.fd", "notes.txt"] {
        std::fs::write(file(name), name).unwrap();
    }
    std::os::unix::fs::symlink(file("notes.txt"), file("link_VARS.fd")).unwrap();
    std::fs::create_dir(file("dir_VARS.fd")).unwrap();
    let odd = foreign("strange", "/pool/vms/x")
        .replace("</os>", &format!("<nvram>{}</nvram></os>", file("odd_VARS.fd").display()));
    std::fs::write(places.definitions.join("defined.xml"), foreign("defined", "/x")).unwrap();
    let bench = Bench::on(host_with_neighbours().with_foreign_domain(&odd).local());
    let found = find_leftovers(&bench.context(), Some(&places)).unwrap();
    let nvram: Vec<_> =
        found.found.iter().filter(|r| r.kind == LeftoverKind::Nvram).map(|r| (&r.name, r.fate)).collect();
    let gone = file("gone_VARS.fd").display().to_string();
    assert_eq!(nvram, [(&gone, LeftoverAction::WhenNamed)]);
    run_in(&bench, Some(&places), &[]).unwrap();
    assert!(file("gone_VARS.fd").exists());
    for name in
        ["other_VARS.fd", "odd_VARS.fd", "defined_VARS.fd", "link_VARS.fd", "dir_VARS.fd", "notes.txt"]
    {
        let path = file(name).display().to_string();
        let errors = run_in(&bench, Some(&places), &[&gone, &path]).unwrap_err();
        assert!(errors[0].to_string().contains("it does not hold the EFI variables"), "{errors:?}");
    }
    run_in(&bench, Some(&places), &[&gone]).unwrap();
    assert!(!file("gone_VARS.fd").exists());
    let left = std::fs::read_dir(&places.nvram).unwrap().count();
    assert_eq!(left, 6, "nothing else went");
}

/// A definition that cannot be read may be of the domain whose variables these are.
#[test]
fn where_definitions_cannot_be_read_nothing_is_said_of_efi_variables() {
    let folder = tempfile::tempdir().unwrap();
    let places = DomainDirectories {
        nvram: folder.path().join("nvram"),
        definitions: folder.path().into(),
        saved: folder.path().join("save"),
    };
    std::fs::create_dir(&places.nvram).unwrap();
    std::fs::write(places.nvram.join("gone_VARS.fd"), "x").unwrap();
    std::fs::write(folder.path().join("broken.xml"), "<domain").unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    let found = find_leftovers(&bench.context(), Some(&places)).unwrap();
    assert!(found.found.iter().all(|r| r.kind != LeftoverKind::Nvram));
    assert!(found.unseen[0].contains("broken.xml is not a domain definition"), "{:?}", found.unseen);
}

/// Another file under the same name is another's.
#[test]
fn efi_variables_that_were_replaced_since_stay() {
    let folder = tempfile::tempdir().unwrap();
    let places = DomainDirectories {
        nvram: folder.path().into(),
        definitions: folder.path().join("none"),
        saved: folder.path().join("save"),
    };
    let (file, target) = (folder.path().join("gone_VARS.fd"), folder.path().join("keep"));
    let changes: [fn(&std::path::Path, &std::path::Path); 3] = [
        |file, _| {
            std::fs::write(file, "longer than it was before, and more than a page".repeat(200)).unwrap()
        },
        |file, target| {
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink(target, file).unwrap();
        },
        |file, target| std::fs::rename(target, file).unwrap(),
    ];
    for change in changes {
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, "x").unwrap();
        std::fs::write(&target, "y").unwrap();
        let bench = Bench::on(host_with_neighbours().local());
        let context = bench.context();
        let found = find_leftovers(&context, Some(&places)).unwrap();
        let name = file.display().to_string();
        let chosen = choose_leftovers(&context, &found, &[name.as_str().into()]).unwrap();
        change(&file, &target);
        execute_cleanup(&context, Some(&places), &chosen, |_| {}).unwrap_err();
        assert!(std::fs::symlink_metadata(&file).is_ok());
    }
}
