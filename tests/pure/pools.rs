//! Pools: what is made, what is forgotten only if nobody needs it, and how much is left.

use crate::support::bench::{Bench, GENTLE, GIB, foreign, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan_with};
use crate::support::shown::Shown;
use foundry::host::Pools;
use foundry::host::memory::MemoryHost;
use foundry::operations::storage::{pools, status};
use foundry::operations::{gc, image};
use foundry::pool::PoolSourceSpec;
use foundry::record::VolumeRef;
use foundry::{Code, Kind};

const NOTHING: [&str; 0] = [];

fn add(bench: &Bench, name: &str, path: &str) -> Result<(), foundry::Error> {
    pools::add_pool(
        &bench.context(),
        &name.parse().unwrap(),
        &PoolSourceSpec::Dir { path: path.into() },
        true,
    )
}

#[test]
fn a_pool_is_added_started_and_kept() {
    let bench = Bench::new();
    add(&bench, "ssd", "/mnt/ssd").unwrap();
    let pool = bench.host.pool("ssd").unwrap().unwrap();
    assert_eq!((pool.active, pool.autostart, pool.target.as_deref()), (true, true, Some("/mnt/ssd")));
    let error = add(&bench, "ssd", "/other").unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Storage, "pool 'ssd' exists"));
    pools::refresh_pool(&bench.context(), "ssd").unwrap();
    let error = pools::refresh_pool(&bench.context(), "foundry-vm").unwrap_err();
    assert_eq!(error.message(), "there is no pool 'foundry-vm'");
    assert!(error.hint_text().unwrap().starts_with("did you mean 'foundry-vms'?"), "{}", whole(&error));
    assert_eq!(pools::pool_info(&bench.context(), "ssd").unwrap().volumes, []);
    let names: Vec<String> =
        pools::list_pools(&bench.context()).unwrap().into_iter().map(|p| p.name).collect();
    assert_eq!(names, ["foundry-images", "foundry-vms", "ssd"]);
}

/// FACTS 24, for a pool of the user's.
#[test]
fn a_directory_that_exists_keeps_owner_and_mode() {
    let host = MemoryHost::new().with_pool("old", "/srv/data");
    host.stop_pool("old").unwrap();
    host.undefine_pool("old").unwrap();
    let bench = Bench::on(host);
    add(&bench, "new", "/srv/data").unwrap();
    assert!(!bench.host.calls().iter().any(|c| c.starts_with("build_pool")));
}

#[test]
fn a_pool_that_cannot_be_started_is_not_left_defined() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named("build_pool");
    let error = add(&bench, "ssd", "/mnt/ssd").unwrap_err();
    assert_eq!(error.outcome_texts(), ["the pool is undefined again"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.host.fail_calls_named("undefine_pool");
    let error = add(&bench, "ssd", "/mnt/ssd").unwrap_err();
    assert!(error.outcome_texts()[0].starts_with("left behind: pool 'ssd'"), "{}", whole(&error));
}

#[test]
fn foundrys_own_pools_and_pools_in_use_are_not_deleted() {
    let bench = Bench::on(host_with_neighbours().with_pool("ssd", "/ssd"));
    bench.create(&plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  storagePool: ssd")])).unwrap();
    let refused = |name: &str, force: bool, sentence: &str| {
        let before = bench.host.fingerprint();
        let error = pools::delete_pool(&bench.context(), name, force).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Storage, sentence));
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
        assert_eq!(bench.host.changes_since(&before), NOTHING);
    };
    for force in [false, true] {
        refused(
            "foundry-vms",
            force,
            "pool 'foundry-vms' is a default pool of foundry and cannot be deleted",
        );
        refused(
            "foundry-images",
            force,
            "pool 'foundry-images' is a default pool of foundry and cannot be deleted",
        );
        refused("ssd", force, "pool 'ssd' is in use by VM 'web'");
    }
    // libvirt lists no volumes of a stopped pool; its VMs are still there.
    bench.host.stop_pool("ssd").unwrap();
    refused("ssd", true, "pool 'ssd' is in use by VM 'web'");
    bench.host.start_pool("ssd").unwrap();
    bench.destroy("web", GENTLE).unwrap();
    pools::delete_pool(&bench.context(), "ssd", false).unwrap();
}

#[test]
fn a_pool_of_images_that_vms_lie_on_is_in_use() {
    let bench = Bench::on(host_with_neighbours().with_image("golden", "debian", "qcow2", GIB));
    bench.create(&plan_with(WEB, &[("image: debian-12", "image: 'golden:debian'")])).unwrap();
    bench.host.set_state("web", foundry::host::DomainState::ShutOff);
    let error = pools::delete_pool(&bench.context(), "golden", true).unwrap_err();
    assert_eq!(error.message(), "pool 'golden' is in use by VM 'web'");
}

/// A VM of nobody's, and off: only its volume says what it lies on.
#[test]
fn a_pool_of_images_that_foreign_vms_lie_on_is_in_use() {
    let host = host_with_neighbours().with_image("golden", "debian", "qcow2", GIB);
    let host = host.with_overlay("ssd", "top", GIB, "/pool/golden/debian");
    let bench = Bench::on(host.with_foreign_domain(&foreign("box", "/pool/ssd/top")));
    let error = pools::delete_pool(&bench.context(), "golden", true).unwrap_err();
    assert_eq!(error.message(), "pool 'golden' is in use by VM 'box'");
}

