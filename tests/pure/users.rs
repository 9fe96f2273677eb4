//! Who uses a file is asked by every verb that deletes, moves, grows or takes one: each verb against each kind of user.

use std::fs::File;
use std::time::Duration;

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, disk_request, foreign, host_with_neighbours};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::MemoryHost;
use foundry::host::{Affect, Disks, DomainState, Domains, Pools, Volumes};
use foundry::operations::storage::pools;
use foundry::operations::vm::seed;
use foundry::operations::{disk, gc, image};
use foundry::record::VolumeRef;
use foundry::units::{Bytes, SizeRequest};
use foundry::{Code, Error};

const NOTHING: [&str; 0] = [];

/// Has a domain `box`, or a VM, use the file of that path, in one way.
type Use = fn(&Bench, &str, &str);

const KINDS: [(&str, Use); 7] = [
    ("definition", |bench, path, _| {
        bench.host.define_domain(&foreign("box", path)).unwrap();
    }),
    ("live XML", |bench, path, _| {
        let uuid = bench.host.define_domain(&foreign("box", "/x")).unwrap();
        bench.host.set_state("box", DomainState::Running);
        bench.host.attach_disk(uuid, &disk(path), Affect::Live).unwrap();
    }),
    ("snapshot", |bench, path, _| {
        bench.host.define_domain(&foreign("box", path)).unwrap();
        bench.host.set_snapshots("box", &["before"]);
        redefine(bench);
    }),
    ("saved memory", |bench, path, _| {
        bench.host.define_domain(&foreign("box", path)).unwrap();
        bench.host.save("box");
        redefine(bench);
    }),
    ("record", |bench, path, pool| {
        bench.create(&plan(SMALL)).unwrap();
        bench.edit_record("small", |record| {
            let name = path.rsplit('/').next().unwrap();
            let volume = serde_json::json!({"role": "data", "pool": pool, "name": name, "path": path,
                "format": "qcow2", "capacity": GIB});
            record["volumes"].as_array_mut().unwrap().push(volume);
        });
    }),
    ("backing chain", |bench, path, _| {
        let format = if path.ends_with("cloudinit") { "raw" } else { "qcow2" };
        let xml = format!(
            "<volume><name>top</name><capacity>{GIB}</capacity><target><format type='qcow2'/></target>\
             <backingStore><path>{path}</path><format type='{format}'/></backingStore></volume>"
        );
        drop(bench.host.create_volume("foundry-vms", &xml).unwrap());
    }),
    ("EFI variables", |bench, path, _| {
        let xml = foreign("box", "/x").replace("</os>", &format!("<nvram>{path}</nvram></os>"));
        bench.host.define_domain(&xml).unwrap();
    }),
];

fn disk(path: &str) -> String {
    format!("<disk type='file' device='disk'><source file='{path}'/><target dev='vdy' bus='virtio'/></disk>")
}

/// Takes the disk out of the definition of `box`: what went before still names it.
fn redefine(bench: &Bench) {
    let uuid = bench.host.uuid_of("box").unwrap();
    let xml = foreign("box", "/x").replace("</name>", &format!("</name><uuid>{uuid}</uuid>"));
    assert_eq!(bench.host.define_domain(&xml).unwrap(), uuid);
}

fn web() -> Bench {
    let bench = Bench::with_web();
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    bench
}

fn is_there(bench: &Bench, path: &str) -> bool {
    bench.host.files().iter().any(|f| f == path)
}

/// Each verb does to a file what it does; nobody's it may be gone or changed then, somebody's it is as it was.
struct Verb {
    name: &'static str,
    path: &'static str,
    pool: &'static str,
    act: fn(&Bench) -> Result<(), Error>,
}

const DISK: &str = "/pool/vms/web_data-vdb";

