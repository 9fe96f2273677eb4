//! Network interfaces.
//!
//! | attached to | without `ip` and `addresses` | `addresses` without `ip` | `gateway` | `gateway6` |
//! |---|---|---|---|---|
//! | bridge | DHCP | IPv6 only | only with `ip` | only with IPv6 `addresses` |
//! | libvirt network | DHCP | DHCP, and these | only with `ip` | only with IPv6 `addresses` |
//!
//! Who carries the default routes is [`super::routes`]' to say.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::address::Reachable;
use super::judge::{Judge, Judged, all};
use super::routes::{Carriers, carriers, has_ipv6_address, takes_dhcp};
use super::{Interface, Link, address};
use crate::error::Code;
use crate::manifest::{NetworkInterface, Number};
use crate::names::{MacAddress, NameError, VmName, tap_name};

/// The most interfaces of a VM. Each device has a root port of its own, and with it one of PCI Express's 256 buses;
/// besides, the firmware scans each of them.
const MAX_INTERFACES: usize = 64;

/// Judges `spec.networkInterfaces`. Where the user's own network-config says how the guest gets out (`has_own_config`),
/// they need not.
pub(super) fn interfaces(
    judge: &mut Judge,
    manifests: &[NetworkInterface],
    vm: Judged<&VmName>,
    has_own_config: bool,
) -> Judged<Vec<Interface>> {
    const PATH: &str = "spec.networkInterfaces";
    if manifests.is_empty() {
        return Err(judge.missing(PATH, "is required: at least one; '- network: default' is enough"));
    }
    if manifests.len() > MAX_INTERFACES {
        let message = format!("holds {} interfaces; a VM has at most {MAX_INTERFACES}", manifests.len());
        return Err(judge.unshown(Code::TooMany, PATH, message));
    }
    let carriers = carriers(manifests);
    let mut seen = HashMap::new();
    let interfaces = all(manifests.iter().enumerate().map(|(index, manifest)| {
        let mut desk = Desk { judge, path: format!("{PATH}[{index}]"), seen: &mut seen };
        desk.interface(manifest, index, vm, carriers)
    }));
    let interfaces = interfaces.and_then(|interfaces| tell_macs_apart(judge, interfaces));
    let asks = |nic: Interface| Interface { dhcp: nic.dhcp && !has_own_config, ..nic };
    let interfaces = interfaces.map(|interfaces| interfaces.into_iter().map(asks).collect());
    if !has_own_config && !manifests.iter().any(is_deliberate) {
        let message = "leave the VM without a way out: give one a gateway, or write 'defaultRoute: false' \
                       on one to say that the VM is meant to be isolated";
        return Err(judge.unshown(Code::NoWayOut, PATH, message));
    }
    interfaces
}

/// Whether an interface leads out of its subnet, or says that it is not meant to. One with IPv6 only gets its way out by
/// router advertisements.
fn is_deliberate(manifest: &NetworkInterface) -> bool {
    let leads_out = manifest.gateway.is_some() || manifest.gateway6.is_some() || takes_dhcp(manifest);
    let is_ipv6_only = manifest.ip.is_none() && has_ipv6_address(manifest);
    leads_out || is_ipv6_only || manifest.network.is_some() || manifest.default_route == Some(false)
}

/// A MAC address that was given may be one that follows from another interface's address.
fn tell_macs_apart(judge: &mut Judge, interfaces: Vec<Interface>) -> Judged<Vec<Interface>> {
    let mut seen = HashMap::new();
    all(interfaces.into_iter().enumerate().map(|(index, nic)| match seen.get(&nic.mac) {
        None => {
            seen.insert(nic.mac, index);
            Ok(nic)
        }
        Some(first) => {
            let path = format!("spec.networkInterfaces[{index}].macAddress");
            let message = format!("is the MAC address of spec.networkInterfaces[{first}] too");
            Err(judge.wrong(Code::AddressTwice, path, nic.mac, message))
        }
    }))
}

/// The MAC address of an interface of a manifest that was judged before; `None` where it was not.
pub fn mac_address(vm: &VmName, index: usize, manifest: &NetworkInterface) -> Option<MacAddress> {
    match (&manifest.mac_address, &manifest.ip) {
        (Some(given), _) => given.parse().ok(),
        (None, Some(ip)) => address::ipv4_net(ip).ok().map(|ip| MacAddress::from_ipv4(ip.addr())),
        (None, None) => Some(MacAddress::from_name(vm, index)),
    }
}

/// Where one interface is judged.
struct Desk<'a> {
    judge: &'a mut Judge,
    path: String,
    /// Where each address was first given: two interfaces cannot share one, nor could their taps.
    seen: &'a mut HashMap<IpAddr, String>,
}

