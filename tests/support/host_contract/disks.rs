//! Disks that come and go, and grow.

use foundry::Kind;
use foundry::host::libvirt_xml::{DiskSource, DomainDescription};
use foundry::host::{Affect, View};
use foundry::units::Bytes;
use uuid::Uuid;

use super::bench::{Bench, cases, file_disk, refused};

cases! {
    a_disk_attached_to_a_definition_is_there_at_the_next_start needs Devices;
    a_disk_attached_to_both_is_in_both needs Devices;
    a_disk_attached_to_what_runs_is_gone_with_it needs Devices;
    a_target_is_taken_once needs Devices;
    a_domain_that_is_off_has_no_disk_attached_now needs Devices;
    a_disk_without_its_file_is_attached_nowhere needs Devices;
    a_disk_is_detached_from_the_definition_whatever_kind_it_is needs Devices;
    a_guest_is_asked_to_let_go_and_the_definition_stays needs Devices;
    a_disk_that_is_not_there_is_detached needs Devices;
    a_disk_of_a_running_domain_grows needs Devices;
    what_is_not_there_does_not_grow needs Devices;
    a_disk_at_rest_has_no_block_job needs Devices;
    an_absent_domain_has_no_disks;
}

/// Path of a new empty volume.
fn volume(bench: &Bench<'_>, pool: &str, name: &str) -> String {
    bench.create(pool, name, "qcow2", 1 << 20).path
}

fn qcow2(path: &str, target: &str) -> String {
    file_disk(path, target).replace("<source", "<driver name='qemu' type='qcow2'/><source")
}

/// Starts a domain that disks can be plugged into: a PC without ACPI has no such slots.
fn start(bench: &Bench<'_>) -> Uuid {
    let xml = bench.domain_xml(&bench.name("a"), None, None, "");
    let acpi = xml.replace("<devices>", "<features><acpi/></features><devices>");
    let uuid = bench.host().define_domain(&acpi).unwrap();
    bench.host().start(uuid).unwrap();
    uuid
}

fn targets(bench: &Bench<'_>, uuid: Uuid, view: View) -> Vec<String> {
    let read = DomainDescription::read(&bench.host().domain_xml(uuid, view).unwrap().unwrap()).unwrap();
    read.disks.into_iter().map(|d| d.target).collect()
}

/// What runs, and what starts next.
fn both(bench: &Bench<'_>, uuid: Uuid) -> (Vec<String>, Vec<String>) {
    (targets(bench, uuid, View::Current), targets(bench, uuid, View::Config))
}

fn list(targets: &[&str]) -> Vec<String> {
    targets.iter().map(|t| (*t).to_owned()).collect()
}

fn a_disk_attached_to_a_definition_is_there_at_the_next_start(bench: &Bench<'_>) {
    let pool = bench.pool();
    let disk = qcow2(&volume(bench, &pool, "a & b"), "vdb");
    let uuid = start(bench);
    bench.host().attach_disk(uuid, &disk, Affect::Config).unwrap();
    assert_eq!(both(bench, uuid), (list(&[]), list(&["vdb"])));
    bench.host().force_off(uuid).unwrap();
    bench.host().start(uuid).unwrap();
    let read =
        DomainDescription::read(&bench.host().domain_xml(uuid, View::Current).unwrap().unwrap()).unwrap();
    assert_eq!(read.disks[0].source, DiskSource::File(bench.directory("pool") + "/a & b"));
}

fn a_disk_attached_to_both_is_in_both(bench: &Bench<'_>) {
    let pool = bench.pool();
    let uuid = start(bench);
    bench.host().set_record(uuid, "record").unwrap();
    let disk = qcow2(&volume(bench, &pool, "a"), "vdc");
    bench.host().attach_disk(uuid, &disk, Affect::Both).unwrap();
    assert_eq!(both(bench, uuid), (list(&["vdc"]), list(&["vdc"])));
    assert_eq!(bench.domain(&bench.name("a")).record.as_deref(), Some("record"));
}

fn a_disk_attached_to_what_runs_is_gone_with_it(bench: &Bench<'_>) {
    let pool = bench.pool();
    let uuid = start(bench);
    bench.host().attach_disk(uuid, &qcow2(&volume(bench, &pool, "a"), "vdb"), Affect::Live).unwrap();
    assert_eq!(both(bench, uuid), (list(&["vdb"]), list(&[])));
    bench.host().force_off(uuid).unwrap();
    assert_eq!(targets(bench, uuid, View::Current), list(&[]));
}

fn a_target_is_taken_once(bench: &Bench<'_>) {
    let pool = bench.pool();
    let uuid = start(bench);
    let (first, second) = (volume(bench, &pool, "a"), volume(bench, &pool, "b"));
    bench.host().attach_disk(uuid, &qcow2(&first, "vdb"), Affect::Both).unwrap();
    for reach in [Affect::Both, Affect::Live, Affect::Config] {
        refused(bench.host().attach_disk(uuid, &qcow2(&second, "vdb"), reach), Kind::Vm);
    }
    // Taken in one of two places: it comes into neither.
    bench.host().attach_disk(uuid, &qcow2(&second, "vdc"), Affect::Config).unwrap();
    let third = qcow2(&volume(bench, &pool, "c"), "vdc");
    refused(bench.host().attach_disk(uuid, &third, Affect::Both), Kind::Vm);
    assert_eq!(both(bench, uuid), (list(&["vdb"]), list(&["vdb", "vdc"])));
}

