//! The machine under a host, as libvirt describes it.

use foundry_core::units::Bytes;

/// What libvirt says of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The hypervisor's version, QEMU's: major × 1,000,000 + minor × 1,000 + release.
    pub hypervisor_version: u32,
    /// All memory of the host.
    pub memory: Bytes,
    /// What of it nobody uses, caches not counted as used.
    pub free_memory: Bytes,
    /// Whether devices can be given to guests; `None` where libvirt does not say (before 4.7).
    pub iommu: Option<bool>,
}

/// One of libvirt's security drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityModel {
    /// `apparmor`, `selinux`, `dac` (owners and modes of files), `none`.
    pub name: String,
    /// What a guest runs as by default; for `dac` user and group, as in `+64055:+108`.
    pub label: Option<String>,
}

/// What guests of one architecture and virtualization type can have (libvirt's domain capabilities).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestMachine {
    /// The machine type's full name, `pc-q35-10.0` for one.
    pub name: String,
    /// The most virtual CPUs; `None` where libvirt does not say.
    pub max_vcpus: Option<u32>,
    /// The kinds of firmware that libvirt finds by itself: `efi`, `bios`.
    pub firmware: Vec<String>,
    /// Paths of firmware images.
    pub loaders: Vec<String>,
    /// Whether firmware with Secure Boot is among them; `None` where libvirt does not say (before 12.1).
    pub secure_boot: Option<bool>,
    /// Whether a guest that gets the host's CPU model can run guests itself (`vmx`, `svm`).
    pub nested: bool,
}
