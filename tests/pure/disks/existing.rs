//! How a volume that exists becomes a disk, and stays when the VM goes.

use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::memory::MemoryHost;
use foundry::host::{Domains, View, Volumes};
use foundry::operations::disk::{AttachRequest, Attached, DiskContent, attach};
use foundry::operations::gc::{choose_leftovers, execute_cleanup, find_leftovers};
use foundry::record::VolumeRef;
use foundry::{Error, Kind};

use super::{assert_refused, data_disks, detach_one, disk, pairs, targets};
use crate::support::bench::{Bench, FORCE, GIB, disk_request, whole};
use crate::support::faults::each_fault;
use crate::support::manifests::{SMALL, plan};

const OWN: &str = "somebodys/photos";

/// A VM, and beside it volumes of somebody else.
fn bench() -> Bench {
    let add = |host: MemoryHost| {
        host.with_image("somebodys", "photos", "raw", 7 * GIB)
            .with_image("somebodys", "odd", "qcow2", 5 * GIB / 2)
            .with_image("somebodys", "small", "raw", GIB / 2)
            .with_image("somebodys", "cd", "iso", 2 * GIB)
            .with_image("somebodys", "below", "qcow2", 2 * GIB)
            .with_overlay("somebodys", "above", 2 * GIB, "/pool/somebodys/below")
            .with_overlay("somebodys", "astray", 2 * GIB, "/etc/shadow")
    };
    let bench = Bench::with_web();
    let host = add(bench.host.clone());
    let start = Some(host.fingerprint());
    Bench { host, start, ..bench }
}

fn attach_volume(bench: &Bench, volume: &str, device: Option<&str>) -> Result<Attached, Error> {
    let (pool, name) = volume.split_once('/').unwrap();
    let content = DiskContent::Existing(VolumeRef::new(pool, name));
    let device = device.map(|device| device.parse().unwrap());
    attach(&bench.context(), &AttachRequest { content, device, ..disk_request("web", 0) })
}

fn is_there(bench: &Bench, volume: &str) -> bool {
    let (pool, name) = volume.split_once('/').unwrap();
    bench.host.volume(&VolumeRef::new(pool, name)).unwrap().is_some()
}

#[test]
fn a_volume_is_attached_as_it_is() {
    let bench = bench();
    let attached = attach_volume(&bench, OWN, None).unwrap();
    assert_eq!((attached.disk.target.as_str(), attached.live), ("vdd", true));
    for targets in targets(&bench) {
        assert!(targets.contains(&"vdd".to_owned()), "{targets:?}");
    }
    assert_eq!(data_disks(&bench), pairs(&[("vdb", "10"), ("vdc", "30"), ("vdd", "7")]));
    let shown = disk(&bench, "vdd");
    assert_eq!((shown.pool.as_deref(), shown.volume.as_deref()), (Some("somebodys"), Some("photos")));
    let again = attach_volume(&bench, OWN, None).unwrap_err();
    assert!(whole(&again).contains("as a disk already"), "{}", whole(&again));
}

#[test]
fn a_volume_of_any_size_and_with_a_backing_file_in_a_pool_is_attached() {
    for volume in ["somebodys/odd", "somebodys/above"] {
        let bench = bench();
        attach_volume(&bench, volume, Some("vdk")).unwrap_or_else(|e| panic!("{volume}: {}", whole(&e)));
        assert_eq!(data_disks(&bench).last().unwrap(), &("vdk".to_owned(), "2".to_owned()));
    }
}

#[test]
fn what_is_not_fit_for_a_disk_is_refused() {
    for (volume, device, kind, why) in [
        ("somebodys/none", None, Kind::Storage, "there is no volume 'none'"),
        ("somebodys/small", None, Kind::Storage, "the smallest disk of a manifest has 1 GiB"),
        ("somebodys/cd", None, Kind::Storage, "its format is iso"),
        ("somebodys/below", None, Kind::Storage, "volume 'above' in pool 'somebodys' is based on it"),
        ("somebodys/astray", None, Kind::Storage, "it is based on /etc/shadow, which is in no active pool"),
        ("foundry-images/debian-12", None, Kind::Storage, "it is in the pool of images"),
        (
            "foundry-vms/web_boot",
            None,
            Kind::Storage,
            "has volume 'web_boot' in pool 'foundry-vms' as a disk",
        ),
        (OWN, Some("vdb"), Kind::Vm, "has a disk 'vdb'"),
        ("nowhere/photos", None, Kind::Storage, "there is no pool 'nowhere'"),
    ] {
        let bench = bench();
        assert_refused(&bench, attach_volume(&bench, volume, device), kind, why);
    }
}

