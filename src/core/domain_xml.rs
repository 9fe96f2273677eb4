//! Turns a plan into the XML of a libvirt domain (libvirt's "Domain XML format").
//!
//! Elements stand in the order in which libvirt prints them, so that a diff with `virsh dumpxml` is
//! short. Everything that two hosts could choose differently (firmware, CPU, machine) is named.

mod elements;

use uuid::Uuid;

use crate::names::DiskSerial;
use crate::plan::{Arch, CpuMode, DataDiskPlan, DiskFormat, FirmwarePlan, InterfacePlan, Link, VmPlan};
use crate::pool::{PoolAuth, Secret, Server};
use crate::record::METADATA_NAMESPACE;
use elements::{
    BackingFormat, BackingStore, Boot, Channel, ChannelTarget, Console, Controller, Cpu, Device, DiskElement,
    DiskTargetElement, DomainElement, Driver, Empty, Features, FirmwareFeature, FirmwareFeatures,
    InterfaceSource, InterfaceXml, Log, Mac, Memory, MetadataElement, Model, Mtu, Os, OsType, RecordElement,
    Rng, RngBackend, Serial, SerialTarget, SourceAuth, SourceElement, SourceHost, SourceSecret, Tag,
    TargetDev, Vcpu, Vlan,
};

/// How the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtType {
    /// By the processor.
    Kvm,
    /// By QEMU's translator (TCG).
    Qemu,
}

impl VirtType {
    /// libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// What the host adds to a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement<'a> {
    /// `None` leaves it to libvirt, for a rendering.
    pub uuid: Option<Uuid>,
    /// How it runs.
    pub virt_type: VirtType,
    /// Its architecture.
    pub arch: Arch,
    /// Whether that is the host's own.
    pub native: bool,
    /// Where the disks are, in the order of the plan: boot disk, data disks, seed.
    pub disks: Vec<DiskLocation>,
    /// Where the serial console is logged.
    pub console_log: Option<&'a str>,
    /// Foundry's record, as text.
    pub record: Option<&'a str>,
}

/// How a disk's volume is named to libvirt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskLocation {
    /// By pool and volume: what a rendering without a host can say.
    Volume {
        /// The pool.
        pool: String,
        /// The volume.
        volume: String,
    },
    /// By its path. On AppArmor hosts only this form has its backing chain allowed.
    File(String),
    /// By the path of a block device.
    Block(String),
    /// At Ceph, which QEMU asks itself.
    Rbd {
        /// `POOL/IMAGE`, by Ceph's names.
        image: String,
        /// Ceph's monitors.
        monitors: Vec<Server>,
        /// As whom.
        auth: Option<PoolAuth>,
    },
    /// An overlay on an image.
    Overlay {
        /// Where it is itself.
        own: Box<DiskLocation>,
        /// The image, which lies on nothing.
        image: Box<DiskLocation>,
        /// The image's format.
        format: String,
    },
}

impl DiskLocation {
    /// The format of what is there: only a file can be anything but the guest's bytes as they are.
    fn stored_format<'a>(&self, planned: &'a str) -> &'a str {
        match self {
            Self::Volume { .. } | Self::File(_) => planned,
            Self::Block(_) | Self::Rbd { .. } => "raw",
            Self::Overlay { own, .. } => own.stored_format(planned),
        }
    }

    /// Where the disk itself is, whatever it lies on.
    fn without_overlay(&self) -> &Self {
        match self {
            Self::Overlay { own, .. } => own,
            other => other,
        }
    }
}

/// The XML of a domain.
///
/// # Errors
/// None in practice; the serializer's.
pub fn render_domain(plan: &VmPlan, placement: &Placement<'_>) -> Result<String, quick_xml::SeError> {
    let mut text = String::new();
    let mut writer = quick_xml::se::Serializer::new(&mut text);
    writer.indent(' ', 2);
    serde::Serialize::serialize(&domain_element(plan, placement), writer)?;
    text.push('\n');
    Ok(text)
}

