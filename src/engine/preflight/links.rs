//! Checks the bridges and networks of a VM's interfaces, and whether its addresses fit them.
//!
//! What cannot work is an issue. What may be intended, because another router or machine can make it work, is a warning.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{bridge_helper, suggest_names};
use crate::Context;
use crate::preflight::issues::PreflightReport;
use foundry_core::error::{Advice, Code, Error, Issue};
use foundry_core::plan::{InterfacePlan, Link, VmPlan};
use foundry_core::text::{escape_unseen, quote_for_shell};
use foundry_host::diagnosis::advice::BRIDGE_WITH_VLANS;
use foundry_host::{Bridge, Neighbourhood, Network};

/// The first libvirt with VLAN tags on a plain Linux bridge (its release notes for 11.0.0).
const VLAN_ON_BRIDGES: u32 = 11_000_000;

/// Ethernet's MTU, which a guest uses unless another one is configured.
const USUAL_MTU: u32 = 1500;

/// Checks the links of all interfaces. Returns the interfaces, completed with what the host knows about their links.
pub(crate) fn check_links(
    context: &Context,
    plan: &VmPlan,
    libvirt: u32,
    report: &mut PreflightReport,
) -> Result<Vec<InterfacePlan>, Error> {
    let needs_bridges = plan.interfaces.iter().any(|i| matches!(i.link, Link::Bridge(_)));
    let bridges = if needs_bridges { context.host.bridges()? } else { None };
    if needs_bridges && bridges.is_none() {
        context.warn("bridges of a remote host cannot be checked before the VM starts");
    }
    let fixed: Vec<IpAddr> =
        plan.interfaces.iter().flat_map(InterfacePlan::fixed_addresses).map(|net| net.addr()).collect();
    let wants_neighbours = context.host.is_local() && !fixed.is_empty();
    let neighbourhood = if wants_neighbours { context.host.neighbourhood(&fixed)? } else { None };
    let mut interfaces = Vec::new();
    for (index, interface) in plan.interfaces.iter().enumerate() {
        let at = format!("spec.networkInterfaces[{index}]");
        report.begin_check(&at, ok_text_for(&interface.link, bridges.is_some()));
        let mut checker = InterfaceChecker { context, at, interface, report };
        let bridge = match &interface.link {
            Link::Bridge(name) => checker.check_bridge(name.as_str(), bridges.as_deref()),
            Link::Network(name) => checker.check_network(name.as_str()).map(|()| None)?,
        };
        let on_open_vswitch = interface.on_open_vswitch || bridge.is_some_and(|b| b.is_open_vswitch);
        checker.check_vlan(bridge, libvirt, on_open_vswitch);
        if let Some(neighbourhood) = &neighbourhood {
            checker.check_addresses(bridge, neighbourhood);
        }
        let mtu = bridge.map(|bridge| bridge.mtu).filter(|mtu| *mtu != USUAL_MTU);
        let link_mtu = mtu.and_then(|mtu| u16::try_from(mtu).ok());
        interfaces.push(InterfacePlan { on_open_vswitch, link_mtu, ..interface.clone() });
    }
    Ok(interfaces)
}

fn ok_text_for(link: &Link, are_bridges_known: bool) -> String {
    match link {
        Link::Bridge(name) if are_bridges_known => format!("bridge '{name}' exists and is up"),
        Link::Bridge(name) => format!("bridge '{name}' cannot be checked before the VM starts"),
        Link::Network(name) => format!("network '{name}' is started"),
    }
}

/// Checks one interface; issues and warnings begin with its path in the manifest.
struct InterfaceChecker<'a> {
    context: &'a Context,
    at: String,
    interface: &'a InterfacePlan,
    report: &'a mut PreflightReport,
}

