//! Detects the format of a disk image by its first bytes, not by its name.
//!
//! All functions are pure and total: any bytes give a result, and nothing in them is followed or opened. An image that
//! a VM must not use has a [`DiskImage::refusal`]. An image that an old QEMU cannot read has a [`DiskImage::note`].

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

/// Number of bytes that [`detect_format`] needs. A qcow2 header with its extensions and the name of a backing file is
/// within the first cluster, whose minimum size is 512 bytes and whose usual size is 64 KiB. The descriptor of an ISO
/// image is after 32 KiB, that of a VMDK before 11 KiB.
pub const HEADER_LENGTH: u64 = 64 * 1024;

/// The format of an image, detected from its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskImage {
    /// A qcow2 image.
    Qcow2(Qcow2),
    /// A raw image with a boot sector or a GPT.
    Raw,
    /// A disk image in another format.
    Foreign(ForeignImage),
    /// A known type of file that is not a disk image.
    NoDisk(NotADisk),
    /// Data that no machine could boot from.
    Unknown,
}

/// Detects the format from the first [`HEADER_LENGTH`] bytes (fewer if the file is smaller).
///
/// # Errors
/// A qcow2 header that cannot be read.
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
    // Installer ISO images also have a boot sector, so that they boot from a USB stick.
    if let Some(thing) = not_a_disk::detect_by_magic(head) {
        return Ok(DiskImage::NoDisk(thing));
    }
    if raw::is_bootable(head) {
        return Ok(DiskImage::Raw);
    }
    Ok(not_a_disk::detect_text(head).map_or(DiskImage::Unknown, DiskImage::NoDisk))
}

/// The first bytes of an image during an upload: its own first bytes are written last. No image format begins like
/// this.
pub const PARTIAL_IMAGE_MARK: &[u8; 32] = b"foundry: an image on its way in\n";

/// Whether the first bytes are those of an image during an upload or after an interrupted import: the mark, or zeros.
pub fn is_partial_image(head: &[u8]) -> bool {
    head.starts_with(PARTIAL_IMAGE_MARK) || (!head.is_empty() && head.iter().all(|byte| *byte == 0))
}

impl DiskImage {
    /// Returns libvirt's name of the format, if a VM can use the image.
    pub fn format(&self) -> Option<&'static str> {
        match self {
            Self::Qcow2(_) => Some("qcow2"),
            Self::Raw => Some("raw"),
            Self::Foreign(_) | Self::NoDisk(_) | Self::Unknown => None,
        }
    }

    /// Returns QEMU's driver for the format, if the image can be converted without other files.
    pub fn driver(&self) -> Option<&'static str> {
        match self {
            Self::Qcow2(header) => header.refusal_text().is_none().then_some("qcow2"),
            Self::Raw => Some("raw"),
            Self::Foreign(foreign) => foreign.driver(),
            Self::NoDisk(_) | Self::Unknown => None,
        }
    }

    /// Returns why a VM must not use the image, if so. A backing or data file is a path chosen by the image's author,
    /// and the hypervisor would read it.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Qcow2(header) => header.refusal_text(),
            Self::Raw => None,
            Self::Foreign(foreign) => Some(foreign.refusal_text()),
            Self::NoDisk(thing) => Some(thing.refusal_text()),
            Self::Unknown => Some("it has neither a qcow2 header nor a boot sector".into()),
        }
    }

    /// Returns what the user should know about an image that is accepted.
    pub fn note(&self) -> Option<String> {
        self.note_for(0)
    }

    /// Like [`note`](Self::note), for a host with this version of QEMU: features that it supports are not mentioned.
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

/// Returns the end of the last partition of a disk, or of the second header of its GPT. Returns 0 if there is none.
pub fn partitions_end(head: &[u8]) -> u64 {
    raw::least_length(head)
}

/// Returns the `N` bytes at an offset.
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

/// Whether these bytes are at the offset.
fn has_bytes(head: &[u8], at: usize, magic: &[u8]) -> bool {
    head.get(at..).is_some_and(|rest| rest.starts_with(magic))
}

/// Whether these bytes occur anywhere in the text.
fn contains_bytes(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
