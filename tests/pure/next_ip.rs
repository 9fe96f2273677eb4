//! The lowest free address of a network: what is not free, and where it is looked for.

use crate::support::bench::{Bench, bridge, whole};
use crate::support::command::on_test;
use crate::support::faults::each_fault;
use foundry::Code;
use foundry::host::memory::Guest;
use foundry::host::{
    AddressSource, Bridge, GuestAddress, LinkAddress, Neighbour, Neighbourhood, Network, Subnet,
};
use foundry::operations::network::next_ip::find_free_addresses;

fn next(bench: &Bench, place: &str, count: usize) -> Vec<String> {
    let found =
        find_free_addresses(&bench.context(), place, count).unwrap_or_else(|e| panic!("{}", whole(&e)));
    found.iter().map(ToString::to_string).collect()
}

/// `web` has 10.0.0.1 and the gateway 10.0.0.254; the host 10.0.0.2 on br0; a neighbour 10.0.0.3.
fn bench() -> Bench {
    let bench = Bench::with_web();
    let own = LinkAddress { link: "br0".into(), net: "10.0.0.2/24".parse().unwrap() };
    let neighbour = |ip: [u8; 4], mac: &str| Neighbour { link: "br0".into(), ip: ip.into(), mac: mac.into() };
    let around = Neighbourhood {
        addresses: vec![own],
        // One that did not answer has no MAC address.
        neighbours: vec![neighbour([10, 0, 0, 3], "52:54:00:aa:aa:aa"), neighbour([10, 0, 0, 4], "")],
        ..Neighbourhood::default()
    };
    let br0 = Bridge { addresses: vec!["10.0.0.2/24".parse().unwrap()], ..bridge("br0", false) };
    let default = Network {
        name: "default".into(),
        active: true,
        subnets: vec![Subnet {
            host: "192.168.122.1/24".parse().unwrap(),
            has_dhcp: true,
            ranges: vec![("192.168.122.2".parse().unwrap(), "192.168.122.200".parse().unwrap())],
        }],
        ..Network::default()
    };
    let host = bench.host.clone().with_neighbourhood(around).with_bridges(&[br0, bridge("br1", true)]);
    Bench { host: host.with_network_of(default), ..bench }
}

#[test]
fn what_anybody_has_is_not_free() {
    let bench = bench();
    assert_eq!(next(&bench, "br0", 1), ["10.0.0.4/24"]);
    assert_eq!(next(&bench, "10.0.0.0/24", 3), ["10.0.0.4/24", "10.0.0.5/24", "10.0.0.6/24"]);
    assert_eq!(next(&bench, "10.0.0.253/24", 1), ["10.0.0.253/24"]);
    assert_eq!(next(&bench, "default", 1), ["192.168.122.201/24"], "the range is for DHCP");
    assert_eq!(next(&bench, "10.1.0.0/16", 1), ["10.1.0.1/16"]);
    let lease = GuestAddress { mac: "be:ef:0a:00:00:01".into(), ip: [10, 0, 0, 4].into(), prefix: 24 };
    bench.host.set_guest("web", Guest::new().address(AddressSource::Lease, 0, lease));
    assert_eq!(next(&bench, "br0", 1), ["10.0.0.5/24"], "a lease");
}

#[test]
fn a_place_without_a_free_address_is_an_error() {
    let bench = bench();
    for (place, code, says) in [
        ("10.0.0.254/24", Code::AddressTaken, "10.0.0.0/24 has 0 free addresses"),
        ("10.0.0.0/30", Code::AddressTaken, "10.0.0.0/30 has 0 free addresses"),
        ("br1", Code::AddressUnfit, "the host has no address on 'br1'"),
        ("br7", Code::BridgeMissing, "the host has: br0, br1, default"),
    ] {
        let error = find_free_addresses(&bench.context(), place, 1).unwrap_err();
        assert_eq!(error.code(), code, "{}", whole(&error));
        assert!(whole(&error).contains(says), "{place}: {}", whole(&error));
    }
}

#[test]
fn a_fault_at_any_call_is_an_error() {
    let faults = each_fault(
        bench,
        |bench| find_free_addresses(&bench.context(), "br0", 1),
        |_, outcome, _, label| {
            // A source of addresses that cannot answer is skipped by the host itself, never by an error.
            assert!(outcome.is_err(), "{label}: {outcome:?}");
        },
    );
    assert!(faults > 4, "{faults}");
}

#[test]
fn the_command_prints_one_address_on_each_line() {
    let ran = on_test(&["next-ip", "10.99.0.0/24", "--count", "2"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "10.99.0.1/24\n10.99.0.2/24\n"), "{}", ran.stderr);
    // Its network: libvirt's test driver has one, with the host at .1 and a range from .2 to .254.
    let ran = on_test(&["next-ip", "default"]);
    assert_eq!(ran.code, 4, "{}", ran.stdout);
    assert_eq!(on_test(&["next-ip", "10.99.0.0/24", "--count", "0"]).code, 64);
}
