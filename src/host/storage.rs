//! The storage of a host: pools, their sources, and volumes.

use foundry_core::pool::{PoolAuth, Server};
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

/// The state of a storage pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its type, `dir` for one (libvirt's storage page).
    pub kind: String,
    /// Whether it is started.
    pub active: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Target path on the host; for a directory pool the directory.
    pub target: Option<String>,
    /// What it is made of.
    pub source: PoolSource,
    /// Total size; 0 when inactive.
    pub capacity: Bytes,
    /// Space taken.
    pub allocation: Bytes,
    /// Space left.
    pub available: Bytes,
}

/// What a pool is made of; which of it there is depends on its type (libvirt's `<source>`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolSource {
    /// The machines that serve it.
    pub servers: Vec<Server>,
    /// Block devices, or the name of an iSCSI target.
    pub devices: Vec<String>,
    /// The directory that another machine serves.
    pub directory: Option<String>,
    /// A volume group, a ZFS dataset, a Ceph pool.
    pub name: Option<String>,
    /// Of its file system.
    pub format: Option<String>,
    /// As whom it is asked for.
    pub auth: Option<PoolAuth>,
}

impl std::fmt::Display for PoolSource {
    /// In the words in which such a pool is added.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let servers = servers.join(", ");
        match (&self.directory, &self.name, self.devices.as_slice()) {
            (Some(directory), _, _) => write!(f, "{servers}:{directory}"),
            (None, Some(name), _) if servers.is_empty() => f.write_str(name),
            (None, Some(name), _) => write!(f, "{name} at {servers}"),
            (None, None, devices) if servers.is_empty() => f.write_str(&devices.join(", ")),
            (None, None, devices) => write!(f, "{} at {servers}", devices.join(", ")),
        }
    }
}

/// A volume of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The pool it is in.
    pub pool: String,
    /// Its name in the pool.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// Its format as libvirt probed it: `qcow2`, `raw`, `iso`, …
    pub format: String,
    /// The size that a guest sees.
    pub capacity: Bytes,
    /// What it takes on the host.
    pub allocation: Bytes,
    /// Path of its backing file, if it has one.
    pub backing: Option<String>,
    /// Permission bits, where the pool has them.
    pub mode: Option<u32>,
}

impl Volume {
    /// What names it.
    pub fn reference(&self) -> VolumeRef {
        VolumeRef::new(self.pool.clone(), self.name.clone())
    }
}
