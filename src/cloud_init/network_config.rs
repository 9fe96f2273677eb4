//! The network configuration, version 2 of cloud-init's format (netplan's).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::plan::Interface;
use crate::yaml::node::{Mapping, Node};

/// The network configuration of a guest's interfaces.
pub(super) fn network_config(interfaces: &[Interface]) -> String {
    let ethernets = interfaces
        .iter()
        .enumerate()
        .fold(Mapping::new(), |all, (i, interface)| all.with(&format!("eth{i}"), ethernet(interface).into()));
    let config = Mapping::new().with("version", Node::integer(2)).with("ethernets", ethernets.into());
    Node::from(config).to_yaml()
}

/// One interface, known by its MAC address. The key (`eth0`) is only a label: without `set-name` the guest
/// keeps its own name for it, and no interface has to be renamed while it is in use.
fn ethernet(interface: &Interface) -> Mapping {
    let matching = Mapping::new().with("macaddress", Node::string(interface.mac.to_string()));
    let mut config = Mapping::new().with("match", matching.into());
    if interface.ip.is_none() {
        config = config.with("dhcp4", Node::boolean(true));
        if !interface.default_route {
            // Otherwise the lease brings a default route of its own, beside the one of another interface.
            let overrides = Mapping::new().with("use-routes", Node::boolean(false));
            config = config.with("dhcp4-overrides", overrides.into());
        }
    }
    let addresses = addresses(interface);
    if !addresses.is_empty() {
        config = config.with("addresses", strings(&addresses));
    }
    if is_ipv4_only(interface, &addresses) {
        config = config.with("accept-ra", Node::boolean(false));
    }
    if let Some(route) = default_route(interface) {
        config = config.with("routes", Node::sequence(vec![route.into()]));
    }
    if !interface.dns.is_empty() {
        let servers = Mapping::new().with("addresses", strings::<IpAddr>(&interface.dns));
        config = config.with("nameservers", servers.into());
    }
    config
}

fn addresses(interface: &Interface) -> Vec<IpNet> {
    interface.ip.map(IpNet::V4).into_iter().chain(interface.addresses.iter().copied()).collect()
}

/// Such an interface needs no router advertisements, and a guest that waits for one boots seconds later.
fn is_ipv4_only(interface: &Interface, addresses: &[IpNet]) -> bool {
    interface.ip.is_some() && addresses.iter().all(|a| matches!(a, IpNet::V4(_)))
}

/// Written as `0.0.0.0/0`: cloud-init hands `default` on to netplan, but fails on it ("Address default is
/// not a valid ip address", LP #1978543) wherever it writes the guest's network files itself: ifupdown,
/// networkd, NetworkManager, sysconfig.
fn default_route(interface: &Interface) -> Option<Mapping> {
    let gateway = interface.gateway.filter(|_| interface.default_route)?;
    let to = Node::string("0.0.0.0/0");
    Some(Mapping::new().with("to", to).with("via", Node::string(gateway.to_string())))
}

fn strings<T: ToString>(values: &[T]) -> Node {
    Node::sequence(values.iter().map(|v| Node::string(v.to_string())).collect())
}
