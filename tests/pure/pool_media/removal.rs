//! Removal: a VM's own volumes only, nothing after a fault, and no pool that is in use.

use super::{CEPH, LVM, NOTHING, ZFS, bench, host, image, web};
use crate::support::bench::{Bench, FORCE, GENTLE, KEEP, foreign, host_with_neighbours, whole};
use crate::support::faults::each_fault;
use crate::support::manifests::HASH;
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::{DomainState, Pools, Volumes};
use foundry::operations::storage::pools;
use foundry::operations::vm::inspect::get_vm;
use foundry::operations::vm::seed_content::add_secrets;

#[test]
fn a_vm_goes_with_exactly_its_own_volumes() {
    for pool in [LVM, ZFS, CEPH] {
        let bench = bench(pool);
        bench.host.create_volume("fast", "<volume><name>web_data-vdx</name><capacity>1048576</capacity><allocation>1048576</allocation></volume>").unwrap();
        let before = bench.host.fingerprint();
        bench.create(&web(image(pool))).unwrap();
        let mut seen = get_vm(&bench.context(), "web").unwrap();
        add_secrets(&bench.context(), &mut seen).unwrap();
        let shown = seen.vm.spec.cloud_init.unwrap().password_hash;
        assert_eq!(shown.as_deref(), Some(HASH), "{pool}: the seed is read back");
        bench.destroy("web", GENTLE).unwrap();
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{pool}");
        bench.create(&web(image(pool))).unwrap();
        bench.destroy("web", KEEP).unwrap();
        let kept: Vec<String> = bench.host.volumes("fast").unwrap().into_iter().map(|v| v.name).collect();
        assert!(
            kept.contains(&"web_boot".to_owned()) && kept.contains(&"web_data-vdb".to_owned()),
            "{kept:?}"
        );
        assert!(!kept.contains(&"web_cloudinit".to_owned()), "{kept:?}");
    }
}

/// As in `create_faults` for files: nothing is left, or it is named and `destroy` removes it.
#[test]
fn every_fault_is_undone_or_told() {
    for pool in [LVM, ZFS, CEPH] {
        let before = bench(pool).host.fingerprint();
        let faults = each_fault(
            || bench(pool),
            |bench| bench.create(&web(image(pool))),
            |bench, outcome, _, label| {
                let Err(error) = outcome else { return };
                let told = error.outcome_texts().join("\n");
                let left = bench.host.changes_since(&before);
                let files: Vec<&String> = left.iter().filter(|c| c.contains("file ")).collect();
                for file in &files {
                    let name = file.split(':').next().unwrap().rsplit('/').next().unwrap();
                    assert!(told.contains(name), "{pool} {label}: {file} is not in\n{told}");
                }
                if bench.host.uuid_of("web").is_some() {
                    bench.next_run("web");
                    bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
                }
                let left = bench.host.changes_since(&before);
                assert_eq!(left, NOTHING, "{pool} {label}");
            },
        );
        assert!(faults > 100, "{faults}");
    }
}

/// libvirt shows a volume of LVM's at `/dev/VG/LV`; device-mapper, and so whoever wrote a domain's XML, has other
/// names for it.
#[test]
fn a_volume_under_device_mappers_name_is_the_same_volume() {
    let block = |name: &str, path: &str| {
        foreign(name, path).replace("type='file'", "type='block'").replace("file=", "dev=")
    };
    let bench = Bench::on(host(LVM).with_foreign_domain(&block("box", "/dev/mapper/vg0-web_data--vdb")));
    bench.create(&web(&[])).unwrap();
    let demolition = bench.survey("web", GENTLE).unwrap();
    let spared: Vec<&str> = demolition.kept_back.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(spared, ["volume 'web_data-vdb' in pool 'fast'"]);
    let users = pools::pool_info(&bench.context(), "fast").unwrap().users;
    assert_eq!(users, ["box", "web"]);
}

#[test]
fn a_pool_is_stopped_and_deleted_only_when_nobody_needs_it() {
    for pool in [LVM, ZFS, CEPH] {
        let bench = bench(pool);
        bench.create(&web(image(pool))).unwrap();
        let refused = |outcome: Result<bool, foundry::Error>| {
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.kind(), error.message()),
                (Kind::Storage, "pool 'fast' is in use by VM 'web'"),
                "{pool}"
            );
        };
        refused(pools::stop_pool(&bench.context(), "fast", true));
        assert!(bench.host.pool("fast").unwrap().unwrap().autostart, "nothing was changed");
        bench.host.set_state("web", DomainState::ShutOff);
        assert!(pools::stop_pool(&bench.context(), "fast", true).unwrap());
        assert!(!pools::stop_pool(&bench.context(), "fast", false).unwrap());
        // Of a stopped pool libvirt shows no volumes; its VMs are still there.
        refused(pools::delete_pool(&bench.context(), "fast", true).map(|()| true));
        assert!(pools::start_pool(&bench.context(), "fast", true).unwrap());
        assert!(!pools::start_pool(&bench.context(), "fast", false).unwrap());
        let now = bench.host.pool("fast").unwrap().unwrap();
        assert!(now.active && now.autostart);
        bench.destroy("web", GENTLE).unwrap();
        pools::delete_pool(&bench.context(), "fast", true).unwrap();
    }
}

/// One iSCSI unit in use says nothing of the other disks under `/dev/disk/by-path`.
#[test]
fn units_of_other_targets_are_not_a_pools() {
    let luns = "<pool type='iscsi'><name>luns</name><source><host name='san'/><device path='iqn.2026-01.com.example:a'/>\
                </source><target><path>/dev/disk/by-path</path></target></pool>";
    let other = foreign("box", "/dev/disk/by-path/pci-0000-nvme-1")
        .replace("type='file'", "type='block'")
        .replace("file=", "dev=");
    let bench = Bench::on(host_with_neighbours().with_pool_of(luns).with_foreign_domain(&other));
    assert_eq!(pools::pool_info(&bench.context(), "luns").unwrap().users, Vec::<String>::new());
    pools::delete_pool(&bench.context(), "luns", true).unwrap();
}
