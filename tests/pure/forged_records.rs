//! A record is data that others write, and a mark is bytes that a guest may write: neither gives a right to what is not
//! that VM's, and what goes is named before.

use foundry::words;
use std::sync::{Arc, Mutex};

use crate::support::bench::{Bench, FORCE, GENTLE, KEEP, host_with_neighbours, whole};
use crate::support::images::{Image, qcow2};
use crate::support::manifests::{WEB, plan};
use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{DomainState, Domains, Pools, Volumes};
use foundry::operations::gc::{
    LeftoverAction, LeftoverName, choose_leftovers, execute_cleanup, find_leftovers,
};
use foundry::operations::vm::create::{create_vm, dry_run};
use foundry::operations::vm::seed;
use foundry::operations::{Event, Progress, disk};
use foundry::record::{Maker, VolumeRef};
use serde_json::{Value, json};

/// Everything that is said, in order.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn on_event(&self, event: Event) {
        self.0.lock().unwrap().extend(match event {
            Event::Begins(task) => Some(words::render_task(&task)),
            Event::Finished(step) => Some(words::render_finished(&step)),
            _ => None,
        });
    }
}

const NOTHING: [&str; 0] = [];

/// Volumes of others, in a pool that foundry never used and in its own, each with what a record could say of it.
const OTHERS: [(&str, &str, &str); 5] = [
    ("other", "precious.qcow2", "boot"),
    ("other", "backup-2025.raw", "data"),
    ("foundry-images", "base.qcow2", "seed"),
    ("foundry-vms", "kept_boot", "boot"),
    ("foundry-vms", "web_1_data-vdb", "data"),
];

fn host() -> MemoryHost {
    OTHERS
        .iter()
        .fold(host_with_neighbours(), |host, (pool, name, _)| host.with_image(pool, name, "qcow2", 1 << 30))
}

/// The note of a volume as it is.
fn note(bench: &Bench, (pool, name, role): (&str, &str, &str)) -> Value {
    let volume = bench.host.volume(&VolumeRef::new(pool, name)).unwrap().unwrap();
    json!({"role": role, "pool": pool, "name": name, "path": volume.path, "format": volume.format,
        "capacity": volume.capacity.0})
}

/// `web`, off, whose record was made to name others' volumes beside its own.
fn forged(state: &str) -> Bench {
    let mut bench = Bench::on(host());
    bench.create(&plan(WEB)).unwrap();
    bench.host.set_state("web", DomainState::ShutOff);
    let notes: Vec<Value> = OTHERS.iter().map(|other| note(&bench, *other)).collect();
    bench.edit_record("web", |record| {
        record["state"] = state.into();
        record["maker"]["started"] = 1.into();
        record["volumes"].as_array_mut().unwrap().extend(notes);
    });
    bench.told.forget();
    bench.start = Some(bench.host.fingerprint());
    bench
}

fn assert_others_are_there(bench: &Bench, label: &str) {
    for (pool, name, _) in OTHERS {
        assert!(bench.host.volume(&VolumeRef::new(pool, name)).unwrap().is_some(), "{label}: {pool}/{name}");
    }
}

#[test]
fn no_state_of_a_record_gives_others_volumes_to_destroy() {
    for state in ["creating", "created", "destroying"] {
        for options in [GENTLE, FORCE, KEEP] {
            let bench = forged(state);
            bench.destroy("web", options).unwrap();
            assert!(bench.host.domain("web").unwrap().is_none());
            assert_others_are_there(&bench, state);
            let warnings = bench.told.warnings().join("\n");
            for (pool, name, _) in OTHERS {
                assert!(warnings.contains(&format!("left: volume '{name}' in pool '{pool}'")), "{warnings}");
            }
            let own = bench.host.volume(&VolumeRef::new("foundry-vms", "web_boot")).unwrap();
            assert_eq!(own.is_some(), options.keep_disks, "{state}");
        }
    }
}

