//! Network interfaces.
//!
//! | attached to | `ip` | `gateway` | default route |
//! |---|---|---|---|
//! | bridge | required | in the subnet of `ip` | needs `gateway` |
//! | libvirt network | or DHCP | only with `ip` | `gateway`'s, or what DHCP says |
//!
//! Exactly one interface carries the default route, unless none can or all are told not to: the one
//! that says `defaultRoute: true`, else the first with a gateway, else the first with DHCP, among those
//! that do not say `defaultRoute: false`.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::judge::{Judge, Judged, all};
use super::{Interface, Link, address};
use crate::error::Code;
use crate::manifest::{NetworkInterface, Number};
use crate::names::{MacAddress, VmName, tap_name};

/// The most interfaces of a VM. Each device has a root port of its own, and with it one of PCI Express's 256 buses;
/// besides, the firmware scans each of them.
const MAX_INTERFACES: usize = 64;

/// Judges `spec.networkInterfaces`.
pub(super) fn interfaces(
    judge: &mut Judge,
    manifests: &[NetworkInterface],
    vm: Judged<&VmName>,
) -> Judged<Vec<Interface>> {
    const PATH: &str = "spec.networkInterfaces";
    if manifests.is_empty() {
        return Err(judge.missing(PATH, "is required: at least one, with bridge, ip and gateway"));
    }
    if manifests.len() > MAX_INTERFACES {
        let message = format!("holds {} interfaces; a VM has at most {MAX_INTERFACES}", manifests.len());
        return Err(judge.unshown(Code::TooMany, PATH, message));
    }
    let routed = default_route(manifests);
    let mut seen = HashMap::new();
    let interfaces = all(manifests.iter().enumerate().map(|(index, manifest)| {
        let mut desk = Desk { judge, path: format!("{PATH}[{index}]"), seen: &mut seen };
        desk.interface(manifest, index, vm, routed)
    }));
    if !manifests.iter().any(is_deliberate) {
        let message = "leave the VM without a way out: give one a gateway, or write 'defaultRoute: false' \
                       on one to say that the VM is meant to be isolated";
        return Err(judge.unshown(Code::NoWayOut, PATH, message));
    }
    interfaces
}

/// Whether an interface leads out of its subnet, or says that it is not meant to.
fn is_deliberate(manifest: &NetworkInterface) -> bool {
    manifest.gateway.is_some() || manifest.network.is_some() || manifest.default_route == Some(false)
}

/// The interface that carries the default route.
fn default_route(manifests: &[NetworkInterface]) -> Option<usize> {
    let first = |wanted: fn(&NetworkInterface) -> bool| manifests.iter().position(wanted);
    first(|m| m.default_route == Some(true))
        .or_else(|| first(|m| m.default_route.is_none() && m.gateway.is_some()))
        .or_else(|| first(|m| m.default_route.is_none() && takes_dhcp(m)))
}

fn takes_dhcp(manifest: &NetworkInterface) -> bool {
    manifest.network.is_some() && manifest.ip.is_none()
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
        routed: Option<usize>,
    ) -> Judged<Interface> {
        let NetworkInterface {
            ip,
            addresses,
            gateway,
            dns_servers,
            bridge,
            network,
            default_route,
            vlan,
            pxe_boot,
        } = manifest;
        let ip = self.ip(ip.as_deref(), bridge.is_some());
        let addresses = self.list("addresses", addresses, |desk, path, text| desk.address(path, text));
        let gateway = self.gateway(gateway.as_deref(), manifest.ip.is_some(), ip);
        let dns = self.list("dnsServers", dns_servers, |desk, path, text| desk.name_server(path, text));
        let link = self.link(bridge.as_deref(), network.as_deref());
        let default_route = self.default_route(*default_route, manifest, index, routed);
        let vlan = vlan.map(|vlan| self.vlan(vlan, network.as_deref())).transpose();
        let (mac, tap) = match ip? {
            Some(ip) => (MacAddress::from_ipv4(ip.addr()), Some(tap_name(ip.addr()))),
            None => (MacAddress::from_name(vm?, index), None),
        };
        Ok(Interface {
            link: link?,
            mac,
            tap,
            ip: ip?,
            addresses: addresses?,
            gateway: gateway?,
            default_route: default_route?,
            dns: dns?,
            vlan: vlan?,
            pxe_boot: pxe_boot.unwrap_or_default(),
        })
    }

    fn ip(&mut self, text: Option<&str>, on_bridge: bool) -> Judged<Option<Ipv4Net>> {
        let path = self.field("ip");
        let Some(text) = text else {
            if on_bridge {
                let message = "is required on a bridge, with prefix length, such as 10.20.30.40/24 \
                               (only a libvirt 'network' gives addresses by DHCP)";
                return Err(self.judge.missing(path, message));
            }
            return Ok(None);
        };
        let ip = self.checked(&path, text, address::ipv4_net)?;
        self.claim(path, text, ip.addr().into()).map(|()| Some(ip))
    }

    fn address(&mut self, path: String, text: &str) -> Judged<IpNet> {
        let address = self.checked(&path, text, address::net)?;
        self.claim(path, text, address.addr()).map(|()| address)
    }

    fn gateway(
        &mut self,
        text: Option<&str>,
        has_ip: bool,
        ip: Judged<Option<Ipv4Net>>,
    ) -> Judged<Option<Ipv4Addr>> {
        let Some(text) = text else { return Ok(None) };
        let path = self.field("gateway");
        if !has_ip {
            let message = "needs ip; an interface without one gets its gateway by DHCP";
            return Err(self.judge.wrong(Code::Contradiction, path, text, message));
        }
        self.checked(&path, text, |text| address::gateway(text, ip.ok().flatten())).map(Some)
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
        routed: Option<usize>,
    ) -> Judged<bool> {
        if wish != Some(true) {
            return Ok(routed == Some(index));
        }
        let path = self.field("defaultRoute");
        if let Some(first) = routed.filter(|first| *first != index) {
            let message = format!("is said by spec.networkInterfaces[{first}] too; only one can be it");
            return Err(self.judge.wrong(Code::Contradiction, path, true, message));
        }
        if manifest.gateway.is_none() && !takes_dhcp(manifest) {
            return Err(self.judge.wrong(Code::Contradiction, path, true, "needs a gateway"));
        }
        Ok(true)
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
