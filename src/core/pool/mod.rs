//! A storage pool to be added: the request, validated, and its XML.
//!
//! Each type is one of libvirt's own backends (its page "Storage Management"). Judging is pure: [`PoolSourceSpec::judge`]
//! returns all problems at once, and [`PoolSourceSpec::to_xml`] writes nothing that was not judged. A secret is never
//! among it; libvirt keeps those, and the pool names one by UUID or usage.

mod arguments;
mod judge;
mod server;
mod xml;

pub use judge::PoolRequest;
pub use server::{PoolAuth, Secret, Server};

/// The types of pool that foundry adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolType {
    /// A directory.
    Dir,
    /// A file system on a block device of the host.
    Fs,
    /// A file system that another machine serves.
    NetFs,
    /// An LVM volume group.
    Logical,
    /// A ZFS pool, or a dataset in one.
    Zfs,
    /// A Ceph pool.
    Rbd,
    /// The units of an iSCSI target.
    Iscsi,
}

impl PoolType {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Dir, Self::Fs, Self::NetFs, Self::Logical, Self::Zfs, Self::Rbd, Self::Iscsi];

    /// libvirt's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Fs => "fs",
            Self::NetFs => "netfs",
            Self::Logical => "logical",
            Self::Zfs => "zfs",
            Self::Rbd => "rbd",
            Self::Iscsi => "iscsi",
        }
    }
}

/// The source of a pool, validated without a host: where its volumes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolSourceSpec {
    /// In a directory of the host.
    Dir {
        /// The directory.
        path: String,
    },
    /// On a file system that libvirt mounts.
    Fs {
        /// The block device.
        device: String,
        /// Where it is mounted.
        target: String,
        /// Its kind; `auto` leaves it to mount(8).
        format: String,
    },
    /// On another machine's file system that libvirt mounts.
    NetFs {
        /// The machine.
        server: String,
        /// What it serves.
        export: String,
        /// Where it is mounted.
        target: String,
        /// How it is served: `nfs`, `cifs`, `glusterfs` or `auto`.
        format: String,
        /// The version of NFS.
        version: Option<String>,
    },
    /// In an LVM volume group that exists.
    Logical {
        /// Its name.
        group: String,
    },
    /// In a ZFS pool or dataset that exists.
    Zfs {
        /// Its name, `tank` or `tank/vms`.
        dataset: String,
    },
    /// In a Ceph pool that exists.
    Rbd {
        /// Its name at Ceph.
        pool: String,
        /// Ceph's monitors.
        monitors: Vec<Server>,
        /// As whom.
        auth: Option<PoolAuth>,
    },
    /// Behind an iSCSI target, whose units are the volumes: none can be made.
    Iscsi {
        /// The machine.
        portal: Server,
        /// The target's qualified name.
        target: String,
        /// The name that this host calls itself.
        initiator: Option<String>,
        /// As whom.
        auth: Option<PoolAuth>,
    },
}

impl PoolSourceSpec {
    /// Its type.
    pub fn pool_type(&self) -> PoolType {
        match self {
            Self::Dir { .. } => PoolType::Dir,
            Self::Fs { .. } => PoolType::Fs,
            Self::NetFs { .. } => PoolType::NetFs,
            Self::Logical { .. } => PoolType::Logical,
            Self::Zfs { .. } => PoolType::Zfs,
            Self::Rbd { .. } => PoolType::Rbd,
            Self::Iscsi { .. } => PoolType::Iscsi,
        }
    }

    /// The directory of the host that must be there before the pool starts, and that is made where it is not.
    pub fn local_directory(&self) -> Option<&str> {
        match self {
            Self::Dir { path } => Some(path),
            Self::Fs { target, .. } | Self::NetFs { target, .. } => Some(target),
            Self::Logical { .. } | Self::Zfs { .. } | Self::Rbd { .. } | Self::Iscsi { .. } => None,
        }
    }
}