#[test]
fn cleaning_up_names_what_goes_and_what_stays() {
    for state in ["creating", "destroying"] {
        let bench = forged(state);
        let context = bench.context();
        let found = find_leftovers(&context, None).unwrap();
        let web = found.found.iter().find(|r| r.name == "web").unwrap();
        assert_eq!(web.fate, LeftoverAction::CleanUp);
        assert!(web.volumes.contains(&"foundry-vms/web_boot".to_owned()), "{:?}", web.volumes);
        for (pool, name, _) in OTHERS {
            assert!(!web.volumes.contains(&format!("{pool}/{name}")), "{:?}", web.volumes);
            assert!(
                web.reason.contains(&format!("volume '{name}' in pool '{pool}' is kept")),
                "{}",
                web.reason
            );
        }
        let named: [LeftoverName; 0] = [];
        let chosen = choose_leftovers(&context, &found, &named).unwrap();
        execute_cleanup(&context, None, &chosen, |_| {}).unwrap();
        assert_others_are_there(&bench, state);
        let done = bench.told.done();
        let told = done.iter().find(|line| line.starts_with("VM 'web' removed with ")).unwrap();
        assert!(web.volumes.iter().all(|volume| told.contains(volume)), "{told}");
    }
}

#[test]
fn a_creation_does_not_begin_with_others_volumes() {
    let bench = forged("creating");
    for outcome in [bench.create(&plan(WEB)).map(drop), dry_run(&bench.context(), &plan(WEB)).map(drop)] {
        let error = whole(&outcome.unwrap_err());
        assert!(error.contains("an interrupted creation of VM 'web' left volume '"), "{error}");
        assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
    }
}

#[test]
fn a_creation_names_the_remains_that_it_removes() {
    let mut bench = Bench::new();
    bench.host.fail_calls_named_with("upload", Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap_err();
    bench.next_run("web");
    let boot = "foundry-vms/web_boot".to_owned();
    let blueprint = dry_run(&bench.context(), &plan(WEB)).unwrap();
    assert!(blueprint.removes.contains(&boot), "{:?}", blueprint.removes);
    let heard = Arc::new(Heard::default());
    create_vm(&bench.context().with_progress(heard.clone()), &plan(WEB)).unwrap();
    let heard = heard.0.lock().unwrap();
    let at = |begin: &str| heard.iter().position(|line| line.starts_with(begin)).unwrap();
    let named = at("Removing what an interrupted creation left: ");
    assert!(blueprint.removes.iter().all(|volume| heard[named].contains(volume)), "{}", heard[named]);
    assert!(named < at("Remains of an interrupted creation removed"));
}

/// virsh domrename; its disks keep their names.
#[test]
fn a_vm_that_was_renamed_keeps_its_disks_and_takes_them_with_it() {
    let mut bench = Bench::with_web();
    bench.host.set_state("web", DomainState::ShutOff);
    bench.host.rename("web", "old");
    bench.start = None;
    let demolition = bench.survey("old", GENTLE).unwrap();
    let named = demolition.named_volumes();
    assert!(named.contains(&"foundry-vms/web_boot".to_owned()), "{named:?}");
    assert!(named.contains(&"foundry-vms/web_cloudinit".to_owned()), "{named:?}");
    bench.destroy("old", GENTLE).unwrap();
    assert!(bench.host.volume(&VolumeRef::new("foundry-vms", "web_boot")).unwrap().is_none());
}

/// A record may say that a disk is a seed, or that it is at another path.
#[test]
fn a_word_of_the_record_makes_no_disk_something_else() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| {
        for volume in record["volumes"].as_array_mut().unwrap() {
            if volume["role"] == "boot" {
                volume["role"] = "seed".into();
            }
        }
    });
    bench.destroy("web", KEEP).unwrap();
    assert!(
        bench.host.volume(&VolumeRef::new("foundry-vms", "web_boot")).unwrap().is_some(),
        "as a seed it would have gone"
    );

    let bench = forged("created");
    let path = bench.host.volume(&VolumeRef::new("other", "precious.qcow2")).unwrap().unwrap().path;
    bench.edit_record("web", |record| {
        record["volumes"] = json!([{"role": "data", "pool": "foundry-vms", "name": "web_data-vdq", "path": path,
            "format": "qcow2", "capacity": 1 << 30}]);
    });
    bench.destroy("web", GENTLE).unwrap();
    assert_others_are_there(&bench, "its pool seems to have another directory");
}

