//! What is deleted only if it is named, and what is never deleted.

use super::{NEIGHBOURS, NOTHING, bury_all, fates, littered, look, refused, run};
use crate::support::bench::{Bench, GIB, host_with_neighbours};
use crate::support::manifests::{WEB, plan_with};
use foundry::host::Disks;
use foundry::operations::gc::{LeftoverAction, LeftoverKind};

#[test]
fn images_disks_and_other_peoples_volumes_are_not_garbage() {
    let bench = Bench::with_web();
    let found = look(&bench);
    let told: Vec<_> = found.found.iter().map(|r| (r.kind, r.name.as_str(), r.fate)).collect();
    assert_eq!(told, NEIGHBOURS.map(|name| (LeftoverKind::Volume, name, LeftoverAction::WhenNamed)));
    run(&bench, &[]).unwrap();
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
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