fn a_domain_that_is_off_has_no_disk_attached_now(bench: &Bench<'_>) {
    let pool = bench.pool();
    let uuid = bench.define(&bench.name("a"));
    let disk = qcow2(&volume(bench, &pool, "a"), "vdb");
    refused(bench.host().attach_disk(uuid, &disk, Affect::Live), Kind::Vm);
    refused(bench.host().attach_disk(uuid, &disk, Affect::Both), Kind::Vm);
    assert_eq!(targets(bench, uuid, View::Config), list(&[]));
    bench.host().attach_disk(uuid, &disk, Affect::Config).unwrap();
    refused(bench.host().detach_disk(uuid, "vdb", Affect::Live), Kind::Vm);
    assert_eq!(targets(bench, uuid, View::Config), list(&["vdb"]));
}

fn a_disk_without_its_file_is_attached_nowhere(bench: &Bench<'_>) {
    let uuid = start(bench);
    let absent = qcow2(&bench.directory("absent"), "vdb");
    refused(bench.host().attach_disk(uuid, &absent, Affect::Both), Kind::Vm);
    assert_eq!(both(bench, uuid), (list(&[]), list(&[])));
}

fn a_disk_is_detached_from_the_definition_whatever_kind_it_is(bench: &Bench<'_>) {
    let odd = "<disk type='volume' device='disk'><source pool='absent' volume='x &amp; y'/>\
               <target dev='vdb' bus='virtio'/></disk>\
               <disk type='block' device='disk'><source dev='/dev/absent'/><target dev='vdc' bus='virtio'/></disk>";
    let xml = bench.domain_xml(&bench.name("a"), None, Some("record"), odd);
    let uuid = bench.host().define_domain(&xml).unwrap();
    bench.host().detach_disk(uuid, "vdb", Affect::Config).unwrap();
    assert_eq!(targets(bench, uuid, View::Config), list(&["vdc"]));
    bench.host().detach_disk(uuid, "vdc", Affect::Config).unwrap();
    assert_eq!(targets(bench, uuid, View::Config), list(&[]));
    assert_eq!(bench.domain(&bench.name("a")).record.as_deref(), Some("record"));
}

/// A guest without an operating system does not let go, and libvirt waits for it a while.
fn a_guest_is_asked_to_let_go_and_the_definition_stays(bench: &Bench<'_>) {
    let pool = bench.pool();
    let uuid = start(bench);
    bench.host().attach_disk(uuid, &qcow2(&volume(bench, &pool, "a"), "vdb"), Affect::Both).unwrap();
    bench.host().detach_disk(uuid, "vdb", Affect::Live).unwrap();
    assert_eq!(targets(bench, uuid, View::Config), list(&["vdb"]));
}

fn a_disk_that_is_not_there_is_detached(bench: &Bench<'_>) {
    let uuid = start(bench);
    for reach in [Affect::Live, Affect::Config, Affect::Both] {
        bench.host().detach_disk(uuid, "vdz", reach).unwrap();
    }
}

fn a_disk_of_a_running_domain_grows(bench: &Bench<'_>) {
    let pool = bench.pool();
    let uuid = start(bench);
    bench.host().attach_disk(uuid, &qcow2(&volume(bench, &pool, "a"), "vdb"), Affect::Both).unwrap();
    bench.host().resize_disk(uuid, "vdb", Bytes(5 << 20)).unwrap();
    // At once, without another look at the pool.
    assert_eq!(bench.volume(&pool, "a").capacity, Bytes(5 << 20));
}

fn what_is_not_there_does_not_grow(bench: &Bench<'_>) {
    let pool = bench.pool();
    let disk = qcow2(&volume(bench, &pool, "a"), "vdb");
    let xml = bench.domain_xml(&bench.name("a"), None, None, &disk);
    let uuid = bench.host().define_domain(&xml).unwrap();
    refused(bench.host().resize_disk(uuid, "vdb", Bytes(5 << 20)), Kind::Storage);
    bench.host().start(uuid).unwrap();
    refused(bench.host().resize_disk(uuid, "vdz", Bytes(5 << 20)), Kind::Storage);
    assert_eq!(bench.volume(&pool, "a").capacity, Bytes(1 << 20));
}

fn a_disk_at_rest_has_no_block_job(bench: &Bench<'_>) {
    let pool = bench.pool();
    let xml = bench.domain_xml(&bench.name("a"), None, None, &qcow2(&volume(bench, &pool, "a"), "vdb"));
    let uuid = bench.host().define_domain(&xml).unwrap();
    refused(bench.host().has_block_job(uuid, "vdb"), Kind::Vm);
    bench.host().start(uuid).unwrap();
    assert!(!bench.host().has_block_job(uuid, "vdb").unwrap());
    refused(bench.host().has_block_job(uuid, "vdz"), Kind::Vm);
}

fn an_absent_domain_has_no_disks(bench: &Bench<'_>) {
    let (host, absent) = (bench.host(), Uuid::new_v4());
    refused(host.attach_disk(absent, &file_disk("/x", "vdb"), Affect::Config), Kind::Vm);
    refused(host.detach_disk(absent, "vdb", Affect::Config), Kind::Vm);
    refused(host.has_block_job(absent, "vdb"), Kind::Vm);
}
