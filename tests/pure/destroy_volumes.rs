//! Whose a volume is: what a destruction may take, what stays, and for whose domains.

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, KEEP, foreign, host_with_neighbours, whole};
use crate::support::manifests::{HASH, KEY, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::{Affect, Disks, DomainState, Domains, Pools, Volumes};
use foundry::operations::vm::destroy::DestroyOptions;
use foundry::record::METADATA_NAMESPACE;
use foundry::record::VolumeRef;

const NOTHING: [&str; 0] = [];

fn files(bench: &Bench) -> Vec<String> {
    bench.host.files()
}

fn is_there(bench: &Bench, path: &str) -> bool {
    files(bench).iter().any(|f| f == path)
}

fn volume_xml(name: &str, format: &str, capacity: u64) -> String {
    format!(
        "<volume><name>{name}</name><capacity>{capacity}</capacity><target><format type='{format}'/></target></volume>"
    )
}

/// FACTS 7: no domain that foundry did not make, unless it is said, and then not its disks.
#[test]
fn a_foreign_domain_needs_force_and_keeps_its_disks() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    for options in [GENTLE, KEEP] {
        let error = bench.destroy("other", options).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Vm, "domain 'other' was not made by foundry"));
        assert!(error.hint_text().unwrap().starts_with("foundry destroy other --force"));
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    }
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.destroy("other", FORCE).unwrap();
    let changes = bench.host.changes_since(&before);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with("- domain other"), "{changes:?}");
    assert!(bench.told.warnings()[0].contains("left: volume 'web_1_boot'"), "{:?}", bench.told.warnings());
}

/// Of a foreign domain only volumes go that its XML references *and* that are named for it.
#[test]
fn force_takes_by_name_and_reference_only() {
    let two_disks = foreign("box", "/pool/vms/box_boot").replace(
        "</devices>",
        "<disk type='volume'><source pool='foundry-vms' volume='box_data-vdb'/><target dev='vdb'/></disk>\
         <disk type='file'><source file='/pool/images/debian-12'/><target dev='vdc'/></disk></devices>",
    );
    let host = host_with_neighbours()
        .with_image("foundry-vms", "box_boot", "qcow2", GIB)
        .with_image("foundry-vms", "box_data-vdb", "qcow2", GIB)
        .with_image("foundry-vms", "box_data-vdc", "qcow2", GIB)
        .with_foreign_domain(&two_disks);
    let bench = Bench::on(host);
    let before = bench.host.fingerprint();
    bench.destroy("box", FORCE).unwrap();
    let changes = bench.host.changes_since(&before);
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert!(changes.iter().all(|c| c.starts_with("- ")), "{changes:?}");
    assert!(is_there(&bench, "/pool/vms/box_data-vdc"), "it is named so, and not of this domain");
    assert!(is_there(&bench, "/pool/images/debian-12"));
}

#[test]
fn what_fails_with_force_is_finished_with_force() {
    let host = host_with_neighbours()
        .with_image("foundry-vms", "box_boot", "qcow2", GIB)
        .with_foreign_domain(&foreign("box", "/pool/vms/box_boot"));
    let bench = Bench::on(host);
    bench.host.fail_calls_named("undefine");
    let error = bench.destroy("box", FORCE).unwrap_err();
    assert!(whole(&error).contains("foundry destroy box --force finishes it"), "{}", whole(&error));
}

/// A VM of the first foundry: its record is a manifest in YAML, its volumes have extensions.
fn first_foundry() -> Bench {
    let manifest = WEB.replace("name: web,", "name: old,").replace("KEY", KEY).replace("HASH", HASH);
    let yaml = manifest.replace('&', "&amp;").replace('<', "&lt;");
    let disks = "<disk type='file'><source file='/pool/vms/old_data-vdb.qcow2'/><target dev='vdb'/></disk>\
                 <disk type='file' device='cdrom'><source file='/pool/vms/old_cloudinit.iso'/><target dev='sda'/></disk></devices>";
    let xml = foreign("old", "/pool/vms/old_boot.qcow2")
        .replace(
            "<memory",
            &format!(
                "<metadata><f:metadata xmlns:f='{METADATA_NAMESPACE}'>{yaml}</f:metadata></metadata><memory"
            ),
        )
        .replace("</devices>", disks);
    let host = host_with_neighbours()
        .with_image("foundry-vms", "old_boot.qcow2", "qcow2", GIB)
        .with_image("foundry-vms", "old_data-vdb.qcow2", "qcow2", GIB)
        .with_image("foundry-vms", "old_cloudinit.iso", "raw", GIB)
        .with_image("foundry-vms", "old_1_boot.qcow2", "qcow2", GIB)
        .with_foreign_domain(&xml);
    Bench::on(host)
}