const VERBS: [Verb; 9] = [
    Verb { name: "destroy", path: DISK, pool: "foundry-vms", act: |b| b.destroy("web", GENTLE) },
    Verb { name: "destroy --force", path: DISK, pool: "foundry-vms", act: |b| b.destroy("web", FORCE) },
    Verb {
        name: "disk detach",
        path: DISK,
        pool: "foundry-vms",
        act: |b| {
            let found = disk::plan_detach(&b.context(), "web", "vdb", false)?;
            disk::detach(&b.context(), &found, Duration::from_secs(1))
        },
    },
    Verb {
        name: "disk resize",
        path: DISK,
        pool: "foundry-vms",
        act: |b| disk::resize(&b.context(), "web", "vdb", SizeRequest::By(Bytes(GIB))).map(drop),
    },
    Verb {
        name: "seed eject --force",
        path: "/pool/vms/web_cloudinit",
        pool: "foundry-vms",
        act: |b| match seed::plan_eject(&b.context(), "web", true)? {
            Some(found) => seed::eject_seed(&b.context(), &found),
            None => Ok(()),
        },
    },
    Verb {
        name: "gc POOL/VOLUME",
        path: "/pool/vms/orphan",
        pool: "foundry-vms",
        act: |b| {
            let found = gc::find_leftovers(&b.context(), None)?;
            let chosen = gc::choose_leftovers(&b.context(), &found, &["foundry-vms/orphan".into()])?;
            gc::execute_cleanup(&b.context(), None, &chosen, |_| ()).map_err(|mut all| all.remove(0))
        },
    },
    Verb {
        name: "image delete",
        path: "/pool/images/spare",
        pool: "foundry-images",
        act: |b| image::delete_image(&b.context(), &VolumeRef::new("foundry-images", "spare")),
    },
    Verb {
        name: "image prune --all",
        path: "/pool/images/spare",
        pool: "foundry-images",
        act: |b| {
            let found = image::find_unused(&b.context(), "foundry-images", true)?;
            image::prune_images(&b.context(), &found, |_| ())
        },
    },
    Verb {
        name: "pool delete --force",
        path: "/pool/extra/thing",
        pool: "extra",
        act: |b| pools::delete_pool(&b.context(), "extra", true),
    },
];

fn bench() -> Bench {
    let host = host_with_neighbours()
        .with_image("foundry-vms", "orphan", "qcow2", GIB)
        .with_image("foundry-images", "spare", "qcow2", GIB)
        .with_image("extra", "thing", "qcow2", GIB);
    let bench = Bench::on(host);
    bench.create(&plan(WEB)).unwrap();
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    bench
}

/// What a file and its pool are like, without those that change about it by themselves.
fn state(bench: &Bench, verb: &Verb) -> Vec<String> {
    let is_it = |line: &&str| {
        line.starts_with(&format!("file {}:", verb.path)) || line.starts_with(&format!("pool {}:", verb.pool))
    };
    bench.host.fingerprint().lines().filter(is_it).map(str::to_owned).collect()
}

#[test]
fn every_verb_spares_what_anybody_uses() {
    for verb in &VERBS {
        let free = bench();
        let before = state(&free, verb);
        (verb.act)(&free).unwrap_or_else(|e| panic!("{}: {e}", verb.name));
        assert_ne!(state(&free, verb), before, "{} does nothing to what nobody uses", verb.name);
        // A pool is forgotten with its volumes where they are: what lies on them finds them.
        let is_asked = |kind: &str| !(verb.name.starts_with("pool delete") && kind == "backing chain");
        for (kind, put) in KINDS.into_iter().filter(|(kind, _)| is_asked(kind)) {
            let used = bench();
            put(&used, verb.path, verb.pool);
            let before = state(&used, verb);
            let outcome = (verb.act)(&used);
            assert_eq!(state(&used, verb), before, "{} takes what a {kind} names: {outcome:?}", verb.name);
            let told = outcome.map_or_else(|e| e.to_string(), |()| used.told.warnings().join("\n"));
            // A prune goes over what is used without a word.
            assert!(!told.is_empty() || verb.name.starts_with("image prune"), "{}: {kind}", verb.name);
        }
    }
}

/// Neither is what somebody uses an image for others, nor is a volume in the way to be deleted that is a disk.
#[test]
fn a_disk_is_no_image_and_no_remains() {
    for (kind, put) in
        KINDS.into_iter().filter(|(kind, _)| ["definition", "saved memory", "record"].contains(kind))
    {
        let host = host_with_neighbours().with_image("foundry-vms", "victim", "qcow2", GIB);
        let bench = Bench::on(host);
        put(&bench, "/pool/vms/victim", "foundry-vms");
        let before = bench.host.fingerprint();
        let plan = plan_with(WEB, &[("debian-12", "foundry-vms:victim")]);
        let error = bench.create(&plan).unwrap_err();
        assert_eq!(error.code(), Code::ImageIsDisk, "{kind}: {error}");
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{kind}");
    }
    let bench =
        Bench::on(host_with_neighbours().with_foreign_domain(&foreign("box", "/pool/images/debian-12")));
    assert_eq!(bench.create(&plan(WEB)).unwrap_err().code(), Code::ImageIsDisk);
    for (kind, put) in KINDS {
        let bench = Bench::on(host_with_neighbours().with_image("foundry-vms", "web_boot", "qcow2", GIB));
        put(&bench, "/pool/vms/web_boot", "foundry-vms");
        if kind == "record" {
            // Another VM has it, which was renamed: the new one gets volumes of other names.
            bench.create(&plan(WEB)).unwrap();
            assert_eq!(bench.record("web").volumes[0].name, "web_boot.2");
            continue;
        }
        let error = bench.create(&plan(WEB)).unwrap_err();
        let text = error.text();
        assert_eq!(error.code(), Code::VolumeTaken, "{kind}: {text}");
        assert!(!text.contains("vol-delete") && !text.contains("foundry gc"), "{kind}: {text}");
        assert!(text.contains("choose another name"), "{kind}: {text}");
    }
}

