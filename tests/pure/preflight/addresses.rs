//! IP and MAC addresses: other VMs', other machines', the host's own.

use super::{NOTHING, around, assert_finds, found, local};
use crate::support::bench::{Bench, host_with_neighbours};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use foundry::host::{Neighbourhood, Network, Subnet};
use foundry::operations::preflight::preflight;
use foundry::{Code, Kind};

/// FACTS 31: addresses are compared as addresses, whatever their prefix length.
#[test]
fn an_address_of_another_vm_is_told_with_what_it_names() {
    let bench = Bench::with_web();
    let other = |ip: &str| plan_with(WEB, &[("name: web,", "name: shop,"), ("10.0.0.1/24", ip)]);
    let sentence = "spec.networkInterfaces[0].ip: VM 'web' already has the address 10.0.0.1, and thereby MAC be:ef:0a:00:00:01 and tap vm0a000001";
    assert_finds(&bench, &other("10.0.0.1/16"), Kind::Vm, sentence);
    preflight(&bench.context(), &other("10.0.0.2/24")).unwrap();
}

#[test]
fn a_mac_address_of_another_vm_is_found_whichever_way_either_came_by_it() {
    let bench = Bench::with_web();
    let small = |mac: &str| {
        plan_with(SMALL, &[("network: default", &format!("network: default, macAddress: '{mac}'"))])
    };
    let sentence = "spec.networkInterfaces[0]: VM 'web' already has MAC be:ef:0a:00:00:01\n    choose another macAddress";
    assert_finds(&bench, &small("BE-EF-0A-00-00-01"), Kind::Vm, sentence);
    preflight(&bench.context(), &small("be:ef:0a:00:00:99")).unwrap();
}

#[test]
fn further_addresses_are_compared_too() {
    let six = "dnsServers: [10.0.0.254], addresses: ['2001:db8::1/64', 10.9.9.9/32]";
    let bench = Bench::new();
    bench.create(&plan_with(WEB, &[("dnsServers: [10.0.0.254]", six)])).unwrap();
    for (extra, ip, at) in
        [("'2001:db8:0::1/48'", "10.0.0.2/24", "2001:db8::1"), ("'10.0.0.1/32'", "10.0.0.2/24", "10.0.0.1")]
    {
        let extra = format!("dnsServers: [10.0.0.254], addresses: [{extra}]");
        let vm = plan_with(
            WEB,
            &[("name: web,", "name: shop,"), ("10.0.0.1/24", ip), ("dnsServers: [10.0.0.254]", &extra)],
        );
        assert_finds(
            &bench,
            &vm,
            Kind::Vm,
            &format!("spec.networkInterfaces[0].addresses: VM 'web' already has the address {at}"),
        );
    }
    let vm = plan_with(
        WEB,
        &[
            ("name: web,", "name: shop,"),
            ("10.0.0.1/24, gateway: 10.0.0.254", "10.9.9.9/8, gateway: 10.0.0.254"),
        ],
    );
    assert_finds(
        &bench,
        &vm,
        Kind::Vm,
        "spec.networkInterfaces[0].ip: VM 'web' already has the address 10.9.9.9",
    );
}

/// The guest gets the user's own network-config: what it replaces is neither asked for nor judged, and has no effect.
#[test]
fn fields_that_an_own_network_config_replaces_are_warned_of_and_not_asked_for() {
    let warnings = |interfaces: &str| {
        let mut bench = Bench::new();
        bench.settings.dns = vec!["10.0.0.253".parse().unwrap()];
        let own = "networkConfig: {version: 2, ethernets: {a: {dhcp4: true}}}\n    fqdn: web.example.com";
        let old = "{ip: 10.0.0.1/24, gateway: 10.0.0.254, dnsServers: [10.0.0.254], bridge: br0}";
        let vm = plan_with(WEB, &[(old, interfaces), ("fqdn: web.example.com", own)]);
        preflight(&bench.context(), &vm).unwrap();
        bench.told.warnings()
    };
    assert_eq!(warnings("{ip: 10.0.0.1/24, bridge: br0}"), NOTHING, "the way out is not ours to know");
    assert_eq!(warnings("{ip: 10.0.0.1/24, bridge: br0, addresses: ['fd00::1/64'], mtu: 1500}"), NOTHING);
    let none = |index: usize, fields: &str| {
        format!(
            "spec.networkInterfaces[{index}]: {fields} without effect: the guest gets spec.cloudInit.networkConfig instead"
        )
    };
    assert_eq!(warnings("{ip: 10.0.0.1/24, bridge: br0, gateway: 10.0.0.254}"), [none(0, "gateway")]);
    let all = "{ip: 10.0.0.1/24, bridge: br0}\n    - {ip: 10.0.0.2/24, addresses: ['fd00::1/64'], bridge: br0, gateway: 10.0.0.254, \
               gateway6: 'fd00::2', onLink: true, dnsServers: [1.1.1.1], searchDomains: [lab], defaultRoute: true}";
    assert_eq!(
        warnings(all),
        [none(1, "gateway, gateway6, onLink, dnsServers, searchDomains, defaultRoute")]
    );
}

