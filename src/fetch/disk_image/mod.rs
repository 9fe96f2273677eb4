//! Detects the format of a disk image by its first bytes, not by its name.
//!
//! Everything here is pure and total: any bytes give an answer, and none of them is followed, opened or
//! believed further than the answer says. What a VM must not be given has a [`DiskImage::refusal`]; what it
//! may be given and an old QEMU cannot read has a [`DiskImage::note`].

mod extent;
mod foreign;
mod not_a_disk;
mod qcow2;
mod raw;

use std::fmt;

pub use extent::ImageExtent;
pub use foreign::{ForeignFormat, ForeignImage, is_vhd_footer, vhd_disk_size};
pub use not_a_disk::NotADisk;
pub use qcow2::{Encryption, HeaderError, Qcow2};

/// How many bytes of an image [`probe`] wants: a qcow2 header with its extensions and the name of a
/// backing file lies within the first cluster, whose least size is 512 and whose common one 64 KiB; the
/// descriptor of an ISO image lies behind 32 KiB, that of a VMDK before 11 KiB.
pub const HEADER_LENGTH: u64 = 64 * 1024;

/// What the first bytes of an image say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskImage {
    /// A qcow2 image.
    Qcow2(Qcow2),
    /// A raw image with a boot sector or a GPT.
    Raw,
    /// A disk image of another kind.
    Foreign(ForeignImage),
    /// Something that is known and no disk image.
    NoDisk(NotADisk),
    /// Nothing that a machine could boot from.
    Unknown,
}

/// Tells what an image is by its first [`HEADER_LENGTH`] bytes (fewer where it is smaller).
///
/// # Errors
/// Where it says that it is qcow2 and its header cannot be read.
pub fn detect_format(head: &[u8]) -> Result<DiskImage, HeaderError> {
    if is_partial_image(head) {
        return Ok(DiskImage::Unknown);
    }
    if qcow2::is_qcow2(head) {
        return qcow2::parse_header(head).map(DiskImage::Qcow2);
    }
    if let Some(foreign) = foreign::detect_foreign(head) {
        return Ok(DiskImage::Foreign(foreign));
    }
    // Installers have a boot sector in front of the ISO, so that a USB stick with a copy of it boots.
    if let Some(thing) = not_a_disk::detect_by_magic(head) {
        return Ok(DiskImage::NoDisk(thing));
    }
    if raw::is_bootable(head) {
        return Ok(DiskImage::Raw);
    }
    Ok(not_a_disk::detect_text(head).map_or(DiskImage::Unknown, DiskImage::NoDisk))
}

/// What an image begins with while it is on its way: its own beginning goes last. No image begins so.
pub const PARTIAL_IMAGE_MARK: &[u8; 32] = b"foundry: an image on its way in\n";

/// Whether the first bytes of a file are those of an image on its way, or of an import that was broken off: a mark,
/// or zeros.
pub fn is_partial_image(head: &[u8]) -> bool {
    head.starts_with(PARTIAL_IMAGE_MARK) || (!head.is_empty() && head.iter().all(|byte| *byte == 0))
}

impl DiskImage {
    /// libvirt's name of the format, where a VM can use the image.
    pub fn format(&self) -> Option<&'static str> {
        match self {
            Self::Qcow2(_) => Some("qcow2"),
            Self::Raw => Some("raw"),
            Self::Foreign(_) | Self::NoDisk(_) | Self::Unknown => None,
        }
    }

    /// QEMU's name of the driver that reads the image, where it is one that can be converted without any
    /// file but itself.
    pub fn driver(&self) -> Option<&'static str> {
        match self {
            Self::Qcow2(header) => header.refusal_text().is_none().then_some("qcow2"),
            Self::Raw => Some("raw"),
            Self::Foreign(foreign) => foreign.driver(),
            Self::NoDisk(_) | Self::Unknown => None,
        }
    }

    /// Why a VM must not be given this image, if so. A backing or data file is a path that the
    /// hypervisor would read in the name of whoever made the image.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Qcow2(header) => header.refusal_text(),
            Self::Raw => None,
            Self::Foreign(foreign) => Some(foreign.refusal_text()),
            Self::NoDisk(thing) => Some(thing.refusal_text()),
            Self::Unknown => Some("it has neither a qcow2 header nor a boot sector".into()),
        }
    }

    /// What its user should know of an image that is not refused.
    pub fn note(&self) -> Option<String> {
        self.note_for(0)
    }

    /// As [`note`](Self::note), for a host with that version of QEMU: what it can read needs no word.
    pub fn note_for(&self, qemu: u32) -> Option<String> {
        match self {
            Self::Qcow2(header) => header.note_text(qemu),
            _ => None,
        }
    }
}

impl fmt::Display for DiskImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qcow2(_) => f.write_str("qcow2"),
            Self::Raw => f.write_str("raw"),
            Self::Foreign(foreign) => foreign.fmt(f),
            Self::NoDisk(thing) => thing.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Where the last partition of a disk with that beginning ends, or the second header of its GPT; 0 where it has none.
pub fn partitions_end(head: &[u8]) -> u64 {
    raw::least_length(head)
}

/// The `N` bytes at an offset.
fn bytes_at<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..)?.first_chunk().copied()
}

fn read_be32(head: &[u8], at: usize) -> Option<u32> {
    bytes_at(head, at).map(u32::from_be_bytes)
}

fn read_be64(head: &[u8], at: usize) -> Option<u64> {
    bytes_at(head, at).map(u64::from_be_bytes)
}

fn read_le32(head: &[u8], at: usize) -> Option<u32> {
    bytes_at(head, at).map(u32::from_le_bytes)
}

fn read_le64(head: &[u8], at: usize) -> Option<u64> {
    bytes_at(head, at).map(u64::from_le_bytes)
}

/// Whether those bytes are at that offset.
fn has_bytes(head: &[u8], at: usize, magic: &[u8]) -> bool {
    head.get(at..).is_some_and(|rest| rest.starts_with(magic))
}

/// Whether those bytes are anywhere in it.
fn contains_bytes(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
