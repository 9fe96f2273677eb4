//! What each type of pool supports.
//!
//! From libvirt's storage backends (its `src/storage/storage_backend_*.c`), by the calls that each one has:
//!
//! | | files | LVM | ZFS | Ceph |
//! |---|---|---|---|---|
//! | a volume from an image (`buildVolFrom`) | overlay or copy | copy, by qemu-img | no | clone, within one pool |
//! | upload (`uploadVol`) | yes | yes | yes | no |
//! | other size (`resizeVol`) | yes | no | no | yes |
//! | takes room at once | no | yes | no | no |

use foundry_core::domain_xml::DiskLocation;
use foundry_core::plan::DiskFormat;
use foundry_core::units::Bytes;
use foundry_host::{Pool, PoolSource};

/// Volumes on block devices have whole numbers of these: LVM and ZFS round up, or refuse (a zvol is a multiple of
/// its block size, at most 128 KiB by default).
const BLOCK_UNIT: u64 = 1 << 20;

/// What the volumes of a pool are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolBackend {
    /// Files of the host, in which a qcow2 image can be.
    Files,
    /// Logical volumes of LVM: block devices that take their whole size at once.
    Lvm,
    /// Volumes of ZFS: block devices that take room as they are written.
    Zfs,
    /// Images at Ceph, which QEMU reaches itself.
    Ceph,
}

impl PoolBackend {
    /// By the type of the pool; `None` where libvirt makes no volumes in such a pool, or none that foundry knows.
    pub(crate) fn of(kind: &str) -> Option<Self> {
        match kind {
            "dir" | "fs" | "netfs" => Some(Self::Files),
            "logical" => Some(Self::Lvm),
            "zfs" => Some(Self::Zfs),
            "rbd" => Some(Self::Ceph),
            _ => None,
        }
    }

    /// Below which path the volumes of such a pool are; of a Ceph pool that is its name there.
    pub(crate) fn volume_prefix(self, pool: &Pool) -> Option<String> {
        if self == Self::Ceph { pool.source.name.clone() } else { pool.target.clone() }
    }

    /// The format of a disk: blocks hold the guest's bytes as they are.
    pub(crate) fn format(self, planned: DiskFormat) -> DiskFormat {
        if self == Self::Files { planned } else { DiskFormat::Raw }
    }

    /// The size of a volume that has to hold so much.
    pub(crate) fn capacity(self, needed: Bytes) -> Bytes {
        if self == Self::Files { needed } else { Bytes(needed.0.next_multiple_of(BLOCK_UNIT)) }
    }

    /// What a new disk of that size takes at once.
    pub(crate) fn allocation(self, capacity: Bytes) -> Bytes {
        // Anything less makes libvirt's LVM backend create a snapshot that runs full.
        if self == Self::Lvm { capacity } else { Bytes(0) }
    }

    /// Whether libvirt can write into a volume, so that a seed can be there.
    pub(crate) fn takes_uploads(self) -> bool {
        self != Self::Ceph
    }

    /// How a domain's XML refers to a volume.
    pub(crate) fn disk_source(self, path: &str, pool: &PoolSource) -> DiskLocation {
        let path = path.to_owned();
        match self {
            Self::Files => DiskLocation::File(path),
            Self::Lvm | Self::Zfs => DiskLocation::Block(path),
            Self::Ceph => {
                DiskLocation::Rbd { image: path, monitors: pool.servers.clone(), auth: pool.auth.clone() }
            }
        }
    }

    /// What a boot disk made from an image is, for people.
    pub(crate) fn boot_disk(self) -> Option<&'static str> {
        match self {
            Self::Files => None,
            Self::Lvm | Self::Zfs => Some("a copy of the image"),
            Self::Ceph => Some("a clone of the image"),
        }
    }
}
