//! The parts of a domain that a patch may not change: foundry's own, those with a field in the manifest, and the files
//! of its disks.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use crate::xml::{child_element, find_element, is_tag, text_of};

/// Names the disks and interfaces that are foundry's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProtectedParts {
    /// Device names of the disks: boot disk, data disks, seed.
    pub disks: Vec<String>,
    /// MAC addresses of the interfaces, in the order of the manifest.
    pub interfaces: Vec<String>,
}

/// The values of the protected parts, by what a message calls them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProtectedValues(BTreeMap<String, String>);

impl ProtectedValues {
    /// The first part that differs.
    pub(super) fn changed<'a>(&'a self, after: &Self) -> Option<&'a str> {
        self.0.iter().find(|(part, value)| after.0.get(*part) != Some(*value)).map(|(part, _)| part.as_str())
    }
}

impl ProtectedParts {
    /// Reads the values from a domain's XML.
    pub(super) fn read(&self, document: &Document<'_>, xml: &str) -> ProtectedValues {
        let root = document.root_element();
        let mut values = BTreeMap::new();
        let mut note = |part: &str, value: String| values.insert(part.to_owned(), value);
        let is_domain = is_tag(root, "domain");
        note("the element <domain>", format!("{is_domain} {}", attribute(Some(root), "type")));
        for (element, part) in [
            ("name", "the domain's name (metadata.name)"),
            ("uuid", "the domain's UUID"),
            ("metadata", "the metadata, where foundry's record is"),
        ] {
            note(part, source(root, element, xml));
        }
        for (element, part) in [
            ("memory", "the memory (spec.memoryGiB)"),
            ("currentMemory", "the memory at start (spec.memoryGiB)"),
        ] {
            let sizes = children(root, element);
            note(part, sizes.map(|m| format!("{} {}\n", text_of(m), attribute(Some(m), "unit"))).collect());
        }
        let vcpu = child_element(root, "vcpu");
        let count = vcpu.map(text_of).unwrap_or_default();
        note("the number of CPUs (spec.vcpus)", format!("{count} {}", attribute(vcpu, "current")));
        let os = child_element(root, "os");
        let secure = find_element(root, &["os", "firmware"]);
        let secure =
            secure.and_then(|f| children(f, "feature").find(|f| f.attribute("name") == Some("secure-boot")));
        let firmware = format!("{} {}", attribute(os, "firmware"), attribute(secure, "enabled"));
        note("the firmware (spec.firmware)", firmware);
        note("the architecture (spec.arch)", attribute(find_element(root, &["os", "type"]), "arch"));
        let nvram = find_element(root, &["os", "nvram"]).map(text_of).unwrap_or_default();
        note("the file with the EFI variables, which a destroy deletes", nvram);
        let devices = child_element(root, "devices");
        for target in &self.disks {
            let part = format!("the disk {target}: its file, format or image");
            note(&part, read_disk(devices, target, xml));
        }
        for (index, mac) in self.interfaces.iter().enumerate() {
            let part = format!("what spec.networkInterfaces[{index}] says");
            note(&part, read_interface(devices, mac, xml));
        }
        ProtectedValues(values)
    }
}

fn children<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| is_tag(*child, name))
}

fn attribute(node: Option<Node<'_, '_>>, name: &str) -> String {
    node.and_then(|node| node.attribute(name)).unwrap_or_default().to_owned()
}

/// The text of all child elements of a name, tags included.
fn source(node: Node<'_, '_>, name: &'static str, xml: &str) -> String {
    children(node, name).filter_map(|child| xml.get(child.range())).collect()
}

/// Another format would read a disk's content as something else; another image, as other content.
fn read_disk(devices: Option<Node<'_, '_>>, target: &str, xml: &str) -> String {
    let has_target =
        |d: &Node<'_, '_>| child_element(*d, "target").is_some_and(|t| t.attribute("dev") == Some(target));
    let disks = devices.into_iter().flat_map(|devices| children(devices, "disk")).filter(has_target);
    let values = disks.map(|disk| {
        let format = attribute(child_element(disk, "driver"), "type");
        let (kind, device) = (attribute(Some(disk), "type"), attribute(Some(disk), "device"));
        // The serial number of the boot disk has no field.
        let serial = if target == "vda" { String::new() } else { source(disk, "serial", xml) };
        let (file, below) = (source(disk, "source", xml), source(disk, "backingStore", xml));
        format!("{kind} {device} {format} {file} {below} {serial}\n")
    });
    values.collect()
}

fn read_interface(devices: Option<Node<'_, '_>>, mac: &str, xml: &str) -> String {
    let has_mac = |node: &Node<'_, '_>| {
        let address = child_element(*node, "mac").and_then(|m| m.attribute("address"));
        address.is_some_and(|address| address.eq_ignore_ascii_case(mac))
    };
    let interfaces = devices.into_iter().flat_map(|devices| children(devices, "interface")).filter(has_mac);
    let values = interfaces.map(|interface| {
        let parts = ["source", "vlan", "boot", "mtu"].map(|name| source(interface, name, xml));
        format!("{} {}\n", attribute(Some(interface), "type"), parts.join(" "))
    });
    values.collect()
}