#[test]
fn a_volume_that_another_vm_has_is_refused() {
    let bench = bench();
    attach_volume(&bench, OWN, None).unwrap();
    bench.create(&plan(SMALL)).unwrap();
    let content = DiskContent::Existing(VolumeRef::new("somebodys", "photos"));
    let request = AttachRequest { content, ..disk_request("small", 0) };
    let refused = attach(&bench.context(), &request).unwrap_err();
    assert!(whole(&refused).contains("domain 'web' uses it"), "{}", whole(&refused));
}

#[test]
fn a_volume_that_was_attached_is_never_deleted() {
    for keep in [true, false] {
        let bench = bench();
        attach_volume(&bench, OWN, None).unwrap();
        detach_one(&bench, "vdd", keep).unwrap();
        assert!(is_there(&bench, OWN), "keep: {keep}");
        assert!(!bench.record("web").volumes.iter().any(|v| v.name == "photos"), "keep: {keep}");
    }
    let bench = bench();
    attach_volume(&bench, OWN, None).unwrap();
    let plan = foundry::operations::vm::destroy::plan_destroy(&bench.context(), "web", FORCE).unwrap();
    let kept: Vec<&str> = plan.kept_back.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(kept, ["volume 'photos' in pool 'somebodys'"]);
    bench.destroy("web", FORCE).unwrap();
    assert!(is_there(&bench, OWN));
}

#[test]
fn an_attach_that_fails_at_any_call_is_finished_by_the_same_again_and_loses_nothing() {
    let attach_it = |bench: &Bench| attach_volume(bench, OWN, None).map(drop);
    let faults = each_fault(bench, attach_it, |bench, outcome, _, label| {
        assert!(is_there(bench, OWN), "{label}");
        if let Err(error) = outcome {
            let told = whole(&error);
            let clean = told.contains("nothing was changed") || told.contains("is removed again");
            let noted = bench.record("web").volumes.iter().any(|v| v.name == "photos");
            assert!(!clean || !noted, "{label}: {told}");
            let is_advised = told.contains("disk attach web somebodys/photos");
            assert!(clean || !noted || is_advised, "{label}: {told}");
        }
        super::super::disk_faults::bury(bench);
        if let Err(again) = attach_it(bench) {
            assert!(whole(&again).contains("as a disk already"), "{label}: {}", whole(&again));
        }
        let uuid = bench.host.uuid_of("web").unwrap();
        for view in [View::Current, View::Config] {
            let xml = bench.host.domain_xml(uuid, view).unwrap().unwrap();
            let disks = DomainDescription::read(&xml).unwrap().disks;
            let on_it = disks.iter().filter(|d| d.source.path() == Some("/pool/somebodys/photos"));
            assert_eq!(on_it.count(), 1, "{label}");
        }
        bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        assert!(is_there(bench, OWN), "{label}");
        let host = Bench::new().host;
        let left = bench.host.files().into_iter().filter(|f| !f.starts_with("/pool/somebodys/"));
        assert_eq!(left.collect::<Vec<_>>(), host.files(), "{label}");
    });
    assert!(faults > 40, "{faults}");
}

/// What `gc` and `destroy` find of an attach that was killed is the volume's entry in the record, not a reason to
/// delete it.
#[test]
fn a_killed_attach_leaves_the_volume_to_its_user() {
    let attach_it = |bench: &Bench| attach_volume(bench, OWN, None).map(drop);
    each_fault(bench, attach_it, |bench, _, _, label| {
        super::super::disk_faults::bury(bench);
        let context = bench.context();
        let left = find_leftovers(&context, None).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        let chosen =
            choose_leftovers(&context, &left, &[]).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        execute_cleanup(&context, None, &chosen, |_| {}).unwrap_or_else(|e| panic!("{label}: {e:?}"));
        assert!(!bench.record("web").volumes.iter().any(|v| v.attaching.is_some()), "{label}");
        assert!(is_there(bench, OWN), "{label}");
    });
}
