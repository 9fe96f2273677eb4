//! Creates the network-config, version 2 of cloud-init's format (netplan's).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::plan::InterfacePlan;
use crate::yaml::node::{Mapping, Node};

/// Creates the network-config of a guest's interfaces.
pub(super) fn build_network_config(interfaces: &[InterfacePlan]) -> String {
    let ethernets = interfaces.iter().enumerate().fold(Mapping::new(), |all, (i, interface)| {
        all.with_entry(&format!("eth{i}"), ethernet_config(interface).into())
    });
    let config =
        Mapping::new().with_entry("version", Node::from_u64(2)).with_entry("ethernets", ethernets.into());
    Node::from(config).to_yaml()
}

/// Configures one interface, identified by its MAC address. The key (`eth0`) is only a label: without `set-name` the
/// guest keeps its own name, and no interface has to be renamed while it is in use.
fn ethernet_config(interface: &InterfacePlan) -> Mapping {
    let matching = Mapping::new().with_entry("macaddress", Node::from_string(interface.mac.to_string()));
    let mut config = Mapping::new().with_entry("match", matching.into());
    if let Some(mtu) = interface.mtu {
        config = config.with_entry("mtu", Node::from_u64(mtu.into()));
    }
    if interface.dhcp {
        config = add_dhcp(interface, config);
    }
    let addresses: Vec<IpNet> = interface.fixed_addresses().collect();
    if !addresses.is_empty() {
        config = config.with_entry("addresses", string_list(&addresses));
    }
    if !listens_to_routers(interface) {
        config = config.with_entry("accept-ra", Node::from_bool(false));
    }
    let routes: Vec<Node> = default_routes(interface).map(Node::from).collect();
    if !routes.is_empty() {
        config = config.with_entry("routes", Node::from_nodes(routes));
    }
    match name_servers(interface) {
        Some(servers) => config.with_entry("nameservers", servers.into()),
        None => config,
    }
}

/// Adds DHCP, with the MAC address as identifier. networkd's default is derived from the machine id: guests whose image
/// was made from a machine that had booted share that id, and would all get the same address.
fn add_dhcp(interface: &InterfacePlan, config: Mapping) -> Mapping {
    let config = config
        .with_entry("dhcp4", Node::from_bool(true))
        .with_entry("dhcp-identifier", Node::from_string("mac"));
    if interface.default_route {
        return config;
    }
    // Without this, the lease would bring a second default route. Only netplan and sysconfig support `use-routes`; the
    // metric, which the others write, makes the other interface's route win.
    let overrides = Mapping::new()
        .with_entry("use-routes", Node::from_bool(false))
        .with_entry("route-metric", Node::from_u64(1000));
    config.with_entry("dhcp4-overrides", overrides.into())
}

/// Whether the guest should accept router advertisements: only on the interface that has the IPv6 default route and no
/// gateway. A guest that waits for advertisements that never come boots seconds later.
fn listens_to_routers(interface: &InterfacePlan) -> bool {
    interface.default_route6 && interface.gateway6.is_none()
}

/// Returns the default routes, written as `0.0.0.0/0` and `::/0`. cloud-init passes `default` on to netplan, but fails
/// on it ("Address default is not a valid ip address", LP #1978543) if it writes the guest's network files itself:
/// ifupdown, networkd, NetworkManager, sysconfig.
fn default_routes(interface: &InterfacePlan) -> impl Iterator<Item = Mapping> {
    let v4 = interface.gateway.filter(|_| interface.default_route);
    let v6 = interface.gateway6.filter(|_| interface.default_route6);
    let v4 = v4.map(|gateway| route_config(interface, "0.0.0.0/0", gateway.into()));
    let v6 = v6.map(|gateway| route_config(interface, "::/0", gateway.into()));
    v4.into_iter().chain(v6)
}

fn route_config(interface: &InterfacePlan, to: &str, via: IpAddr) -> Mapping {
    let route = Mapping::new()
        .with_entry("to", Node::from_string(to))
        .with_entry("via", Node::from_string(via.to_string()));
    let is_link_local = matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
    if is_link_local || interface.fixed_addresses().any(|net| net.contains(&via)) {
        return route;
    }
    route.with_entry("on-link", Node::from_bool(true))
}

fn name_servers(interface: &InterfacePlan) -> Option<Mapping> {
    let mut servers = Mapping::new();
    if !interface.search.is_empty() {
        servers = servers.with_entry("search", string_list(&interface.search));
    }
    if !interface.dns.is_empty() {
        servers = servers.with_entry("addresses", string_list(&interface.dns));
    }
    (!interface.search.is_empty() || !interface.dns.is_empty()).then_some(servers)
}

fn string_list<T: ToString>(values: &[T]) -> Node {
    Node::from_nodes(values.iter().map(|v| Node::from_string(v.to_string())).collect())
}
