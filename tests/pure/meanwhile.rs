//! Somebody else takes the VM away just before any call that a command makes: with virsh, with foundry, and to make
//! a new one of the same name. The command ends with a sentence for people, and nothing of the new one is touched.

use std::time::Duration;

use crate::support::bench::{
    Bench, FORCE, GENTLE, KEEP, as_rival, disk_request, host_with_neighbours, neighbours_alone, whole,
};
use crate::support::faults::assert_named;
use crate::support::manifests::{SMALL, WEB, plan};
use foundry::Error;
use foundry::host::memory::MemoryHost;
use foundry::host::{DomainState, Domains, Volumes};
use foundry::operations::disk::{self, AttachRequest, attach};
use foundry::operations::vm::{create, destroy, inspect, seed};
use foundry::operations::{gc, image};
use foundry::record::{Owner, RecordState, VolumeRef};

const NOTHING: [&str; 0] = [];

type Command = fn(&Bench) -> Result<(), Error>;

type Fresh = fn() -> Bench;

const CHANGING: [(&str, Fresh, Command); 15] = [
    ("destroy", shared, |b| b.destroy("web", GENTLE)),
    ("destroy --force", shared, |b| b.destroy("web", FORCE)),
    ("destroy --keep-disks", shared, |b| b.destroy("web", KEEP)),
    ("destroy of one half destroyed", half_destroyed, |b| b.destroy("web", GENTLE)),
    ("create in the place of one half made", half_made, |b| b.create(&plan(WEB)).map(drop)),
    ("disk attach", shared, |b| attach(&b.context(), &disk_request("web", 1)).map(drop)),
    ("disk attach --at-next-start", shared, |b| {
        attach(&b.context(), &AttachRequest { at_next_start: true, ..disk_request("web", 1) }).map(drop)
    }),
    ("disk detach", shared, |b| detach(b, false)),
    ("disk detach --keep", shared, |b| detach(b, true)),
    ("disk detach from one that is off", off, |b| detach(b, false)),
    ("disk resize", shared, resize),
    ("disk resize of one that is off", off, resize),
    ("seed eject", shared, |b| {
        let Some(ejection) = seed::plan_eject(&b.context(), "web", true)? else { return Ok(()) };
        seed::eject_seed(&b.context(), &ejection)
    }),
    ("gc after half a destruction", half_destroyed, gc),
    ("gc after half a creation", half_made, gc),
];

const LOOKING: [(&str, Command); 6] = [
    ("list", |b| inspect::list_vms(&b.context(), true).map(drop)),
    ("get", |b| inspect::get_vm(&b.context(), "web").map(drop)),
    ("disk list", |b| disk::list_disks(&b.context(), Some("web")).map(drop)),
    ("create --dry-run", |b| create::dry_run(&b.context(), &plan(SMALL)).map(drop)),
    ("image info", |b| {
        image::image_info(&b.context(), &VolumeRef::new("foundry-images", "debian-12")).map(drop)
    }),
    ("image delete", |b| image::delete_image(&b.context(), &VolumeRef::new("foundry-images", "debian-12"))),
];

fn resize(bench: &Bench) -> Result<(), Error> {
    disk::resize(&bench.context(), "web", "vdb", "+5GiB".parse().unwrap()).map(drop)
}

fn gc(bench: &Bench) -> Result<(), Error> {
    let context = bench.context();
    let found = gc::find_leftovers(&context, None)?;
    let chosen = gc::choose_leftovers(&context, &found, &[])?;
    gc::execute_cleanup(&context, None, &chosen, |_| {}).map_err(|mut errors| errors.remove(0))
}

fn detach(bench: &Bench, keep: bool) -> Result<(), Error> {
    let found = disk::plan_detach(&bench.context(), "web", "vdb", keep)?;
    disk::detach(&bench.context(), &found, Duration::from_secs(5))
}