#[test]
fn detach_and_eject_delete_the_vms_own_only() {
    let bench = forged("created");
    bench.edit_record("web", |record| {
        let volumes = record["volumes"].as_array_mut().unwrap();
        volumes.retain(|v| v["role"] != "seed" || v["pool"] == "foundry-images");
        volumes.retain(|v| v["name"] != "web_data-vdb");
    });
    let context = bench.context();
    for word in ["web_1_data-vdb", "vdb"] {
        if let Ok(detachment) = disk::plan_detach(&context, "web", word, false) {
            assert_eq!(detachment.volume, None, "{word}");
        }
    }
    if let Ok(Some(ejection)) = seed::plan_eject(&context, "web", true) {
        assert_eq!(ejection.volume, None);
        seed::eject_seed(&context, &ejection).unwrap();
    }
    assert_others_are_there(&bench, "detach and eject");
}

/// What a guest wrote at the beginning of its raw disk, which was kept then.
fn mark_of_a_guest() -> Vec<u8> {
    let maker = Maker { started: 1, ..foundry::host::local::this_process() };
    let maker = serde_json::to_string(&maker).unwrap();
    format!("foundry: an image on its way in\n0f9c7a52-3c4e-4b1a-9d7e-5a6b7c8d9e0f\n{maker}\n").into_bytes()
}

#[test]
fn bytes_that_a_guest_wrote_take_no_disk_away() {
    for (pool, name) in [
        ("foundry-vms", "web_data-vdb"),
        ("foundry-vms", "web_boot"),
        ("foundry-vms", "evidence.raw"),
        ("foundry-images", "web_data-vdc"),
        ("foundry-images", "evidence.raw"),
    ] {
        let content = [mark_of_a_guest(), vec![0; 1 << 16]].concat();
        let bench = Bench::on(host_with_neighbours().with_volume(pool, name, &content));
        let context = bench.context();
        let before = bench.host.fingerprint();
        let found = find_leftovers(&context, None).unwrap();
        let named: [LeftoverName; 0] = [];
        let chosen = choose_leftovers(&context, &found, &named).unwrap();
        execute_cleanup(&context, None, &chosen, |_| {}).unwrap();
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{pool}/{name}");
    }
}

/// The mark of an import that was, copied to another volume: it proves nothing there.
#[test]
fn a_mark_of_another_volume_proves_nothing() {
    let bench = Bench::on(host_with_neighbours());
    bench.host.fail_calls_named_with("upload", Effect::BrokenAfterEffect);
    Image::dense(qcow2().as_slice(), qcow2().len() as u64).import(&bench, "new.qcow2").unwrap_err();
    bench.host.heal();
    let content = bench.host.content("/pool/images/new.qcow2").unwrap();
    assert!(content.starts_with(b"foundry: an image on its way in\n"));
    let text = String::from_utf8_lossy(&content).into_owned();
    let started = text.find("\"started\":").unwrap() + "\"started\":".len();
    let end = started + text[started..].find(',').unwrap();
    let dead = [&content[..started], b"1", &content[end..]].concat();
    bench.host.put_file("/pool/images/new.qcow2", &dead);
    bench.host.put_file("/pool/images/other.raw", &dead);
    bench.host.refresh_pool("foundry-images").unwrap();
    let found = find_leftovers(&bench.context(), None).unwrap();
    let fate = |name: &str| found.found.iter().find(|r| r.name == name).map(|r| r.fate);
    assert_eq!(fate("foundry-images/new.qcow2"), Some(LeftoverAction::CleanUp));
    assert_eq!(fate("foundry-images/other.raw"), Some(LeftoverAction::WhenNamed));
}
