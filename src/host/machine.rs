//! The machine under a host, as libvirt describes it.

use foundry_core::units::Bytes;

/// Properties of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The hypervisor's version, QEMU's: major × 1,000,000 + minor × 1,000 + release.
    pub hypervisor_version: u32,
    /// All memory of the host.
    pub memory: Bytes,
    /// Unused memory; caches count as unused.
    pub free_memory: Bytes,
    /// Whether an IOMMU allows device passthrough; `None` if libvirt does not say (before 4.7).
    pub iommu: Option<bool>,
}

/// One of libvirt's security drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityModel {
    /// `apparmor`, `selinux`, `dac` (owners and modes of files), `none`.
    pub name: String,
    /// The default label of guests; for `dac` user and group, as in `+64055:+108`.
    pub label: Option<String>,
}

/// The capabilities of guests of one architecture and virtualization type (libvirt's domain capabilities).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestMachine {
    /// The full machine type, such as `pc-q35-10.0`.
    pub name: String,
    /// The maximum number of virtual CPUs; `None` if libvirt does not say.
    pub max_vcpus: Option<u32>,
    /// The kinds of firmware that libvirt finds by itself: `efi`, `bios`.
    pub firmware: Vec<String>,
    /// Paths of firmware images.
    pub loaders: Vec<String>,
    /// Whether firmware with Secure Boot is available; `None` if libvirt does not say (before 12.1).
    pub secure_boot: Option<bool>,
    /// The protocols by which a guest's screen can be offered: `vnc`, `spice`.
    pub graphics: Vec<String>,
    /// Whether a guest with the host's CPU model can run guests itself (`vmx`, `svm`).
    pub nested: bool,
}
