//! The host's storage as a whole: what is there, what of it can grow, and what belongs to nobody.

use std::os::unix::fs::MetadataExt;

use crate::support::bench::{Bench, GIB, foreign, host_with_neighbours};
use crate::support::manifests::{WEB, plan, plan_with};
use foundry::host::memory::MemoryHost;
use foundry::host::{Domains, Pools};
use foundry::operations::storage::status::{self, PoolStatus, StorageStatus};

const NOTHING: [&str; 0] = [];
/// What an empty qcow2 takes on the host in memory.
const QCOW2: u64 = 196_616;

fn status(bench: &Bench) -> StorageStatus {
    status::storage_status(&bench.context()).unwrap()
}

fn pool<'a>(status: &'a StorageStatus, name: &str) -> &'a PoolStatus {
    status.pools.iter().find(|p| p.name == name).unwrap()
}

fn orphans(status: &StorageStatus) -> Vec<&str> {
    status.orphans.iter().map(|o| o.name.as_str()).collect()
}

#[test]
fn a_look_changes_nothing() {
    let bench = Bench::with_web();
    let before = bench.host.fingerprint();
    bench.host.forget_calls();
    status(&bench);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    let changes = [
        "define", "build", "start", "stop", "set", "undefine", "create", "clone", "resize", "delete",
        "upload",
    ];
    let calls = bench.host.calls();
    assert!(!calls.iter().any(|call| changes.iter().any(|change| call.starts_with(change))), "{calls:?}");
}

/// A pool whose directory is a link to another pool's has the same files.
#[test]
fn what_two_pools_have_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    std::fs::write(real.join("box"), b"a disk").unwrap();
    let path = |at: &std::path::Path| at.display().to_string();
    let of_pools = |pools: &[(&str, &std::path::Path)]| {
        let mut host =
            host_with_neighbours().local().with_foreign_domain(&foreign("box", &path(&real.join("box"))));
        for (name, at) in pools {
            host = host.with_pool(name, &path(at)).with_image(name, "box", "qcow2", 4 * GIB);
        }
        status(&Bench::on(host))
    };
    let (one, both) = (of_pools(&[("one", &real)]), of_pools(&[("one", &real), ("same", &link)]));
    assert_eq!(both.disks, one.disks);
    assert_eq!(both.growth, one.growth);
    assert_ne!(one.disks, of_pools(&[]).disks, "it is a disk");
    assert_eq!(pool(&both, "same").disks.count, 1, "and each pool has it");
}

/// A disk is promised all that its guest sees, an image nothing: nobody writes to what others lie on.
#[test]
fn disks_grow_to_what_their_guests_see_and_images_do_not() {
    let bench = Bench::on(host_with_neighbours().with_space(200 * GIB));
    let before = status(&bench);
    bench.create(&plan(WEB)).unwrap();
    let after = status(&bench);
    // 20, 10 and 30 GiB thin; the seed takes all of its size.
    let grown = after.growth.0 - before.growth.0;
    assert_eq!(grown, 60 * GIB - 3 * QCOW2);
    assert_eq!(pool(&after, "foundry-images").growth.0, 0);
    assert_eq!(pool(&after, "foundry-vms").growth, after.growth);
    assert_eq!(after.images.count, 2);
    assert_eq!(after.images.capacity.0, 4 * GIB);
    assert_eq!(after.disks.count - before.disks.count, 4, "three disks and the seed");
    assert_eq!(after.file_systems.len(), 1);
    assert_eq!(after.file_systems[0].pools, ["foundry-images", "foundry-vms"]);
    assert_eq!(after.file_systems[0].growth, after.growth);
    assert_eq!(after.file_systems[0].overcommit.0, 0);
}

#[test]
fn what_has_no_room_to_grow_is_over_committed() {
    let bench = Bench::on(host_with_neighbours().with_space(30 * GIB));
    bench.create(&plan(WEB)).unwrap();
    let status = status(&bench);
    let file_system = &status.file_systems[0];
    assert!(file_system.available.0 < 30 * GIB && file_system.growth.0 > 60 * GIB);
    assert_eq!(file_system.overcommit.0, file_system.growth.0 - file_system.available.0);
    assert_eq!(file_system.allocation.0 + file_system.available.0, 30 * GIB);
}

/// An overlay in the same pool: what is below it is still the VM's, and is written to no more.
#[test]
fn an_overlay_of_a_snapshot_grows_in_place_of_what_is_below_it() {
    let host = host_with_neighbours()
        .with_overlay("foundry-vms", "top", 3 * GIB, "/pool/vms/web_data-vdx")
        .with_foreign_domain(&foreign("snap", "/pool/vms/top"));
    let status = status(&Bench::on(host));
    // `web_1_boot` of 1 GiB, and the overlay.
    assert_eq!(status.growth.0, 4 * GIB - 2 * QCOW2);
    assert_eq!(pool(&status, "foundry-vms").disks.count, 3);
    assert_eq!(pool(&status, "foundry-vms").images.count, 0);
    assert_eq!(orphans(&status), ["web_boot.qcow2"]);
}

