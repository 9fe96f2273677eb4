//! External snapshots.

use foundry::Kind;
use foundry::host::libvirt_xml::{DomainDescription, SnapshotDescription, set_snapshot_overlays};
use foundry::host::{View, Volume};
use uuid::Uuid;

use super::bench::{Bench, cases, escape, file_disk, refused, volume_xml};

cases! {
    a_domain_without_snapshots_has_none;
    an_absent_domain_refuses_snapshots;
    a_disk_goes_on_in_an_overlay needs Devices, Files;
    a_disk_of_what_runs_goes_on_in_an_overlay needs Devices, Files;
    a_snapshot_is_made_of_all_disks_or_of_none needs Devices, Files;
    the_name_of_a_snapshot_is_taken_once needs Devices, Files;
    nothing_is_frozen_without_an_agent needs Devices, Files;
    a_deleted_snapshot_leaves_one_file needs Devices, Files;
    a_forgotten_snapshot_leaves_its_files needs Devices, Files;
    a_snapshot_is_deleted_after_it_was_described_anew needs Devices, Files;
}

/// A domain with one disk in a pool of the case.
fn with_disk(bench: &Bench<'_>) -> (Uuid, Volume) {
    let pool = bench.pool();
    let volume = bench.create(&pool, "a", "qcow2", 1 << 20);
    let disk = file_disk(&volume.path, "vdb")
        .replace("<source", "<driver name='qemu' type='qcow2'/><source")
        .replace("device='disk'", "device='disk' snapshot='external'");
    let xml = bench.domain_xml(&bench.name("a"), None, Some("record"), &disk);
    (bench.host().define_domain(&xml).unwrap(), volume)
}

fn snapshot(name: &str, overlay: &str) -> String {
    format!(
        "<domainsnapshot><name>{name}</name><disks><disk name='vdb' snapshot='external' type='file'>\
         <driver type='qcow2'/><source file='{}'/></disk></disks></domainsnapshot>",
        escape(overlay)
    )
}

fn place(bench: &Bench<'_>, uuid: Uuid, view: View) -> String {
    let read = DomainDescription::read(&bench.host().domain_xml(uuid, view).unwrap().unwrap()).unwrap();
    read.disk("vdb").unwrap().source.path().unwrap().to_owned()
}

fn described(bench: &Bench<'_>, uuid: Uuid) -> Vec<SnapshotDescription> {
    let all = bench.host().describe_snapshots(uuid).unwrap();
    all.iter().map(|xml| SnapshotDescription::read(xml).unwrap()).collect()
}

fn volumes(bench: &Bench<'_>) -> Vec<String> {
    let pool = bench.name("pool");
    bench.host().refresh_pool(&pool).unwrap();
    let mut names: Vec<String> = bench.host().volumes(&pool).unwrap().into_iter().map(|v| v.name).collect();
    names.sort();
    names
}

fn a_domain_without_snapshots_has_none(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    assert_eq!(bench.host().snapshots(uuid).unwrap(), [] as [String; 0]);
    assert_eq!(bench.host().describe_snapshots(uuid).unwrap(), [] as [String; 0]);
    assert_eq!(bench.host().full_snapshot(uuid, "s").unwrap(), None);
    bench.host().delete_snapshot(uuid, "s").unwrap();
    bench.host().forget_snapshot(uuid, "s").unwrap();
}

fn an_absent_domain_refuses_snapshots(bench: &Bench<'_>) {
    let (host, absent) = (bench.host(), Uuid::new_v4());
    refused(host.snapshots(absent), Kind::Vm);
    refused(host.describe_snapshots(absent), Kind::Vm);
    refused(host.create_snapshot(absent, &snapshot("s", "/x"), None), Kind::Vm);
    refused(host.delete_snapshot(absent, "s"), Kind::Vm);
}

fn goes_on(bench: &Bench<'_>, uuid: Uuid, volume: &Volume, state: &str) {
    let overlay = format!("{}.2", volume.path);
    bench.host().create_snapshot(uuid, &snapshot("s", &overlay), None).unwrap();
    for view in [View::Current, View::Config] {
        assert_eq!(place(bench, uuid, view), overlay, "{view:?}");
    }
    let seen = described(bench, uuid);
    assert_eq!((seen.len(), seen[0].name.as_str(), seen[0].state.as_str()), (1, "s", state));
    let disk = &seen[0].disks[0];
    assert_eq!(
        (disk.overlay.as_str(), disk.frozen.as_deref()),
        (overlay.as_str(), Some(volume.path.as_str()))
    );
    assert!(seen[0].created.is_some() && !seen[0].is_internal && !seen[0].has_memory);
    assert_eq!(volumes(bench), ["a", "a.2"]);
    assert_eq!(bench.volume(&bench.name("pool"), "a.2").backing.as_deref(), Some(volume.path.as_str()));
    let all = bench.host().all_snapshots().unwrap();
    assert_eq!(all.into_iter().filter(|(of, _)| *of == uuid).count(), 1);
}

