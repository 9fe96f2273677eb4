//! Turns a plan into the XML of a libvirt domain (libvirt's "Domain XML format").
//!
//! The elements are in libvirt's own order, so a diff with `virsh dumpxml` is short. Everything that two hosts could
//! choose differently (firmware, CPU, machine) is set explicitly.

mod disks;
mod elements;
mod parts;
mod screen;

use uuid::Uuid;

use crate::error::Error;
use crate::plan::{Arch, CpuMode, DataDiskPlan, FirmwarePlan, InterfacePlan, Link, Problems, VmPlan};
use crate::record::METADATA_NAMESPACE;
use crate::xml_patch::{ProtectedParts, apply_patch};
pub use disks::DiskLocation;
pub use parts::{DiskParts, render_disk_parts, render_seed_controller, render_seed_disk};
pub use screen::render_screen;

use disks::{data_disk_element, disk_elements};
use elements::{
    Boot, Channel, ChannelTarget, ConsoleElement, Controller, Cpu, Device, DomainElement, Empty, Features,
    FirmwareFeature, FirmwareFeatures, InterfaceSource, InterfaceXml, Log, Mac, Memory, MetadataElement,
    Model, Mtu, Os, OsType, RecordElement, Rng, RngBackend, Serial, SerialTarget, Tag, TargetDev, Vcpu, Vlan,
};
use screen::{graphics_element, video_element};

/// How the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtType {
    /// By the processor.
    Kvm,
    /// By QEMU's emulation (TCG).
    Qemu,
}

impl VirtType {
    /// Returns libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// Properties of the host that a plan does not contain.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement<'a> {
    /// UUID of the domain; `None` lets libvirt choose, as when rendering offline.
    pub uuid: Option<Uuid>,
    /// How the guest's instructions are executed.
    pub virt_type: VirtType,
    /// Architecture of the guest.
    pub arch: Arch,
    /// Whether the guest's architecture is the host's.
    pub native: bool,
    /// Locations of the disks, in the order of the plan: boot disk, data disks, seed.
    pub disks: Vec<DiskLocation>,
    /// Path of the log of the serial console.
    pub console_log: Option<&'a str>,
    /// Foundry's record, as text.
    pub record: Option<&'a str>,
}

/// Renders the XML of a domain, with the plan's patch applied.
///
/// # Errors
/// An entry of the patch that does not fit.
pub fn render_domain(plan: &VmPlan, placement: &Placement<'_>) -> Result<String, Error> {
    let text = render_unpatched(plan, placement)?;
    patch_definition(&text, plan, 0)
}

/// Applies a plan's patch to a definition, from the entry with that index on.
///
/// # Errors
/// An entry that does not fit.
pub fn patch_definition(xml: &str, plan: &VmPlan, first: usize) -> Result<String, Error> {
    let entries = plan.xml_patch.get(first..).unwrap_or_default();
    apply_patch(xml, entries, first, &protected_parts(plan))
        .map_err(|error| Problems::from_patch(plan.name.as_str(), error).into())
}

/// Checks that a plan's patch fits the XML that the plan becomes on some host.
///
/// # Errors
/// The first entry that does not fit.
pub fn check_patch(plan: &VmPlan) -> Result<(), Problems> {
    if plan.xml_patch.is_empty() {
        return Ok(());
    }
    let volume = || DiskLocation::Volume { pool: "pool".to_owned(), volume: "volume".to_owned() };
    let disks = 1 + plan.data_disks.len() + usize::from(plan.seed.is_some());
    let placement = |arch| Placement {
        uuid: Some(Uuid::nil()),
        virt_type: VirtType::Kvm,
        arch,
        native: true,
        disks: std::iter::repeat_with(volume).take(disks).collect(),
        console_log: Some("/log"),
        record: Some(""),
    };
    let is_possible = |arch: &Arch| plan.arch.is_none_or(|wanted| wanted == *arch);
    let mut refused = None;
    for arch in Arch::ALL.into_iter().filter(is_possible) {
        // The serializer's errors are not the patch's; a rendering shows them.
        let Ok(xml) = render_unpatched(plan, &placement(arch)) else { return Ok(()) };
        match apply_patch(&xml, &plan.xml_patch, 0, &protected_parts(plan)) {
            Ok(_) => return Ok(()),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), |error| Err(Problems::from_patch(plan.name.as_str(), error)))
}