/// As `virsh destroy` and `virsh undefine --nvram --remove-all-storage` do, without a thought for foundry.
fn virsh(host: &MemoryHost) {
    let Some(domain) = host.domain("web").unwrap() else { return };
    host.force_off(domain.uuid).unwrap();
    host.undefine(domain.uuid).unwrap();
    let Owner::Foundry(record) = domain.owner() else { panic!("{domain:?}") };
    for volume in record.volumes {
        host.delete_volume(&volume.reference()).unwrap();
    }
}

/// Another foundry; that it may be refused, or have to wait for longer than it does, is as it should be.
fn foundry(host: &MemoryHost) {
    let _ =
        as_rival(host, |rival| destroy::execute_destroy(rival, &destroy::plan_destroy(rival, "web", FORCE)?));
}

/// Another foundry that makes it anew, unless a disk that was to be kept is in the way.
fn foundry_anew(host: &MemoryHost) {
    foundry(host);
    let _ = as_rival(host, |rival| create::create_vm(rival, &plan(WEB)));
}

/// Lets a rival act before each call in turn; how often it did.
fn each_call(
    fresh: impl Fn() -> Bench,
    command: Command,
    rival: fn(&MemoryHost),
    judge: impl Fn(&Bench, Result<(), Error>, &str),
) -> usize {
    let fixture = fresh();
    for n in 0.. {
        let bench = fixture.fork();
        bench.host.forget_calls();
        bench.host.on_call(n, rival);
        let outcome = command(&bench);
        if bench.host.call_count() <= n {
            return n;
        }
        let label = format!("at call {n}, {}", bench.host.calls()[n]);
        if let Err(error) = &outcome {
            assert!(!whole(error).contains("no domain with"), "{label}: {}", whole(error));
        }
        judge(&bench, outcome, &label);
    }
    unreachable!("a command ends")
}

/// With `web`, on a machine whose foundries wait for each other.
fn shared() -> Bench {
    let bench = Bench::on(host_with_neighbours().with_locks().unwrap());
    bench.create(&plan(WEB)).unwrap();
    bench
}

fn off() -> Bench {
    let bench = shared();
    bench.host.set_state("web", DomainState::ShutOff);
    bench
}

fn half_destroyed() -> Bench {
    broken_off("destroying")
}

fn half_made() -> Bench {
    broken_off("creating")
}

/// As a process leaves it that was killed.
fn broken_off(state: &str) -> Bench {
    let bench = off();
    bench.edit_record("web", |record| record["state"] = state.into());
    bench.bury_maker("web");
    bench
}

/// All that is there beside what a fresh bench has.
fn remains(bench: &Bench) -> Vec<String> {
    bench.host.changes_since(neighbours_alone())
}