fn a_disk_goes_on_in_an_overlay(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    goes_on(bench, uuid, &volume, "shutoff");
}

fn a_disk_of_what_runs_goes_on_in_an_overlay(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    bench.host().start(uuid).unwrap();
    goes_on(bench, uuid, &volume, "disk-snapshot");
}

fn a_snapshot_is_made_of_all_disks_or_of_none(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    bench.create(&bench.name("pool"), "a.2", "qcow2", 1 << 20);
    let overlay = format!("{}.2", volume.path);
    refused(bench.host().create_snapshot(uuid, &snapshot("s", &overlay), None), Kind::Vm);
    assert_eq!(place(bench, uuid, View::Config), volume.path);
    assert!(described(bench, uuid).is_empty());
}

fn the_name_of_a_snapshot_is_taken_once(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    let xml = |n: u32| snapshot("s", &format!("{}.{n}", volume.path));
    bench.host().create_snapshot(uuid, &xml(2), None).unwrap();
    refused(bench.host().create_snapshot(uuid, &xml(3), None), Kind::Vm);
    assert_eq!(volumes(bench), ["a", "a.2"]);
}

fn nothing_is_frozen_without_an_agent(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    bench.host().start(uuid).unwrap();
    let xml = snapshot("s", &format!("{}.2", volume.path));
    let within = Some(std::time::Duration::from_secs(1));
    refused(bench.host().create_snapshot(uuid, &xml, within), Kind::Vm);
    assert_eq!(place(bench, uuid, View::Current), volume.path);
    assert_eq!(volumes(bench), ["a"]);
}

fn a_deleted_snapshot_leaves_one_file(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    bench.host().start(uuid).unwrap();
    let xml = |name: &str, n: u32| snapshot(name, &format!("{}.{n}", volume.path));
    bench.host().create_snapshot(uuid, &xml("s", 2), None).unwrap();
    bench.host().create_snapshot(uuid, &xml("t", 3), None).unwrap();
    // One in the middle, and then the newest.
    bench.host().delete_snapshot(uuid, "s").unwrap();
    assert_eq!(volumes(bench), ["a", "a.3"]);
    let left = described(bench, uuid);
    assert_eq!((left.len(), left[0].parent.as_deref()), (1, None));
    assert_eq!(left[0].disks[0].frozen.as_deref(), Some(volume.path.as_str()));
    bench.host().delete_snapshot(uuid, "t").unwrap();
    assert_eq!(volumes(bench), ["a"]);
    for view in [View::Current, View::Config] {
        assert_eq!(place(bench, uuid, view), volume.path, "{view:?}");
    }
    bench.host().delete_snapshot(uuid, "t").unwrap();
}

fn a_forgotten_snapshot_leaves_its_files(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    let overlay = format!("{}.2", volume.path);
    bench.host().create_snapshot(uuid, &snapshot("s", &overlay), None).unwrap();
    bench.host().forget_snapshot(uuid, "s").unwrap();
    assert!(described(bench, uuid).is_empty());
    assert_eq!((volumes(bench), place(bench, uuid, View::Config)), (vec!["a".into(), "a.2".into()], overlay));
}

/// As foundry restores one.
fn a_snapshot_is_deleted_after_it_was_described_anew(bench: &Bench<'_>) {
    let (uuid, volume) = with_disk(bench);
    let (old, new) = (format!("{}.2", volume.path), format!("{}.3", volume.path));
    bench.host().create_snapshot(uuid, &snapshot("s", &old), None).unwrap();
    let pool = bench.name("pool");
    let made = volume_xml("a.3", "qcow2", 1 << 20, Some((&volume.path, "qcow2")));
    bench.host().create_volume(&pool, &made).unwrap();
    let xml = bench.host().full_definition(uuid).unwrap().unwrap();
    let moved = foundry::host::libvirt_xml::edit::set_disk_file(&xml, "vdb", &new, "qcow2").unwrap();
    bench.host().define_domain(&moved).unwrap();
    let xml = bench.host().full_snapshot(uuid, "s").unwrap().unwrap();
    bench.host().redefine_snapshot(uuid, &set_snapshot_overlays(&xml, &[("vdb", &new)]).unwrap()).unwrap();
    assert_eq!(described(bench, uuid)[0].disks[0].overlay, new);
    bench.host().start(uuid).unwrap();
    bench.host().delete_snapshot(uuid, "s").unwrap();
    assert_eq!(place(bench, uuid, View::Config), volume.path);
    assert_eq!(volumes(bench), ["a", "a.2"], "the old overlay is nobody's business but foundry's");
}