/// The disks and interfaces of a plan, which a patch may not change.
pub fn protected_parts(plan: &VmPlan) -> ProtectedParts {
    let data = plan.data_disks.iter().map(|disk| disk.target.to_string());
    let seed = plan.seed.is_some().then(|| "sda".to_owned());
    ProtectedParts {
        disks: std::iter::once("vda".to_owned()).chain(data).chain(seed).collect(),
        interfaces: plan.interfaces.iter().map(|interface| interface.mac.to_string()).collect(),
    }
}

fn render_unpatched(plan: &VmPlan, placement: &Placement<'_>) -> Result<String, quick_xml::SeError> {
    let mut text = String::new();
    let mut writer = quick_xml::se::Serializer::new(&mut text);
    writer.indent(' ', 2);
    serde::Serialize::serialize(&domain_element(plan, placement), writer)?;
    text.push('\n');
    Ok(text)
}

/// Renders the XML of one data disk, as an element of a domain.
///
/// # Errors
/// None in practice; those of the serializer.
pub fn render_data_disk(disk: &DataDiskPlan, source: &DiskLocation) -> Result<String, quick_xml::SeError> {
    quick_xml::se::to_string_with_root("disk", &data_disk_element(disk, source))
}

fn domain_element<'a>(plan: &'a VmPlan, placement: &'a Placement<'a>) -> DomainElement<'a> {
    DomainElement {
        kind: placement.virt_type.as_str(),
        name: plan.name.as_str(),
        uuid: placement.uuid.map(|u| u.to_string()),
        // libvirt chooses the value. By it, a guest notices that it was copied or set back to a snapshot.
        genid: Empty {},
        metadata: placement
            .record
            .map(|text| MetadataElement { record: RecordElement { namespace: METADATA_NAMESPACE, text } }),
        memory: Memory { unit: "KiB", value: plan.max_memory.to_kib() },
        current_memory: (plan.memory != plan.max_memory)
            .then(|| Memory { unit: "KiB", value: plan.memory.to_kib() }),
        vcpu: Vcpu {
            placement: "static",
            current: (plan.vcpus != plan.max_vcpus).then_some(plan.vcpus),
            count: plan.max_vcpus,
        },
        os: os_element(plan, placement.arch),
        features: features_element(placement.arch),
        cpu: cpu_element(plan, placement),
        devices: device_elements(plan, placement),
    }
}

/// Firmware is selected by features instead of a path: paths differ by distribution, and without features libvirt may
/// choose the Secure Boot build on one host and the plain one on another.
fn os_element(plan: &VmPlan, arch: Arch) -> Os {
    let kind = OsType { arch: arch.as_str(), machine: arch.machine_type(), text: "hvm" };
    let FirmwarePlan::Efi { secure_boot } = plan.firmware else {
        return Os { firmware: None, kind, features: None };
    };
    let feature = |name| FirmwareFeature { enabled: if secure_boot { "yes" } else { "no" }, name };
    let mut feature_list = vec![feature("secure-boot")];
    if secure_boot {
        // Without the vendors' keys, firmware with Secure Boot would start any boot loader.
        feature_list.insert(0, feature("enrolled-keys"));
    }
    Os { firmware: Some("efi"), kind, features: Some(FirmwareFeatures { feature: feature_list }) }
}

fn features_element(arch: Arch) -> Features {
    // aarch64 has a GIC instead, which libvirt adds itself.
    let apic = (arch == Arch::X86_64).then_some(Empty {});
    Features { acpi: Empty {}, apic }
}

fn cpu_element(plan: &VmPlan, placement: &Placement<'_>) -> Cpu {
    Cpu { mode: cpu_mode(plan.cpu_mode, placement.virt_type, placement.native) }
}

