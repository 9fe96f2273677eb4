//! `<network>`: the addresses of a libvirt network.

use std::net::IpAddr;

use ipnet::IpNet;
use roxmltree::Node;

use super::{attribute_value, child_element, child_elements, parse_xml};
use crate::{Network, Result, Subnet};

/// Reads bridge, forward mode and subnets of a network, without its name and whether it is active.
///
/// # Errors
/// If the text is not libvirt's `<network>`.
pub fn read_network(xml: &str) -> Result<Network> {
    let document = parse_xml(xml, "network", "a network")?;
    let root = document.root_element();
    // The default mode is nat (libvirt's page "Network XML format").
    let forward = child_element(root, "forward")
        .map(|f| attribute_value(f, "mode").unwrap_or_else(|| "nat".to_owned()));
    Ok(Network {
        bridge: child_element(root, "bridge").and_then(|bridge| attribute_value(bridge, "name")),
        forward,
        subnets: child_elements(root, "ip").filter_map(read_subnet).collect(),
        ..Network::default()
    })
}

fn read_subnet(node: Node<'_, '_>) -> Option<Subnet> {
    let address: IpAddr = attribute_value(node, "address")?.parse().ok()?;
    let mask = || ipnet::ip_mask_to_prefix(attribute_value(node, "netmask")?.parse().ok()?).ok();
    let prefix = attribute_value(node, "prefix").and_then(|p| p.parse().ok()).or_else(mask);
    let whole = if address.is_ipv4() { classful_prefix(address) } else { 64 };
    let dhcp = child_element(node, "dhcp");
    let ranges = dhcp.into_iter().flat_map(|dhcp| child_elements(dhcp, "range"));
    let end = |range: Node<'_, '_>, name| attribute_value(range, name).and_then(|ip| ip.parse().ok());
    Some(Subnet {
        host: IpNet::new(address, prefix.unwrap_or(whole)).ok()?,
        has_dhcp: dhcp.is_some(),
        ranges: ranges.filter_map(|range| Some((end(range, "start")?, end(range, "end")?))).collect(),
    })
}

/// The classful prefix length of an IPv4 address (libvirt's `virSocketAddrGetIPPrefix`).
fn classful_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] < 128 => 8,
        IpAddr::V4(v4) if v4.octets()[0] < 192 => 16,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_subnets_and_ranges() {
        let xml = "<network><name>default</name><forward mode='nat'><nat/></forward><bridge name='virbr0'/>
            <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp>
            <range start='192.168.122.2' end='192.168.122.254'><lease expiry='1'/></range></dhcp></ip>
            <ip family='ipv6' address='2001:db8::1' prefix='64'/></network>";
        let Network { forward, subnets, bridge, .. } = read_network(xml).unwrap();
        assert_eq!((forward.as_deref(), bridge.as_deref()), (Some("nat"), Some("virbr0")));
        assert_eq!(subnets.len(), 2);
        assert_eq!(subnets[0].host.to_string(), "192.168.122.1/24");
        assert_eq!(subnets[0].ranges[0].1.to_string(), "192.168.122.254");
        assert_eq!((subnets[0].has_dhcp, subnets[1].has_dhcp), (true, false));
        assert_eq!(subnets[1].host.to_string(), "2001:db8::1/64");
    }

    #[test]
    fn one_without_anything_keeps_its_packets_inside() {
        assert_eq!(read_network("<network><name>n</name></network>").unwrap(), Network::default());
        assert_eq!(read_network("<network><forward/></network>").unwrap().forward.as_deref(), Some("nat"));
        read_network("<domain/>").unwrap_err();
    }
}
