//! The bridges of this machine's kernel.

use std::fs;
use std::io;
use std::path::Path;

use super::netlink;
use crate::Bridge;

/// The bridges of this machine: interfaces with a `bridge` directory in sysfs (the kernel's
/// Documentation/ABI/testing/sysfs-class-net), and those of Open vSwitch's in the kernel, of which one is the
/// bridge's own.
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

/// The name and MTU of each of these bridges that exists.
pub fn read_mtus(root: &Path, bridges: &[String]) -> Vec<(String, u32)> {
    let mtu = |name: &String| {
        let is_name = !name.contains('/') && !name.starts_with('.');
        let text =
            fs::read_to_string(root.join("sys/class/net").join(name).join("mtu")).ok().filter(|_| is_name)?;
        Some((name.clone(), text.trim().parse().ok()?))
    };
    bridges.iter().filter_map(mtu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::make_root;

    #[test]
    fn mtus_are_those_of_bridges_and_of_no_other_file() {
        let root = make_root(&[("sys/class/net/br0/mtu", "65535\n"), ("sys/class/mtu", "7\n")]);
        let names = ["br0", "br9", "../../class", ".."].map(str::to_owned);
        assert_eq!(read_mtus(root.path(), &names), [("br0".to_owned(), 65535)]);
    }
}
