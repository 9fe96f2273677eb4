//! Changes a definition in place.
//!
//! Each function replaces the text of one element and keeps every other byte: PCI addresses, UUID, machine type, EFI
//! variables, and whatever else foundry does not know. A definition that is written anew without its addresses would
//! give the guest other device names.

use quick_xml::escape::escape;
use roxmltree::{Document, Node};

use super::domain::is_record;
use super::{child_element, child_elements, parse_xml, text_of, unreadable_xml};
use crate::Result;
use foundry_core::record::METADATA_NAMESPACE;
use foundry_core::units::Bytes;
use foundry_core::xml::{append_text, replace_ranges};

/// The bridge or network that an interface is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceLink<'a> {
    /// A bridge of the kernel, or of Open vSwitch.
    Bridge {
        /// Its name.
        name: &'a str,
        /// Whether it is a bridge of Open vSwitch.
        is_open_vswitch: bool,
    },
    /// A libvirt network.
    Network(&'a str),
}

/// Sets the number of CPUs at start, and the number that the domain can have while it runs.
///
/// # Errors
/// If the text is not a `<domain>` with `<vcpu>`.
pub fn set_vcpus(xml: &str, current: u32, most: u32) -> Result<String> {
    let document = parse(xml)?;
    let root = document.root_element();
    let vcpu = child_element(root, "vcpu").ok_or_else(|| missing_element("vcpu"))?;
    let kept = vcpu.attributes().filter(|attribute| attribute.name() != "current");
    let mut tag: String = kept.map(|a| format!(" {}='{}'", a.name(), escape(a.value()))).collect();
    if current != most {
        tag.push_str(&format!(" current='{current}'"));
    }
    let mut changes = vec![(vcpu.range(), format!("<vcpu{tag}>{most}</vcpu>"))];
    // libvirt lists the single CPUs if their number was changed before; the list would contradict the number.
    changes.extend(child_element(root, "vcpus").map(|list| (list.range(), String::new())));
    Ok(replace_ranges(xml, changes))
}

/// Sets the memory at start, and the most that the domain can have while it runs.
///
/// # Errors
/// If the text is not a `<domain>` with `<memory>`.
pub fn set_memory(xml: &str, current: Bytes, most: Bytes) -> Result<String> {
    let document = parse(xml)?;
    let root = document.root_element();
    let memory = child_element(root, "memory").ok_or_else(|| missing_element("memory"))?;
    let now = format!("<currentMemory unit='KiB'>{}</currentMemory>", current.to_kib());
    let most = format!("<memory unit='KiB'>{}</memory>", most.to_kib());
    Ok(match child_element(root, "currentMemory") {
        Some(found) => replace_ranges(xml, vec![(memory.range(), most), (found.range(), now)]),
        None => replace_ranges(xml, vec![(memory.range(), most + &now)]),
    })
}

/// Sets how the guest's CPU is chosen; topology and features are kept, a named model is not.
///
/// # Errors
/// If the text is not a `<domain>`.
pub fn set_cpu_mode(xml: &str, mode: &str) -> Result<String> {
    let document = parse(xml)?;
    let root = document.root_element();
    let Some(cpu) = child_element(root, "cpu") else {
        let name = child_element(root, "name").ok_or_else(|| missing_element("name"))?;
        let at = name.range().end;
        return Ok(replace_ranges(xml, vec![(at..at, format!("<cpu mode='{}'/>", escape(mode)))]));
    };
    let kept = cpu.children().filter(|n| n.is_element() && n.tag_name().name() != "model");
    let inside: String = kept.filter_map(|node| xml.get(node.range())).collect();
    Ok(replace_ranges(xml, vec![(cpu.range(), format!("<cpu mode='{}'>{inside}</cpu>", escape(mode)))]))
}

/// Names the file with the EFI variables, if the definition leaves it to libvirt. libvirt would name it after the
/// domain.
///
/// # Errors
/// If the text is not a `<domain>` with `<os>`.
pub fn set_nvram(xml: &str, path: &str) -> Result<String> {
    let document = parse(xml)?;
    let os = child_element(document.root_element(), "os").ok_or_else(|| missing_element("os"))?;
    if child_element(os, "nvram").is_some_and(|nvram| !text_of(nvram).trim().is_empty()) {
        return Ok(xml.to_owned());
    }
    Ok(set_child(xml, os, "nvram", Some(format!("<nvram>{}</nvram>", escape(path)))))
}