/// A QEMU of another libvirt holds a lock on its disks, and nothing else shows it.
#[test]
fn what_a_program_has_locked_is_not_taken_from_a_vm_that_is_off() {
    type Act = fn(&Bench) -> Result<(), Error>;
    let verbs: [(&str, Act, &str); 5] = [
        ("destroy", |b| b.destroy("web", GENTLE), "web_data-vdb"),
        ("detach", |b| disk::plan_detach(&b.context(), "web", "vdb", false).map(drop), "web_data-vdb"),
        (
            "resize",
            |b| disk::resize(&b.context(), "web", "vdb", SizeRequest::By(Bytes(GIB))).map(drop),
            "web_data-vdb",
        ),
        ("seed eject", |b| seed::plan_eject(&b.context(), "web", false).map(drop), "web_cloudinit"),
        (
            "create over remains",
            |b| {
                b.edit_record("web", |record| {
                    record["state"] = "creating".into();
                    record["maker"]["started"] = 1.into();
                });
                b.create(&plan(WEB)).map(drop)
            },
            "web_data-vdb",
        ),
    ];
    for (verb, act, file) in verbs {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().display().to_string();
        let host = MemoryHost::new()
            .local()
            .with_image("foundry-images", "debian-12", "qcow2", GIB)
            .with_pool("foundry-vms", &target);
        let bench = Bench::on(host);
        bench.create(&plan(WEB)).unwrap();
        let uuid = bench.host.uuid_of("web").unwrap();
        bench.host.force_off(uuid).unwrap();
        let open = File::create(folder.path().join(file)).unwrap();
        open.lock().unwrap();
        let before = bench.host.fingerprint();
        let error = act(&bench).unwrap_err();
        assert!(
            error.to_string().contains("open elsewhere") || error.code() == Code::CloudInitUndone,
            "{verb}: {error}"
        );
        if verb != "create over remains" {
            assert_eq!(bench.host.changes_since(&before), NOTHING, "{verb}");
        }
        assert!(is_there(&bench, &format!("{target}/{file}")), "{verb}");
        open.unlock().unwrap();
        assert!(act(&bench).map_or_else(|e| e.code() != Code::DiskOpenElsewhere, |()| true), "{verb}");
    }
}

/// A copy of a definition has the same EFI variables, and the same console log.
#[test]
fn destroy_leaves_the_variables_that_a_copy_names() {
    let nvram = "/var/lib/libvirt/qemu/nvram/web_VARS.fd";
    let own = |bench: &Bench| {
        let uuid = bench.host.uuid_of("web").unwrap();
        bench.host.force_off(uuid).unwrap();
        let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
        let with = xml.replace("</os>", &format!("<nvram>{nvram}</nvram></os>"));
        assert_ne!(xml, with);
        bench.host.define_domain(&with).unwrap();
        bench.host.put_file(nvram, b"variables");
    };
    let alone = Bench::with_web();
    own(&alone);
    alone.destroy("web", GENTLE).unwrap();
    assert!(!is_there(&alone, nvram));

    let shared = Bench::with_web();
    own(&shared);
    let copy = foreign("copy", "/x").replace("</os>", &format!("<nvram>{nvram}</nvram></os>"));
    shared.host.define_domain(&copy).unwrap();
    shared.destroy("web", GENTLE).unwrap();
    assert!(is_there(&shared, nvram) && shared.host.uuid_of("web").is_none());
    let told = format!("left: the EFI variables {nvram}: domain 'copy' uses it too");
    assert!(shared.told.warnings().contains(&told), "{:?}", shared.told.warnings());
}

/// An old description that is defined again, or a snapshot, forgets a disk that was attached since.
#[test]
fn a_disk_that_an_older_record_forgets_is_named() {
    let bench = web();
    let uuid = bench.host.uuid_of("web").unwrap();
    let old = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    disk::attach(&bench.context(), &disk_request("web", 1)).unwrap();
    bench.host.define_domain(&old).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    let told = bench.told.warnings().join("\n");
    assert!(
        told.contains("left: volume 'web_data-vdd' in pool 'foundry-vms': no domain uses it; foundry gc foundry-vms/web_data-vdd removes it"),
        "{told}"
    );
}