/// Returns libvirt's word for a guest's CPU. `native` is whether the guest's architecture is the host's.
pub fn cpu_mode(mode: CpuMode, virt_type: VirtType, native: bool) -> &'static str {
    match (virt_type, mode) {
        (VirtType::Kvm, CpuMode::HostPassthrough) => "host-passthrough",
        (VirtType::Kvm, CpuMode::HostModel) => "host-model",
        (VirtType::Qemu, CpuMode::HostModel) if native => "host-model",
        // Emulation has no host CPU to pass through, and no model of a foreign one.
        (VirtType::Qemu, _) => "maximum",
    }
}

fn device_elements<'a>(plan: &'a VmPlan, placement: &'a Placement<'a>) -> elements::Devices<'a> {
    let mut list = disk_elements(plan, &placement.disks);
    if plan.seed.is_some() {
        list.push(Device::Controller(parts::seed_controller()));
    }
    list.extend(root_ports(plan).map(Device::Controller));
    for (interface, boot) in plan.interfaces.iter().zip(boot_orders(plan)) {
        list.push(Device::Interface(interface_element(interface, boot)));
    }
    list.extend(console_elements(placement));
    list.push(Device::Channel(Channel {
        kind: "unix",
        target: ChannelTarget { kind: "virtio", name: "org.qemu.guest_agent.0" },
    }));
    list.push(Device::Rng(Rng {
        model: "virtio",
        // /dev/random blocks before Linux 5.6.
        backend: RngBackend { model: "random", path: "/dev/urandom" },
    }));
    if let Some(listen) = plan.graphics {
        list.extend([Device::Graphics(graphics_element(listen)), Device::Video(video_element())]);
    }
    elements::Devices { list }
}

/// The place of each interface in the firmware's boot order. Network boot comes after the boot disk, in the order of the
/// interfaces.
pub fn boot_orders(plan: &VmPlan) -> Vec<Option<u32>> {
    let mut orders = 2..;
    plan.interfaces.iter().map(|i| if i.pxe_boot { orders.next() } else { None }).collect()
}

/// Makes slots for hotplugging disks. Both machine types are PCI Express: each device needs its own root port, and a
/// running guest cannot get more ports. By default libvirt creates one port more than there are devices (its page "PCI
/// topology and hotplug").
fn root_ports(plan: &VmPlan) -> impl Iterator<Item = Controller> {
    let disks = 1 + plan.data_disks.len();
    let seed = usize::from(plan.seed.is_some());
    let devices = disks + seed + plan.interfaces.len() + OTHER_PCI_DEVICES;
    let port = Controller { kind: "pci", index: None, model: "pcie-root-port" };
    // Without an explicit root, libvirt would use the first port as the root.
    let root = Controller { kind: "pci", index: Some(0), model: "pcie-root" };
    std::iter::once(root).chain(std::iter::repeat_n(port, devices + FREE_SLOTS))
}

/// Other devices that libvirt puts behind a root port: USB, the agent's virtio-serial, the balloon, the RNG.
const OTHER_PCI_DEVICES: usize = 4;

/// Number of disks that can be hotplugged. Each port is one more bus that the firmware scans.
const FREE_SLOTS: usize = 4;

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
        // The guest's virtio driver reads the MTU from the device, whatever configures its network.
        mtu: interface.mtu.or(interface.link_mtu).map(|size| Mtu { size }),
        boot: boot.map(|order| Boot { order }),
    }
}

fn console_elements<'a>(placement: &'a Placement<'a>) -> [Device<'a>; 2] {
    let log = placement.console_log.map(|file| Log { file, append: "off" });
    // aarch64 has no ISA bus; libvirt chooses the port of its machine type.
    let target = (placement.arch == Arch::X86_64).then_some(SerialTarget { kind: "isa-serial", port: 0 });
    let serial = Serial { kind: "pty", log, target };
    [
        Device::Serial(serial),
        Device::Console(ConsoleElement { kind: "pty", target: SerialTarget { kind: "serial", port: 0 } }),
    ]
}