impl InterfaceChecker<'_> {
    fn add_issue(&mut self, code: Code, message: String, hint: impl Into<Advice>) {
        self.report.push(Issue::new(code, format!("{}{message}", self.at)).hint(hint));
    }

    fn warn(&self, message: impl AsRef<str>) {
        self.context.warn(format!("{}{}", self.at, message.as_ref()));
    }

    /// Finds and checks the bridge; `None` if it is missing or bridges cannot be listed.
    fn check_bridge<'b>(&mut self, name: &str, bridges: Option<&'b [Bridge]>) -> Option<&'b Bridge> {
        let bridges = bridges?;
        let word = quote_for_shell(name);
        let Some(bridge) = bridges.iter().find(|b| b.name == name) else {
            // A userspace Open vSwitch bridge is invisible to the kernel, so it may exist.
            if !self.interface.on_open_vswitch {
                let known: Vec<&str> = bridges.iter().map(|b| b.name.as_str()).collect();
                let message = format!(".bridge: there is no bridge '{name}'");
                self.add_issue(Code::BridgeMissing, message, suggest_names(name, &known));
            }
            return None;
        };
        // libvirt would attach to a bridge that is down, and no frame would ever pass. An Open vSwitch bridge can work
        // while its own interface is down.
        if !bridge.is_up && !bridge.is_open_vswitch {
            self.add_issue(
                Code::BridgeDown,
                format!(".bridge: bridge '{name}' is down"),
                format!("ip link set {word} up"),
            );
        }
        self.report.extend(bridge_helper::session_issue(self.context, name));
        if let Some(mtu) = self.interface.mtu.filter(|mtu| u32::from(*mtu) > bridge.mtu) {
            self.warn(format!(
                ".mtu: {mtu} is more than the MTU of bridge '{name}' ({}): larger packets are dropped",
                bridge.mtu
            ));
        }
        // The kernel's `br_mtu_auto_adjust` lowers a bridge to its smallest port; Open vSwitch does the same.
        if let Some(mtu) = self.interface.mtu.filter(|mtu| u32::from(*mtu) < bridge.mtu) {
            self.warn(format!(
                ".mtu: while the VM runs, bridge '{name}' gets MTU {mtu} for the host, too, unless its own MTU ({}) was set by hand",
                bridge.mtu
            ));
        }
        Some(bridge)
    }

    fn check_vlan(&mut self, bridge: Option<&Bridge>, libvirt: u32, on_open_vswitch: bool) {
        if self.interface.vlan.is_none() || on_open_vswitch {
            return;
        }
        if let Some(bridge) = bridge.filter(|b| !b.filters_vlans) {
            let message = format!(".vlan: bridge '{}' does not filter VLANs", bridge.name);
            self.add_issue(Code::VlanUnsupported, message, BRIDGE_WITH_VLANS);
        }
        if libvirt < VLAN_ON_BRIDGES {
            let (major, minor) = (libvirt / 1_000_000, libvirt / 1000 % 1000);
            let message =
                format!(".vlan: libvirt {major}.{minor} cannot set VLAN tags on a Linux bridge; 11.0 can");
            self.add_issue(Code::VlanUnsupported, message, "attach to a bridge that is already in that VLAN");
        }
    }

    fn check_network(&mut self, name: &str) -> Result<(), Error> {
        match self.context.host.network(name)? {
            Some(network) => {
                if !network.active {
                    let message = format!(".network: network '{name}' is not started");
                    self.add_issue(
                        Code::NetworkInactive,
                        message,
                        format!("virsh net-start {}", quote_for_shell(name)),
                    );
                }
                self.check_network_addresses(&network);
            }
            None => {
                let known = self.context.host.networks()?;
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let message = format!(".network: there is no network '{name}'");
                self.add_issue(Code::NetworkMissing, message, suggest_names(name, &known));
            }
        }
        Ok(())
    }

    /// Checks the interface's addresses against the subnets of the libvirt network.
    fn check_network_addresses(&mut self, network: &Network) {
        let name = &network.name;
        let is_libvirts = !network.subnets.is_empty() || network.forward.is_none();
        if self.interface.dhcp
            && is_libvirts
            && !network.subnets.iter().any(|s| s.has_dhcp && s.host.addr().is_ipv4())
        {
            self.warn(format!(
                ": network '{name}' has no DHCP server; unless another machine on it runs one, the guest gets no address: set ip on the interface"
            ));
        }
        for ip in self.interface.fixed_addresses().map(|net| net.addr()) {
            let of_kind = || network.subnets.iter().filter(|s| s.host.addr().is_ipv4() == ip.is_ipv4());
            if of_kind().any(|s| s.host.addr() == ip) {
                let message = format!(": {ip} is the host's address in network '{name}'");
                self.add_issue(Code::AddressOfHost, message, "choose another address");
            } else if of_kind().next().is_some() && !of_kind().any(|s| s.host.contains(&ip)) {
                let nets: Vec<String> = of_kind().map(|s| s.host.trunc().to_string()).collect();
                self.warn(format!(": {ip} is not in the subnet of network '{name}', {}", nets.join(" or ")));
            }
            let ranges = of_kind().flat_map(|s| &s.ranges);
            if let Some((first, last)) = ranges.into_iter().find(|(first, last)| *first <= ip && ip <= *last)
            {
                self.warn(format!(
                    ": {ip} is in the DHCP range of network '{name}' ({first} to {last}): another guest may get it; choose one outside the range"
                ));
            }
        }
    }

    /// Checks the VM's addresses against those of this machine and of its network neighbours.
    fn check_addresses(&mut self, bridge: Option<&Bridge>, around: &Neighbourhood) {
        for net in self.interface.fixed_addresses() {
            let ip = net.addr();
            if let Some(own) = around.addresses.iter().find(|own| own.net.addr() == ip) {
                let message = format!(": {ip} is this host's own address, on {}", own.link);
                // The host's address in a libvirt network is already reported with the network.
                if !self
                    .report
                    .issues()
                    .any(|f| f.code == Code::AddressOfHost && f.message.contains(&format!(": {ip} is ")))
                {
                    self.add_issue(Code::AddressOfHost, message, "choose another address");
                }
                continue;
            }
            let mac = self.interface.mac.to_string();
            if let Some(other) =
                around.neighbours.iter().find(|n| n.ip == ip && n.mac != mac && !n.mac.is_empty())
            {
                self.warn(format!(
                    ": another machine uses {ip}, or used it just now: MAC {} on {}, and the VM's MAC is {mac}",
                    escape_unseen(&other.mac),
                    escape_unseen(&other.link)
                ));
            }
            if let Some(bridge) = bridge {
                self.check_subnet(bridge, net, around);
            }
        }
    }

    /// Warns if an address does not fit the bridge's subnet, as after copying an example.
    fn check_subnet(&self, bridge: &Bridge, net: IpNet, around: &Neighbourhood) {
        let own = bridge.addresses.iter().filter(|a| a.addr().is_ipv4() == net.addr().is_ipv4());
        let own: Vec<String> = own.filter(|a| !is_link_local(a.addr())).map(ToString::to_string).collect();
        let leads = around.addresses.iter().map(|a| a.net).chain(around.routes.iter().copied());
        // A tagged interface is in the subnet of its VLAN, not in the bridge's.
        if own.is_empty()
            || self.interface.vlan.is_some()
            || is_link_local(net.addr())
            || leads.into_iter().any(|known| known.contains(&net.addr()))
        {
            return;
        }
        self.warn(format!(
            ": {net} is not in the subnet of bridge '{}', where this host has {}: this host reaches the VM only through a router",
            bridge.name,
            own.join(", ")
        ));
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