#[test]
fn a_vm_of_the_first_foundry_goes_without_force() {
    let bench = first_foundry();
    bench.host.set_state("old", DomainState::Running);
    bench.destroy("old", GENTLE).unwrap();
    let left: Vec<String> = files(&bench).into_iter().filter(|f| f.contains("/old_")).collect();
    assert_eq!(left, ["/pool/vms/old_1_boot.qcow2"]);
    assert_eq!(bench.host.uuid_of("old"), None);
}

#[test]
fn its_disks_can_be_kept_too() {
    let bench = first_foundry();
    let survey = bench.survey("old", KEEP).unwrap();
    let names = |list: &[foundry::operations::vm::destroy::VolumeToDelete]| -> Vec<String> {
        list.iter().map(|v| v.name.clone()).collect()
    };
    assert_eq!(names(&survey.kept), ["old_boot.qcow2", "old_data-vdb.qcow2"]);
    assert_eq!(names(&survey.volumes), ["old_cloudinit.iso"]);
}

#[test]
fn a_record_that_cannot_be_read_is_left_alone() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["volumes"] = "none".into());
    let before = bench.host.fingerprint();
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "foundry's record of VM 'web' cannot be read"));
    assert!(error.cause().unwrap().contains("invalid type"), "{error}");
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.destroy("web", FORCE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
}

#[test]
fn a_volume_that_came_to_be_elsewhere_is_another() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["volumes"][1]["path"] = "/pool/old/web_data-vdb".into());
    bench.host.detach_disk(bench.host.uuid_of("web").unwrap(), "vdb", Affect::Both).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    assert!(is_there(&bench, "/pool/vms/web_data-vdb"));
    let told = "left: volume 'web_data-vdb' in pool 'foundry-vms': it is at /pool/vms/web_data-vdb and not at /pool/old/web_data-vdb";
    assert!(bench.told.warnings().contains(&told.to_owned()), "{:?}", bench.told.warnings());
}

/// Once a VM is whole, a disk that its user let grow is still its own.
#[test]
fn a_disk_that_grew_goes_too() {
    let bench = Bench::with_web();
    bench
        .host
        .resize_volume(&VolumeRef::new("foundry-vms", "web_data-vdb"), foundry::units::Bytes(77 * GIB))
        .unwrap();
    bench.destroy("web", GENTLE).unwrap();
    assert!(!is_there(&bench, "/pool/vms/web_data-vdb"));
}

#[test]
fn a_volume_that_another_domain_uses_stays() {
    let other_pool = "<disk type='volume'><source pool='foundry-vms' volume='web_data-vdc'/><target dev='vdb'/></disk></devices>";
    let xml = foreign("reader", "/pool/vms/web_data-vdb").replace("</devices>", other_pool);
    let bench = Bench::on(host_with_neighbours().with_foreign_domain(&xml));
    bench.create(&plan(WEB)).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    for name in ["web_data-vdb", "web_data-vdc"] {
        assert!(is_there(&bench, &format!("/pool/vms/{name}")), "{name} is gone");
        let told = format!("left: volume '{name}' in pool 'foundry-vms': domain 'reader' uses it too");
        assert!(bench.told.warnings().contains(&told), "{:?}", bench.told.warnings());
    }
    assert!(!is_there(&bench, "/pool/vms/web_boot"));
    assert_eq!(bench.host.uuid_of("web"), None);
}