/// It runs and has all its disks, and nothing else is there.
fn is_whole(bench: &Bench, label: &str) {
    let record = bench.record("web");
    assert_eq!(record.state, RecordState::Created, "{label}");
    let runs = bench.host.domain("web").unwrap().unwrap().state == DomainState::Running;
    assert!(runs || label.contains(" is off"), "{label}");
    let files = bench.host.files();
    for volume in &record.volumes {
        assert!(files.contains(&volume.path), "{label}: {} is gone", volume.path);
        let found = bench.host.volume(&volume.reference()).unwrap().unwrap();
        assert_eq!(found.capacity, volume.capacity, "{label}: {}", volume.path);
    }
    bench.destroy("web", GENTLE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
    assert!(label.contains("--keep") || remains(bench).is_empty(), "{label}: {:?}", remains(bench));
}

#[test]
fn what_is_taken_away_with_virsh_leaves_nothing_that_is_not_named() {
    let creation: (&str, Fresh, Command) = ("create", Bench::new, |b| b.create(&plan(WEB)).map(drop));
    for (name, fresh, command) in CHANGING.into_iter().chain([creation]) {
        let calls = each_call(fresh, command, virsh, |bench, outcome, label| {
            let label = format!("{name} {label}");
            match outcome {
                _ if name.contains("--keep") => {
                    assert_eq!(bench.host.domain("web").unwrap(), None, "{label}")
                }
                // Before it was there, nothing could be taken away.
                Ok(()) if bench.host.domain("web").unwrap().is_some() => is_whole(bench, &label),
                Ok(()) => assert_eq!(remains(bench), NOTHING, "{label}"),
                Err(error) => assert_named(&remains(bench), &error, &label),
            }
        });
        assert!(calls > 2, "{name}: {calls}");
    }
}

#[test]
fn what_another_foundry_destroys_is_destroyed_once() {
    for (name, fresh, command) in CHANGING {
        each_call(fresh, command, foundry, |bench, outcome, label| {
            let label = format!("{name} {label}");
            if bench.host.domain("web").unwrap().is_some() {
                outcome.unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
                return is_whole(bench, &label);
            }
            let kept = name.contains("--keep");
            assert!(kept || remains(bench).is_empty(), "{label}: {:?}", remains(bench));
        });
    }
}

#[test]
fn a_vm_that_takes_its_place_is_left_alone() {
    for (name, fresh, command) in CHANGING {
        each_call(fresh, command, foundry_anew, |bench, _, label| {
            let label = format!("{name} {label}");
            if bench.host.domain("web").unwrap().is_some() {
                is_whole(bench, &label);
            }
        });
    }
}

#[test]
fn who_only_looks_is_not_disturbed() {
    for (name, command) in LOOKING {
        for rival in [virsh, foundry, foundry_anew] {
            each_call(shared, command, rival, |_, outcome, label| {
                let Err(error) = outcome else { return };
                let told = whole(&error);
                let is_true = told.contains("there is no VM 'web'") || told.contains("is in use by VM 'web'");
                assert!(is_true, "{name} {label}: {told}");
            });
        }
    }
}

/// Who wants a name that is just given up has it, or is told that it is taken.
#[test]
fn a_name_that_becomes_free_is_had_whole_or_not_at_all() {
    let create: Command = |b| b.create(&plan(WEB)).map(drop);
    for fresh in [shared as Fresh, half_made, half_destroyed] {
        for rival in [virsh, foundry] {
            each_call(fresh, create, rival, |bench, outcome, label| match outcome {
                Ok(()) if bench.host.domain("web").unwrap().is_some() => is_whole(bench, label),
                // It was whole before it was taken away.
                Ok(()) => assert_eq!(remains(bench), NOTHING, "{label}"),
                Err(error) => {
                    let told = whole(&error);
                    let is_why = [
                        "VM 'web' exists",
                        "is half destroyed",
                        "exists in pool",
                        "deleted by another process",
                    ];
                    assert!(is_why.iter().any(|why| told.contains(why)), "{label}: {told}");
                }
            });
        }
    }
}

/// Another foundry that makes the VM, unless its image is gone.
fn creates(host: &MemoryHost) {
    let _ = as_rival(host, |rival| create::create_vm(rival, &plan(WEB)));
}

#[test]
fn an_image_that_a_vm_is_made_from_meanwhile_stays() {
    let fresh = || Bench::on(host_with_neighbours().with_locks().unwrap());
    let prune: Command = |b| {
        let found = image::find_unused(&b.context(), "foundry-images", true)?;
        image::prune_images(&b.context(), &found, |_| {})
    };
    let delete: Command =
        |b| image::delete_image(&b.context(), &VolumeRef::new("foundry-images", "debian-12"));
    for (name, command) in [("image delete", delete), ("image prune", prune)] {
        let mut made = [0, 0];
        for n in 0..each_call(fresh, command, |_| {}, |_, _, _| {}) {
            let bench = fresh();
            bench.host.forget_calls();
            bench.host.on_call(n, creates);
            let _ = command(&bench);
            let has = |path: &str| bench.host.files().contains(&path.to_owned());
            let runs = bench.host.domain("web").unwrap().is_some();
            assert!(!runs || has("/pool/images/debian-12"), "{name}: at call {n} a VM lost its image");
            made[usize::from(runs)] += 1;
        }
        assert!(made.iter().all(|count| *count > 0), "{name}: {made:?} of which both are to be");
    }
}