/// The XML of one data disk, as it stands inside of a domain's.
///
/// # Errors
/// None in practice; the serializer's.
pub fn render_data_disk(disk: &DataDiskPlan, source: &DiskLocation) -> Result<String, quick_xml::SeError> {
    quick_xml::se::to_string_with_root("disk", &data_disk_element(disk, source))
}

fn domain_element<'a>(plan: &'a VmPlan, placement: &'a Placement<'a>) -> DomainElement<'a> {
    DomainElement {
        kind: placement.virt_type.as_str(),
        name: plan.name.as_str(),
        uuid: placement.uuid.map(|u| u.to_string()),
        genid: Empty {},
        metadata: placement
            .record
            .map(|text| MetadataElement { record: RecordElement { namespace: METADATA_NAMESPACE, text } }),
        memory: Memory { unit: "KiB", value: plan.memory.to_kib() },
        vcpu: Vcpu { placement: "static", count: plan.vcpus },
        os: os_element(plan, placement.arch),
        features: features_element(placement.arch),
        cpu: cpu_element(plan, placement),
        devices: device_elements(plan, placement),
    }
}

/// Firmware is chosen by feature and not by file: paths differ by distribution, and left alone libvirt
/// may pick the Secure Boot build on one host and the plain one on the next.
fn os_element(plan: &VmPlan, arch: Arch) -> Os {
    let kind = OsType { arch: arch.as_str(), machine: arch.machine_type(), text: "hvm" };
    let FirmwarePlan::Efi { secure_boot } = plan.firmware else {
        return Os { firmware: None, kind, features: None };
    };
    let feature = |name| FirmwareFeature { enabled: if secure_boot { "yes" } else { "no" }, name };
    let mut feature_list = vec![feature("secure-boot")];
    if secure_boot {
        // Without the vendors' keys every boot loader would pass.
        feature_list.insert(0, feature("enrolled-keys"));
    }
    Os { firmware: Some("efi"), kind, features: Some(FirmwareFeatures { feature: feature_list }) }
}

fn features_element(arch: Arch) -> Features {
    let apic = (arch == Arch::X86_64).then_some(Empty {});
    Features { acpi: Empty {}, apic }
}

fn cpu_element(plan: &VmPlan, placement: &Placement<'_>) -> Cpu {
    let mode = match (placement.virt_type, plan.cpu_mode) {
        (VirtType::Kvm, CpuMode::HostPassthrough) => "host-passthrough",
        (VirtType::Kvm, CpuMode::HostModel) => "host-model",
        (VirtType::Qemu, CpuMode::HostModel) if placement.native => "host-model",
        // The translator has no host CPU to pass through, nor a model of a foreign one.
        (VirtType::Qemu, _) => "maximum",
    };
    Cpu { mode }
}

fn device_elements<'a>(plan: &'a VmPlan, placement: &'a Placement<'a>) -> elements::Devices<'a> {
    let mut list = disk_elements(plan, placement);
    if plan.seed.is_some() {
        list.push(Device::Controller(Controller { kind: "scsi", index: Some(0), model: "virtio-scsi" }));
    }
    list.extend(root_ports(plan).map(Device::Controller));
    let mut boot_order = 1..;
    boot_order.next(); // 1 is the boot disk's
    for interface in &plan.interfaces {
        let boot = if interface.pxe_boot { boot_order.next() } else { None };
        list.push(Device::Interface(interface_element(interface, boot)));
    }
    list.extend(console_elements(placement));
    list.push(Device::Channel(Channel {
        kind: "unix",
        target: ChannelTarget { kind: "virtio", name: "org.qemu.guest_agent.0" },
    }));
    list.push(Device::Rng(Rng {
        model: "virtio",
        backend: RngBackend { model: "random", path: "/dev/urandom" },
    }));
    elements::Devices { list }
}

