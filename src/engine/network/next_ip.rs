//! The lowest free addresses of a network.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::Context;
use crate::vm::inspect::guest_addresses;
use foundry_core::error::{Advice, Code, Error};
use foundry_core::manifest::VirtualMachine;
use foundry_host::{Bridge, Network};

/// Finds the lowest free addresses of a network, each with its prefix length. `place` is the network as a CIDR, a bridge
/// of this host, or a libvirt network. If a CIDR has host bits, the search begins there.
///
/// An address is not free if a manifest, a lease, a guest or the host has it, if a manifest names it as a gateway or name
/// server, if it is in the DHCP range of a libvirt network, or if a machine answers at it.
///
/// # Errors
/// [`Code::AddressTaken`] if there are not enough; [`Code::BridgeMissing`] if no bridge and no network has that name.
pub fn find_free_addresses(context: &Context, place: &str, count: usize) -> Result<Vec<IpNet>, Error> {
    let networks = read_networks(context)?;
    let net = match place.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => network_of(context, place, &networks)?,
    };
    let mut taken = Taken::collect(context, &networks)?;
    loop {
        let found: Vec<IpAddr> = free_addresses(net, &taken).take(count).collect();
        // This resolves them first, so that a machine of which nothing is known shows itself.
        let around = context.host.neighbourhood(&found)?;
        let answering: Vec<IpAddr> = around
            .iter()
            .flat_map(|around| &around.neighbours)
            .filter(|n| !n.mac.is_empty() && found.contains(&n.ip))
            .map(|n| n.ip)
            .collect();
        if answering.is_empty() {
            if found.len() < count {
                let whole = net.trunc();
                return Err(Error::new(
                    Code::AddressTaken,
                    format!("{whole} has {} free addresses", found.len()),
                )
                .because(format!("{count} were asked for; DHCP ranges of libvirt networks are not free"))
                .hint("choose a larger network, or a part outside the DHCP range"));
            }
            return Ok(found.into_iter().filter_map(|ip| IpNet::new(ip, net.prefix_len()).ok()).collect());
        }
        taken.addresses.extend(answering);
    }
}

fn read_networks(context: &Context) -> Result<Vec<Network>, Error> {
    let names = context.host.networks()?;
    let read = |name: String| context.host.network(&name).transpose();
    Ok(names.into_iter().filter_map(read).collect::<Result<Vec<_>, _>>()?)
}

/// The IPv4 network of a bridge or libvirt network, without host bits; IPv6 if it has no IPv4.
fn network_of(context: &Context, name: &str, networks: &[Network]) -> Result<IpNet, Error> {
    let bridges = context.host.bridges()?;
    let bridge = bridges.iter().flatten().find(|bridge| bridge.name == name);
    let network = networks.iter().find(|network| network.name == name);
    let of_bridge = |bridge: &Bridge| bridge.addresses.clone();
    let of_network = |network: &Network| network.subnets.iter().map(|subnet| subnet.host).collect();
    let Some(nets): Option<Vec<IpNet>> = bridge.map(of_bridge).or_else(|| network.map(of_network)) else {
        let error = Error::new(Code::BridgeMissing, format!("there is no bridge or network '{name}'"));
        return Err(match bridges {
            Some(_) => error.hint(known_names(bridges.as_deref(), networks)),
            None => error
                .because("libvirt does not list the bridges of a remote host")
                .hint("write the network, such as 10.20.30.0/24"),
        });
    };
    // Link-local addresses need no choice.
    let usable = || nets.iter().filter(|net| !is_link_local(net.addr()));
    let net = usable().find(|net| net.addr().is_ipv4()).or_else(|| usable().next());
    net.map(IpNet::trunc).ok_or_else(|| {
        Error::new(Code::AddressUnfit, format!("the host has no address on '{name}'"))
            .hint("write the network, such as 10.20.30.0/24")
    })
}

