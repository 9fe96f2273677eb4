//! Pools.

use foundry::Kind;
use foundry::pool::PoolSourceSpec;
use foundry::record::VolumeRef;

use super::bench::{Bench, cases, pool_xml, refused, volume_xml};

cases! {
    an_absent_pool_is_none;
    an_absent_pool_refuses_what_needs_one;
    a_pools_life;
    a_pool_that_is_listed_is_the_one_that_is_found;
    a_pool_name_is_taken_once;
    a_directory_has_one_pool;
    an_active_pool_keeps_its_definition;
    a_pool_does_not_start_without_its_directory needs Files;
    a_pool_that_is_not_started_has_no_volumes;
    a_pools_volumes_outlive_its_definition needs Files;
    a_pool_that_makes_no_sense_is_refused;
    a_pool_tells_what_it_is_made_of;
}

fn an_absent_pool_is_none(bench: &Bench<'_>) {
    let absent = bench.name("absent");
    assert_eq!(bench.host().pool(&absent).unwrap(), None);
    assert_eq!(bench.host().volume(&VolumeRef::new(&absent, "a")).unwrap(), None);
    bench.host().delete_volume(&VolumeRef::new(&absent, "a")).unwrap();
}

fn an_absent_pool_refuses_what_needs_one(bench: &Bench<'_>) {
    let (host, absent) = (bench.host(), bench.name("absent"));
    refused(host.build_pool(&absent), Kind::Storage);
    refused(host.start_pool(&absent), Kind::Storage);
    refused(host.stop_pool(&absent), Kind::Storage);
    refused(host.refresh_pool(&absent), Kind::Storage);
    refused(host.set_pool_autostart(&absent, true), Kind::Storage);
    refused(host.undefine_pool(&absent), Kind::Storage);
    refused(host.volumes(&absent), Kind::Storage);
    refused(host.create_volume(&absent, &volume_xml("a", "raw", 1, None)), Kind::Storage);
}

fn a_pools_life(bench: &Bench<'_>) {
    let (host, name) = (bench.host(), bench.define_pool("pool"));
    let defined = bench.pool_now(&name);
    assert_eq!((defined.name.as_str(), defined.kind.as_str()), (name.as_str(), "dir"));
    assert_eq!((defined.active, defined.autostart), (false, false));
    assert_eq!(defined.target, Some(bench.directory("pool")));
    assert_eq!((defined.capacity.0, defined.allocation.0, defined.available.0), (0, 0, 0));
    host.build_pool(&name).unwrap();
    host.start_pool(&name).unwrap();
    host.set_pool_autostart(&name, true).unwrap();
    let started = bench.pool_now(&name);
    assert!(started.active && started.autostart && started.available.0 > 0, "{started:?}");
    refused(host.start_pool(&name), Kind::Storage);
    host.refresh_pool(&name).unwrap();
    host.stop_pool(&name).unwrap();
    refused(host.stop_pool(&name), Kind::Storage);
    assert_eq!(bench.pool_now(&name).capacity.0, 0);
    host.undefine_pool(&name).unwrap();
    assert_eq!(host.pool(&name).unwrap(), None);
}

fn a_pool_that_is_listed_is_the_one_that_is_found(bench: &Bench<'_>) {
    let name = bench.pool();
    let listed = bench.host().pools().unwrap().into_iter().find(|p| p.name == name).unwrap();
    let found = bench.pool_now(&name);
    // Others use the same file system, so what is left of it may change between two looks.
    assert_eq!(
        (&listed.target, listed.active, listed.capacity),
        (&found.target, found.active, found.capacity)
    );
}

fn a_pool_name_is_taken_once(bench: &Bench<'_>) {
    let name = bench.define_pool("pool");
    refused(bench.host().define_pool(&pool_xml(&name, &bench.directory("other"))), Kind::Storage);
    assert_eq!(bench.pool_now(&name).target, Some(bench.directory("pool")));
}

fn a_directory_has_one_pool(bench: &Bench<'_>) {
    bench.define_pool("pool");
    let second = pool_xml(&bench.name("second"), &bench.directory("pool"));
    refused(bench.host().define_pool(&second), Kind::Storage);
}

fn an_active_pool_keeps_its_definition(bench: &Bench<'_>) {
    let name = bench.pool();
    refused(bench.host().undefine_pool(&name), Kind::Storage);
    assert!(bench.pool_now(&name).active);
}

fn a_pool_does_not_start_without_its_directory(bench: &Bench<'_>) {
    let name = bench.define_pool("pool");
    refused(bench.host().start_pool(&name), Kind::Storage);
    assert!(!bench.pool_now(&name).active);
}

fn a_pool_that_is_not_started_has_no_volumes(bench: &Bench<'_>) {
    let (host, name) = (bench.host(), bench.pool());
    let path = bench.create(&name, "a", "raw", 4096).path;
    host.stop_pool(&name).unwrap();
    assert_eq!(host.volume(&VolumeRef::new(&name, "a")).unwrap(), None);
    assert_eq!(host.volume_at(&path).unwrap(), None);
    refused(host.volumes(&name), Kind::Storage);
    refused(host.refresh_pool(&name), Kind::Storage);
    refused(host.create_volume(&name, &volume_xml("b", "raw", 1, None)), Kind::Storage);
    host.delete_volume(&VolumeRef::new(&name, "a")).unwrap();
    host.start_pool(&name).unwrap();
    assert_eq!(bench.volume(&name, "a").path, path, "deleting where it cannot be seen does nothing");
}

fn a_pools_volumes_outlive_its_definition(bench: &Bench<'_>) {
    let (host, name) = (bench.host(), bench.pool());
    let made = bench.create(&name, "a", "qcow2", 1 << 20);
    host.stop_pool(&name).unwrap();
    host.undefine_pool(&name).unwrap();
    bench.define_pool("pool");
    host.start_pool(&name).unwrap();
    let found = bench.volume(&name, "a");
    assert_eq!((found.path, found.format, found.capacity), (made.path, made.format, made.capacity));
}

fn a_pool_that_makes_no_sense_is_refused(bench: &Bench<'_>) {
    let good = pool_xml(&bench.name("pool"), &bench.directory("pool"));
    for bad in [
        "no XML".to_owned(),
        good.replace("</pool>", ""),
        good.replace(&format!("<name>{}</name>", bench.name("pool")), ""),
        good.replace("<name>foundry", "<name>foundry/"),
        pool_xml(&bench.name("pool"), ""),
    ] {
        refused(bench.host().define_pool(&bad), Kind::Storage);
    }
    assert_eq!(bench.host().pool(&bench.name("pool")).unwrap(), None);
}

/// As far as it is there: a file system on a device that nobody has is defined and does not start.
fn a_pool_tells_what_it_is_made_of(bench: &Bench<'_>) {
    let (host, name) = (bench.host(), bench.name("pool"));
    let source = PoolSourceSpec::Fs {
        device: "/dev/disk/by-label/foundry-test-none".into(),
        target: bench.directory("pool"),
        format: "ext4".into(),
    };
    host.define_pool(&source.to_xml(&name).unwrap()).unwrap();
    let pool = bench.pool_now(&name);
    assert_eq!((pool.kind.as_str(), pool.target), ("fs", Some(bench.directory("pool"))));
    assert_eq!(pool.source.devices, ["/dev/disk/by-label/foundry-test-none"]);
    assert_eq!(pool.source.format.as_deref(), Some("ext4"));
}
