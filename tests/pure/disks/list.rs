//! What `disk list` shows.

use foundry::host::{Affect, Disks, Pools};
use foundry::operations::disk::{Presence, list_disks};
use foundry::record::VolumeRole;
use foundry::units::Bytes;

use super::{NOTHING, disk, disks};
use crate::support::bench::{Bench, GIB, whole};

#[test]
fn a_list_says_what_each_disk_is_and_changes_nothing() {
    let bench = Bench::with_web();
    let told: Vec<_> = disks(&bench)
        .into_iter()
        .map(|d| (d.device, d.role.unwrap(), d.volume.unwrap(), d.size.unwrap().0 / GIB, d.read_only))
        .collect();
    let expected = [
        ("sda", VolumeRole::Seed, "web_cloudinit", 0, true),
        ("vda", VolumeRole::Boot, "web_boot", 20, false),
        ("vdb", VolumeRole::Data, "web_data-vdb", 10, false),
        ("vdc", VolumeRole::Data, "web_data-vdc", 30, false),
    ];
    assert_eq!(told, expected.map(|(d, r, v, s, o)| (d.to_owned(), r, v.to_owned(), s, o)));
    assert_eq!(disk(&bench, "vda").backing.as_deref(), Some("/pool/images/debian-12"));
    assert!(disks(&bench).iter().all(|d| d.presence == Presence::Attached && d.allocated.is_some()));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
}

#[test]
fn all_vms_are_listed_foreign_ones_without_a_role() {
    let bench = Bench::with_web();
    let all = list_disks(&bench.context(), None).unwrap();
    let other: Vec<_> = all.iter().filter(|d| d.vm == "other").collect();
    assert_eq!(other.len(), 1);
    assert_eq!((other[0].role, other[0].volume.as_deref()), (None, Some("web_1_boot")));
    assert_eq!(all.len(), 5);
    let error = list_disks(&bench.context(), Some("webb")).unwrap_err();
    assert!(whole(&error).contains("did you mean 'web'?"), "{}", whole(&error));
}

#[test]
fn what_is_in_one_description_only_says_so() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.detach_disk(uuid, "vdb", Affect::Config).unwrap();
    bench.host.detach_disk(uuid, "vdc", Affect::Live).unwrap();
    assert_eq!(disk(&bench, "vdb").presence, Presence::UntilStop);
    assert_eq!(disk(&bench, "vdc").presence, Presence::NextStart);
    bench.host.detach_disk(uuid, "vdc", Affect::Config).unwrap();
    assert_eq!(disk(&bench, "vdc").presence, Presence::Unfinished);
}

#[test]
fn a_stopped_pool_leaves_what_the_record_knows() {
    let bench = Bench::with_web();
    bench.host.stop_pool("foundry-vms").unwrap();
    let boot = disk(&bench, "vda");
    assert_eq!((boot.size, boot.allocated), (Some(Bytes(20 * GIB)), None));
    assert_eq!(boot.volume.as_deref(), Some("web_boot"));
}