#[test]
fn an_address_of_the_hosts_own_is_refused_on_whichever_interface_it_is() {
    for link in ["br0", "eth0", "virbr0"] {
        let bench = local("10.0.0.254/24", 1500, around(&[(link, "10.0.0.1/24")], &[]));
        let sentence = format!("spec.networkInterfaces[0]: 10.0.0.1 is this host's own address, on {link}");
        assert_finds(&bench, &plan(WEB), Kind::Vm, &sentence);
        assert_eq!(found(&bench, &plan(WEB)).code(), Code::AddressOfHost);
    }
}

#[test]
fn an_address_that_another_machine_has_is_a_warning() {
    let warnings = |mac: &str| {
        let bench = local("10.0.0.254/24", 1500, around(&[("br0", "10.0.0.254/24")], &[("10.0.0.1", mac)]));
        preflight(&bench.context(), &plan(WEB)).unwrap();
        bench.told.warnings()
    };
    assert_eq!(
        warnings("52:54:00:00:00:01"),
        [
            "spec.networkInterfaces[0]: another machine uses 10.0.0.1, or used it just now: MAC 52:54:00:00:00:01 on br0, and the VM's MAC is be:ef:0a:00:00:01"
        ]
    );
    assert_eq!(warnings("be:ef:0a:00:00:01"), NOTHING, "the VM of that name before");
    assert_eq!(warnings(""), NOTHING);
}

#[test]
fn a_subnet_that_the_host_does_not_reach_is_a_warning_with_both() {
    let warnings = |address: &str, around: Neighbourhood| {
        let bench = local(address, 1500, around);
        preflight(&bench.context(), &plan(WEB)).unwrap();
        bench.told.warnings()
    };
    let off = around(&[("br0", "10.77.0.1/16")], &[]);
    assert_eq!(
        warnings("10.77.0.1/16", off.clone()),
        [
            "spec.networkInterfaces[0]: 10.0.0.1/24 is not in the subnet of bridge 'br0', where this host has 10.77.0.1/16: this host reaches the VM only through a router"
        ]
    );
    assert_eq!(warnings("", off.clone()), NOTHING, "a bridge without an address only carries frames");
    let routed = Neighbourhood { routes: vec!["10.0.0.0/16".parse().unwrap()], ..off.clone() };
    assert_eq!(warnings("10.77.0.1/16", routed), NOTHING);
    assert_eq!(warnings("10.0.0.254/24", around(&[("br0", "10.0.0.254/24")], &[])), NOTHING);
    let elsewhere = around(&[("br0", "10.77.0.1/16"), ("eth0", "10.0.0.7/8")], &[]);
    assert_eq!(warnings("10.77.0.1/16", elsewhere), NOTHING);
}

fn lab(forward: Option<&str>, dhcp: bool) -> Network {
    let ranges = if dhcp {
        vec![("192.168.9.100".parse().unwrap(), "192.168.9.200".parse().unwrap())]
    } else {
        vec![]
    };
    let subnet = Subnet { host: "192.168.9.1/24".parse().unwrap(), has_dhcp: dhcp, ranges };
    Network {
        name: "lab".into(),
        active: true,
        forward: forward.map(str::to_owned),
        subnets: vec![subnet],
        ..Network::default()
    }
}

#[test]
fn what_libvirt_knows_of_a_networks_addresses_is_compared() {
    let looked = |network: Network, more: &str| {
        let bench = Bench::on(host_with_neighbours().with_network_of(network));
        let vm = plan_with(SMALL, &[("network: default", &format!("network: lab{more}"))]);
        let outcome = preflight(&bench.context(), &vm).map(drop).map_err(|e| e.code());
        (outcome, bench.told.warnings().join("\n"))
    };
    assert_eq!(looked(lab(Some("nat"), true), ""), (Ok(()), String::new()));
    assert_eq!(looked(lab(Some("nat"), true), ", ip: 192.168.9.5/24"), (Ok(()), String::new()));
    assert_eq!(looked(lab(None, true), ", ip: 192.168.9.1/24").0, Err(Code::AddressOfHost));
    let (outcome, told) = looked(lab(None, true), ", ip: 10.99.0.5/24, gateway: 10.99.0.1");
    assert_eq!(outcome, Ok(()));
    assert!(told.contains("10.99.0.5 is not in the subnet of network 'lab', 192.168.9.0/24"), "{told}");
    let told = looked(lab(Some("nat"), true), ", ip: 192.168.9.100/24").1;
    assert!(told.contains("192.168.9.100 is in the DHCP range of network 'lab' (192.168.9.100 to"), "{told}");
    let told = looked(lab(Some("nat"), false), "").1;
    assert!(told.contains("network 'lab' has no DHCP server"), "{told}");
    let bare = Network { subnets: Vec::new(), ..lab(None, false) };
    assert!(looked(bare.clone(), "").1.contains("has no DHCP server"));
    // Behind these somebody else does.
    let bridged = Network { forward: Some("bridge".into()), ..bare };
    assert_eq!(looked(bridged, ""), (Ok(()), String::new()));
}
