//! The storage of a host: pools, their sources, and volumes.

use foundry_core::pool::{PoolAuth, Server};
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

/// The state of a storage pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name, unique on the host.
    pub name: String,
    /// Its type, such as `dir` (libvirt's storage page).
    pub kind: String,
    /// Whether it is active.
    pub active: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Target path on the host; for a directory pool, the directory.
    pub target: Option<String>,
    /// Its source: directory, device, server or volume group.
    pub source: PoolSource,
    /// Total size; 0 if inactive.
    pub capacity: Bytes,
    /// Used space.
    pub allocation: Bytes,
    /// Free space, as of the last refresh.
    pub available: Bytes,
}

/// The source of a pool; which fields are set depends on its type (libvirt's `<source>`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolSource {
    /// The machines that serve it.
    pub servers: Vec<Server>,
    /// Block devices, or the name of an iSCSI target.
    pub devices: Vec<String>,
    /// The directory that the server exports.
    pub directory: Option<String>,
    /// A volume group, a ZFS dataset, a Ceph pool.
    pub name: Option<String>,
    /// The file system type.
    pub format: Option<String>,
    /// The credentials for the server: a user and a libvirt secret.
    pub auth: Option<PoolAuth>,
}

impl std::fmt::Display for PoolSource {
    /// The source as in `pool add`.
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
    /// The size it uses on the host.
    pub allocation: Bytes,
    /// Path of its backing file, if it has one.
    pub backing: Option<String>,
    /// Permission bits, if the pool has them.
    pub mode: Option<u32>,
}

impl Volume {
    /// What names it.
    pub fn reference(&self) -> VolumeRef {
        VolumeRef::new(self.pool.clone(), self.name.clone())
    }
}
