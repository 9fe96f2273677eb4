//! The capabilities of each type of pool.
//!
//! Taken from libvirt's storage backends (its `src/storage/storage_backend_*.c`), by the calls that each implements:
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

/// In bytes. Sizes of block volumes are multiples of this: LVM and ZFS round a size up or refuse it (a zvol's size is a
/// multiple of its block size, which is at most 128 KiB by default).
const BLOCK_UNIT: u64 = 1 << 20;

/// How a pool stores its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolBackend {
    /// Files of the host, which can be qcow2 images.
    Files,
    /// LVM logical volumes: block devices that take their whole size at once.
    Lvm,
    /// ZFS volumes: block devices that take space as they are written.
    Zfs,
    /// Ceph RBD images, which QEMU accesses over the network.
    Ceph,
}

impl PoolBackend {
    /// Maps the type of a pool. Returns `None` if libvirt creates no volumes in such a pool, or foundry does not support
    /// it.
    pub(crate) fn of(kind: &str) -> Option<Self> {
        match kind {
            "dir" | "fs" | "netfs" => Some(Self::Files),
            "logical" => Some(Self::Lvm),
            "zfs" => Some(Self::Zfs),
            "rbd" => Some(Self::Ceph),
            _ => None,
        }
    }

    /// The path prefix of the volumes in a pool. For Ceph it is the name of the Ceph pool.
    pub(crate) fn volume_prefix(self, pool: &Pool) -> Option<String> {
        if self == Self::Ceph { pool.source.name.clone() } else { pool.target.clone() }
    }

    /// The format that a disk gets: always raw unless volumes are files.
    pub(crate) fn format(self, planned: DiskFormat) -> DiskFormat {
        if self == Self::Files { planned } else { DiskFormat::Raw }
    }

    /// The size of a volume that has to hold `needed` bytes.
    pub(crate) fn capacity(self, needed: Bytes) -> Bytes {
        if self == Self::Files { needed } else { Bytes(needed.0.next_multiple_of(BLOCK_UNIT)) }
    }

    /// The space that a new disk of that size takes at once.
    pub(crate) fn allocation(self, capacity: Bytes) -> Bytes {
        // Anything less makes libvirt's LVM backend create a snapshot that runs full.
        if self == Self::Lvm { capacity } else { Bytes(0) }
    }

    /// Whether libvirt can upload into a volume, as it must for a seed.
    pub(crate) fn takes_uploads(self) -> bool {
        self != Self::Ceph
    }

    /// The source of a volume in a domain's XML.
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

    /// How a boot disk is made from an image, in words; `None` for the usual overlay.
    pub(crate) fn boot_disk(self) -> Option<&'static str> {
        match self {
            Self::Files => None,
            Self::Lvm | Self::Zfs => Some("a copy of the image"),
            Self::Ceph => Some("a clone of the image"),
        }
    }
}