/// What runs may have an older record than what starts next: nothing that is written loses what the other names.
#[test]
fn a_record_that_went_back_in_time_loses_no_volume() {
    let bench = web();
    let uuid = bench.host.uuid_of("web").unwrap();
    let old = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    disk::attach(&bench.context(), &disk_request("web", 1)).unwrap();
    let new = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    // As a restore of what was saved before does.
    bench.host.define_domain(&old).unwrap();
    bench.host.start(uuid).unwrap();
    bench.host.define_domain(&new).unwrap();
    assert!(!bench.record("web").volumes.iter().any(|v| v.name == "web_data-vdd"));
    disk::attach(&bench.context(), &disk_request("web", 2)).unwrap();
    let names: Vec<String> = bench.record("web").volumes.into_iter().map(|v| v.name).collect();
    assert!(
        names.contains(&"web_data-vdd".to_owned()) && names.contains(&"web_data-vde".to_owned()),
        "{names:?}"
    );
    bench.destroy("web", FORCE).unwrap();
    for name in names {
        assert!(!is_there(&bench, &format!("/pool/vms/{name}")), "{name}");
    }
}

/// The newer of both says what goes.
#[test]
fn destroy_goes_by_the_newer_record() {
    let bench = web();
    let uuid = bench.host.uuid_of("web").unwrap();
    let old = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    disk::attach(&bench.context(), &disk_request("web", 1)).unwrap();
    let new = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    for (runs, next) in [(&old, &new), (&new, &old)] {
        bench.host.force_off(uuid).unwrap();
        bench.host.define_domain(runs).unwrap();
        bench.host.start(uuid).unwrap();
        bench.host.define_domain(next).unwrap();
        let found = bench.survey("web", FORCE).unwrap();
        assert!(found.volumes.iter().any(|v| v.name == "web_data-vdd"), "{:?}", found.volumes);
    }
    bench.destroy("web", FORCE).unwrap();
    assert!(!is_there(&bench, "/pool/vms/web_data-vdd"));
}

/// Somebody undefined it while it ran: it has its record with it, and goes with its disks.
#[test]
fn a_vm_without_a_definition_is_destroyed() {
    for options in [GENTLE, FORCE] {
        let bench = Bench::with_web();
        bench.host.undefine(bench.host.uuid_of("web").unwrap()).unwrap();
        bench.destroy("web", options).unwrap();
        assert_eq!(bench.host.uuid_of("web"), None);
        for name in ["boot", "data-vdb", "data-vdc", "cloudinit"] {
            assert!(!is_there(&bench, &format!("/pool/vms/web_{name}")), "{name}");
        }
    }
}

/// A snapshot names the seed, and to go back to it needs it.
#[test]
fn a_seed_stays_beside_a_snapshot() {
    let bench = Bench::with_web();
    bench.host.set_snapshots("web", &["before"]);
    for force in [false, true] {
        let error = seed::plan_eject(&bench.context(), "web", force).unwrap_err();
        let is_named =
            error.code() == Code::SnapshotInTheWay || (!force && error.code() == Code::CloudInitUndone);
        assert!(is_named, "{error}");
    }
}

/// The record says what the disk was made on; the disk says what it lies on.
#[test]
fn an_image_is_free_when_the_disk_was_copied_off_it() {
    let bench = web();
    assert_eq!(
        image::image_info(&bench.context(), &VolumeRef::new("foundry-images", "debian-12")).unwrap().vms,
        ["web"]
    );
    let alone = MemoryHost::new().with_image("vms", "web_boot", "qcow2", 30 * GIB);
    bench.host.put_file("/pool/vms/web_boot", &alone.content("/pool/vms/web_boot").unwrap());
    bench.host.refresh_pool("foundry-vms").unwrap();
    // The definition still says that it lies on the image, and would not start without.
    assert_eq!(
        image::image_info(&bench.context(), &VolumeRef::new("foundry-images", "debian-12")).unwrap().vms,
        ["web"]
    );
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    let (before, rest) = xml.split_once("<backingStore type").unwrap();
    let (_, after) = rest.split_once("</backingStore>").unwrap();
    // As libvirt leaves it after virsh blockpull.
    bench.host.define_domain(&format!("{before}<backingStore/>{after}")).unwrap();
    assert_eq!(
        image::image_info(&bench.context(), &VolumeRef::new("foundry-images", "debian-12")).unwrap().vms,
        NOTHING
    );
}
