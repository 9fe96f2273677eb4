//! A VM that is off with its memory saved (libvirt's managed save): its next start goes on with the disks that it had.

use std::time::Duration;

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, disk_request, host_with_neighbours};
use crate::support::manifests::{WEB, plan};
use crate::support::shown::Shown;
use foundry::host::{Affect, Disks, Domains};
use foundry::operations::vm::{inspect, seed};
use foundry::operations::{disk, gc, image};
use foundry::record::VolumeRef;
use foundry::units::{Bytes, SizeRequest};
use foundry::{Code, Error};

const NOTHING: [&str; 0] = [];

fn saved() -> Bench {
    let bench = Bench::with_web();
    bench.host.save("web");
    bench
}

/// What does not fit the memory that the guest goes on with is refused, and the ways on are named.
#[test]
fn nothing_changes_the_disks_of_a_saved_vm() {
    type Verb = fn(&Bench) -> Result<(), Error>;
    let verbs: [(&str, Verb); 7] = [
        ("attach", |b| disk::attach(&b.context(), &disk_request("web", 1)).map(drop)),
        ("resize", |b| disk::resize(&b.context(), "web", "vdb", SizeRequest::To(Bytes(40 * GIB))).map(drop)),
        ("resize boot", |b| disk::resize(&b.context(), "web", "boot", SizeRequest::By(Bytes(GIB))).map(drop)),
        ("detach", |b| disk::plan_detach(&b.context(), "web", "vdb", false).map(drop)),
        ("detach --keep", |b| disk::plan_detach(&b.context(), "web", "vdb", true).map(drop)),
        ("seed eject", |b| seed::plan_eject(&b.context(), "web", false).map(drop)),
        ("seed eject --force", |b| seed::plan_eject(&b.context(), "web", true).map(drop)),
    ];
    for (verb, act) in verbs {
        let bench = saved();
        let before = bench.host.fingerprint();
        let error = act(&bench).unwrap_err();
        assert_eq!(error.code(), Code::SavedMemoryInTheWay, "{verb}: {error}");
        assert_eq!(error.outcome_texts(), ["nothing was changed"], "{verb}");
        let hint = error.hint_text().unwrap();
        assert!(
            hint.contains("foundry start web") && hint.contains("virsh managedsave-remove web"),
            "{hint}"
        );
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{verb}");
    }
}

/// Saved between the look and the deed: what was to be deleted is in the saved memory, and stays.
#[test]
fn a_vm_that_is_saved_meanwhile_keeps_its_disk() {
    let bench = Bench::with_web();
    let found = disk::plan_detach(&bench.context(), "web", "vdb", false).unwrap();
    bench.host.save("web");
    let _ = disk::detach(&bench.context(), &found, Duration::from_secs(1));
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
}

/// A disk that was attached to what ran is in no definition; the guest that goes on needs it.
#[test]
fn a_disk_that_only_the_saved_memory_names_is_used() {
    let bench = Bench::on(host_with_neighbours().with_image("foundry-vms", "extra", "raw", GIB));
    bench.create(&plan(WEB)).unwrap();
    let disk = "<disk type='file' device='disk'><source file='/pool/vms/extra'/><target dev='vdx' bus='virtio'/></disk>";
    let web = bench.host.uuid_of("web").unwrap();
    bench.host.attach_disk(web, disk, Affect::Live).unwrap();
    bench.host.save("web");
    let found = gc::find_leftovers(&bench.context(), None).unwrap();
    assert!(!found.found.iter().any(|r| r.name.ends_with("/extra")), "{:?}", found.found);
    let named = gc::choose_leftovers(&bench.context(), &found, &["foundry-vms/extra".into()]).unwrap_err();
    assert!(named.to_string().contains("domain 'web' uses it"), "{named}");
    let users = image::image_info(&bench.context(), &VolumeRef::new("foundry-vms", "extra")).unwrap().vms;
    assert_eq!(users, ["web"]);
    // It is no disk of foundry's: with the VM it only loses its user.
    bench.destroy("web", GENTLE).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/extra".to_owned()));
}

/// What another VM's saved memory names is that VM's, as its definition is.
#[test]
fn destroy_spares_what_another_ones_saved_memory_names() {
    let bench = Bench::with_web();
    let disk = "<disk type='file' device='disk'><source file='/pool/vms/web_data-vdb'/><target dev='vdx' bus='virtio'/></disk>";
    let other = bench.host.uuid_of("other").unwrap();
    bench.host.set_state("other", foundry::host::DomainState::Running);
    bench.host.attach_disk(other, disk, Affect::Live).unwrap();
    bench.host.save("other");
    bench.destroy("web", FORCE).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
    assert!(!bench.host.files().contains(&"/pool/vms/web_data-vdc".to_owned()));
}

#[test]
fn saved_is_a_state_of_its_own() {
    let bench = saved();
    let seen = inspect::get_vm(&bench.context(), "web").unwrap();
    let status = seen.vm.status.unwrap();
    assert_eq!((status.phase.as_str(), status.conditions[0].reason.as_str()), ("Saved", "VMSaved"));
    assert!(status.conditions[0].message.contains("virsh start web"), "{:?}", status.conditions);
    let listed = inspect::list_vms(&bench.context(), true).unwrap();
    assert!(listed.iter().any(|s| s.domain.name == "web" && s.domain.saved));
    bench.host.start(seen.domain.uuid).unwrap();
    assert_eq!(
        inspect::get_vm(&bench.context(), "web").unwrap().vm.status.unwrap().phase.as_str(),
        "Running"
    );
}

#[test]
fn a_saved_vm_is_destroyed_with_its_memory() {
    let bench = saved();
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(bench.host.uuid_of("web"), None);
    for volume in ["web_boot", "web_data-vdb", "web_data-vdc", "web_cloudinit"] {
        assert!(!bench.host.files().contains(&format!("/pool/vms/{volume}")), "{volume}");
    }
}

/// Foundry starts nothing before it is whole: a half made VM with saved memory was somebody's.
#[test]
fn a_half_made_vm_that_is_saved_goes_only_when_named() {
    let bench = saved();
    bench.edit_record("web", |record| {
        record["state"] = "creating".into();
        record["maker"]["started"] = 1.into();
    });
    let found = gc::find_leftovers(&bench.context(), None).unwrap();
    let web = found.found.iter().find(|r| r.name == "web").unwrap();
    assert_eq!(web.fate, gc::LeftoverAction::WhenNamed, "{web:?}");
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert!(error.to_string().contains("and saved"), "{error}");
}