/// In a pool of the user's own, what VMs lie on is an image, and what nobody needs is the user's.
#[test]
fn other_pools_are_their_users() {
    let host = host_with_neighbours()
        .with_pool("mine", "/mine")
        .with_image("mine", "base", "qcow2", 2 * GIB)
        .with_image("mine", "film.raw", "raw", GIB)
        .with_overlay("foundry-vms", "top", 3 * GIB, "/mine/base");
    let status = status(&Bench::on(host));
    let mine = pool(&status, "mine");
    assert_eq!((mine.volumes, mine.images.count, mine.disks.count, mine.orphans.count), (2, 1, 0, 0));
    assert_eq!(orphans(&status), ["top", "web_boot.qcow2", "web_data-vdx"]);
}

#[test]
fn what_nobody_needs_in_the_pool_of_vm_disks_is_an_orphan() {
    let bench = Bench::with_web();
    let found = status(&bench);
    // Those that begin like `web`'s, and not the one that a domain of somebody else's has.
    assert_eq!(orphans(&found), ["web_boot.qcow2", "web_data-vdx"]);
    assert_eq!((found.orphans[0].allocation.0, found.orphans[0].capacity.0), (QCOW2, GIB));
    assert_eq!(
        (found.orphans[0].pool.as_str(), found.orphans[0].path.as_str()),
        ("foundry-vms", "/pool/vms/web_boot.qcow2")
    );
    assert_eq!(pool(&found, "foundry-vms").orphans.count, 2);
    // A VM whose creation is not finished has its volumes all the same; one that vanished has left them.
    bench.edit_record("web", |record| record["state"] = "creating".into());
    assert_eq!(orphans(&status(&bench)), ["web_boot.qcow2", "web_data-vdx"]);
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    bench.host.undefine(bench.host.uuid_of("web").unwrap()).unwrap();
    let left =
        ["web_boot", "web_boot.qcow2", "web_cloudinit", "web_data-vdb", "web_data-vdc", "web_data-vdx"];
    assert_eq!(orphans(&status(&bench)), left);
}

/// A domain that was defined over a link to the pool's directory, on this machine.
#[test]
fn a_disk_by_another_name_is_no_orphan() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(at("vms")).unwrap();
    std::os::unix::fs::symlink(at("vms"), at("link")).unwrap();
    std::fs::write(at("vms/disk"), "x").unwrap();
    std::fs::write(at("vms/other"), "x").unwrap();
    let host = MemoryHost::new()
        .local()
        .with_pool("foundry-vms", &at("vms"))
        .with_volume("foundry-vms", "disk", b"x")
        .with_volume("foundry-vms", "other", b"x")
        .with_foreign_domain(&foreign("web", &at("link/disk")));
    let status = status(&Bench::on(host));
    assert_eq!(orphans(&status), ["other"]);
    assert_eq!(status.disks.count, 1);
}

#[test]
fn the_kernel_tells_file_systems_apart() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    let path = |dir: &tempfile::TempDir| dir.path().display().to_string();
    let differ =
        std::fs::metadata(path(&here)).unwrap().dev() != std::fs::metadata(path(&there)).unwrap().dev();
    assert!(differ, "the test needs two file systems");
    let host = MemoryHost::new()
        .local()
        .with_space(GIB)
        .with_pool("a", &path(&here))
        .with_pool("b", &path(&there))
        .with_pool("c", &path(&here))
        .with_inactive_pool("d", &path(&there));
    let status = status(&Bench::on(host));
    let pools: Vec<Vec<String>> = status.file_systems.iter().map(|f| f.pools.clone()).collect();
    assert_eq!(pools, [vec!["a".to_owned(), "c".into()], vec!["b".into()]]);
    assert_eq!((status.capacity.0, status.available.0), (2 * GIB, 2 * GIB));
}

/// Two volume groups are two, though both have their target below /dev and may be of the same size.
#[test]
fn a_pool_without_a_directory_is_a_file_system_of_its_own() {
    let host = host_with_neighbours().with_space(GIB).local();
    for name in ["vg0", "vg1"] {
        let source = format!("<source><name>{name}</name></source><target><path>/dev/{name}</path></target>");
        host.define_pool(&format!("<pool type='logical'><name>{name}</name>{source}</pool>")).unwrap();
        host.build_pool(name).unwrap();
        host.start_pool(name).unwrap();
    }
    let status = status(&Bench::on(host));
    assert_eq!(status.pools.iter().filter(|p| p.kind == "logical").count(), 2);
    assert_eq!(status.file_systems.len(), 3);
    assert_eq!(status.capacity.0, 3 * GIB);
}

/// Where an image is from is noted in a volume beside it.
#[test]
fn a_note_on_an_image_is_no_image() {
    let host = host_with_neighbours().with_volume("foundry-images", "debian-12.origin.json", b"{}");
    let status = status(&Bench::on(host));
    let images = pool(&status, "foundry-images");
    assert_eq!((images.volumes, images.images.count, images.orphans.count), (3, 2, 0));
}

#[test]
fn custom_default_pools_are_the_ones_that_count() {
    let mut bench =
        Bench::on(host_with_neighbours().with_pool("ssd", "/ssd").with_image("ssd", "left", "qcow2", GIB));
    bench.settings.vm_pool = "ssd".parse().unwrap();
    assert_eq!(orphans(&status(&bench)), ["left"]);
    bench.create(&plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  storagePool: ssd")])).unwrap();
    assert_eq!(orphans(&status(&bench)), ["left"]);
    assert_eq!(pool(&status(&bench), "ssd").disks.count, 4);
}
