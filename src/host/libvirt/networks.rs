//! Networks of libvirt, and those of this machine's kernel.

use std::net::IpAddr;
use std::path::Path;

use super::{Libvirt, libvirt_xml, vm};
use crate::{Bridge, HostError, HostInfo, Neighbourhood, Network, Networks, Result, netlink};

impl Networks for Libvirt {
    fn network(&self, name: &str) -> Result<Option<Network>> {
        let asked = vm(format!("look up network '{name}'"));
        let Some(network) =
            self.find("virNetworkLookupByName", &asked, || self.connection.lookup_network_by_name(name))?
        else {
            return Ok(None);
        };
        let active = self.call("virNetworkIsActive", &asked, || network.is_active())?;
        let xml = self.call("virNetworkGetXMLDesc", &asked, || network.xml_desc(0))?;
        let (forward, subnets) = libvirt_xml::read_network(&xml)?;
        Ok(Some(Network { name: name.to_owned(), active, forward, subnets }))
    }

    fn networks(&self) -> Result<Vec<String>> {
        let asked = vm("list the networks");
        let networks =
            self.call("virConnectListAllNetworks", &asked, || self.connection.list_all_networks(0))?;
        networks.iter().map(|n| n.name().map_err(|e| self.failed(&asked, &e))).collect()
    }

    fn neighbourhood(&self, wanted: &[IpAddr]) -> Result<Option<Neighbourhood>> {
        if !self.is_local() {
            return Ok(None);
        }
        netlink::read_neighbourhood(wanted).map(Some).map_err(unreadable_network)
    }

    fn bridges(&self) -> Result<Option<Vec<Bridge>>> {
        if !self.is_local() {
            return Ok(None);
        }
        kernel_bridges().map(Some).map_err(unreadable_network)
    }
}

fn unreadable_network(error: std::io::Error) -> HostError {
    HostError::Unreadable {
        what: "the list of this machine's network interfaces".into(),
        cause: error.to_string(),
    }
}

/// The bridges of this machine: interfaces with a `bridge` directory in sysfs (the kernel's
/// Documentation/ABI/testing/sysfs-class-net), and those of Open vSwitch's in the kernel, of which one is the bridge's own.
fn kernel_bridges() -> std::io::Result<Vec<Bridge>> {
    let addresses = netlink::list_addresses()?;
    let links = netlink::list_links()?;
    let bridges = links.into_iter().filter_map(|(number, link)| {
        let settings = Path::new("/sys/class/net").join(&link.name).join("bridge");
        // Besides its bridges, Open vSwitch has one interface for itself.
        let is_open_vswitch = link.kind == "openvswitch" && link.name != "ovs-system";
        let filtering = std::fs::read_to_string(settings.join("vlan_filtering")).unwrap_or_default();
        (settings.is_dir() || is_open_vswitch).then(|| Bridge {
            name: link.name,
            filters_vlans: is_open_vswitch || filtering.trim() == "1",
            is_up: link.is_up,
            is_open_vswitch,
            mtu: link.mtu,
            addresses: addresses.iter().filter(|(at, _)| *at == number).map(|(_, net)| *net).collect(),
        })
    });
    let mut bridges: Vec<Bridge> = bridges.collect();
    bridges.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bridges)
}