/// FACTS 21: a stopped pool can be deleted, and the volumes of any stay.
#[test]
fn deleting_a_pool_leaves_its_volumes() {
    let bench =
        Bench::on(host_with_neighbours().with_image("ssd", "a", "raw", 1).with_inactive_pool("off", "/off"));
    let error = pools::delete_pool(&bench.context(), "off", false).unwrap_err();
    assert_eq!(error.message(), "pool 'off' is not started, so its volumes cannot be seen");
    assert_eq!(
        (error.kind(), error.outcome_texts()),
        (Kind::Storage, vec!["nothing was changed".to_owned()])
    );
    assert!(error.hint_text().unwrap().starts_with("--force deletes the pool's definition"));
    assert!(bench.host.pool("off").unwrap().is_some_and(|p| !p.active), "it was not started to look");
    pools::delete_pool(&bench.context(), "off", true).unwrap();
    let error = pools::delete_pool(&bench.context(), "ssd", false).unwrap_err();
    assert_eq!((error.message(), error.hint_text().is_some()), ("pool 'ssd' has 1 volume", true));
    pools::delete_pool(&bench.context(), "ssd", true).unwrap();
    assert!(bench.host.files().contains(&"/pool/ssd/a".to_owned()));
    assert_eq!(bench.host.pool("ssd").unwrap(), None);
}

/// What is left is what is left now, and a pool that somebody stops meanwhile is no failure.
#[test]
fn storage_status_looks_anew() {
    let bench = Bench::on(host_with_neighbours().with_space(100 * GIB));
    bench.host.take_space(60 * GIB);
    assert!(status::storage_status(&bench.context()).unwrap().available.0 <= 40 * GIB);
    bench.host.forget_calls();
    status::storage_status(&bench.context()).unwrap();
    let look = bench.host.calls().iter().position(|c| c == "volumes foundry-vms").unwrap();
    bench.host.forget_calls();
    bench.host.on_call(look, |host| host.stop_pool("foundry-vms").unwrap());
    assert_eq!(status::storage_status(&bench.context()).unwrap().pools[1].volumes, 0);
}

/// FACTS 22: a file system counts once, however many pools are on it.
#[test]
fn storage_status_counts_a_file_system_once() {
    let bench = Bench::on(host_with_neighbours().with_inactive_pool("off", "/off").with_space(100 * GIB));
    let status = status::storage_status(&bench.context()).unwrap();
    assert_eq!(status.capacity.0, 100 * GIB);
    assert!(status.available.0 > 90 * GIB && status.available.0 <= 100 * GIB);
    let promised: u64 = status.pools.iter().map(|p| p.promised.0).sum();
    assert_eq!((status.promised.0, promised), (7 * GIB, 7 * GIB));
    let shown: Vec<(&str, bool, usize)> =
        status.pools.iter().map(|p| (p.name.as_str(), p.active, p.volumes)).collect();
    assert_eq!(shown, [("foundry-images", true, 2), ("foundry-vms", true, 3), ("off", false, 0)]);
}

/// libvirt says of such a pool that it started.
#[test]
fn a_zfs_pool_that_is_not_there_is_not_left_defined() {
    let source = PoolSourceSpec::Zfs { dataset: "tank/vms".into() };
    let add = |bench: &Bench| pools::add_pool(&bench.context(), &"tank".parse().unwrap(), &source, true);
    let bench = Bench::on(MemoryHost::new().with_space(0).with_directory("/dev/zvol/tank/vms"));
    let before = bench.host.fingerprint();
    let error = add(&bench).unwrap_err();
    assert_eq!(error.message(), "libvirt finds no ZFS pool with dataset 'tank/vms' on the host");
    assert_eq!(error.outcome_texts(), ["the pool is undefined again"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    add(&Bench::on(MemoryHost::new().with_directory("/dev/zvol/tank/vms"))).unwrap();
}

/// One directory by two paths, as by a link.
#[test]
fn a_directory_is_added_once_by_whatever_path() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("real")).unwrap();
    std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
    let host = MemoryHost::new().local().with_pool("one", &at("real")).with_directory(&at("link"));
    let bench = Bench::on(host);
    let error = add(&bench, "two", &at("link")).unwrap_err();
    assert_eq!(error.code(), Code::PoolTaken, "{error}");
    assert!(error.to_string().contains("pool 'one' uses that directory"), "{error}");
}

#[test]
fn the_second_pool_of_a_directory_can_be_forgotten_though_its_volumes_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("real")).unwrap();
    std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
    let both = || {
        MemoryHost::new()
            .local()
            .with_pool("one", &at("real"))
            .with_pool("two", &at("link"))
            .with_image("one", "disk", "raw", 1)
            .with_foreign_domain(&foreign("user", &at("real/disk")))
    };
    let bench = Bench::on(both());
    pools::delete_pool(&bench.context(), "two", false).unwrap();
    pools::delete_pool(&bench.context(), "one", true).unwrap_err();
}

/// libvirt shows nothing of a stopped pool: after a restart of the host that is where all images are.
#[test]
fn a_stopped_pool_is_not_taken_for_an_empty_one() {
    let bench = Bench::new();
    bench.host.stop_pool("foundry-images").unwrap();
    bench.host.stop_pool("foundry-vms").unwrap();
    let context = bench.context();
    for error in [
        image::list_images(&context, "foundry-images").unwrap_err(),
        image::image_info(&context, &VolumeRef::new("foundry-images", "debian-12")).unwrap_err(),
        image::find_unused(&context, "foundry-images", true).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::PoolInactive, "{}", whole(&error));
        assert_eq!(error.hint_text().as_deref(), Some("foundry pool start foundry-images"));
    }
    let unseen = gc::find_leftovers(&context, None).unwrap().unseen_pools;
    let unseen: Vec<String> = unseen.iter().map(foundry::words::render_advice).collect();
    let unseen = unseen.join("; ");
    assert!(unseen.contains("pool 'foundry-vms' is not started: foundry pool start foundry-vms"), "{unseen}");
}