/// Slots to plug disks into while the guest runs. Both machines are PCI Express ones, where each device sits
/// behind a root port of its own and no port can be added to a running guest; left alone, libvirt makes as
/// many as there are devices and one more (its page "PCI topology and hotplug").
fn root_ports(plan: &VmPlan) -> impl Iterator<Item = Controller> {
    let disks = 1 + plan.data_disks.len();
    let seed = usize::from(plan.seed.is_some());
    let devices = disks + seed + plan.interfaces.len() + OTHER_PCI_DEVICES;
    let port = Controller { kind: "pci", index: None, model: "pcie-root-port" };
    // Without its root libvirt takes the first port for it.
    let root = Controller { kind: "pci", index: Some(0), model: "pcie-root" };
    std::iter::once(root).chain(std::iter::repeat_n(port, devices + FREE_SLOTS))
}

/// What else libvirt puts behind a root port: USB, the agent's virtio-serial, the balloon, the RNG.
const OTHER_PCI_DEVICES: usize = 4;

/// How many disks can be plugged in. Each port costs the firmware a bus to scan.
const FREE_SLOTS: usize = 4;

fn disk_elements<'a>(plan: &'a VmPlan, placement: &'a Placement<'a>) -> Vec<Device<'a>> {
    let mut sources = placement.disks.iter();
    let boot = sources.next().map(|source| boot_disk_element(plan, source));
    let data = plan.data_disks.iter().zip(sources).map(|(disk, source)| data_disk_element(disk, source));
    let mut list: Vec<Device<'a>> =
        boot.into_iter().chain(data).map(|disk| Device::Disk(Box::new(disk))).collect();
    if let (Some(_), Some(source)) = (&plan.seed, placement.disks.get(list.len())) {
        list.push(Device::Disk(Box::new(seed_element(source))));
    }
    list
}

fn boot_disk_element<'a>(plan: &'a VmPlan, source: &'a DiskLocation) -> DiskElement<'a> {
    DiskElement { boot: Some(Boot { order: 1 }), ..disk_element("vda", plan.boot_disk.format, "vda", source) }
}

fn data_disk_element<'a>(data: &'a DataDiskPlan, source: &'a DiskLocation) -> DiskElement<'a> {
    let target = data.target.as_str();
    disk_element(target, data.format, data.serial.as_ref().map_or(target, DiskSerial::as_str), source)
}

/// `discard=unmap` gives freed space back to the host; the serial makes the disk
/// `/dev/disk/by-id/virtio-vdb` in the guest, whatever order its kernel finds the disks in.
fn disk_element<'a>(
    target: &'a str,
    format: DiskFormat,
    serial: &'a str,
    source: &'a DiskLocation,
) -> DiskElement<'a> {
    DiskElement {
        kind: source_kind(source),
        device: "disk",
        driver: driver_element(source.without_overlay(), source.stored_format(format.as_str())),
        source: source_element(source),
        below: backing_store(source),
        target: DiskTargetElement { dev: target, bus: "virtio" },
        readonly: None,
        serial: Some(serial),
        boot: None,
    }
}

/// The whole chain, with its end. Left out, libvirt looks for it at each start in what the files say by then, and gives
/// whatever they name to the guest's QEMU. What is at Ceph has its chain there.
fn backing_store(source: &DiskLocation) -> Option<BackingStore<'_>> {
    match source {
        DiskLocation::Rbd { .. } => None,
        DiskLocation::Overlay { image, format, .. } => Some(BackingStore {
            kind: Some(source_kind(image)),
            format: Some(BackingFormat { kind: format }),
            source: Some(source_element(image)),
            below: Some(Box::default()),
        }),
        DiskLocation::Volume { .. } | DiskLocation::File(_) | DiskLocation::Block(_) => {
            Some(BackingStore::default())
        }
    }
}

/// The host's page cache holds nothing twice. A block device without it can be left to the kernel's own
/// asynchronous I/O, which on a sparse file may block. Ceph's client has a cache of its own, which `none` would
/// turn off (Ceph's docs, "QEMU and block devices"); a guest's flushes go through it.
fn driver_element<'a>(source: &DiskLocation, format: &'a str) -> Driver<'a> {
    let (cache, io) = match source {
        DiskLocation::Block(_) => (Some("none"), Some("native")),
        DiskLocation::Rbd { .. } => (None, None),
        DiskLocation::Volume { .. } | DiskLocation::File(_) | DiskLocation::Overlay { .. } => {
            (Some("none"), None)
        }
    };
    Driver { name: "qemu", kind: format, cache, io, discard: Some("unmap") }
}