fn known_names(bridges: Option<&[Bridge]>, networks: &[Network]) -> Advice {
    let names = bridges.iter().flat_map(|all| all.iter()).map(|b| b.name.as_str());
    let names: BTreeSet<&str> = names.chain(networks.iter().map(|n| n.name.as_str())).collect();
    let names: Vec<&str> = names.into_iter().collect();
    Advice::from(format!("the host has: {}", names.join(", ")))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The addresses that are not free.
#[derive(Debug, Default)]
struct Taken {
    addresses: BTreeSet<IpAddr>,
    /// Inclusive.
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl Taken {
    fn collect(context: &Context, networks: &[Network]) -> Result<Self, Error> {
        let mut taken = Self::default();
        for domain in context.host.domains(false)? {
            let owner = domain.owner();
            let written = owner.manifest().map(addresses_in).unwrap_or_default();
            taken.addresses.extend(written);
            if domain.state.is_active() {
                let found = guest_addresses(context, &domain)?;
                taken.addresses.extend(found.iter().filter_map(|a| a.address.parse::<IpAddr>().ok()));
            }
        }
        for subnet in networks.iter().flat_map(|network| &network.subnets) {
            taken.addresses.insert(subnet.host.addr());
            taken.ranges.extend(&subnet.ranges);
        }
        if let Some(around) = context.host.neighbourhood(&[])? {
            taken.addresses.extend(around.addresses.iter().map(|own| own.net.addr()));
            taken.addresses.extend(around.neighbours.iter().filter(|n| !n.mac.is_empty()).map(|n| n.ip));
        }
        let bridges = context.host.bridges()?.unwrap_or_default();
        taken.addresses.extend(bridges.iter().flat_map(|b| &b.addresses).map(IpNet::addr));
        Ok(taken)
    }

    /// The end of the range that contains an address.
    fn range_end(&self, ip: IpAddr) -> Option<IpAddr> {
        self.ranges.iter().find(|(first, last)| *first <= ip && ip <= *last).map(|(_, last)| *last)
    }
}

/// All addresses that a manifest names: of the VM, and of its gateways and name servers.
fn addresses_in(manifest: &VirtualMachine) -> Vec<IpAddr> {
    let of_interface = manifest.spec.network_interfaces.iter().flat_map(|i| {
        let gateways = i.gateway.iter().chain(&i.gateway6);
        i.ip.iter().chain(&i.addresses).chain(gateways).chain(&i.dns_servers)
    });
    of_interface.filter_map(|text| text.split('/').next()?.trim().parse().ok()).collect()
}

/// The free addresses of a network, lowest first. The addresses of the network itself and of broadcasts are not free.
fn free_addresses(net: IpNet, taken: &Taken) -> impl Iterator<Item = IpAddr> {
    let (first, last) = usable_range(net);
    let begin = if net.addr() == net.network() { first } else { first.max(number(net.addr())) };
    let is_v4 = net.addr().is_ipv4();
    let mut next = Some(begin);
    std::iter::from_fn(move || {
        while let Some(candidate) = next.filter(|candidate| *candidate <= last) {
            let ip = address(candidate, is_v4);
            // A range can be too large to go through.
            let range_end = taken.range_end(ip).map(number);
            next = range_end.unwrap_or(candidate).checked_add(1);
            if range_end.is_none() && !taken.addresses.contains(&ip) {
                return Some(ip);
            }
        }
        None
    })
}

/// The first and the last address that a machine can have. Networks of one or two addresses have no broadcast (RFC
/// 3021); the first address of an IPv6 network is that of its routers (RFC 4291).
fn usable_range(net: IpNet) -> (u128, u128) {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    match last - first {
        0 | 1 => (first, last),
        _ if net.addr().is_ipv4() => (first + 1, last - 1),
        _ => (first + 1, last),
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(bits) if is_v4 => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(net: &str, taken: &[&str], ranges: &[(&str, &str)]) -> Vec<String> {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let taken = Taken {
            addresses: taken.iter().map(|text| ip(text)).collect(),
            ranges: ranges.iter().map(|(first, last)| (ip(first), ip(last))).collect(),
        };
        free_addresses(net.parse().unwrap(), &taken).take(3).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn network_and_broadcast_are_not_free() {
        assert_eq!(free("10.0.0.0/30", &[], &[]), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(free("10.0.0.0/31", &[], &[]), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(free("10.0.0.7/32", &[], &[]), ["10.0.0.7"]);
        assert_eq!(free("255.255.255.252/30", &["255.255.255.253"], &[]), ["255.255.255.254"]);
        assert_eq!(
            free("2001:db8::/64", &["2001:db8::2"], &[]),
            ["2001:db8::1", "2001:db8::3", "2001:db8::4"]
        );
    }

    #[test]
    fn the_search_begins_at_host_bits() {
        assert_eq!(free("10.0.0.40/24", &["10.0.0.41"], &[]), ["10.0.0.40", "10.0.0.42", "10.0.0.43"]);
        assert_eq!(free("10.0.0.254/24", &["10.0.0.254"], &[]), [""; 0]);
    }

    #[test]
    fn large_ranges_are_skipped_at_once() {
        let (first, last) = ("2001:db8::", "2001:db8::ffff:ffff:ffff:fff0");
        assert_eq!(free("2001:db8::/64", &[], &[(first, last)])[0], "2001:db8::ffff:ffff:ffff:fff1");
        assert_eq!(free("10.0.0.0/8", &[], &[("10.0.0.1", "10.255.255.250")])[0], "10.255.255.251");
        assert_eq!(free("10.0.0.0/24", &[], &[("10.0.0.2", "10.0.0.254")]), ["10.0.0.1"]);
    }
}
