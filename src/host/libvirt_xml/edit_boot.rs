//! Changes in a definition what a new boot disk and a new seed change: sources of disks, and the generation id.

use quick_xml::escape::escape;
use roxmltree::Node;
use uuid::Uuid;

use super::edit::{find_disk, missing_element, parse, set_child};
use super::{attribute_value, child_element, child_elements, find_element};
use crate::Result;
use foundry_core::domain_xml::DiskParts;
use foundry_core::xml::replace_ranges;

/// Puts the disk with that target on another volume. Its place in the guest stays: target, bus, address, serial.
///
/// # Errors
/// If the text is not a `<domain>` with that disk.
pub fn set_disk_parts(xml: &str, target: &str, parts: &DiskParts) -> Result<String> {
    let document = parse(xml)?;
    let disk = find_disk(&document, target)?;
    let kind = disk.attribute_node("type").map(|kind| kind.range_value());
    let kind = kind.ok_or_else(|| missing_element("type of a disk"))?;
    let mut changes = vec![(kind, parts.kind.to_owned())];
    let format = child_element(disk, "driver").and_then(|d| d.attribute_node("type"));
    changes.extend(format.map(|format| (format.range_value(), escape(parts.format.as_str()).into_owned())));
    let changed = replace_ranges(xml, changes);
    let changed = set_disk_child(&changed, target, "source", Some(parts.source.clone()))?;
    set_disk_child(&changed, target, "backingStore", parts.below.clone())
}

/// Adds a device after the others.
///
/// # Errors
/// If the text is not a `<domain>` with devices.
pub fn add_device(xml: &str, device: &str) -> Result<String> {
    let document = parse(xml)?;
    let devices = child_element(document.root_element(), "devices");
    let last = devices.and_then(|devices| devices.children().rfind(Node::is_element));
    let at = last.ok_or_else(|| missing_element("devices"))?.range().end;
    Ok(replace_ranges(xml, vec![(at..at, device.to_owned())]))
}

/// Removes the disk with that target.
///
/// # Errors
/// If the text is not a `<domain>` with that disk.
pub fn remove_disk(xml: &str, target: &str) -> Result<String> {
    let document = parse(xml)?;
    let range = find_disk(&document, target)?.range();
    Ok(replace_ranges(xml, vec![(range, String::new())]))
}

/// Whether the domain has a controller of that type.
///
/// # Errors
/// If the text is not a `<domain>`.
pub fn has_controller(xml: &str, kind: &str) -> Result<bool> {
    let document = parse(xml)?;
    let devices = child_element(document.root_element(), "devices");
    let is_it = |controller: Node<'_, '_>| controller.attribute("type") == Some(kind);
    Ok(devices.is_some_and(|devices| child_elements(devices, "controller").any(is_it)))
}

/// The format of the file below the disk with that target, if the definition names one.
///
/// # Errors
/// If the text is not a `<domain>` with that disk.
pub fn backing_format(xml: &str, target: &str) -> Result<Option<String>> {
    let document = parse(xml)?;
    let disk = find_disk(&document, target)?;
    Ok(find_element(disk, &["backingStore", "format"]).and_then(|format| attribute_value(format, "type")))
}

/// Sets the generation id, by which a guest notices that it is another instance. A domain without one gets none.
///
/// # Errors
/// If the text is not a `<domain>`.
pub fn set_generation_id(xml: &str, id: Uuid) -> Result<String> {
    let document = parse(xml)?;
    let found = child_element(document.root_element(), "genid").map(|genid| genid.range());
    Ok(replace_ranges(xml, found.map(|range| (range, format!("<genid>{id}</genid>"))).into_iter().collect()))
}

fn set_disk_child(xml: &str, target: &str, name: &'static str, element: Option<String>) -> Result<String> {
    let document = parse(xml)?;
    Ok(set_child(xml, find_disk(&document, target)?, name, element))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt_xml::{DiskSource, DomainDescription};
    use foundry_core::domain_xml::{DiskLocation, render_disk_parts, render_seed_disk};

    const WEB: &str = "<domain type='kvm'><name>web</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
  <genid>00000000-0000-0000-0000-000000000002</genid><memory unit='KiB'>1048576</memory><vcpu>1</vcpu>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='/a'/>
      <backingStore type='file'><format type='qcow2'/><source file='/image'/><backingStore/></backingStore>
      <target dev='vda' bus='virtio'/><serial>vda</serial><address type='pci' bus='0x05'/></disk>
    <disk type='file' device='cdrom'><source file='/seed'/><target dev='sda' bus='scsi'/><readonly/></disk>
  </devices></domain>";

    fn read(xml: &str) -> DomainDescription {
        DomainDescription::read(xml).unwrap()
    }

    #[test]
    fn a_disk_gets_another_volume_and_keeps_its_place() {
        let location = DiskLocation::Overlay {
            own: Box::new(DiskLocation::File("/b'2".into())),
            image: Box::new(DiskLocation::File("/other".into())),
            format: "raw".into(),
        };
        assert_eq!(backing_format(WEB, "vda").unwrap().as_deref(), Some("qcow2"));
        let changed = set_disk_parts(WEB, "vda", &render_disk_parts(&location, "qcow2").unwrap()).unwrap();
        let disk = read(&changed).disk("vda").unwrap().clone();
        assert_eq!(disk.source, DiskSource::File("/b'2".into()));
        assert_eq!((disk.format.as_deref(), disk.backing_chain), (Some("qcow2"), vec!["/other".to_owned()]));
        assert_eq!(backing_format(&changed, "vda").unwrap().as_deref(), Some("raw"));
        assert!(changed.contains("bus='0x05'") && changed.contains("cache='none'"), "{changed}");
        let block = render_disk_parts(&DiskLocation::Block("/dev/vg/web".into()), "raw").unwrap();
        let changed = set_disk_parts(&changed, "vda", &block).unwrap();
        assert_eq!(read(&changed).disk("vda").unwrap().source, DiskSource::Block("/dev/vg/web".into()));
        assert!(read(&changed).disk("vda").unwrap().backing_chain.is_empty());
        set_disk_parts(WEB, "vdb", &block).unwrap_err();
    }

    #[test]
    fn a_drive_is_removed_and_added() {
        let without = remove_disk(WEB, "sda").unwrap();
        assert!(read(&without).disk("sda").is_none());
        assert!(!has_controller(&without, "scsi").unwrap());
        let drive = render_seed_disk(&DiskLocation::File("/seed.2".into())).unwrap();
        let with = add_device(&without, &drive).unwrap();
        assert_eq!(read(&with).disk("sda").unwrap().source, DiskSource::File("/seed.2".into()));
        let with = add_device(&with, "<controller type='scsi' index='0'/>").unwrap();
        assert!(has_controller(&with, "scsi").unwrap());
    }

    #[test]
    fn a_generation_id_is_replaced_only() {
        let id = Uuid::from_u128(7);
        assert!(set_generation_id(WEB, id).unwrap().contains(&format!("<genid>{id}</genid>")));
        let without = WEB.replace("<genid>00000000-0000-0000-0000-000000000002</genid>", "");
        assert_eq!(set_generation_id(&without, id).unwrap(), without);
    }
}