/// A CD-ROM on virtio-scsi and not on SATA: cloud kernels have no AHCI driver and never see it there.
fn seed_element(source: &DiskLocation) -> DiskElement<'_> {
    DiskElement {
        kind: source_kind(source),
        device: "cdrom",
        driver: Driver { name: "qemu", kind: "raw", cache: None, io: None, discard: None },
        source: source_element(source),
        below: backing_store(source),
        target: DiskTargetElement { dev: "sda", bus: "scsi" },
        readonly: Some(Empty {}),
        serial: None,
        boot: None,
    }
}

fn source_kind(source: &DiskLocation) -> &'static str {
    match source.without_overlay() {
        DiskLocation::Volume { .. } => "volume",
        DiskLocation::File(_) => "file",
        DiskLocation::Block(_) => "block",
        DiskLocation::Rbd { .. } => "network",
        // None lies on another, but that it is one of these.
        DiskLocation::Overlay { own, .. } => source_kind(own),
    }
}

fn source_element(source: &DiskLocation) -> SourceElement<'_> {
    let none = SourceElement::default();
    match source.without_overlay() {
        DiskLocation::Volume { pool, volume } => {
            SourceElement { pool: Some(pool), volume: Some(volume), ..none }
        }
        DiskLocation::File(path) => SourceElement { file: Some(path), ..none },
        DiskLocation::Block(path) => SourceElement { dev: Some(path), ..none },
        DiskLocation::Rbd { image, monitors, auth } => SourceElement {
            protocol: Some("rbd"),
            name: Some(image),
            hosts: monitors.iter().map(|m| SourceHost { name: &m.host, port: m.port }).collect(),
            auth: auth.as_ref().map(|a| Box::new(auth_element(a))),
            ..none
        },
        DiskLocation::Overlay { own, .. } => source_element(own),
    }
}

fn auth_element(auth: &PoolAuth) -> SourceAuth<'_> {
    let (uuid, usage) = match &auth.secret {
        Secret::Uuid(uuid) => (Some(uuid.to_string()), None),
        Secret::Usage(usage) => (None, Some(usage.as_str())),
    };
    SourceAuth { user: &auth.user, secret: SourceSecret { kind: "ceph", uuid, usage } }
}

fn interface_element(interface: &InterfacePlan, boot: Option<u32>) -> InterfaceXml<'_> {
    let (kind, source) = match &interface.link {
        Link::Bridge(name) => ("bridge", InterfaceSource { bridge: Some(name.as_str()), network: None }),
        Link::Network(name) => ("network", InterfaceSource { bridge: None, network: Some(name.as_str()) }),
    };
    InterfaceXml {
        kind,
        mac: Mac { address: interface.mac.to_string() },
        source,
        vlan: interface.vlan.map(|id| Vlan { tag: Tag { id } }),
        virtualport: interface.on_open_vswitch.then_some(Model { kind: "openvswitch" }),
        target: interface.tap.as_deref().map(|dev| TargetDev { dev }),
        model: Model { kind: "virtio" },
        // The guest's virtio driver takes it from there, whatever configures its network.
        mtu: interface.mtu.or(interface.link_mtu).map(|size| Mtu { size }),
        boot: boot.map(|order| Boot { order }),
    }
}

fn console_elements<'a>(placement: &'a Placement<'a>) -> [Device<'a>; 2] {
    let log = placement.console_log.map(|file| Log { file, append: "off" });
    let target = (placement.arch == Arch::X86_64).then_some(SerialTarget { kind: "isa-serial", port: 0 });
    let serial = Serial { kind: "pty", log, target };
    [
        Device::Serial(serial),
        Device::Console(Console { kind: "pty", target: SerialTarget { kind: "serial", port: 0 } }),
    ]
}