/// Replaces or adds the text of foundry's metadata element.
///
/// # Errors
/// If the text is not a `<domain>` with a name, or XML cannot carry the record.
pub fn set_record(xml: &str, text: &str) -> Result<String> {
    let record = format!("<foundry:vm xmlns:foundry=\"{METADATA_NAMESPACE}\">{}</foundry:vm>", escape(text));
    let document = parse(xml)?;
    let root = document.root_element();
    let changed = match child_element(root, "metadata") {
        Some(metadata) => match metadata.children().find(|node| is_record(*node)) {
            Some(old) => replace_ranges(xml, vec![(old.range(), record)]),
            None => append_text(xml, metadata, &record),
        },
        None => {
            let name = child_element(root, "name").ok_or_else(|| missing_element("name"))?;
            let at = name.range().end;
            replace_ranges(xml, vec![(at..at, format!("<metadata>{record}</metadata>"))])
        }
    };
    parse_xml(&changed, "domain", "the record")?;
    Ok(changed)
}

/// Moves the log of the serial console to another file. libvirt shows it twice, in `<serial>` and `<console>`.
///
/// # Errors
/// If the text is not a `<domain>`.
pub fn set_console_log(xml: &str, path: &str) -> Result<String> {
    let document = parse(xml)?;
    let devices = child_element(document.root_element(), "devices");
    let ports = devices
        .into_iter()
        .flat_map(|devices| child_elements(devices, "serial").chain(child_elements(devices, "console")));
    let logs = ports.filter_map(|port| child_element(port, "log")?.attribute_node("file"));
    let changes = logs.map(|file| (file.range_value(), escape(path).into_owned())).collect();
    Ok(replace_ranges(xml, changes))
}

/// Sets the serial number of the disk with that target.
///
/// # Errors
/// If the text is not a `<domain>` with that disk.
pub fn set_disk_serial(xml: &str, target: &str, serial: &str) -> Result<String> {
    let document = parse(xml)?;
    let disk = find_disk(&document, target)?;
    Ok(set_child(xml, disk, "serial", Some(format!("<serial>{}</serial>", escape(serial)))))
}

/// Puts the disk with that target on another file. What the definition says about the old file's backing chain is
/// removed: libvirt would believe it.
///
/// # Errors
/// If the text is not a `<domain>` with that disk on a file.
pub fn set_disk_file(xml: &str, target: &str, path: &str, format: &str) -> Result<String> {
    let document = parse(xml)?;
    let disk = find_disk(&document, target)?;
    let source = child_element(disk, "source").and_then(|source| source.attribute_node("file"));
    let source = source.ok_or_else(|| missing_element(&format!("file of disk '{target}'")))?;
    let mut changes = vec![(source.range_value(), escape(path).into_owned())];
    let driver = child_element(disk, "driver");
    match driver.and_then(|driver| driver.attribute_node("type")) {
        Some(kind) => changes.push((kind.range_value(), escape(format).into_owned())),
        None => return Err(missing_element(&format!("format of disk '{target}'"))),
    }
    changes.extend(child_element(disk, "backingStore").map(|chain| (chain.range(), String::new())));
    Ok(replace_ranges(xml, changes))
}

/// Has libvirt choose a new generation id, if the domain has one. By it, a guest notices that it was set back.
///
/// # Errors
/// If the text is not a `<domain>`.
pub fn renew_generation_id(xml: &str) -> Result<String> {
    let document = parse(xml)?;
    let old = child_element(document.root_element(), "genid");
    Ok(replace_ranges(xml, old.map(|old| (old.range(), "<genid/>".to_owned())).into_iter().collect()))
}

/// Attaches an interface to another bridge or network.
///
/// # Errors
/// If the text is not a `<domain>` with an interface of that MAC address.
pub fn set_interface_link(xml: &str, mac: &str, link: InterfaceLink<'_>) -> Result<String> {
    let (kind, source, port) = match link {
        InterfaceLink::Bridge { name, is_open_vswitch } => {
            ("bridge", format!("<source bridge='{}'/>", escape(name)), is_open_vswitch)
        }
        InterfaceLink::Network(name) => ("network", format!("<source network='{}'/>", escape(name)), false),
    };
    let port = port.then(|| "<virtualport type='openvswitch'/>".to_owned());
    let with_port = set_interface_child(xml, mac, "virtualport", port)?;
    let with_source = set_interface_child(&with_port, mac, "source", Some(source))?;
    let document = parse(&with_source)?;
    let interface = find_interface(&document, mac)?;
    let value = interface.attribute_node("type").map(|kind| kind.range_value());
    let value = value.ok_or_else(|| missing_element("type of an interface"))?;
    Ok(replace_ranges(&with_source, vec![(value, kind.to_owned())]))
}

