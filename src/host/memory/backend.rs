//! What libvirt's storage backends support (its `src/storage/storage_backend_*.c`).

use super::{Failure, File, StateResult};
use crate::libvirt_xml::VolumeParts;

/// LVM's default extent (lvm.conf(5)).
const EXTENT: u64 = 4 << 20;

/// ZFS's default block size of a volume (zfsprops(7), `volblocksize`).
const ZVOL_BLOCK: u64 = 16 << 10;

/// The storage backend of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemoryBackend {
    /// Files in a directory, with the type of the pool.
    Files(String),
    Logical,
    Zfs,
    Rbd,
    /// Another type, whose volumes exist and in which none can be created.
    Fixed(String),
}

impl MemoryBackend {
    pub(super) fn for_pool_type(kind: &str) -> Self {
        match kind {
            "dir" | "fs" | "netfs" => Self::Files(kind.into()),
            "logical" => Self::Logical,
            "zfs" => Self::Zfs,
            "rbd" => Self::Rbd,
            _ => Self::Fixed(kind.into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Files(kind) | Self::Fixed(kind) => kind,
            Self::Logical => "logical",
            Self::Zfs => "zfs",
            Self::Rbd => "rbd",
        }
    }

    pub(super) fn holds_files(&self) -> bool {
        matches!(self, Self::Files(_))
    }

    /// The format that a new volume gets.
    pub(super) fn format<'a>(&self, wish: Option<&'a str>) -> &'a str {
        if self.holds_files() { wish.unwrap_or("raw") } else { "raw" }
    }

    /// Adapts a new volume as the backend would, or refuses it.
    pub(super) fn apply_limits(&self, wish: &VolumeParts, made: &mut File) -> StateResult<()> {
        match self {
            Self::Files(_) => Ok(()),
            Self::Fixed(_) => {
                Err("this function is not supported: storage pool does not support volume creation".into())
            }
            Self::Rbd if wish.format.as_deref().is_some_and(|format| format != "raw") => {
                Err("only RAW volumes are supported by this storage pool".into())
            }
            Self::Rbd => Ok(()),
            Self::Zfs if !made.capacity.is_multiple_of(ZVOL_BLOCK) => {
                Err("internal error: Child process (zfs create) unexpected exit status 1: volume size must be a multiple of volume block size".into())
            }
            Self::Zfs => Ok(()),
            Self::Logical if wish.backing.is_some() || wish.allocation.is_some_and(|a| a != made.capacity) => {
                // libvirt would create a snapshot that can overflow, which is never wanted.
                Err("internal error: lvcreate --type snapshot".into())
            }
            Self::Logical => {
                made.capacity = made.capacity.next_multiple_of(EXTENT);
                (made.length, made.allocation) = (made.capacity, made.capacity);
                Ok(())
            }
        }
    }

    pub(super) fn check_clone(&self, same_pool: bool, from: &str) -> StateResult<()> {
        match self {
            Self::Files(_) | Self::Logical => Ok(()),
            Self::Rbd if same_pool => Ok(()),
            Self::Rbd => Err(format!("failed to open the RBD image '{from}': No such file or directory").into()),
            Self::Zfs | Self::Fixed(_) => Err("this function is not supported by the connection driver: storage pool does not support volume creation from an existing volume".into()),
        }
    }

    /// A clone is at least as large as its source; with Ceph always exactly as large.
    pub(super) fn clones_capacity(&self, asked: u64, source: u64) -> u64 {
        if *self == Self::Rbd { source } else { asked.max(source) }
    }

    pub(super) fn check_resize(&self) -> StateResult<()> {
        match self {
            Self::Files(_) | Self::Rbd => Ok(()),
            Self::Logical | Self::Zfs | Self::Fixed(_) => Err("this function is not supported by the connection driver: storage pool does not support changing of volume capacity".into()),
        }
    }

    pub(super) fn check_upload(&self) -> StateResult<()> {
        match self {
            Self::Rbd => Err("this function is not supported by the connection driver: storage pool doesn't support volume upload".into()),
            _ => Ok(()),
        }
    }

    /// A device has a fixed size; at its end libvirtd 11.3 behaves as on a full disk.
    pub(super) fn check_end(&self, file: &File, end: u64) -> StateResult<()> {
        if self.holds_files() || end <= file.capacity {
            return Ok(());
        }
        Err(Failure::Lost("Cannot recv data: Connection reset by peer".into()))
    }

    pub(super) fn check_download(&self) -> StateResult<()> {
        match self {
            Self::Rbd => Err("this function is not supported by the connection driver: storage pool doesn't support volume download".into()),
            _ => Ok(()),
        }
    }
}

/// The path of an LVM volume that is named by its device-mapper path. libvirt follows the links in the pool's
/// directory. In device-mapper names, dashes are doubled and a single dash separates group and volume.
pub(super) fn stable_path(path: &str) -> String {
    let Some(mapped) = path.strip_prefix("/dev/mapper/") else { return path.to_owned() };
    let plain = mapped.replace("--", "\0");
    match plain.split_once('-') {
        Some((group, volume)) => format!("/dev/{group}/{volume}").replace('\0', "-"),
        None => path.to_owned(),
    }
}
