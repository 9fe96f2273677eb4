//! `uninstall` takes away what foundry made, and nothing else.

use crate::support::bench::{Bench, FORCE, foreign, whole};
use crate::support::faults::each_fault;
use crate::support::images::{Image, qcow2};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use foundry::host::memory::MemoryHost;
use foundry::operations::Cancel;
use foundry::operations::uninstall::{UninstallPlan, execute_uninstall, plan_uninstall};

const NOTHING: [&str; 0] = [];
const BASE: &str = "/var/lib/libvirt/images/foundry";

/// A host as the first commands of a newcomer leave it: the default pools, an image, and two VMs.
fn bench() -> Bench {
    let bench = Bench::on(MemoryHost::new());
    let image = qcow2();
    Image::dense(image.as_slice(), image.len() as u64)
        .origin("https://example.org/d.qcow2")
        .import(&bench, "debian-12")
        .unwrap();
    bench.create(&plan(WEB)).unwrap();
    let disk = ("bootDisk: {sizeGB: 1, empty: true}", "bootDisk: {sizeGB: 3, image: debian-12.qcow2}");
    bench.create(&plan_with(SMALL, &[disk, ("network: default", "bridge: br0")])).unwrap();
    bench
}

fn look(bench: &Bench) -> UninstallPlan {
    plan_uninstall(&bench.context(), FORCE, false).unwrap_or_else(|e| panic!("{}", whole(&e)))
}

fn reasons(plan: &UninstallPlan) -> Vec<String> {
    plan.kept.iter().map(|(what, why)| format!("{what}: {why}")).collect()
}

#[test]
fn nothing_of_foundry_remains() {
    let bench = bench();
    let plan = look(&bench);
    assert_eq!((plan.vms.len(), plan.images.len(), plan.pools.len()), (2, 1, 2));
    assert_eq!(reasons(&plan), NOTHING);
    let mut removed = 0;
    execute_uninstall(&bench.context(), &plan, |_| removed += 1).unwrap();
    assert_eq!(removed, 5);
    let empty = Bench::on(MemoryHost::new());
    assert_eq!(bench.host.changes_since(&empty.host.fingerprint()), NOTHING);
    assert!(look(&bench).is_empty());
}

#[test]
fn what_is_of_others_stays_and_is_named() {
    let bench = bench();
    let host = bench
        .host
        .clone()
        .with_image("foundry-images", "mine", "qcow2", 1 << 30)
        .with_image("foundry-vms", "other_disk", "raw", 1 << 30)
        .with_foreign_domain(&foreign("other", &format!("{BASE}/vms/other_disk")));
    let bench = Bench { host, ..bench };
    let plan = look(&bench);
    assert_eq!(plan.pools, []);
    assert_eq!(
        reasons(&plan),
        [
            "image 'mine': it cannot be pulled again; --all deletes it, too",
            "pool 'foundry-vms': it has other volumes: other_disk",
            "pool 'foundry-images': it has other volumes: mine",
        ]
    );
    execute_uninstall(&bench.context(), &plan, |_| {}).unwrap();
    assert_eq!(bench.host.files(), [format!("{BASE}/images/mine"), format!("{BASE}/vms/other_disk")]);
    assert!(bench.host.uuid_of("other").is_some() && bench.host.uuid_of("web").is_none());
}

#[test]
fn an_image_stays_with_the_vm_that_stays() {
    let bench = bench();
    let host =
        bench.host.clone().with_foreign_domain(&foreign("other", &format!("{BASE}/images/debian-12.qcow2")));
    let plan = look(&Bench { host, ..bench });
    assert_eq!(plan.images, []);
    assert!(reasons(&plan)[0].contains("domain 'other' uses it"), "{:?}", reasons(&plan));
}

#[test]
fn a_pool_of_the_user_with_the_same_name_stays() {
    let bench = Bench::new();
    let kept = reasons(&look(&bench));
    for pool in ["foundry-vms", "foundry-images"] {
        assert!(kept.contains(&format!("pool '{pool}': foundry did not make it")), "{kept:?}");
    }
}

#[test]
fn an_uninstall_that_fails_at_any_call_is_finished_by_the_same_again() {
    let uninstall = |bench: &Bench| {
        let plan = plan_uninstall(&bench.context(), FORCE, false)?;
        execute_uninstall(&bench.context(), &plan, |_| {}).map_err(|mut failures| failures.remove(0))
    };
    let empty = Bench::on(MemoryHost::new()).host.fingerprint();
    let faults = each_fault(bench, uninstall, |bench, _, _, label| {
        bench.cancel = Cancel::default();
        if let Err(e) = uninstall(bench) {
            panic!("{label}, again: {}", whole(&e));
        }
        let left = bench.host.changes_since(&empty);
        let is_parent = |change: &String| change.contains(BASE) && !change.contains(&format!("{BASE}/"));
        assert!(left.iter().all(is_parent), "{label}: {left:?}");
    });
    assert!(faults > 100, "{faults}");
}
