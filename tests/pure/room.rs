//! The room that a VM needs, where libvirt's number is old or the pool is not started.

use crate::support::bench::{Bench, GIB, bridge, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::Pools;
use foundry::host::memory::MemoryHost;
use foundry::operations::preflight::preflight;
use foundry::plan::VmPlan;

const NOTHING: [&str; 0] = [];

fn assert_finds(bench: &Bench, plan: &VmPlan, kind: Kind, sentence: &str) {
    let error = preflight(&bench.context(), plan).unwrap_err();
    assert_eq!(error.kind(), kind, "{}", whole(&error));
    assert!(error.text().contains(sentence), "{}", whole(&error));
}

/// libvirt says what was left when it looked last.
#[test]
fn the_room_is_what_is_left_now() {
    let bench = Bench::on(host_with_neighbours().with_space(100 * GIB));
    bench.host.take_space(100 * GIB);
    assert!(bench.host.pool("foundry-vms").unwrap().unwrap().available.0 > 90 * GIB);
    let before = bench.host.fingerprint();
    assert_finds(&bench, &plan(WEB), Kind::Storage, "the VM needs 4 MiB at once");
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.host.take_space(0);
    preflight(&bench.context(), &plan(WEB)).unwrap();
    // A pool that is busy cannot be looked at anew; what it said last must do.
    bench.host.fail_calls_named("refresh_pool");
    preflight(&bench.context(), &plan(WEB)).unwrap();
}

/// What a stopped pool has nobody knows before it is started; then nothing is made that has no room.
#[test]
fn the_room_of_a_pool_that_had_to_be_started_is_looked_at_too() {
    let stopped = Bench::on(host_with_neighbours().with_space(3 << 20));
    stopped.host.stop_pool("foundry-vms").unwrap();
    let first_use = MemoryHost::new()
        .with_image("foundry-images", "debian-12", "qcow2", 2 * GIB)
        .with_bridges(&[bridge("br0", false)])
        .with_space(3 << 20);
    for bench in [stopped, Bench::on(first_use)] {
        let files = bench.host.files();
        bench.host.forget_calls();
        let error = bench.create(&plan(WEB)).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage);
        assert!(error.text().contains("the VM needs 4 MiB at once"), "{}", whole(&error));
        assert!(!bench.host.calls().iter().any(|c| c.starts_with("define_domain")));
        assert_eq!(bench.host.files(), files);
    }
}
