//! Who uses an image, and that it then stays.

use crate::support::bench::{Bench, GIB, foreign, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{Domains, Pools};
use foundry::operations::image;
use foundry::record::VolumeRef;
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];

fn delete(bench: &Bench, name: &str) -> Result<(), Error> {
    image::delete_image(&bench.context(), &VolumeRef::new("foundry-images", name))
}

#[test]
fn an_unused_image_goes_without_a_word() {
    let bench = Bench::new();
    delete(&bench, "debian-12").unwrap();
    assert!(!bench.host.files().contains(&"/pool/images/debian-12".to_owned()));
    let error = delete(&bench, "debian-12").unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Storage, "there is no image 'debian-12' in pool 'foundry-images'")
    );
}

fn assert_in_use(bench: &Bench, sentence: &str) {
    let before = bench.host.fingerprint();
    let error = delete(bench, "debian-12").unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Storage, format!("image 'debian-12' is in use by {sentence}").as_str())
    );
    assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn an_image_in_use_stays_whoever_uses_it() {
    let bench = Bench::with_web();
    assert_in_use(&bench, "VM 'web'");
    // Off, libvirt shows no chain; the volumes do.
    bench.host.set_state("web", foundry::host::DomainState::ShutOff);
    assert_in_use(&bench, "VM 'web'");
    bench.create(&plan_with(WEB, &[("name: web,", "name: db,"), ("10.0.0.1/24", "10.0.0.2/24")])).unwrap();
    assert_in_use(&bench, "VM 'db', VM 'web'");

    let direct = |xml: &str| Bench::on(host_with_neighbours().with_foreign_domain(xml));
    assert_in_use(&direct(&foreign("box", "/pool/images/debian-12")), "VM 'box'");
    let by_pool = foreign("box", "/x")
        .replace("type='file'", "type='volume'")
        .replace("file='/x'", "pool='foundry-images' volume='debian-12'");
    assert_in_use(&direct(&by_pool), "VM 'box'");
}

/// The chain goes over pools, and a disk of nobody's lies on the image as well as a VM's.
#[test]
fn an_overlay_in_another_pool_holds_its_image() {
    let overlays = || {
        host_with_neighbours().with_overlay("ssd", "middle", GIB, "/pool/images/debian-12").with_overlay(
            "hdd",
            "top",
            GIB,
            "/pool/ssd/middle",
        )
    };
    assert_in_use(&Bench::on(overlays()), "volume ssd/middle, volume hdd/top");
    let bench = Bench::on(overlays().with_foreign_domain(&foreign("box", "/pool/hdd/top")));
    assert_in_use(&bench, "VM 'box'");
    let info = image::image_info(&bench.context(), &VolumeRef::new("foundry-images", "debian-12")).unwrap();
    assert_eq!(
        (info.vms, info.overlays),
        (vec!["box".to_owned()], vec!["ssd/middle".to_owned(), "hdd/top".to_owned()])
    );
}

/// An overlay that a path leads to nowhere: the image's directory was moved, or has another name there.
#[test]
fn an_image_under_an_unknown_path_of_its_name_stays() {
    let old = || host_with_neighbours().with_overlay("ssd", "top", GIB, "/moved/images/debian-12");
    assert_in_use(&Bench::on(old()), "volume ssd/top");
    let bench = Bench::on(old().with_foreign_domain(&foreign("box", "/pool/ssd/top")));
    assert_in_use(&bench, "VM 'box'");
    let odd = host_with_neighbours().with_overlay("ssd", "top", GIB, "/pool/ssd/../images//debian-12");
    assert_in_use(&Bench::on(odd), "volume ssd/top");
    // A volume of that name elsewhere is another image.
    let other = host_with_neighbours().with_image("golden", "debian-12", "qcow2", GIB).with_overlay(
        "ssd",
        "top",
        GIB,
        "/pool/golden/debian-12",
    );
    delete(&Bench::on(other), "debian-12").unwrap();
}

/// On this machine the kernel tells what is the same file, whatever it is called.
#[test]
fn an_image_in_use_under_another_name_of_its_directory_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(at("images")).unwrap();
    std::os::unix::fs::symlink(at("images"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("images/debian"), at("renamed")).unwrap();
    std::fs::write(at("images/debian"), "x").unwrap();
    std::fs::create_dir(at("other")).unwrap();
    std::fs::write(at("other/debian"), "y").unwrap();
    let host = |on: &str| {
        MemoryHost::new()
            .local()
            .with_pool("foundry-images", &at("images"))
            .with_image("foundry-images", "debian", "qcow2", GIB)
            .with_overlay("ssd", "top", GIB, &at(on))
    };
    let outcome = |bench: &Bench| delete(bench, "debian").map_err(|e| e.message().to_owned());
    for on in ["images/debian", "link/debian", "renamed"] {
        let refused = outcome(&Bench::on(host(on)));
        assert_eq!(refused, Err("image 'debian' is in use by volume ssd/top".into()), "{on}");
    }
    outcome(&Bench::on(host("other/debian"))).unwrap();
    for disk in ["link/debian", "renamed"] {
        let bench = Bench::on(host("other/debian").with_foreign_domain(&foreign("box", &at(disk))));
        assert_eq!(outcome(&bench), Err("image 'debian' is in use by VM 'box'".into()), "{disk}");
        let pool = bench.host.pool("foundry-images").unwrap().unwrap().target.unwrap();
        assert_eq!(pool, at("images"));
    }
}

