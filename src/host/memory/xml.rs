//! Changes that libvirt makes to a domain's XML: UUID, disks, and the backing chains of a running domain.

use std::ops::Range;

use quick_xml::escape::escape;
use uuid::Uuid;

use crate::Result;
use crate::libvirt_xml::{DomainDescription, child_element, disk_element, edit, is_tag, parse_xml};
use foundry_core::units::Bytes;

/// Adds the UUID of the domain to a definition without one.
pub(super) fn with_uuid(xml: &str, uuid: Uuid) -> Result<String> {
    let document = parse_xml(xml, "domain", "the definition")?;
    let root = document.root_element();
    match (child_element(root, "uuid"), child_element(root, "name")) {
        (None, Some(name)) => Ok(insert_text(xml, name.range().end, &format!("<uuid>{uuid}</uuid>"))),
        _ => Ok(xml.to_owned()),
    }
}

/// Adds a disk after the other devices.
pub(super) fn with_disk(xml: &str, disk: &str) -> Result<String> {
    parse_xml(disk, "disk", "the disk")?;
    let document = parse_xml(xml, "domain", "the definition")?;
    let root = document.root_element();
    let Some(devices) = child_element(root, "devices") else {
        let behind = root.last_child().map_or(xml.len(), |last| last.range().end);
        return Ok(insert_text(xml, behind, &format!("<devices>{disk}</devices>")));
    };
    match devices.last_child() {
        Some(last) => Ok(insert_text(xml, last.range().end, disk)),
        None => Ok(replace_text(xml, devices.range(), &format!("<devices>{disk}</devices>"))),
    }
}

/// Removes the disk with that target, if there is one.
pub(super) fn without_disk(xml: &str, target: &str) -> Result<String> {
    let Some(disk) = disk_element(xml, target)? else { return Ok(xml.to_owned()) };
    Ok(xml.replacen(disk, "", 1))
}

/// What a start makes of a definition: memory is rounded up to MiB, and `host-model` becomes a model.
pub(super) fn as_started(xml: &str, described: &DomainDescription) -> Result<String> {
    let round_up = |size: Bytes| Bytes(size.0.next_multiple_of(1 << 20));
    let started = edit::set_memory(xml, round_up(described.current_memory), round_up(described.memory))?;
    match described.cpu_mode.as_deref() {
        Some("host-model") => edit::set_cpu_mode(&started, "custom"),
        _ => Ok(started),
    }
}

/// Replaces the interface that has the MAC address of this `<interface>`; `None` if there is none.
pub(super) fn with_interface(xml: &str, interface: &str) -> Result<Option<String>> {
    let document = parse_xml(interface, "interface", "the interface")?;
    let mac = child_element(document.root_element(), "mac").and_then(|mac| mac.attribute("address"));
    let old = edit::interface_element(xml, mac.unwrap_or_default())?;
    Ok(old.map(|old| xml.replacen(old, interface, 1)))
}

/// Adds an interface after the other devices.
pub(super) fn with_new_interface(xml: &str, interface: &str) -> Result<String> {
    parse_xml(interface, "interface", "the interface")?;
    let document = parse_xml(xml, "domain", "the definition")?;
    let devices = child_element(document.root_element(), "devices");
    let last = devices.and_then(|devices| devices.last_child());
    Ok(last.map_or_else(|| xml.to_owned(), |last| insert_text(xml, last.range().end, interface)))
}

/// Removes the interface that has the MAC address of this `<interface>`, if there is one.
pub(super) fn without_interface(xml: &str, interface: &str) -> Result<String> {
    let document = parse_xml(interface, "interface", "the interface")?;
    let mac = child_element(document.root_element(), "mac").and_then(|mac| mac.attribute("address"));
    let old = edit::interface_element(xml, mac.unwrap_or_default())?;
    Ok(old.map_or_else(|| xml.to_owned(), |old| xml.replacen(old, "", 1)))
}

/// Adds the backing chain to each disk's source, as libvirt does while the domain runs. `chain` returns the paths below
/// a path.
pub(super) fn with_backing_chains(xml: &str, chain: impl Fn(&str) -> Vec<String>) -> Result<String> {
    let document = parse_xml(xml, "domain", "the definition")?;
    let devices = child_element(document.root_element(), "devices");
    let disks = devices.iter().flat_map(|d| d.children()).filter(|n| is_tag(*n, "disk"));
    let mut shown = xml.to_owned();
    // From the end, so that earlier positions stay valid.
    for disk in disks.collect::<Vec<_>>().into_iter().rev() {
        let source = child_element(disk, "source").filter(|_| child_element(disk, "backingStore").is_none());
        if let Some((source, path)) = source.and_then(|s| Some((s, s.attribute("file")?))) {
            shown = insert_text(&shown, source.range().end, &backing_stores_xml(&chain(path)));
        }
    }
    Ok(shown)
}

fn backing_stores_xml(paths: &[String]) -> String {
    paths.iter().rev().fold("<backingStore/>".to_owned(), |inner, path| {
        format!("<backingStore type='file'><source file='{}'/>{inner}</backingStore>", escape(path.as_str()))
    })
}

fn insert_text(xml: &str, at: usize, text: &str) -> String {
    replace_text(xml, at..at, text)
}

fn replace_text(xml: &str, range: Range<usize>, text: &str) -> String {
    format!("{}{text}{}", &xml[..range.start], &xml[range.end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_given_once() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let given = with_uuid("<domain><name>a</name></domain>", one).unwrap();
        assert_eq!(DomainDescription::read(&with_uuid(&given, two).unwrap()).unwrap().uuid, Some(one));
    }

    #[test]
    fn chains_are_shown_below_files_only() {
        let xml = "<domain><name>a</name><devices>
            <disk><source file='/top'/><target dev='vda'/></disk>
            <disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/></disk>
            <disk><source file='/flat'/><target dev='vdc'/></disk></devices></domain>";
        let chain = |path: &str| if path == "/top" { vec!["/a&b".into(), "/base".into()] } else { vec![] };
        let shown = DomainDescription::read(&with_backing_chains(xml, chain).unwrap()).unwrap();
        assert_eq!(shown.disk("vda").unwrap().backing_chain, ["/a&b", "/base"]);
        assert!(shown.disk("vdb").unwrap().backing_chain.is_empty());
        assert!(shown.disk("vdc").unwrap().backing_chain.is_empty());
    }
}