/// That a domain cannot be seen is no sign that it uses nothing; that it is gone is one.
#[test]
fn a_domain_that_cannot_be_seen_is_not_taken_for_one_without_disks() {
    let reader = foreign("reader", "/pool/vms/web_data-vdb");
    let bench = Bench::on(host_with_neighbours().with_foreign_domain(&reader));
    bench.create(&plan(WEB)).unwrap();
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named("domain_xml reader");
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert_eq!(error.to_string().split(':').next(), Some("cannot describe domain 'reader'"));
    assert_eq!(bench.host.changes_since(&before), NOTHING);

    bench.host.forget_calls();
    bench.survey("web", GENTLE).unwrap();
    let look = bench.host.calls().iter().position(|c| c == "domain_xml reader").unwrap();
    bench.host.forget_calls();
    bench.host.on_call(look, |host| host.undefine(host.uuid_of("reader").unwrap()).unwrap());
    bench.destroy("web", GENTLE).unwrap();
    assert!(!is_there(&bench, "/pool/vms/web_data-vdb"));
}

const LIES_ON_WEB: &str = "<volume><name>clone_boot</name><capacity unit='bytes'>21474836480</capacity>\
    <target><format type='qcow2'/></target><backingStore><path>/pool/vms/web_data-vdb</path><format type='raw'/>\
    </backingStore></volume>";

/// A VM whose boot disk lies on another VM's disk would lose its own, running or off: while it is off,
/// only its record tells of that.
#[test]
fn a_volume_that_another_vms_disk_lies_on_stays() {
    for state in [DomainState::Running, DomainState::ShutOff] {
        let bench = Bench::with_web();
        let clone = [("name: web,", "name: clone,"), ("10.0.0.1/24", "10.0.0.2/24")];
        bench.create(&plan_with(WEB, &clone)).unwrap();
        // Nobody makes it so with foundry, which takes no VM's disk for an image.
        bench.host.delete_volume(&VolumeRef::new("foundry-vms", "clone_boot")).unwrap();
        bench.host.create_volume("foundry-vms", LIES_ON_WEB).unwrap();
        bench.host.set_state("clone", state);
        bench.destroy("web", GENTLE).unwrap();
        assert!(is_there(&bench, "/pool/vms/web_data-vdb"), "the disk of 'clone' ({state:?}) lies on it");
        assert!(
            bench.told.warnings().iter().any(|w| w.contains("domain 'clone' uses it too")),
            "{:?}",
            bench.told.warnings()
        );
        assert!(!is_there(&bench, "/pool/vms/web_boot"));
    }
}

/// Puts two external snapshots on `web`'s boot disk, as libvirt does: new files, which no pool has seen.
fn with_snapshots() -> Bench {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    let overlay = |name: &str, on: &str| {
        let format = "<target><format type='qcow2'/></target>";
        let backing = format!("<backingStore><path>{on}</path><format type='qcow2'/></backingStore>");
        let xml =
            format!("<volume><name>{name}</name><capacity>{}</capacity>{format}{backing}</volume>", 20 * GIB);
        bench.host.create_volume("foundry-vms", &xml).unwrap();
    };
    overlay("web_boot.snap1", "/pool/vms/web_boot");
    overlay("web_boot.snap2", "/pool/vms/web_boot.snap1");
    let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    bench
        .host
        .define_domain(
            &xml.replace("'/pool/vms/web_boot'", "'/pool/vms/web_boot.snap2'")
                .replace("\"/pool/vms/web_boot\"", "\"/pool/vms/web_boot.snap2\""),
        )
        .unwrap();
    bench.host.set_state("web", DomainState::ShutOff);
    bench
}

#[test]
fn overlays_of_external_snapshots_go_too() {
    let bench = with_snapshots();
    let survey = bench.survey("web", GENTLE).unwrap();
    let snapshots: Vec<&str> =
        survey.volumes.iter().filter(|v| v.role.is_none()).map(|v| v.name.as_str()).collect();
    assert_eq!(snapshots, ["web_boot.snap2", "web_boot.snap1"]);
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
}

#[test]
fn overlays_are_kept_with_the_disks() {
    let bench = with_snapshots();
    bench.destroy("web", KEEP).unwrap();
    for name in ["web_boot", "web_boot.snap1", "web_boot.snap2", "web_data-vdb"] {
        assert!(is_there(&bench, &format!("/pool/vms/{name}")), "{name}");
    }
}

