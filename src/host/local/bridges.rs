//! The bridges of this machine's kernel.

use std::fs;
use std::io;
use std::path::Path;

use super::netlink;
use crate::Bridge;

/// The bridges of this machine: interfaces with a `bridge` directory in sysfs (the kernel's
/// Documentation/ABI/testing/sysfs-class-net), and those of Open vSwitch's in the kernel, of which one is the bridge's own.
pub(crate) fn list_bridges() -> io::Result<Vec<Bridge>> {
    let addresses = netlink::list_addresses()?;
    let links = netlink::list_links()?;
    let bridges = links.into_iter().filter_map(|(number, link)| {
        let settings = Path::new("/sys/class/net").join(&link.name).join("bridge");
        // Besides its bridges, Open vSwitch has one interface for itself.
        let is_open_vswitch = link.kind == "openvswitch" && link.name != "ovs-system";
        let filtering = fs::read_to_string(settings.join("vlan_filtering")).unwrap_or_default();
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
