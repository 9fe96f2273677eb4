//! What foundry will do: a manifest validated and completed, in types that cannot be wrong.
//!
//! [`VmPlan::from_manifest`] is pure. It returns *all* problems of a manifest, each with its path;
//! what only a host can tell is the engine's preflight. A plan is deliberately not
//! `Serialize`: the manifest is what is stored and shown, the plan is what is true.

mod address;
mod batch;
mod build;
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

pub use address::{parse_ipv4_net, parse_name_server};
pub use batch::check_batch;
pub use defaults::Defaults;
pub use network::mac_address;
pub use problems::{Problem, Problems};

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::manifest::VirtualMachine;
use crate::names::{
    BridgeName, DiskSerial, DiskTarget, MacAddress, NetworkName, PoolName, VmName, VolumeName,
};
use crate::units::Bytes;

/// A valid VM, as far as that can be checked without a host.
#[derive(Debug, Clone, PartialEq)]
pub struct VmPlan {
    /// The domain's name.
    pub name: VmName,
    /// Labels, for selection.
    pub labels: BTreeMap<String, String>,
    /// Virtual CPUs, at least 1.
    pub vcpus: u32,
    /// Memory, a whole number of KiB.
    pub memory: Bytes,
    /// How the guest's CPU is chosen.
    pub cpu_mode: CpuMode,
    /// What the guest boots with.
    pub firmware: FirmwarePlan,
    /// The guest's architecture; `None` is the host's.
    pub arch: Option<Arch>,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// The pool of all volumes of this VM.
    pub pool: PoolName,
    /// `vda`.
    pub boot_disk: BootDiskPlan,
    /// `vdb` to `vdz`.
    pub data_disks: Vec<DataDiskPlan>,
    /// In the guest's order.
    pub interfaces: Vec<InterfacePlan>,
    /// The data for cloud-init; without it there is no seed volume.
    pub seed: Option<SeedPlan>,
    /// The manifest that it was made from, normalized (name and FQDN in lower case).
    pub manifest: VirtualMachine,
}

/// How the guest's CPU is chosen (libvirt's `<cpu mode>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuMode {
    /// Like the host's, by model and features.
    HostModel,
    /// The host's; hardware virtualization only.
    HostPassthrough,
}

/// What the guest boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwarePlan {
    /// UEFI.
    Efi {
        /// Whether only signed boot loaders start.
        secure_boot: bool,
    },
    /// The PC's BIOS.
    Bios,
}

/// A guest architecture that foundry knows a machine type for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit PC.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The machine type of its guests: the one with PCI Express.
    pub fn machine_type(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Aarch64 => "virt",
        }
    }
}

/// The format of a disk that foundry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// Copy-on-write, grows as it is written.
    Qcow2,
    /// Plain, sparse where the file system can.
    Raw,
}

impl DiskFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Qcow2, Self::Raw];

    /// libvirt's word for it.
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
    /// Its volume.
    pub volume: VolumeName,
    /// What the guest sees.
    pub size: Bytes,
    /// Its format.
    pub format: DiskFormat,
    /// What is on it.
    pub source: BootSource,
}

impl VmPlan {
    /// The same with the boot disk's image under the name that it has on the host.
    #[must_use]
    pub fn with_image(&self, image: Option<&ImageRef>) -> Self {
        let mut plan = self.clone();
        let Some(image) = image.filter(|image| self.boot_disk.source != BootSource::Image((*image).clone()))
        else {
            return plan;
        };
        plan.boot_disk.source = BootSource::Image(image.clone());
        let written = plan.manifest.spec.boot_disk.as_mut().and_then(|disk| disk.image.as_mut());
        if let (Some(written), ImageRef::Volume { volume, .. }) = (written, image) {
            // The pool stays where it was written, in front of the name or in a field of its own.
            *written = match written.split_once(':') {
                Some((pool, _)) => format!("{pool}:{volume}"),
                None => volume.to_string(),
            };
        }
        plan
    }
}

/// What is on the boot disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootSource {
    /// Nothing.
    Empty,
    /// An image.
    Image(ImageRef),
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// In a pool.
    Volume {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: VolumeName,
    },
    /// A file of the hypervisor's, absolute.
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

/// A data disk: empty.
#[derive(Debug, Clone, PartialEq)]
pub struct DataDiskPlan {
    /// The guest's name of it.
    pub target: DiskTarget,
    /// Its volume.
    pub volume: VolumeName,
    /// What the guest sees.
    pub size: Bytes,
    /// Its format.
    pub format: DiskFormat,
    /// What the guest calls it, where that is not its target.
    pub serial: Option<DiskSerial>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq)]
pub struct InterfacePlan {
    /// What it is attached to.
    pub link: Link,
    /// The manifest's, or from the address, or from the VM's name and the index.
    pub mac: MacAddress,
    /// The host's end; `None` leaves its name to libvirt.
    pub tap: Option<String>,
    /// The address that names MAC and tap.
    pub ip: Option<Ipv4Net>,
    /// Whether the guest asks for an IPv4 address by DHCP; false where only the user's own network-config knows.
    pub dhcp: bool,
    /// Further addresses.
    pub addresses: Vec<IpNet>,
    /// IPv4 gateway.
    pub gateway: Option<Ipv4Addr>,
    /// IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// Whether the IPv4 default route goes this way.
    pub default_route: bool,
    /// Whether the IPv6 default route goes this way: by the gateway, or by router advertisements.
    pub default_route6: bool,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Domains to look names up in.
    pub search: Vec<String>,
    /// MTU that was asked for; `None` is the link's.
    pub mtu: Option<u16>,
    /// The link's MTU where it is not 1500, Ethernet's. Only a host knows it.
    pub link_mtu: Option<u16>,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Whether the bridge is Open vSwitch's: said in the manifest, or seen on the host.
    pub on_open_vswitch: bool,
    /// Whether the firmware may boot from it.
    pub pxe_boot: bool,
}

impl InterfacePlan {
    /// All of its fixed addresses.
    pub fn fixed_addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.ip.map(IpNet::V4).into_iter().chain(self.addresses.iter().copied())
    }
}

/// What an interface is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// A bridge of the host's.
    Bridge(BridgeName),
    /// A libvirt network.
    Network(NetworkName),
}

/// The data for cloud-init.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedPlan {
    /// The seed's volume.
    pub volume: VolumeName,
    /// Host name: the FQDN's first label, else from the VM's name.
    pub hostname: String,
    /// Fully qualified name.
    pub fqdn: Option<String>,
    /// Keys that may log in as root.
    pub ssh_keys: Vec<String>,
    /// Root's password, hashed.
    pub password_hash: Option<String>,
    /// Whether SSH takes passwords.
    pub ssh_password_auth: bool,
    /// What the user adds to the generated user-data, or puts in its place.
    pub user_data: UserData,
    /// The user's own network-config, as it stands in the seed, in place of the generated one.
    pub network_config: Option<String>,
}

/// The user's own part of the user-data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserData {
    /// The generated one only.
    Generated,
    /// A cloud-config (YAML text, checked to be one mapping) to merge with the generated one.
    Merged(String),
    /// In place of the generated one.
    Raw(String),
}
