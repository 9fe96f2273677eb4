//! `<domain>`: its devices, and foundry's record.

use std::path::Path;

use roxmltree::Node;
use uuid::Uuid;

use super::{
    Mentions, attribute_value, child_element, child_elements, find_element, parse_xml, read_size, text_at,
    text_of, unreadable_xml,
};
use crate::Result;
use foundry_core::record::METADATA_NAMESPACE;
use foundry_core::units::Bytes;
use foundry_core::xml::name_end;

/// The parts of a domain's XML that foundry uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDescription {
    /// Its UUID; absent only in XML that libvirt has not seen yet.
    pub uuid: Option<Uuid>,
    /// Its name, unique on the host.
    pub name: String,
    /// The domain type: `kvm`, `qemu`, `test`.
    pub domain_type: String,
    /// The guest's architecture.
    pub arch: Option<String>,
    /// The maximum memory of the guest.
    pub memory: Bytes,
    /// The memory that the guest has at start; in a running domain, what its balloon leaves it now.
    pub current_memory: Bytes,
    /// The number of CPUs at start; in a running domain, those that are plugged in now.
    pub vcpus: u32,
    /// The number of CPUs that it can have while it runs.
    pub max_vcpus: u32,
    /// How its CPU is chosen (`host-model`, `host-passthrough`, `maximum`). libvirt replaces `host-model` in a running
    /// domain.
    pub cpu_mode: Option<String>,
    /// The type of firmware that libvirt selects (`efi`, `bios`).
    pub firmware: Option<String>,
    /// Whether the firmware must have Secure Boot, if the domain says so.
    pub secure_boot: Option<bool>,
    /// The file with its EFI variables.
    pub nvram: Option<String>,
    /// Its disks, in the order of the XML.
    pub disks: Vec<DiskDescription>,
    /// Its network interfaces, in the order of the XML.
    pub interfaces: Vec<InterfaceDescription>,
    /// The server that offers its screen: of several, the first.
    pub graphics: Option<GraphicsDescription>,
    /// Whether it has a video device.
    pub has_video: bool,
    /// The file that its serial console is written to.
    pub console_log: Option<String>,
    /// The text of foundry's metadata element.
    pub record: Option<String>,
    /// All files and volumes that it mentions, also in elements that foundry does not know.
    pub mentions: Mentions,
}

/// The server that offers a domain's screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphicsDescription {
    /// Its protocol: `vnc`, `spice`.
    pub kind: String,
    /// Where it waits for viewers: `socket`, an address, or `network NAME`; `None` if nowhere.
    pub listen: Option<String>,
}

impl std::fmt::Display for GraphicsDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.listen {
            Some(listen) => write!(f, "{} on {listen}", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

/// One disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDescription {
    /// The device name in the guest, such as `vda`.
    pub target: String,
    /// How the guest sees it.
    pub device: DiskDevice,
    /// The source of its data.
    pub source: DiskSource,
    /// The format in the domain's XML.
    pub format: Option<String>,
    /// The backing chain below its source, nearest first. libvirt reports it while the domain runs.
    pub backing_chain: Vec<String>,
    /// Format of its backing file, if the definition names one.
    pub backing_format: Option<String>,
    /// The serial number in the guest.
    pub serial: Option<String>,
    /// Whether it is read-only.
    pub readonly: bool,
    /// Whether several domains may write to it at the same time.
    pub shareable: bool,
}

/// The device type of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskDevice {
    /// A hard disk.
    Disk,
    /// A CD-ROM.
    Cdrom,
    /// Another type, as libvirt names it.
    Other(String),
}

/// The source of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// None: an empty CD-ROM drive.
    None,
    /// A file of the host.
    File(String),
    /// A block device of the host.
    Block(String),
    /// A volume of a pool.
    Volume {
        /// The pool's name.
        pool: String,
        /// The volume's name.
        volume: String,
    },
    /// A Ceph image: `POOL/IMAGE`, which is also the path that libvirt gives such a volume.
    Rbd(String),
    /// Another source, by its type in libvirt (`network`, `nvme`).
    Other(String),
}

impl DiskSource {
    /// The path in libvirt's storage, if it has one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File(path) | Self::Block(path) | Self::Rbd(path) => Some(path),
            Self::None | Self::Volume { .. } | Self::Other(_) => None,
        }
    }
}

/// One network interface of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceDescription {
    /// The connection type: `bridge`, `network`, `user`.
    pub kind: String,
    /// Its MAC address, lower case.
    pub mac: Option<String>,
    /// The name of its tap on the host.
    pub target: Option<String>,
    /// The bridge or network.
    pub source: Option<String>,
    /// Whether the bridge is one of Open vSwitch.
    pub is_open_vswitch: bool,
    /// The MTU that it sets on the host and tells the guest.
    pub mtu: Option<u16>,
    /// The VLAN tag, if it has exactly one.
    pub vlan: Option<u16>,
    /// Its place in the firmware's boot order.
    pub boot_order: Option<u32>,
}

