//! What foundry will do: a validated and completed manifest, in types that exclude invalid values.
//!
//! [`VmPlan::from_manifest`] is pure. It returns *all* problems of a manifest, each with its path. Problems that only a
//! host can show are found by the engine's preflight. A plan is deliberately not `Serialize`: the manifest is stored
//! and shown, the plan is used.

mod address;
mod batch;
mod build;
mod clone;
mod cloud_init;
mod crypt;
mod defaults;
mod disks;
mod image;
mod judge;
mod metadata;
mod network;
mod problems;
mod resources;
mod routes;
mod ssh_key;
mod warm;
mod xml_patch;

pub use address::{parse_ipv4_net, parse_name_server};
pub use batch::check_batch;
pub use clone::{CloneIdentity, check_cloned_network, clone_manifest};
pub use defaults::Defaults;
pub use network::{mac_address, pin_mac_addresses};
pub use problems::{Problem, Problems};
pub use warm::{WarmPlan, find_warm_conflict};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::manifest::VirtualMachine;
use crate::names::{
    BridgeName, DiskSerial, DiskTarget, MacAddress, NetworkName, PoolName, VmName, VolumeName,
};
use crate::units::Bytes;
use crate::xml_patch::PatchEntry;

/// A valid VM, as far as that can be checked without a host.
#[derive(Debug, Clone, PartialEq)]
pub struct VmPlan {
    /// Name of the VM and its domain.
    pub name: VmName,
    /// Labels, for selectors.
    pub labels: BTreeMap<String, String>,
    /// Number of virtual CPUs, at least 1.
    pub vcpus: u32,
    /// Memory, a whole number of KiB.
    pub memory: Bytes,
    /// The most virtual CPUs that it can have while it runs, at least `vcpus`.
    pub max_vcpus: u32,
    /// The most memory that it can have while it runs, at least `memory`.
    pub max_memory: Bytes,
    /// CPU model of the guest.
    pub cpu_mode: CpuMode,
    /// Firmware of the guest.
    pub firmware: FirmwarePlan,
    /// Architecture of the guest; `None` is the host's.
    pub arch: Option<Arch>,
    /// Whether the VM starts with the host.
    pub autostart: bool,
    /// Pool of all volumes of this VM.
    pub pool: PoolName,
    /// The boot disk, `vda`.
    pub boot_disk: BootDiskPlan,
    /// The data disks, `vdb` to `vdz`.
    pub data_disks: Vec<DataDiskPlan>,
    /// Network interfaces, in the guest's order.
    pub interfaces: Vec<InterfacePlan>,
    /// Data for cloud-init; without it there is no seed volume.
    pub seed: Option<SeedPlan>,
    /// What the guest becomes if the VM starts from a warm image; the image is then that of the boot disk.
    pub warm: Option<WarmPlan>,
    /// Where the host offers the VM's screen by VNC; without it the VM has none.
    pub graphics: Option<VncListen>,
    /// Changes to the domain's XML, applied last.
    pub xml_patch: Vec<PatchEntry>,
    /// The normalized manifest that the plan was made from (name and FQDN in lower case).
    pub manifest: VirtualMachine,
}

/// How the guest's CPU is chosen (libvirt's `<cpu mode>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuMode {
    /// Similar to the host's, by model and features.
    HostModel,
    /// The host's own; requires hardware virtualization.
    HostPassthrough,
}

/// Firmware of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwarePlan {
    /// UEFI.
    Efi {
        /// Whether only signed boot loaders may start (Secure Boot).
        secure_boot: bool,
    },
    /// The PC BIOS.
    Bios,
}

/// Where QEMU's VNC server waits for viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VncListen {
    /// On a socket in libvirt's directory of the domain.
    Socket,
    /// On a free TCP port of 127.0.0.1.
    Loopback,
}

impl VncListen {
    /// Both places.
    pub const ALL: [Self; 2] = [Self::Socket, Self::Loopback];

    /// Returns the manifest's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Loopback => "127.0.0.1",
        }
    }
}

/// A guest architecture with a known machine type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit PC.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// All architectures.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Returns libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Returns the machine type of its guests, the one with PCI Express.
    pub fn machine_type(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Aarch64 => "virt",
        }
    }
}

/// The format of a disk that foundry creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// qcow2: copy-on-write, grows as it is written.
    Qcow2,
    /// raw: sparse if the file system supports it.
    Raw,
}

impl DiskFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Qcow2, Self::Raw];

    /// Returns libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// The boot disk.
#[derive(Debug, Clone, PartialEq)]
pub struct BootDiskPlan {
    /// Name of its volume.
    pub volume: VolumeName,
    /// Virtual size, as the guest sees it.
    pub size: Bytes,
    /// Format of the volume.
    pub format: DiskFormat,
    /// What the disk contains when it is created.
    pub source: BootSource,
}

