//! `network list` and `network info`: libvirt's networks, the host's bridges, and who uses them.

use crate::support::bench::{Bench, bridge, foreign, whole};
use crate::support::command::on_test;
use crate::support::faults::each_fault;
use foundry::Code;
use foundry::host::{Bridge, Network, Subnet};
use foundry::operations::network::list::{NetworkKind, get_network, list_networks};

/// `web` is on br0, a foreign domain on the network and another on its bridge.
fn bench() -> Bench {
    let on = |name: &str, interface: &str| {
        foreign(name, &format!("/elsewhere/{name}")).replace("</devices>", &format!("{interface}</devices>"))
    };
    let subnet = Subnet {
        host: "192.168.122.1/24".parse().unwrap(),
        has_dhcp: true,
        ranges: vec![("192.168.122.2".parse().unwrap(), "192.168.122.200".parse().unwrap())],
    };
    let default = Network {
        name: "default".into(),
        active: true,
        bridge: Some("virbr0".into()),
        forward: Some("nat".into()),
        subnets: vec![subnet],
    };
    let br0 = Bridge { addresses: vec!["10.0.0.2/24".parse().unwrap()], mtu: 9000, ..bridge("br0", true) };
    let ovs = Bridge { is_open_vswitch: true, is_up: false, ..bridge("ovs0", false) };
    let bench = Bench::with_web();
    let host = bench.host.clone().with_bridges(&[br0, ovs, bridge("virbr0", false)]).with_network_of(default);
    let host = host
        .with_network("off", false)
        .with_foreign_domain(&on("a", "<interface type='network'><source network='default'/></interface>"))
        .with_foreign_domain(&on("b", "<interface type='bridge'><source bridge='virbr0'/></interface>"));
    Bench { start: Some(host.fingerprint()), host, ..bench }
}

#[test]
fn networks_and_bridges_are_listed_with_their_users() {
    let bench = bench();
    let views = list_networks(&bench.context()).unwrap();
    let names: Vec<(NetworkKind, &str, bool)> =
        views.iter().map(|v| (v.kind, v.name.as_str(), v.active)).collect();
    let wanted = [
        (NetworkKind::Network, "default", true),
        (NetworkKind::Network, "off", false),
        (NetworkKind::Bridge, "br0", true),
        (NetworkKind::OpenVswitch, "ovs0", false),
    ];
    assert_eq!(names, wanted, "a network's own bridge is not listed again");
    let default = &views[0];
    assert_eq!(
        (&default.vms[..], &default.dhcp_ranges[..]),
        (&["a".to_owned(), "b".into()][..], &["192.168.122.2-192.168.122.200".to_owned()][..])
    );
    assert_eq!((default.bridge.as_deref(), default.forward.as_deref()), (Some("virbr0"), Some("nat")));
    let br0 = &views[2];
    assert_eq!((&br0.vms[..], br0.mtu, br0.filters_vlans), (&["web".to_owned()][..], Some(9000), Some(true)));
    assert_eq!(br0.addresses[0], "10.0.0.2/24");
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [""; 0]);
}

#[test]
fn one_is_found_by_its_name_or_its_bridge() {
    let bench = bench();
    let name = |name: &str| get_network(&bench.context(), name).map(|view| view.name);
    assert_eq!(name("br0").unwrap(), "br0");
    assert_eq!(name("virbr0").unwrap(), "default");
    let error = name("defalt").unwrap_err();
    assert_eq!(error.code(), Code::NetworkMissing);
    assert!(whole(&error).contains("default"), "{}", whole(&error));
}

#[test]
fn a_fault_is_an_error_or_a_domain_that_is_left_out_aloud() {
    let faults = each_fault(
        bench,
        |bench| list_networks(&bench.context()),
        |bench, outcome, _, label| {
            assert!(outcome.is_err() || !bench.told.warnings().is_empty(), "{label}: {outcome:?}");
        },
    );
    assert!(faults > 4, "{faults}");
}

#[test]
fn the_test_drivers_network_is_shown() {
    let ran = on_test(&["network", "info", "default"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for line in
        ["Name:     default", "Kind:     network", "Bridge:   virbr0", "Forward:  nat", "192.168.122.1/24"]
    {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    assert_eq!(on_test(&["network", "info", "nosuch"]).code, 4);
}
