//! Changes the description in a file of saved memory, so that it becomes another domain's.

use quick_xml::escape::escape;
use uuid::Uuid;

use super::edit::{
    missing_element, parse, renew_generation_id, set_child, set_console_log, set_disk_file, set_record,
};
use super::{child_element, child_elements};
use crate::Result;
use foundry_core::xml::replace_ranges;

/// Who a restored domain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmIdentity<'a> {
    /// Name of the domain.
    pub name: &'a str,
    /// UUID of the domain.
    pub uuid: Uuid,
    /// Path of its boot disk, a qcow2 image.
    pub boot_disk: &'a str,
    /// Path of the log of its serial console.
    pub console_log: Option<&'a str>,
    /// Path of its EFI variables, as its own definition names it.
    pub nvram: Option<&'a str>,
    /// Foundry's record, as text.
    pub record: &'a str,
}

/// Adds a description of so many bytes. libvirt gives the header of a saved file the length of its text.
///
/// # Errors
/// If the text is not a `<domain>` with a name.
pub fn with_room(xml: &str, room: usize) -> Result<String> {
    let document = parse(xml)?;
    let root = document.root_element();
    let name = child_element(root, "name").ok_or_else(|| missing_element("name"))?;
    let spare = format!("<description>{}</description>", "-".repeat(room));
    Ok(match child_element(root, "description") {
        Some(old) => replace_ranges(xml, vec![(old.range(), spare)]),
        None => {
            let at = name.range().end;
            replace_ranges(xml, vec![(at..at, spare)])
        }
    })
}

/// Makes the description of a saved domain that of another one.
///
/// # Errors
/// If the text is not a `<domain>` as foundry saves one, without interfaces and with one disk.
pub fn as_other_domain(xml: &str, to: &WarmIdentity<'_>) -> Result<String> {
    check_devices(xml)?;
    let named = set_identity(xml, to)?;
    let disk = set_disk_file(&named, "vda", to.boot_disk, "qcow2")?;
    let nvram = set_variables(&disk, to.nvram)?;
    let log = match to.console_log {
        Some(log) => set_console_log(&nvram, log)?,
        None => without_logs(&nvram)?,
    };
    set_record(&renew_generation_id(&without_host_paths(&log)?)?, to.record)
}

/// A saved interface would come back with its old MAC address, and another disk would have two writers.
fn check_devices(xml: &str) -> Result<()> {
    let document = parse(xml)?;
    let devices =
        child_element(document.root_element(), "devices").ok_or_else(|| missing_element("devices"))?;
    let has_source = |disk: &roxmltree::Node<'_, '_>| child_element(*disk, "source").is_some();
    let disks = child_elements(devices, "disk").filter(has_source).count();
    match (child_elements(devices, "interface").count(), disks) {
        (0, 1) => Ok(()),
        (0, _) => Err(missing_element("single disk")),
        _ => Err(missing_element("interface-free device list")),
    }
}

fn set_identity(xml: &str, to: &WarmIdentity<'_>) -> Result<String> {
    let document = parse(xml)?;
    let root = document.root_element();
    let part = |name| child_element(root, name).map(|node| node.range());
    let name = part("name").ok_or_else(|| missing_element("name"))?;
    let uuid = part("uuid").ok_or_else(|| missing_element("uuid"))?;
    let mut changes = vec![
        (name, format!("<name>{}</name>", escape(to.name))),
        (uuid, format!("<uuid>{}</uuid>", to.uuid)),
    ];
    changes.extend(part("description").map(|range| (range, String::new())));
    changes.extend(part("title").map(|range| (range, String::new())));
    Ok(replace_ranges(xml, changes))
}

/// Names the file of the EFI variables. libvirt makes it of its template, and QEMU writes what was saved into it.
fn set_variables(xml: &str, path: Option<&str>) -> Result<String> {
    let document = parse(xml)?;
    let os = child_element(document.root_element(), "os").ok_or_else(|| missing_element("os"))?;
    let Some(old) = child_element(os, "nvram") else { return Ok(xml.to_owned()) };
    let path = path.ok_or_else(|| missing_element("path of the EFI variables"))?;
    let kept = old.attributes().filter(|a| ["template", "templateFormat", "format"].contains(&a.name()));
    let kept: String = kept.map(|a| format!(" {}='{}'", a.name(), escape(a.value()))).collect();
    Ok(replace_ranges(xml, vec![(old.range(), format!("<nvram{kept}>{}</nvram>", escape(path)))]))
}

fn without_logs(xml: &str) -> Result<String> {
    let document = parse(xml)?;
    let devices = child_element(document.root_element(), "devices");
    let ports =
        devices.into_iter().flat_map(|d| child_elements(d, "serial").chain(child_elements(d, "console")));
    let logs = ports.filter_map(|port| child_element(port, "log"));
    Ok(replace_ranges(xml, logs.map(|log| (log.range(), String::new())).collect()))
}