impl VmPlan {
    /// Returns the plan with the boot disk's image under the name that it has on the host.
    #[must_use]
    pub fn with_image(&self, image: Option<&ImageRef>) -> Self {
        let mut plan = self.clone();
        let Some(image) = image.filter(|image| self.boot_disk.source != BootSource::Image((*image).clone()))
        else {
            return plan;
        };
        plan.boot_disk.source = BootSource::Image(image.clone());
        let disk = plan.manifest.spec.boot_disk.as_mut();
        let written = disk.and_then(|disk| disk.image.as_mut().or(disk.warm.as_mut()));
        if let (Some(written), ImageRef::Volume { volume, .. }) = (written, image) {
            // The pool is kept where it was written: before the name, or in its own field.
            *written = match written.split_once(':') {
                Some((pool, _)) => format!("{pool}:{volume}"),
                None => volume.to_string(),
            };
        }
        plan
    }
}

/// Initial content of the boot disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootSource {
    /// The disk is empty.
    Empty,
    /// The disk is a copy of, or an overlay on, this image.
    Image(ImageRef),
}

/// Location of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// A volume in a pool.
    Volume {
        /// Name of the pool.
        pool: PoolName,
        /// Name of the volume.
        volume: VolumeName,
    },
    /// An absolute path on the hypervisor.
    Path(String),
}

impl std::fmt::Display for ImageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume { pool, volume } => write!(f, "{pool}:{volume}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// A data disk, empty when it is created.
#[derive(Debug, Clone, PartialEq)]
pub struct DataDiskPlan {
    /// Device name in the guest.
    pub target: DiskTarget,
    /// Name of its volume.
    pub volume: VolumeName,
    /// Virtual size, as the guest sees it.
    pub size: Bytes,
    /// Format of the volume.
    pub format: DiskFormat,
    /// Serial number, if it is not the device name.
    pub serial: Option<DiskSerial>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq)]
pub struct InterfacePlan {
    /// Bridge or network that it is attached to.
    pub link: Link,
    /// MAC address: given in the manifest, derived from the IPv4 address, or derived from the VM's name and the index.
    pub mac: MacAddress,
    /// Name of the tap on the host; `None` lets libvirt choose it.
    pub tap: Option<String>,
    /// IPv4 address that MAC and tap are derived from.
    pub ip: Option<Ipv4Net>,
    /// Whether the guest uses DHCP for IPv4; false if only the user's own network-config decides that.
    pub dhcp: bool,
    /// Further fixed addresses, IPv4 or IPv6.
    pub addresses: Vec<IpNet>,
    /// IPv4 gateway.
    pub gateway: Option<Ipv4Addr>,
    /// IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// Whether the interface has the IPv4 default route.
    pub default_route: bool,
    /// Whether the interface has the IPv6 default route, through the gateway or by router advertisements.
    pub default_route6: bool,
    /// IP addresses of the name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Requested MTU; `None` is the link's.
    pub mtu: Option<u16>,
    /// The link's MTU, if it is not Ethernet's 1500. Only a host knows it.
    pub link_mtu: Option<u16>,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Whether the bridge is an Open vSwitch bridge: set in the manifest, or detected on the host.
    pub on_open_vswitch: bool,
    /// Whether the firmware may boot from it (PXE).
    pub pxe_boot: bool,
}

impl InterfacePlan {
    /// Returns all fixed addresses.
    pub fn fixed_addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.ip.map(IpNet::V4).into_iter().chain(self.addresses.iter().copied())
    }
}

/// The bridge or network that an interface is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// A bridge of the host.
    Bridge(BridgeName),
    /// A libvirt network.
    Network(NetworkName),
}

/// The data for cloud-init.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedPlan {
    /// Name of the seed's volume.
    pub volume: VolumeName,
    /// Host name: the first label of the FQDN, otherwise derived from the VM's name.
    pub hostname: String,
    /// Fully qualified domain name.
    pub fqdn: Option<String>,
    /// Public keys that may log in as root.
    pub ssh_keys: Vec<String>,
    /// Password hash of root.
    pub password_hash: Option<String>,
    /// Whether SSH accepts passwords.
    pub ssh_password_auth: bool,
    /// The user's part of the user-data.
    pub user_data: UserData,
    /// The user's own network-config as in the seed; it replaces the generated one.
    pub network_config: Option<String>,
}

/// The user's part of the user-data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserData {
    /// None: the user-data is generated.
    Generated,
    /// A cloud-config to merge with the generated one (YAML text, checked to be one mapping).
    Merged(String),
    /// User-data that replaces the generated one.
    Raw(String),
}