/// Sets the MTU of an interface, or removes it.
///
/// # Errors
/// If the text is not a `<domain>` with an interface of that MAC address.
pub fn set_interface_mtu(xml: &str, mac: &str, mtu: Option<u16>) -> Result<String> {
    set_interface_child(xml, mac, "mtu", mtu.map(|size| format!("<mtu size='{size}'/>")))
}

/// Sets the name of an interface's tap on the host, or lets libvirt choose one.
///
/// # Errors
/// If the text is not a `<domain>` with an interface of that MAC address.
pub fn set_interface_tap(xml: &str, mac: &str, tap: Option<&str>) -> Result<String> {
    set_interface_child(xml, mac, "target", tap.map(|name| format!("<target dev='{}'/>", escape(name))))
}

/// Sets the VLAN tag of an interface, or removes all.
///
/// # Errors
/// If the text is not a `<domain>` with an interface of that MAC address.
pub fn set_interface_vlan(xml: &str, mac: &str, vlan: Option<u16>) -> Result<String> {
    set_interface_child(xml, mac, "vlan", vlan.map(|id| format!("<vlan><tag id='{id}'/></vlan>")))
}

/// Sets the place of an interface in the boot order, or removes it from there.
///
/// # Errors
/// If the text is not a `<domain>` with an interface of that MAC address.
pub fn set_interface_boot(xml: &str, mac: &str, order: Option<u32>) -> Result<String> {
    set_interface_child(xml, mac, "boot", order.map(|order| format!("<boot order='{order}'/>")))
}

/// Connects an interface to its link, or disconnects it (libvirt's page "Domain XML format", "Modifying virtual link
/// state").
///
/// # Errors
/// If the text is not a `<domain>` with an interface of that MAC address.
pub fn set_interface_state(xml: &str, mac: &str, is_up: bool) -> Result<String> {
    let state = if is_up { "up" } else { "down" };
    set_interface_child(xml, mac, "link", Some(format!("<link state='{state}'/>")))
}

/// The XML of the interface with that MAC address; `None` if there is none.
///
/// # Errors
/// If the text is not a `<domain>`.
pub fn interface_element<'a>(xml: &'a str, mac: &str) -> Result<Option<&'a str>> {
    let document = parse(xml)?;
    let range = find_interface(&document, mac).ok().map(|interface| interface.range());
    Ok(range.and_then(|range| xml.get(range)))
}

fn set_interface_child(xml: &str, mac: &str, name: &'static str, element: Option<String>) -> Result<String> {
    let document = parse(xml)?;
    Ok(set_child(xml, find_interface(&document, mac)?, name, element))
}

/// Finds the disk with that target.
pub(super) fn find_disk<'a, 'i>(document: &'a Document<'i>, target: &str) -> Result<Node<'a, 'i>> {
    let has_target = |disk: &Node<'_, '_>| {
        child_element(*disk, "target").is_some_and(|t| t.attribute("dev") == Some(target))
    };
    let devices = child_element(document.root_element(), "devices");
    let disk = devices.and_then(|d| child_elements(d, "disk").find(has_target));
    disk.ok_or_else(|| missing_element(&format!("disk with target '{target}'")))
}

fn find_interface<'a, 'i>(document: &'a Document<'i>, mac: &str) -> Result<Node<'a, 'i>> {
    let has_mac = |node: &Node<'_, '_>| {
        let address = child_element(*node, "mac").and_then(|m| m.attribute("address"));
        address.is_some_and(|address| address.eq_ignore_ascii_case(mac))
    };
    let devices = child_element(document.root_element(), "devices");
    let found = devices.and_then(|devices| child_elements(devices, "interface").find(has_mac));
    found.ok_or_else(|| missing_element(&format!("interface with MAC address {mac}")))
}

/// Replaces, adds or removes one child element.
pub(super) fn set_child(
    xml: &str,
    parent: Node<'_, '_>,
    name: &'static str,
    element: Option<String>,
) -> String {
    let place = match (child_element(parent, name), parent.children().rfind(Node::is_element)) {
        (Some(old), _) => old.range(),
        // The new element is the last one.
        (None, Some(last)) => last.range().end..last.range().end,
        // A disk has a target and an interface a MAC address, by which they were found.
        (None, None) => return xml.to_owned(),
    };
    replace_ranges(xml, vec![(place, element.unwrap_or_default())])
}

pub(super) fn parse(xml: &str) -> Result<Document<'_>> {
    parse_xml(xml, "domain", WHAT)
}

const WHAT: &str = "the definition of a domain";

pub(super) fn missing_element(element: &str) -> crate::HostError {
    unreadable_xml(WHAT, format!("it has no {element}"))
}

#[cfg(test)]
mod tests;
