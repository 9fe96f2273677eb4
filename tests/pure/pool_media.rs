//! VMs with disks on LVM, ZFS and Ceph: the volumes, the domain XML, what is refused, and that nothing is left.

mod attach_and_resize;
mod create;
mod removal;

use crate::support::bench::{Bench, GIB, host_with_neighbours};
use crate::support::manifests::{WEB, plan_with};
use foundry::host::memory::MemoryHost;
use foundry::host::{Domains, View};
use foundry::plan::VmPlan;

const NOTHING: [&str; 0] = [];

const LVM: &str = "<pool type='logical'><name>fast</name><source><name>vg0</name></source>\
                   <target><path>/dev/vg0</path></target></pool>";

const ZFS: &str = "<pool type='zfs'><name>fast</name><source><name>tank/vms</name></source>\
                   <target><path>/dev/zvol/tank/vms</path></target></pool>";

const CEPH: &str = "<pool type='rbd'><name>fast</name><source><host name='mon1'/>\
                    <host name='10.0.0.2' port='6790'/><name>vms</name><auth type='ceph' username='libvirt'>\
                    <secret usage='client.libvirt secret'/></auth></source></pool>";

/// `web` with its disks in the pool `fast`, and as much else as a test replaces.
fn web(replaced: &[(&str, &str)]) -> VmPlan {
    plan_with(WEB, &[&[("vcpus: 2", "vcpus: 2\n  storagePool: fast")], replaced].concat())
}

fn host(pool: &str) -> MemoryHost {
    host_with_neighbours().with_pool_of(pool)
}

/// The image that a boot disk in such a pool can be made from.
fn image(pool: &str) -> &'static [(&'static str, &'static str)] {
    match pool {
        ZFS => &[("image: debian-12", "empty: true")],
        CEPH => &[("image: debian-12", "image: 'fast:debian'")],
        _ => &[],
    }
}

fn bench(pool: &str) -> Bench {
    let host = host(pool);
    Bench::on(if pool == CEPH { host.with_image("fast", "debian", "raw", 2 * GIB) } else { host })
}

/// The disks of a domain, as libvirt has it.
fn disks_of(bench: &Bench) -> Vec<String> {
    let xml = bench.host.domain_xml(bench.host.uuid_of("web").unwrap(), View::Config).unwrap().unwrap();
    xml.split("<disk ")
        .skip(1)
        .map(|disk| disk.split("</disk>").next().unwrap().replace("\n      ", ""))
        .collect()
}
