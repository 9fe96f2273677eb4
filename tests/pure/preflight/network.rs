//! Bridges, networks, VLAN tags and MTU.

use super::{around, assert_finds, local, old_libvirt};
use crate::support::bench::{Bench, GIB, bridge, host_with_neighbours};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use foundry::Kind;
use foundry::host::memory::MemoryHost;
use foundry::host::{Bridge, Domains};
use foundry::operations::preflight::preflight;

#[test]
fn bridges_are_named_with_the_nearest() {
    let bench = Bench::new();
    let vm = plan_with(WEB, &[("bridge: br0", "bridge: br2")]);
    assert_finds(
        &bench,
        &vm,
        Kind::Vm,
        "spec.networkInterfaces[0].bridge: there is no bridge 'br2'\n    did you mean 'br",
    );
    let bench = Bench::on(host_with_neighbours().with_bridges(&[]));
    assert_finds(&bench, &plan(WEB), Kind::Vm, "there is no bridge 'br0'\n    there is none");
}

/// libvirt attaches to it without a word.
#[test]
fn a_bridge_that_is_down_is_found() {
    let down = Bridge { is_up: false, ..bridge("br0", false) };
    let bench = Bench::on(host_with_neighbours().with_bridges(&[down]));
    let sentence = "spec.networkInterfaces[0].bridge: bridge 'br0' is down\n    ip link set br0 up";
    assert_finds(&bench, &plan(WEB), Kind::Vm, sentence);
}

#[test]
fn bridges_that_cannot_be_known_are_a_warning() {
    let host = MemoryHost::new()
        .with_image("foundry-images", "debian-12", "qcow2", GIB)
        .with_pool("foundry-vms", "/v");
    let bench = Bench::on(host);
    preflight(&bench.context(), &plan(WEB)).unwrap();
    assert_eq!(bench.told.warnings(), ["bridges of a remote host cannot be checked before the VM starts"]);
}

#[test]
fn networks_must_be_there_and_started() {
    let bench = Bench::on(host_with_neighbours().with_network("lab", false));
    let small = |network: &str| plan_with(SMALL, &[("network: default", &format!("network: {network}"))]);
    assert_finds(&bench, &small("lab"), Kind::Vm, "network 'lab' is not started\n    virsh net-start lab");
    assert_finds(
        &bench,
        &small("defualt"),
        Kind::Vm,
        "there is no network 'defualt'\n    did you mean 'default'?",
    );
    preflight(&bench.context(), &small("default")).unwrap();
}

#[test]
fn vlans_need_a_new_libvirt_and_a_bridge_that_filters() {
    let tagged = |bridge: &str| plan_with(WEB, &[("bridge: br0}", &format!("bridge: {bridge}, vlan: 7}}"))]);
    let bench = Bench::new();
    assert_finds(
        &bench,
        &tagged("br0"),
        Kind::Vm,
        "bridge 'br0' does not filter VLANs\n    attach it to a bridge that is already on the VLAN",
    );
    preflight(&bench.context(), &tagged("br1")).unwrap();
    let bench = Bench::on(old_libvirt(10_999_000));
    assert_finds(
        &bench,
        &tagged("br1"),
        Kind::Vm,
        "vlan: libvirt 10.999 cannot set VLAN tags on a Linux bridge; 11.0 can",
    );
    preflight(&Bench::on(old_libvirt(11_000_000)).context(), &tagged("br1")).unwrap();
    preflight(&bench.context(), &plan(WEB)).unwrap();
}

/// FND: a guest at 1500 on a bridge at 1400 loses its larger packets.
#[test]
fn the_mtu_of_the_bridge_is_the_guests() {
    let ready = |mtu: u32, more: &str| {
        let bench = local("10.0.0.254/24", mtu, around(&[("br0", "10.0.0.254/24")], &[]));
        let vm = plan_with(WEB, &[("bridge: br0}", &format!("bridge: br0{more}}}"))]);
        let plan = preflight(&bench.context(), &vm).unwrap().plan;
        bench.create(&vm).unwrap();
        let uuid = bench.host.uuid_of("web").unwrap();
        let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
        (plan.interfaces[0].link_mtu, xml, bench.told.warnings())
    };
    for mtu in [1400, 9000] {
        let (link, xml, warnings) = ready(mtu, "");
        assert_eq!((u32::from(link.unwrap()), warnings.len()), (mtu, 0));
        assert!(xml.contains(&format!("<mtu size=\"{mtu}\"/>")), "{xml}");
    }
    assert!(!ready(1500, "").1.contains("<mtu"));
    let (_, xml, warnings) = ready(1400, ", mtu: 1500");
    assert!(xml.contains("<mtu size=\"1500\"/>"), "{xml}");
    assert!(warnings[0].contains("mtu: 1500 is more than the MTU of bridge 'br0' (1400)"), "{warnings:?}");
    let (_, _, warnings) = ready(1500, ", mtu: 1400");
    assert!(warnings[0].contains("mtu: while the VM runs, bridge 'br0' gets MTU 1400"), "{warnings:?}");
}

#[test]
fn a_bridge_of_open_vswitch_is_recognised_and_tags_vlans_with_every_libvirt() {
    let ovs = Bridge { is_open_vswitch: true, is_up: false, ..bridge("br0", true) };
    let bench = Bench::on(old_libvirt(9_000_000).with_bridges(&[ovs]));
    let vm = plan_with(WEB, &[("bridge: br0}", "bridge: br0, vlan: 7}")]);
    bench.create(&vm).unwrap();
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    assert!(xml.contains("<virtualport type=\"openvswitch\"/>"), "{xml}");
    // One that works outside of the kernel cannot be seen, and is believed.
    let bench = Bench::on(host_with_neighbours().with_bridges(&[]));
    assert_finds(&bench, &plan(WEB), Kind::Vm, "there is no bridge 'br0'");
    let said = plan_with(WEB, &[("bridge: br0}", "bridge: br0, virtualport: openvswitch}")]);
    assert!(preflight(&bench.context(), &said).unwrap().plan.interfaces[0].on_open_vswitch);
}