impl DomainDescription {
    /// Reads a domain's XML.
    ///
    /// # Errors
    /// If the text is not a `<domain>`, has no name, or has an invalid size or UUID.
    pub fn read(xml: &str) -> Result<Self> {
        let document = parse_xml(xml, "domain", "the description of a domain")?;
        let root = document.root_element();
        let name = text_at(root, &["name"])
            .filter(|n| !n.is_empty())
            .ok_or_else(|| unreadable_xml("the description of a domain", "<name> is missing"))?;
        let what = format!("the description of domain '{name}'");
        let uuid = text_at(root, &["uuid"]).map(|text| text.trim().parse());
        let devices = child_element(root, "devices");
        let memory = Bytes(child_element(root, "memory").map_or(Ok(0), |m| read_size(m, "KiB", &what))?);
        let current_memory = child_element(root, "currentMemory").map(|m| read_size(m, "KiB", &what));
        let (vcpus, max_vcpus) = child_element(root, "vcpu").map_or(Ok((1, 1)), |v| read_vcpus(v, &what))?;
        Ok(Self {
            uuid: uuid.transpose().map_err(|_| unreadable_xml(&what, "<uuid> is no UUID"))?,
            domain_type: attribute_value(root, "type").unwrap_or_default(),
            arch: find_element(root, &["os", "type"]).and_then(|t| attribute_value(t, "arch")),
            current_memory: current_memory.transpose()?.map_or(memory, Bytes),
            memory,
            vcpus,
            max_vcpus,
            cpu_mode: child_element(root, "cpu").and_then(|cpu| attribute_value(cpu, "mode")),
            secure_boot: find_element(root, &["os", "firmware"]).and_then(read_secure_boot),
            firmware: child_element(root, "os").and_then(|os| attribute_value(os, "firmware")),
            nvram: text_at(root, &["os", "nvram"]).filter(|path| !path.is_empty()),
            disks: devices.map(|d| child_elements(d, "disk").map(read_disk).collect()).unwrap_or_default(),
            interfaces: devices
                .map(|d| child_elements(d, "interface").map(read_interface).collect())
                .unwrap_or_default(),
            graphics: devices.and_then(|d| child_element(d, "graphics")).map(read_graphics),
            has_video: devices.is_some_and(|d| child_elements(d, "video").any(is_video)),
            console_log: devices.and_then(console_log),
            mentions: Mentions::of(root),
            record: child_element(root, "metadata")
                .and_then(|m| m.children().find(|n| is_record(*n)))
                .map(text_of),
            name,
        })
    }

    /// The disk with that device name.
    pub fn disk(&self, target: &str) -> Option<&DiskDescription> {
        self.disks.iter().find(|d| d.target == target)
    }
}

impl DiskDescription {
    /// Paths of the whole chain, the disk's own file first; for Ceph, as libvirt names it.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let own = match &self.source {
            DiskSource::File(path) | DiskSource::Block(path) | DiskSource::Rbd(path) => Some(path),
            DiskSource::None | DiskSource::Volume { .. } | DiskSource::Other(_) => None,
        };
        own.into_iter().chain(&self.backing_chain).map(Path::new)
    }
}

/// Reads a metadata element as `virDomainGetMetadata` returns it: alone, without the prefix and the namespace that it
/// has inside the domain.
///
/// # Errors
/// If it is not XML.
pub fn metadata_text(element: &str) -> Result<String> {
    let what = "foundry's record";
    let qualified = element.get(1..name_end(element)).unwrap_or_default();
    let root = qualified.rsplit(':').next().unwrap_or_default();
    parse_xml(element, root, what).map(|document| text_of(document.root_element()))
}

/// The XML of the `<disk>` with that target; `None` if there is none.
///
/// # Errors
/// If the text is not a `<domain>`.
pub fn disk_element<'a>(xml: &'a str, target: &str) -> Result<Option<&'a str>> {
    let document = parse_xml(xml, "domain", "the description of a domain")?;
    let devices = child_element(document.root_element(), "devices");
    let has_target =
        |d: &Node<'_, '_>| child_element(*d, "target").is_some_and(|t| t.attribute("dev") == Some(target));
    let found = devices.and_then(|d| child_elements(d, "disk").find(has_target)).map(|disk| disk.range());
    Ok(found.and_then(|range| xml.get(range)))
}

/// Whether a node is foundry's metadata element, whatever its prefix and name.
pub(super) fn is_record(node: Node<'_, '_>) -> bool {
    node.is_element() && node.tag_name().namespace() == Some(METADATA_NAMESPACE)
}