#[test]
fn an_overlay_that_another_domain_uses_stays() {
    let bench = with_snapshots();
    bench.host.define_domain(&foreign("reader", "/pool/vms/web_boot.snap1")).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    assert!(is_there(&bench, "/pool/vms/web_boot.snap1"));
    assert!(!is_there(&bench, "/pool/vms/web_boot.snap2"));
}

/// A disk that the user added by hand is no overlay of a recorded one.
#[test]
fn a_disk_added_by_hand_stays() {
    let bench = Bench::with_web();
    bench.host.create_volume("foundry-vms", &volume_xml("by-hand", "qcow2", GIB)).unwrap();
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    let disk = "<disk type='file'><source file='/pool/vms/by-hand'/><target dev='vdz'/></disk></devices>";
    bench.host.define_domain(&xml.replace("</devices>", disk)).unwrap();
    bench.host.set_state("web", DomainState::ShutOff);
    bench.destroy("web", GENTLE).unwrap();
    assert!(is_there(&bench, "/pool/vms/by-hand"));
}

#[test]
fn kept_disks_are_told_and_the_seed_goes() {
    let bench = Bench::with_web();
    let before = bench.survey("web", KEEP).unwrap();
    let kept: Vec<String> = before.kept.iter().map(|v| format!("{}/{}", v.pool, v.name)).collect();
    assert_eq!(kept, ["foundry-vms/web_boot", "foundry-vms/web_data-vdb", "foundry-vms/web_data-vdc"]);
    bench.destroy("web", DestroyOptions { force: true, ..KEEP }).unwrap();
    assert!(is_there(&bench, "/pool/vms/web_boot") && !is_there(&bench, "/pool/vms/web_cloudinit"));
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert!(
        error.text().contains("volume 'web_boot' exists"),
        "what was kept is in nobody's way unseen: {error}"
    );
}

#[test]
fn a_volume_that_is_gone_already_is_no_failure() {
    let bench = Bench::with_web();
    bench.host.delete_volume(&VolumeRef::new("foundry-vms", "web_boot")).unwrap();
    bench.host.remove_file("/pool/vms/web_data-vdb");
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
}

/// FACTS 8: a pool of the VM's own choice is not forgotten, stopped or gone.
#[test]
fn volumes_of_a_pool_that_is_not_there_are_not_forgotten() {
    let bench = Bench::with_web();
    bench.host.stop_pool("foundry-vms").unwrap();
    let before = bench.host.fingerprint();
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert_eq!(error.hint_text().as_deref(), Some("foundry pool start foundry-vms"));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.host.undefine_pool("foundry-vms").unwrap();
    bench.destroy("web", GENTLE).unwrap();
    let named = |w: &String| w == "left: volume 'web_boot' in pool 'foundry-vms': the pool no longer exists";
    assert!(bench.told.warnings().iter().any(named), "{:?}", bench.told.warnings());
}

/// Only the foundry that wrote it knows what else belongs to such a VM.
#[test]
fn a_newer_foundrys_vm_is_left_alone_even_by_force() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["version"] = 99.into());
    let before = bench.host.fingerprint();
    let error = bench.destroy("web", FORCE).unwrap_err();
    assert_eq!(error.message(), "VM 'web' was made by a newer foundry");
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// A pool that was redefined with another directory does not hide that the old disks are still there.
#[test]
fn a_disk_whose_pool_moved_away_is_named() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| {
        record["volumes"][1]["path"] = "/elsewhere/web_data-vdb".into();
        record["volumes"][1]["name"] = "web_data-gone".into();
    });
    bench.destroy("web", GENTLE).unwrap();
    let told = "left: /elsewhere/web_data-vdb: pool 'foundry-vms' has another directory now";
    assert!(bench.told.warnings().contains(&told.to_owned()), "{:?}", bench.told.warnings());
}

/// A snapshot's overlay that stays keeps what is below it.
#[test]
fn what_lies_below_a_spared_overlay_stays() {
    let bench = with_snapshots();
    bench.host.define_domain(&foreign("reader", "/pool/vms/web_boot.snap1")).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    assert!(is_there(&bench, "/pool/vms/web_boot"), "web_boot.snap1 lies on it");
}
