//! Networks of libvirt, and those of this machine's kernel.

use std::net::IpAddr;

use super::{Libvirt, libvirt_xml, vm};
use crate::local::{bridges, netlink};
use crate::{Bridge, HostError, HostInfo, Neighbourhood, Network, Networks, Result};

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
        Ok(Some(Network { name: name.to_owned(), active, ..libvirt_xml::read_network(&xml)? }))
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
        bridges::list_bridges().map(Some).map_err(unreadable_network)
    }
}

fn unreadable_network(error: std::io::Error) -> HostError {
    HostError::Unreadable {
        what: "the list of this machine's network interfaces".into(),
        cause: error.to_string(),
    }
}
