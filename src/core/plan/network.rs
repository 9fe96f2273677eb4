//! Network interfaces.
//!
//! | attached to | without `ip` and `addresses` | `addresses` without `ip` | `gateway` | `gateway6` |
//! |---|---|---|---|---|
//! | bridge | DHCP | IPv6 only | only with `ip` | only with IPv6 `addresses` |
//! | libvirt network | DHCP | DHCP, and these | only with `ip` | only with IPv6 `addresses` |
//!
//! [`super::routes`] decides which interface has the default routes.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::address::GatewayNetworks;
use super::judge::{Judge, Judged, collect_all};
use super::routes::{DefaultRoutes, choose_default_routes, has_ipv6_address, takes_dhcp};
use super::{InterfacePlan, Link, address};
use crate::error::Code;
use crate::manifest::{NetworkInterface, Number, VirtualMachine};
use crate::names::{MacAddress, NameError, VmName, tap_name};

/// Maximum number of interfaces. Each device needs a root port and with it one of PCI Express's 256 buses, and the
/// firmware scans each of them.
const MAX_INTERFACES: usize = 64;

/// Judges `spec.networkInterfaces`. With a network-config of the user's own (`has_own_config`), no interface needs a
/// default route.
pub(super) fn judge_interfaces(
    judge: &mut Judge,
    manifests: &[NetworkInterface],
    vm: Judged<&VmName>,
    has_own_config: bool,
) -> Judged<Vec<InterfacePlan>> {
    const PATH: &str = "spec.networkInterfaces";
    if manifests.is_empty() {
        return Err(
            judge.reject_missing(PATH, "is required: at least one interface, such as '- network: default'")
        );
    }
    if manifests.len() > MAX_INTERFACES {
        let message = format!("has {} interfaces; the maximum is {MAX_INTERFACES}", manifests.len());
        return Err(judge.reject_unshown(Code::TooMany, PATH, message));
    }
    let carriers = choose_default_routes(manifests);
    let mut seen = HashMap::new();
    let interfaces = collect_all(manifests.iter().enumerate().map(|(index, manifest)| {
        let mut desk = InterfaceJudge { judge, path: format!("{PATH}[{index}]"), seen: &mut seen };
        desk.judge_interface(manifest, index, vm, carriers)
    }));
    let interfaces = interfaces.and_then(|interfaces| refuse_same_macs(judge, interfaces));
    let asks = |nic: InterfacePlan| InterfacePlan { dhcp: nic.dhcp && !has_own_config, ..nic };
    let interfaces = interfaces.map(|interfaces| interfaces.into_iter().map(asks).collect());
    if !has_own_config && !manifests.iter().any(is_deliberate) {
        let message = "have no gateway: set one, or write 'defaultRoute: false' \
                       on one interface if the VM is to be isolated";
        return Err(judge.reject_unshown(Code::NoWayOut, PATH, message));
    }
    interfaces
}

/// Whether an interface has a default route, or says explicitly that it has none. An interface with only IPv6 gets its
/// default route from router advertisements.
fn is_deliberate(manifest: &NetworkInterface) -> bool {
    let leads_out = manifest.gateway.is_some() || manifest.gateway6.is_some() || takes_dhcp(manifest);
    let is_ipv6_only = manifest.ip.is_none() && has_ipv6_address(manifest);
    leads_out || is_ipv6_only || manifest.network.is_some() || manifest.default_route == Some(false)
}

/// Refuses equal MAC addresses: a given one may equal one that is derived from another interface's address.
fn refuse_same_macs(judge: &mut Judge, interfaces: Vec<InterfacePlan>) -> Judged<Vec<InterfacePlan>> {
    let mut seen = HashMap::new();
    collect_all(interfaces.into_iter().enumerate().map(|(index, nic)| match seen.get(&nic.mac) {
        None => {
            seen.insert(nic.mac, index);
            Ok(nic)
        }
        Some(first) => {
            let path = format!("spec.networkInterfaces[{index}].macAddress");
            let message = format!("is also the MAC address of spec.networkInterfaces[{first}]");
            Err(judge.reject_value(Code::AddressTwice, path, nic.mac, message))
        }
    }))
}