/// The domain has another disk by now and can go back to the one of before.
#[test]
fn a_disk_of_a_snapshot_stays() {
    let bench =
        Bench::on(host_with_neighbours().with_foreign_domain(&foreign("box", "/pool/images/debian-12")));
    bench.host.set_snapshots("box", &["before"]);
    bench.host.define_domain(&foreign("box", "/pool/images/web_boot")).unwrap();
    assert_in_use(&bench, "VM 'box'");
    bench.host.set_snapshots("box", &[]);
    delete(&bench, "debian-12").unwrap();
}

/// libvirt lists no volumes of a stopped pool, and another pool may have the same directory under another name.
#[test]
fn a_volume_of_a_pool_that_is_stopped_is_a_file_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(at("images")).unwrap();
    std::os::unix::fs::symlink(at("images"), at("link")).unwrap();
    for image in ["debian", "fedora"] {
        std::fs::write(at(&format!("images/{image}")), "x").unwrap();
    }
    let disk = |pool: &str| {
        foreign("box", "/x")
            .replace("type='file'", "type='volume'")
            .replace("file='/x'", &format!("pool='{pool}' volume='debian'"))
    };
    let bench = |pool: &str| {
        Bench::on(
            MemoryHost::new()
                .local()
                .with_pool("foundry-images", &at("images"))
                .with_image("foundry-images", "debian", "qcow2", GIB)
                .with_image("foundry-images", "fedora", "qcow2", GIB)
                .with_inactive_pool("two", &at("link"))
                .with_inactive_pool("far", &at("nowhere"))
                .with_foreign_domain(&disk(pool)),
        )
    };
    // Of one whose directory is not there, and of one that is gone, the name is all that is known.
    for pool in ["two", "far", "gone"] {
        let bench = bench(pool);
        let error = delete(&bench, "debian").unwrap_err();
        assert_eq!(error.message(), "image 'debian' is in use by VM 'box'", "{pool}");
        delete(&bench, "fedora").unwrap();
    }
}

/// A QEMU that this libvirt does not know of, another user's for one, locks the images that it works on.
#[test]
fn an_image_that_a_program_holds_goes_by_force_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let host = MemoryHost::new().local().with_pool("foundry-images", &folder.path().display().to_string());
    let image = |host: MemoryHost, name| host.with_image("foundry-images", name, "qcow2", GIB);
    let bench = Bench::on(image(image(host, "held"), "free"));
    let held = std::fs::File::create(at("held")).unwrap();
    std::fs::write(at("free"), "x").unwrap();
    let dispensable = || -> Vec<String> {
        let found = image::find_unused(&bench.context(), "foundry-images", true).unwrap();
        found.into_iter().map(|d| d.image.name).collect()
    };
    assert_eq!(dispensable(), ["free", "held"]);
    held.lock().unwrap();
    assert_eq!(dispensable(), ["free"]);
    let before = bench.host.fingerprint();
    let error = delete(&bench, "held").unwrap_err();
    assert!(whole(&error).contains("a program has it open and locked"), "{}", whole(&error));
    assert!(whole(&error).contains("foundry image delete held --pool foundry-images --force"));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    image::delete_image_in_use(&bench.context(), &VolumeRef::new("foundry-images", "held")).unwrap();
}

/// A disk that is in no pool is read, where it can be.
#[test]
fn a_disk_in_no_pool_holds_its_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let overlay = |on: &str| {
        let host = MemoryHost::new().with_image("p", "b", "qcow2", 1).with_overlay("p", "x", GIB, on);
        host.content("/pool/p/x").unwrap()
    };
    std::fs::write(path("low"), overlay("/pool/images/debian-12")).unwrap();
    std::fs::write(path("high"), overlay("low")).unwrap();
    let host = || host_with_neighbours().with_foreign_domain(&foreign("box", &path("high")));
    assert_in_use(&Bench::on(host().local()), "VM 'box'");
    delete(&Bench::on(host()), "debian-12").unwrap();
}

/// What was put into a pool by hand is looked for before anything goes.
#[test]
fn an_overlay_that_libvirt_has_not_seen_holds_its_image() {
    let other = MemoryHost::new().with_overlay("vms", "x", GIB, "/pool/images/debian-12");
    let overlay = other.content("/pool/vms/x").unwrap();
    let bench = Bench::on(host_with_neighbours().with_file("/pool/vms/by-hand", &overlay));
    assert_in_use(&bench, "volume foundry-vms/by-hand");
}

/// The record names the image from the definition on, before there is an overlay.
#[test]
fn an_image_of_a_vm_that_is_being_made_stays() {
    let bench = Bench::new();
    bench.host.fail_calls_named_with("create_volume", Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap_err();
    bench.host.heal();
    assert_in_use(&bench, "VM 'web'");
}

#[test]
fn a_domain_that_cannot_be_seen_may_use_the_image() {
    let bench =
        Bench::on(host_with_neighbours().with_foreign_domain(&foreign("box", "/pool/images/debian-12")));
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named("domain_xml box");
    delete(&bench, "debian-12").unwrap_err();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}
