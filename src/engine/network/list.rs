//! The networks of a host: libvirt's networks and the bridges of the kernel, with who uses them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::Context;
use foundry_core::error::{Code, Error};
use foundry_host::{Bridge, Network, View};

/// A libvirt network or a bridge of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkView {
    /// Its name: in a manifest under 'network' or 'bridge'.
    pub name: String,
    /// What it is.
    pub kind: NetworkKind,
    /// Whether the network is started, or the bridge is up.
    pub active: bool,
    /// How libvirt forwards the packets of a network (nat, route, open, bridge, …). A network without it is isolated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<String>,
    /// The bridge of a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The host's own addresses on it, with their prefix length.
    pub addresses: Vec<String>,
    /// The DHCP ranges of a network, FIRST-LAST.
    pub dhcp_ranges: Vec<String>,
    /// The MTU of a bridge, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether a bridge filters VLANs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters_vlans: Option<bool>,
    /// The domains with an interface on it, running or not, made by foundry or not.
    pub vms: Vec<String>,
}

/// What a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// A network of libvirt.
    Network,
    /// A bridge of the host's kernel.
    Bridge,
    /// A bridge of Open vSwitch.
    OpenVswitch,
}

impl NetworkKind {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Bridge => "bridge",
            Self::OpenVswitch => "openvswitch",
        }
    }
}

/// Lists libvirt's networks, and the bridges of this host that are not a network's; sorted by kind and name. The bridges
/// of a remote host are unknown.
///
/// # Errors
/// A failed call to the host.
pub fn list_networks(context: &Context) -> Result<Vec<NetworkView>, Error> {
    let users = Users::read(context)?;
    let bridges = context.host.bridges()?.unwrap_or_default();
    let mut views = Vec::new();
    for name in context.host.networks()? {
        // One that was deleted since is left out.
        views.extend(context.host.network(&name)?.map(|network| view_network(network, &bridges, &users)));
    }
    let of_networks: BTreeSet<String> = views.iter().filter_map(|view| view.bridge.clone()).collect();
    let others = bridges.into_iter().filter(|bridge| !of_networks.contains(&bridge.name));
    views.extend(others.map(|bridge| view_bridge(bridge, &users)));
    views.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(views)
}

/// Finds a network or a bridge by its name. A network's bridge finds the network. If a network and a bridge have the
/// same name, it is the network.
///
/// # Errors
/// [`Code::NetworkMissing`] if there is none.
pub fn get_network(context: &Context, name: &str) -> Result<NetworkView, Error> {
    let views = list_networks(context)?;
    let names: Vec<String> = views.iter().map(|view| view.name.clone()).collect();
    let of_bridge = |view: &&NetworkView| view.bridge.as_deref() == Some(name);
    let found = views.iter().find(|view| view.name == name).or_else(|| views.iter().find(of_bridge));
    found.cloned().ok_or_else(|| {
        let error = Error::new(Code::NetworkMissing, format!("there is no network or bridge '{name}'"));
        let near = foundry_core::names::find_nearest(name, names.iter().map(String::as_str));
        match near {
            Some(near) => error.hint(crate::preflight::suggest_names(name, &[near])),
            None => error.hint(format!("the host has: {}", names.join(", "))),
        }
    })
}

/// The domains by what their interfaces are attached to: kind and name.
struct Users(BTreeMap<(String, String), BTreeSet<String>>);

impl Users {
    fn read(context: &Context) -> Result<Self, Error> {
        let mut users: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for domain in context.host.domains(false)? {
            let wanted = [(View::Current, domain.state.is_active()), (View::Config, domain.persistent)];
            for (view, _) in wanted.into_iter().filter(|(_, is_wanted)| *is_wanted) {
                let described = match context.host.describe(domain.uuid, view) {
                    Err(lost) if lost.outcome_unknown() => return Err(lost.into()),
                    Err(unreadable) => {
                        context.warn(format!("domain '{}' is skipped: {unreadable}", domain.name));
                        None
                    }
                    Ok(described) => described,
                };
                for interface in described.into_iter().flat_map(|d| d.interfaces) {
                    if let Some(source) = interface.source {
                        users.entry((interface.kind, source)).or_default().insert(domain.name.clone());
                    }
                }
            }
        }
        Ok(Self(users))
    }

    fn of(&self, kind: &str, name: &str) -> impl Iterator<Item = &String> {
        self.0.get(&(kind.to_owned(), name.to_owned())).into_iter().flatten()
    }
}

fn view_network(network: Network, bridges: &[Bridge], users: &Users) -> NetworkView {
    let bridge = network.bridge.as_deref().and_then(|name| bridges.iter().find(|b| b.name == name));
    // A domain may also be attached to the bridge itself.
    let on_bridge = network.bridge.iter().flat_map(|name| users.of("bridge", name));
    let vms: BTreeSet<&String> = users.of("network", &network.name).chain(on_bridge).collect();
    let range = |(first, last): &(std::net::IpAddr, std::net::IpAddr)| format!("{first}-{last}");
    NetworkView {
        kind: NetworkKind::Network,
        active: network.active,
        addresses: network.subnets.iter().map(|subnet| subnet.host.to_string()).collect(),
        dhcp_ranges: network.subnets.iter().flat_map(|subnet| &subnet.ranges).map(range).collect(),
        mtu: bridge.map(|bridge| bridge.mtu),
        filters_vlans: bridge.map(|bridge| bridge.filters_vlans),
        vms: vms.into_iter().cloned().collect(),
        forward: network.forward,
        bridge: network.bridge,
        name: network.name,
    }
}

fn view_bridge(bridge: Bridge, users: &Users) -> NetworkView {
    NetworkView {
        kind: if bridge.is_open_vswitch { NetworkKind::OpenVswitch } else { NetworkKind::Bridge },
        active: bridge.is_up,
        forward: None,
        bridge: None,
        addresses: bridge.addresses.iter().map(ToString::to_string).collect(),
        dhcp_ranges: Vec::new(),
        mtu: Some(bridge.mtu),
        filters_vlans: Some(bridge.filters_vlans),
        vms: users.of("bridge", &bridge.name).cloned().collect(),
        name: bridge.name,
    }
}