/// Returns the MAC address of an interface in a valid manifest. Returns `None` if the interface is not valid.
pub fn mac_address(vm: &VmName, index: usize, manifest: &NetworkInterface) -> Option<MacAddress> {
    match (&manifest.mac_address, &manifest.ip) {
        (Some(given), _) => given.parse().ok(),
        (None, Some(ip)) => address::parse_ipv4_net(ip).ok().map(|ip| MacAddress::from_ipv4(ip.addr())),
        (None, None) => Some(MacAddress::from_name(vm, index)),
    }
}

/// Writes the MAC addresses that follow from the VM's name into its manifest, so that they stay if the VM gets another
/// name.
pub fn pin_mac_addresses(manifest: &mut VirtualMachine) {
    let name = manifest.metadata.name.as_deref().and_then(|name| VmName::parse_normalized(name).ok());
    let Some(vm) = name else { return };
    for (index, interface) in manifest.spec.network_interfaces.iter_mut().enumerate() {
        if interface.mac_address.is_none() && interface.ip.is_none() {
            interface.mac_address = Some(MacAddress::from_name(&vm, index).to_string());
        }
    }
}

/// Judges one interface.
struct InterfaceJudge<'a> {
    judge: &'a mut Judge,
    path: String,
    /// Path of the first interface with each address. Two interfaces cannot share one, because their taps would have
    /// the same name.
    seen: &'a mut HashMap<IpAddr, String>,
}