/// Removes the sockets of channels and the terminals of consoles, which libvirt chooses for each domain, and the labels
/// of the old domain.
fn without_host_paths(xml: &str) -> Result<String> {
    let document = parse(xml)?;
    let root = document.root_element();
    let mut gone: Vec<_> = child_elements(root, "seclabel").map(|label| label.range()).collect();
    if let Some(devices) = child_element(root, "devices") {
        for kind in ["channel", "serial", "console"] {
            let ports = child_elements(devices, kind)
                .filter(|port| matches!(port.attribute("type"), Some("unix" | "pty")));
            gone.extend(ports.filter_map(|port| child_element(port, "source")).map(|source| source.range()));
            let terminals = child_elements(devices, kind).filter_map(|port| port.attribute_node("tty"));
            gone.extend(terminals.map(|tty| tty.range()));
        }
    }
    gone.sort_by_key(|range| range.start);
    Ok(replace_ranges(xml, gone.into_iter().map(|range| (range, String::new())).collect()))
}

/// An interface of a definition as it can be plugged into a running domain, with its link down. libvirt chooses its slot;
/// the slot of the definition may be taken by another device.
///
/// # Errors
/// If the text is not a `<domain>` with an interface of that MAC address.
pub fn unlinked_interface(xml: &str, mac: &str) -> Result<String> {
    let down = super::edit::set_interface_state(xml, mac, false)?;
    let mut text = super::edit::interface_element(&down, mac)?
        .ok_or_else(|| missing_element(&format!("interface with MAC address {mac}")))?
        .to_owned();
    for name in ["address", "alias", "boot"] {
        let document = super::parse_xml(&text, "interface", "an interface")?;
        if child_element(document.root_element(), name).is_some() {
            text = set_child(&text, document.root_element(), name, None);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "<domain type='qemu'><name>old</name><uuid>1d1debb3-fae2-4f0c-9ed1-7a6edcdc4168</uuid>\
        <genid>1d1debb3-fae2-4f0c-9ed1-7a6edcdc4169</genid><description>----</description>\
        <metadata><foundry:vm xmlns:foundry=\"http://foundry.cofront.xyz/v1alpha1\">{}</foundry:vm></metadata>\
        <os><type machine='pc-q35-7.2'>hvm</type><loader type='pflash'>/c.fd</loader><nvram template='/t.fd'>/old_VARS.fd</nvram></os>\
        <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/old'/>\
        <backingStore type='file'><source file='/base'/></backingStore><target dev='vda' bus='virtio'/></disk>\
        <serial type='pty'><log file='/old.log' append='off'/><target type='isa-serial' port='0'/></serial>\
        <console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/><log file='/old.log' append='off'/></console>\
        <channel type='unix'><source mode='bind' path='/run/domain-1-old/agent'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
        </devices></domain>";

    fn identity() -> WarmIdentity<'static> {
        WarmIdentity {
            name: "a&b",
            uuid: Uuid::from_u128(5),
            boot_disk: "/new",
            console_log: Some("/new.log"),
            nvram: Some("/new_VARS.fd"),
            record: "{\"version\": 1}",
        }
    }

    #[test]
    fn nothing_of_the_saved_domain_is_left() {
        let changed = as_other_domain(SAVED, &identity()).unwrap();
        for gone in ["old", "1d1debb3", "/base", "pts", "/run/", "----"] {
            assert!(!changed.contains(gone), "{gone}: {changed}");
        }
        for new in
            ["a&amp;b", "/new_VARS.fd", "template='/t.fd'", "/new.log", "<genid/>", "pc-q35-7.2", "version"]
        {
            assert!(changed.contains(new), "{new}: {changed}");
        }
        assert!(changed.contains("<source file='/new'/>"), "{changed}");
    }

    #[test]
    fn more_devices_than_foundry_saves_are_refused() {
        let with = |device: &str| SAVED.replace("</devices>", &format!("{device}</devices>"));
        let nic = with("<interface type='bridge'><mac address='52:54:00:00:00:01'/></interface>");
        assert!(as_other_domain(&nic, &identity()).is_err());
        let disk = with("<disk type='file'><source file='/x'/><target dev='vdb'/></disk>");
        assert!(as_other_domain(&disk, &identity()).is_err());
        let drive = with("<disk type='file' device='cdrom'><target dev='sda'/></disk>");
        assert!(as_other_domain(&drive, &identity()).is_ok());
    }

    #[test]
    fn room_is_taken_once() {
        let roomy = with_room(SAVED, 10).unwrap();
        assert!(roomy.contains("<description>----------</description>"), "{roomy}");
        let bare = SAVED.replace("<description>----</description>", "");
        assert_eq!(with_room(&bare, 3).unwrap().len(), bare.len() + 3 + "<description></description>".len());
    }

    #[test]
    fn interface_is_plugged_without_place_and_link() {
        let xml = "<domain><name>a</name><devices><interface type='bridge'><mac address='52:54:00:00:00:01'/>\
            <source bridge='br0'/><alias name='net0'/><boot order='2'/><address type='pci' bus='0x01'/></interface></devices></domain>";
        let text = unlinked_interface(xml, "52:54:00:00:00:01").unwrap();
        assert!(text.contains("<link state='down'/>") && text.contains("br0"), "{text}");
        assert!(!text.contains("alias") && !text.contains("pci") && !text.contains("boot"), "{text}");
    }
}