/// The number of CPUs at start, and the maximum. `current` is the number at start, if it is not the maximum.
fn read_vcpus(node: Node<'_, '_>, what: &str) -> Result<(u32, u32)> {
    let read = |text: &str| {
        let number = text.trim().parse::<u32>();
        number.map_err(|_| unreadable_xml(what, format!("<vcpu> is '{text}', which is no number")))
    };
    let most = read(&text_of(node))?;
    Ok((node.attribute("current").map_or(Ok(most), read)?, most))
}

fn read_secure_boot(firmware: Node<'_, '_>) -> Option<bool> {
    let of = child_elements(firmware, "feature").find(|f| f.attribute("name") == Some("secure-boot"))?;
    Some(of.attribute("enabled") == Some("yes"))
}

fn read_disk(node: Node<'_, '_>) -> DiskDescription {
    DiskDescription {
        target: child_element(node, "target").and_then(|t| attribute_value(t, "dev")).unwrap_or_default(),
        device: match node.attribute("device").unwrap_or("disk") {
            "disk" => DiskDevice::Disk,
            "cdrom" => DiskDevice::Cdrom,
            other => DiskDevice::Other(other.to_owned()),
        },
        source: read_source(node),
        format: child_element(node, "driver").and_then(|d| attribute_value(d, "type")),
        backing_chain: backing_chain(node),
        backing_format: find_element(node, &["backingStore", "format"])
            .and_then(|f| attribute_value(f, "type")),
        serial: text_at(node, &["serial"]),
        readonly: child_element(node, "readonly").is_some(),
        shareable: child_element(node, "shareable").is_some(),
    }
}

fn read_source(disk: Node<'_, '_>) -> DiskSource {
    let kind = disk.attribute("type").unwrap_or("file");
    let Some(source) = child_element(disk, "source") else { return DiskSource::None };
    let said = |name| attribute_value(source, name);
    let read = match kind {
        "file" => said("file").map(DiskSource::File),
        "block" => said("dev").map(DiskSource::Block),
        "volume" => {
            said("pool").zip(said("volume")).map(|(pool, volume)| DiskSource::Volume { pool, volume })
        }
        "network" if source.attribute("protocol") == Some("rbd") => said("name").map(DiskSource::Rbd),
        other => Some(DiskSource::Other(other.to_owned())),
    };
    read.unwrap_or(DiskSource::None)
}

/// Follows nested `<backingStore>` elements; the innermost one is empty.
fn backing_chain(disk: Node<'_, '_>) -> Vec<String> {
    let first = child_element(disk, "backingStore");
    let stores = std::iter::successors(first, |store| child_element(*store, "backingStore"));
    let path = |store| {
        let source = child_element(store, "source")?;
        attribute_value(source, "file").or_else(|| attribute_value(source, "dev"))
    };
    stores.map_while(path).collect()
}

fn read_interface(node: Node<'_, '_>) -> InterfaceDescription {
    let kind = attribute_value(node, "type").unwrap_or_default();
    let said = |element, name| child_element(node, element).and_then(|n| attribute_value(n, name));
    InterfaceDescription {
        mac: said("mac", "address").map(|mac| mac.to_lowercase()),
        target: said("target", "dev"),
        // A running interface on a network also names the network's bridge; the network is the configured one.
        source: said("source", if kind == "network" { "network" } else { "bridge" }),
        is_open_vswitch: said("virtualport", "type").as_deref() == Some("openvswitch"),
        mtu: said("mtu", "size").and_then(|size| size.parse().ok()),
        vlan: child_element(node, "vlan").and_then(read_vlan),
        boot_order: said("boot", "order").and_then(|order| order.parse().ok()),
        kind,
    }
}

fn read_graphics(node: Node<'_, '_>) -> GraphicsDescription {
    let listen = child_element(node, "listen").and_then(|listen| match listen.attribute("type")? {
        "socket" => Some("socket".to_owned()),
        "network" => attribute_value(listen, "network").map(|name| format!("network {name}")),
        _ => attribute_value(listen, "address"),
    });
    GraphicsDescription {
        kind: attribute_value(node, "type").unwrap_or_default(),
        listen: listen.or_else(|| node.attribute("socket").map(|_| "socket".to_owned())),
    }
}

/// The model `none` stands for no device.
fn is_video(node: Node<'_, '_>) -> bool {
    child_element(node, "model").and_then(|model| model.attribute("type")) != Some("none")
}

fn read_vlan(vlan: Node<'_, '_>) -> Option<u16> {
    let mut tags = child_elements(vlan, "tag");
    let id = tags.next()?.attribute("id")?.parse().ok()?;
    tags.next().is_none().then_some(id)
}

/// The log of the first serial port that has one; `<console>` repeats it.
fn console_log(devices: Node<'_, '_>) -> Option<String> {
    let ports = child_elements(devices, "serial").chain(child_elements(devices, "console"));
    ports.filter_map(|port| child_element(port, "log")).find_map(|log| attribute_value(log, "file"))
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