impl InterfaceJudge<'_> {
    fn judge_interface(
        &mut self,
        manifest: &NetworkInterface,
        index: usize,
        vm: Judged<&VmName>,
        carriers: DefaultRoutes,
    ) -> Judged<InterfacePlan> {
        let NetworkInterface {
            ip,
            addresses,
            gateway,
            gateway6,
            on_link,
            dns_servers,
            search_domains,
            bridge,
            network,
            mac_address,
            mtu,
            default_route,
            vlan,
            virtualport,
            pxe_boot,
        } = manifest;
        let ip = self.judge_ip(ip.as_deref());
        let addresses =
            self.judge_list("addresses", addresses, |desk, path, text| desk.judge_address(path, text));
        let addresses = addresses.and_then(|addresses| self.refuse_ipv4_without_ip(manifest, addresses));
        let own = own_networks(ip, &addresses);
        let within = GatewayNetworks { own: own.as_deref(), on_link: on_link.unwrap_or_default() };
        let gateway = self.judge_gateway(gateway.as_deref(), manifest, within);
        let gateway6 = self.judge_gateway6(gateway6.as_deref(), manifest, within);
        let on_link = self.judge_on_link(*on_link, manifest);
        let dns =
            self.judge_list("dnsServers", dns_servers, |desk, path, text| desk.judge_name_server(path, text));
        let search = self.judge_list("searchDomains", search_domains, |desk, path, text| {
            desk.judge_search_domain(path, text)
        });
        let link = self.judge_link(bridge.as_deref(), network.as_deref());
        let mac = mac_address.as_deref().map(|mac| self.judge_mac_address(mac)).transpose();
        let mtu = mtu.map(|mtu| self.judge_mtu(mtu, has_ipv6_address(manifest))).transpose();
        let is_default_route_valid = self.judge_default_route(*default_route, manifest, index, carriers);
        let vlan = vlan.map(|vlan| self.judge_vlan(vlan, network.as_deref())).transpose();
        let virtualport = self.judge_virtualport(virtualport.as_deref(), network.is_some());
        // Only now may a refusal return: every field has been judged, so all problems are recorded.
        on_link.and(is_default_route_valid)?;
        let ip = ip?;
        let derived = match ip {
            Some(ip) => MacAddress::from_ipv4(ip.addr()),
            None => MacAddress::from_name(vm?, index),
        };
        Ok(InterfacePlan {
            link: link?,
            mac: mac?.unwrap_or(derived),
            tap: ip.map(|ip| tap_name(ip.addr())),
            ip,
            dhcp: takes_dhcp(manifest),
            addresses: addresses?,
            gateway: gateway?,
            gateway6: gateway6?,
            default_route: carriers.v4 == Some(index),
            default_route6: carriers.v6 == Some(index),
            dns: dns?,
            search: search?,
            mtu: mtu?,
            link_mtu: None,
            vlan: vlan?,
            on_open_vswitch: virtualport?,
            pxe_boot: pxe_boot.unwrap_or_default(),
        })
    }

    fn judge_ip(&mut self, text: Option<&str>) -> Judged<Option<Ipv4Net>> {
        let Some(text) = text else { return Ok(None) };
        let path = self.field_path("ip");
        let ip = self.parse_text(&path, text, address::parse_ipv4_net)?;
        self.claim_address(path, text, ip.addr().into()).map(|()| Some(ip))
    }

    /// Refuses IPv4 `addresses` on a bridge without `ip`: MAC and tap are derived from `ip`, so the first IPv4 address
    /// must be there.
    fn refuse_ipv4_without_ip(
        &mut self,
        manifest: &NetworkInterface,
        addresses: Vec<IpNet>,
    ) -> Judged<Vec<IpNet>> {
        let first = addresses.iter().position(|address| address.addr().is_ipv4());
        let Some(first) = first.filter(|_| manifest.ip.is_none() && manifest.bridge.is_some()) else {
            return Ok(addresses);
        };
        let path = self.field_path(format_args!("addresses[{first}]"));
        let message = "is IPv4 on a bridge without ip; write the first IPv4 address as ip, because MAC and tap are derived from it";
        Err(self.judge.reject_value(Code::Contradiction, path, addresses[first], message))
    }

    fn judge_address(&mut self, path: String, text: &str) -> Judged<IpNet> {
        let address = self.parse_text(&path, text, address::parse_net)?;
        self.claim_address(path, text, address.addr()).map(|()| address)
    }

    fn judge_gateway(
        &mut self,
        text: Option<&str>,
        manifest: &NetworkInterface,
        within: GatewayNetworks<'_>,
    ) -> Judged<Option<Ipv4Addr>> {
        let Some(text) = text else { return Ok(None) };
        let path = self.field_path("gateway");
        if manifest.ip.is_none() {
            let message = "needs ip; without it the gateway comes from DHCP";
            return Err(self.judge.reject_value(Code::Contradiction, path, text, message));
        }
        self.parse_text(&path, text, |text| address::parse_gateway(text, within)).map(Some)
    }

    fn judge_gateway6(
        &mut self,
        text: Option<&str>,
        manifest: &NetworkInterface,
        within: GatewayNetworks<'_>,
    ) -> Judged<Option<Ipv6Addr>> {
        let Some(text) = text else { return Ok(None) };
        let path = self.field_path("gateway6");
        if manifest.addresses.is_empty() {
            let message =
                "needs an IPv6 address under addresses; without one the guest finds its gateway itself";
            return Err(self.judge.reject_value(Code::Contradiction, path, text, message));
        }
        self.parse_text(&path, text, |text| address::parse_gateway6(text, within)).map(Some)
    }

    fn judge_on_link(&mut self, requested: Option<bool>, manifest: &NetworkInterface) -> Judged<()> {
        if requested != Some(true) || manifest.gateway.is_some() || manifest.gateway6.is_some() {
            return Ok(());
        }
        let message = "needs a gateway";
        Err(self.judge.reject_value(Code::Contradiction, self.field_path("onLink"), true, message))
    }

    fn judge_mac_address(&mut self, text: &str) -> Judged<MacAddress> {
        self.parse_text(&self.field_path("macAddress"), text, |text| text.parse().map_err(|e: NameError| e.0))
    }

    /// Judges the MTU. A tap supports at most 65521 (the kernel's `tun_net_init`); IPv4 needs 68 (RFC 791) and IPv6
    /// 1280 (RFC 8200).
    fn judge_mtu(&mut self, mtu: Number, has_ipv6: bool) -> Judged<u16> {
        let path = self.field_path("mtu");
        let least = if has_ipv6 { 1280 } else { 68 };
        let bytes = self.judge.check_whole_number(&path, mtu, (least, 65521), " of bytes")?;
        u16::try_from(bytes)
            .map_err(|_| self.judge.reject_value(Code::NumberUnfit, path, mtu, "is too large"))
    }

    fn judge_virtualport(&mut self, word: Option<&str>, on_network: bool) -> Judged<bool> {
        let path = self.field_path("virtualport");
        let is_given = self.judge.choose_word(&path, word, &[("openvswitch", true)], false)?;
        if is_given && on_network {
            let message = "has no meaning on a libvirt network, which has its own setting; use a bridge";
            return Err(self.judge.reject_value(Code::Contradiction, path, "openvswitch", message));
        }
        Ok(is_given)
    }

    fn judge_search_domain(&mut self, path: String, text: &str) -> Judged<String> {
        self.parse_text(&path, text, address::parse_search_domain)
    }

    fn judge_name_server(&mut self, path: String, text: &str) -> Judged<IpAddr> {
        self.parse_text(&path, text, address::parse_name_server)
    }

    fn judge_link(&mut self, bridge: Option<&str>, network: Option<&str>) -> Judged<Link> {
        match (bridge, network) {
            (Some(bridge), None) => {
                self.judge.parse_name(&self.field_path("bridge"), bridge).map(Link::Bridge)
            }
            (None, Some(network)) => {
                self.judge.parse_name(&self.field_path("network"), network).map(Link::Network)
            }
            (Some(_), Some(network)) => {
                let message = "is given in addition to a bridge; leave one of them out";
                Err(self.judge.reject_value(
                    Code::Contradiction,
                    self.field_path("network"),
                    network,
                    message,
                ))
            }
            (None, None) => {
                let message = "needs a bridge of the host or a libvirt network";
                Err(self.judge.reject_missing(self.path.clone(), message))
            }
        }
    }

    fn judge_default_route(
        &mut self,
        requested: Option<bool>,
        manifest: &NetworkInterface,
        index: usize,
        carriers: DefaultRoutes,
    ) -> Judged<()> {
        if requested != Some(true) {
            return Ok(());
        }
        let path = self.field_path("defaultRoute");
        if let Some(first) = carriers.requested.filter(|first| *first != index) {
            let message =
                format!("is also set on spec.networkInterfaces[{first}]; only one interface can have it");
            return Err(self.judge.reject_value(Code::Contradiction, path, true, message));
        }
        if carriers.v4 != Some(index) && carriers.v6 != Some(index) {
            return Err(self.judge.reject_value(Code::Contradiction, path, true, "needs a gateway"));
        }
        // Router advertisements may provide the IPv6 route. An IPv4 address without a gateway has no default route.
        if manifest.ip.is_some() && manifest.gateway.is_none() && manifest.gateway6.is_none() {
            return Err(self.judge.reject_value(Code::Contradiction, path, true, "needs a gateway"));
        }
        Ok(())
    }

    fn judge_vlan(&mut self, vlan: Number, network: Option<&str>) -> Judged<u16> {
        let path = self.field_path("vlan");
        if network.is_some() {
            // On a libvirt network, libvirt accepts a tag only with Open vSwitch and SR-IOV. On all others the start
            // fails (its domain format page, "Setting VLAN tag").
            let message = "has no meaning on a libvirt network; tag the network itself, or use a bridge";
            return Err(self.judge.reject_value(Code::VlanUnfit, path, vlan, message));
        }
        // 0 and 4095 are reserved (IEEE 802.1Q).
        let tag = self.judge.check_whole_number(&path, vlan, (1, 4094), "")?;
        u16::try_from(tag).map_err(|_| self.judge.reject_value(Code::VlanUnfit, path, vlan, "is too large"))
    }

    fn field_path(&self, name: impl Display) -> String {
        format!("{}.{name}", self.path)
    }

    fn judge_list<T>(
        &mut self,
        name: &str,
        texts: &[String],
        judge: fn(&mut Self, String, &str) -> Judged<T>,
    ) -> Judged<Vec<T>> {
        collect_all(texts.iter().enumerate().map(|(index, text)| {
            let path = self.field_path(format_args!("{name}[{index}]"));
            judge(self, path, text)
        }))
    }

    fn parse_text<T>(
        &mut self,
        path: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Judged<T> {
        let text = self.judge.check_line(path, text)?;
        parse(text).map_err(|message| self.judge.reject_value(Code::AddressUnfit, path, text, message))
    }

    fn claim_address(&mut self, path: String, text: &str, address: IpAddr) -> Judged<()> {
        match self.seen.get(&address.to_canonical()) {
            Some(first) => {
                let message = format!("is also the address of {first}");
                Err(self.judge.reject_value(Code::AddressTwice, path, text, message))
            }
            None => {
                self.seen.insert(address.to_canonical(), path);
                Ok(())
            }
        }
    }
}

/// Returns the networks of an interface's addresses, if all addresses are valid.
fn own_networks(ip: Judged<Option<Ipv4Net>>, addresses: &Judged<Vec<IpNet>>) -> Option<Vec<IpNet>> {
    let ip = ip.ok()?.map(IpNet::V4);
    Some(ip.into_iter().chain(addresses.as_ref().ok()?.iter().copied()).collect())
}
