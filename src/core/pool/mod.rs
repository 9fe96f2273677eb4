//! A storage pool to be added: the request, validated, and its XML.
//!
//! The types are libvirt's own backends (its page "Storage Management"). Validation is pure:
//! [`PoolSourceSpec::from_request`] returns all problems at once, and [`PoolSourceSpec::to_xml`] writes only validated
//! values. Secrets are not part of it: libvirt stores them, and the pool refers to one by UUID or usage.

mod arguments;
mod judge;
mod server;
mod xml;

pub use judge::PoolRequest;
pub use server::{PoolAuth, Secret, Server};

/// The types of pool that foundry can add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolType {
    /// A directory.
    Dir,
    /// A file system on a block device of the host.
    Fs,
    /// A file system of another machine.
    NetFs,
    /// An LVM volume group.
    Logical,
    /// A ZFS pool, or a dataset in one.
    Zfs,
    /// A Ceph pool.
    Rbd,
    /// The logical units of an iSCSI target.
    Iscsi,
}

impl PoolType {
    /// All types.
    pub const ALL: [Self; 7] =
        [Self::Dir, Self::Fs, Self::NetFs, Self::Logical, Self::Zfs, Self::Rbd, Self::Iscsi];

    /// Returns libvirt's word for it.
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

/// The source of a pool, validated without a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolSourceSpec {
    /// A directory of the host.
    Dir {
        /// Path of the directory.
        path: String,
    },
    /// A local file system that libvirt mounts.
    Fs {
        /// Path of the block device.
        device: String,
        /// Mount point.
        target: String,
        /// Type of the file system; `auto` lets mount(8) detect it.
        format: String,
    },
    /// A network file system that libvirt mounts.
    NetFs {
        /// Host name or address of the server.
        server: String,
        /// The exported directory or share.
        export: String,
        /// Mount point.
        target: String,
        /// Protocol: `nfs`, `cifs`, `glusterfs` or `auto`.
        format: String,
        /// Version of NFS.
        version: Option<String>,
    },
    /// An existing LVM volume group.
    Logical {
        /// Name of the volume group.
        group: String,
    },
    /// An existing ZFS pool or dataset.
    Zfs {
        /// Name, such as `tank` or `tank/vms`.
        dataset: String,
    },
    /// An existing Ceph pool.
    Rbd {
        /// Name of the pool in Ceph.
        pool: String,
        /// Addresses of Ceph's monitors.
        monitors: Vec<Server>,
        /// Login, if the server requires one.
        auth: Option<PoolAuth>,
    },
    /// An iSCSI target. Its logical units are the volumes; none can be created.
    Iscsi {
        /// Address of the target's server.
        portal: Server,
        /// Qualified name of the target.
        target: String,
        /// Qualified name of this host as the initiator.
        initiator: Option<String>,
        /// Login, if the server requires one.
        auth: Option<PoolAuth>,
    },
}

impl PoolSourceSpec {
    /// Returns the type of the pool.
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

    /// Returns the local directory that must exist before the pool starts, and that is created if it is missing.
    pub fn local_directory(&self) -> Option<&str> {
        match self {
            Self::Dir { path } => Some(path),
            Self::Fs { target, .. } | Self::NetFs { target, .. } => Some(target),
            Self::Logical { .. } | Self::Zfs { .. } | Self::Rbd { .. } | Self::Iscsi { .. } => None,
        }
    }
}