impl Desk<'_> {
    fn interface(
        &mut self,
        manifest: &NetworkInterface,
        index: usize,
        vm: Judged<&VmName>,
        carriers: Carriers,
    ) -> Judged<Interface> {
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
        let ip = self.ip(ip.as_deref());
        let addresses = self.list("addresses", addresses, |desk, path, text| desk.address(path, text));
        let addresses = addresses.and_then(|addresses| self.first_is_ip(manifest, addresses));
        let own = own_networks(ip, &addresses);
        let within = Reachable { own: own.as_deref(), on_link: on_link.unwrap_or_default() };
        let gateway = self.gateway(gateway.as_deref(), manifest, within);
        let gateway6 = self.gateway6(gateway6.as_deref(), manifest, within);
        let on_link = self.on_link(*on_link, manifest);
        let dns = self.list("dnsServers", dns_servers, |desk, path, text| desk.name_server(path, text));
        let search =
            self.list("searchDomains", search_domains, |desk, path, text| desk.search_domain(path, text));
        let link = self.link(bridge.as_deref(), network.as_deref());
        let mac = mac_address.as_deref().map(|mac| self.mac_address(mac)).transpose();
        let mtu = mtu.map(|mtu| self.mtu(mtu, has_ipv6_address(manifest))).transpose();
        let is_wish_good = self.default_route(*default_route, manifest, index, carriers);
        let vlan = vlan.map(|vlan| self.vlan(vlan, network.as_deref())).transpose();
        let virtualport = self.virtualport(virtualport.as_deref(), network.is_some());
        on_link.and(is_wish_good)?;
        let ip = ip?;
        let followed = match ip {
            Some(ip) => MacAddress::from_ipv4(ip.addr()),
            None => MacAddress::from_name(vm?, index),
        };
        Ok(Interface {
            link: link?,
            mac: mac?.unwrap_or(followed),
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

    fn ip(&mut self, text: Option<&str>) -> Judged<Option<Ipv4Net>> {
        let Some(text) = text else { return Ok(None) };
        let path = self.field("ip");
        let ip = self.checked(&path, text, address::ipv4_net)?;
        self.claim(path, text, ip.addr().into()).map(|()| Some(ip))
    }

    /// On a bridge the first IPv4 address is `ip`: an interface with fixed addresses has MAC and tap by it.
    fn first_is_ip(&mut self, manifest: &NetworkInterface, addresses: Vec<IpNet>) -> Judged<Vec<IpNet>> {
        let first = addresses.iter().position(|address| address.addr().is_ipv4());
        let Some(first) = first.filter(|_| manifest.ip.is_none() && manifest.bridge.is_some()) else {
            return Ok(addresses);
        };
        let path = self.field(format_args!("addresses[{first}]"));
        let message = "is IPv4 on a bridge without ip; write the first one as ip, which names MAC and tap";
        Err(self.judge.wrong(Code::Contradiction, path, addresses[first], message))
    }

    fn address(&mut self, path: String, text: &str) -> Judged<IpNet> {
        let address = self.checked(&path, text, address::net)?;
        self.claim(path, text, address.addr()).map(|()| address)
    }

    fn gateway(
        &mut self,
        text: Option<&str>,
        manifest: &NetworkInterface,
        within: Reachable<'_>,
    ) -> Judged<Option<Ipv4Addr>> {
        let Some(text) = text else { return Ok(None) };
        let path = self.field("gateway");
        if manifest.ip.is_none() {
            let message = "needs ip; an interface without one gets its gateway by DHCP";
            return Err(self.judge.wrong(Code::Contradiction, path, text, message));
        }
        self.checked(&path, text, |text| address::gateway(text, within)).map(Some)
    }

    fn gateway6(
        &mut self,
        text: Option<&str>,
        manifest: &NetworkInterface,
        within: Reachable<'_>,
    ) -> Judged<Option<Ipv6Addr>> {
        let Some(text) = text else { return Ok(None) };
        let path = self.field("gateway6");
        if manifest.addresses.is_empty() {
            let message = "needs an IPv6 address under addresses; an interface without one gets it by itself";
            return Err(self.judge.wrong(Code::Contradiction, path, text, message));
        }
        self.checked(&path, text, |text| address::gateway6(text, within)).map(Some)
    }

    fn on_link(&mut self, wish: Option<bool>, manifest: &NetworkInterface) -> Judged<()> {
        if wish != Some(true) || manifest.gateway.is_some() || manifest.gateway6.is_some() {
            return Ok(());
        }
        let message = "is about a gateway, and there is none";
        Err(self.judge.wrong(Code::Contradiction, self.field("onLink"), true, message))
    }

    fn mac_address(&mut self, text: &str) -> Judged<MacAddress> {
        self.checked(&self.field("macAddress"), text, |text| text.parse().map_err(|e: NameError| e.0))
    }

    /// A tap takes no more than 65521 (the kernel's `tun_net_init`), IPv4 needs 68 (RFC 791) and IPv6 1280 (RFC 8200).
    fn mtu(&mut self, mtu: Number, has_ipv6: bool) -> Judged<u16> {
        let path = self.field("mtu");
        let least = if has_ipv6 { 1280 } else { 68 };
        let bytes = self.judge.whole(&path, mtu, (least, 65521), " of bytes")?;
        u16::try_from(bytes).map_err(|_| self.judge.wrong(Code::NumberUnfit, path, mtu, "is too large"))
    }

    fn virtualport(&mut self, word: Option<&str>, on_network: bool) -> Judged<bool> {
        let path = self.field("virtualport");
        let is_given = self.judge.word(&path, word, &[("openvswitch", true)], false)?;
        if is_given && on_network {
            let message = "has no meaning on a libvirt network, which says it itself; or use a bridge";
            return Err(self.judge.wrong(Code::Contradiction, path, "openvswitch", message));
        }
        Ok(is_given)
    }

    fn search_domain(&mut self, path: String, text: &str) -> Judged<String> {
        self.checked(&path, text, address::search_domain)
    }

    fn name_server(&mut self, path: String, text: &str) -> Judged<IpAddr> {
        self.checked(&path, text, address::name_server)
    }

    fn link(&mut self, bridge: Option<&str>, network: Option<&str>) -> Judged<Link> {
        match (bridge, network) {
            (Some(bridge), None) => self.judge.name(&self.field("bridge"), bridge).map(Link::Bridge),
            (None, Some(network)) => self.judge.name(&self.field("network"), network).map(Link::Network),
            (Some(_), Some(network)) => {
                let message = "is given beside a bridge; an interface is attached to one of them";
                Err(self.judge.wrong(Code::Contradiction, self.field("network"), network, message))
            }
            (None, None) => {
                let message = "needs what it is attached to: a bridge of the host's or a libvirt network";
                Err(self.judge.missing(self.path.clone(), message))
            }
        }
    }

    fn default_route(
        &mut self,
        wish: Option<bool>,
        manifest: &NetworkInterface,
        index: usize,
        carriers: Carriers,
    ) -> Judged<()> {
        if wish != Some(true) {
            return Ok(());
        }
        let path = self.field("defaultRoute");
        if let Some(first) = carriers.wished.filter(|first| *first != index) {
            let message = format!("is said by spec.networkInterfaces[{first}] too; only one can be it");
            return Err(self.judge.wrong(Code::Contradiction, path, true, message));
        }
        if carriers.v4 != Some(index) && carriers.v6 != Some(index) {
            return Err(self.judge.wrong(Code::Contradiction, path, true, "needs a gateway"));
        }
        // Router advertisements may bring an IPv6 one; the IPv4 one is what an address without a gateway lacks.
        if manifest.ip.is_some() && manifest.gateway.is_none() && manifest.gateway6.is_none() {
            return Err(self.judge.wrong(Code::Contradiction, path, true, "needs a gateway"));
        }
        Ok(())
    }

    fn vlan(&mut self, vlan: Number, network: Option<&str>) -> Judged<u16> {
        let path = self.field("vlan");
        if network.is_some() {
            // libvirt takes a tag here on Open vSwitch and SR-IOV networks only, and refuses the start
            // on all others (its domain format page, "Setting VLAN tag").
            let message = "has no meaning on a libvirt network; tag the network itself, or use a bridge";
            return Err(self.judge.wrong(Code::VlanUnfit, path, vlan, message));
        }
        // 0 and 4095 are reserved (IEEE 802.1Q).
        let tag = self.judge.whole(&path, vlan, (1, 4094), "")?;
        u16::try_from(tag).map_err(|_| self.judge.wrong(Code::VlanUnfit, path, vlan, "is too large"))
    }

    fn field(&self, name: impl Display) -> String {
        format!("{}.{name}", self.path)
    }

    fn list<T>(
        &mut self,
        name: &str,
        texts: &[String],
        judge: fn(&mut Self, String, &str) -> Judged<T>,
    ) -> Judged<Vec<T>> {
        all(texts.iter().enumerate().map(|(index, text)| {
            let path = self.field(format_args!("{name}[{index}]"));
            judge(self, path, text)
        }))
    }

    fn checked<T>(
        &mut self,
        path: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Judged<T> {
        let text = self.judge.text(path, text)?;
        parse(text).map_err(|message| self.judge.wrong(Code::AddressUnfit, path, text, message))
    }

    fn claim(&mut self, path: String, text: &str, address: IpAddr) -> Judged<()> {
        match self.seen.get(&address.to_canonical()) {
            Some(first) => {
                let message = format!("is the address of {first} too");
                Err(self.judge.wrong(Code::AddressTwice, path, text, message))
            }
            None => {
                self.seen.insert(address.to_canonical(), path);
                Ok(())
            }
        }
    }
}

/// The networks of an interface's addresses, where all of them are in order.
fn own_networks(ip: Judged<Option<Ipv4Net>>, addresses: &Judged<Vec<IpNet>>) -> Option<Vec<IpNet>> {
    let ip = ip.ok()?.map(IpNet::V4);
    Some(ip.into_iter().chain(addresses.as_ref().ok()?.iter().copied()).collect())
}
