//! What a disk image is, by its first bytes and not by its name.
//!
//! qcow2: QEMU's "qcow2 image file format" (docs/interop/qcow2). Raw: the boot signature `55 aa` at
//! offset 510, which a GPT disk has too, in its protective MBR (UEFI specification, chapter 5).

use std::fmt;

use crate::units::Bytes;

/// How many bytes of an image [`probe`] wants: a qcow2 header with its extensions and the name of a
/// backing file lies within the first cluster, whose least size is 512 and whose common one 64 KiB.
pub const HEADER_LENGTH: u64 = 64 * 1024;

/// What the first bytes of an image say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskImage {
    /// A qcow2 image.
    Qcow2(Qcow2),
    /// A raw image with a boot sector.
    Raw,
    /// An image of another kind, by name.
    Foreign(&'static str),
    /// Nothing that a machine could boot from.
    Unknown,
}

/// The header of a qcow2 image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qcow2 {
    /// What the guest sees.
    pub virtual_size: Bytes,
    /// The file below it.
    pub backing_file: Option<String>,
    /// Whether its data lies in another file.
    pub external_data: bool,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether QEMU marked it dirty or corrupt.
    pub corrupt: bool,
    /// Incompatible features that foundry does not know.
    pub unknown_features: u64,
}

/// Why a header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends inside a field.
    #[error("the qcow2 header is cut off")]
    Truncated,
    /// Neither version 2 nor 3.
    #[error("qcow2 version {0} is not known; versions 2 and 3 are")]
    Version(u32),
    /// The backing file's name is no text, or longer than QEMU's limit of 1023 bytes.
    #[error("the qcow2 header names a backing file in a way that cannot be read")]
    BackingName,
}

/// Bits of qcow2's `incompatible_features`.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;

/// Magic numbers of images that foundry names but does not take: name, offset, bytes.
const FOREIGN: [(&str, usize, &[u8]); 8] = [
    ("VMDK", 0, b"KDMV"),
    ("VMDK", 0, b"# Disk DescriptorFile"),
    ("VDI", 64, b"\x7f\x10\xda\xbe"),
    ("VHDX", 0, b"vhdxfile"),
    ("VHD", 0, b"conectix"),
    ("gzip-compressed", 0, b"\x1f\x8b"),
    ("xz-compressed", 0, b"\xfd7zXZ\0"),
    ("zstd-compressed", 0, b"\x28\xb5\x2f\xfd"),
];

/// Tells what an image is by its first [`HEADER_LENGTH`] bytes (fewer where it is smaller).
///
/// # Errors
/// Where it says that it is qcow2 and its header cannot be read.
pub fn probe(head: &[u8]) -> Result<DiskImage, HeaderError> {
    if head.starts_with(b"QFI\xfb") {
        return read_qcow2(head).map(DiskImage::Qcow2);
    }
    for (name, offset, magic) in FOREIGN {
        if head.get(offset..).is_some_and(|rest| rest.starts_with(magic)) {
            return Ok(DiskImage::Foreign(name));
        }
    }
    if head.get(510..512) == Some(&[0x55, 0xaa]) { Ok(DiskImage::Raw) } else { Ok(DiskImage::Unknown) }
}

/// Whether the first bytes of a file are those of an import that was broken off: its beginning goes last,
/// and until then there are zeros.
pub fn is_torso(head: &[u8]) -> bool {
    !head.is_empty() && head.iter().all(|byte| *byte == 0)
}

fn read_qcow2(head: &[u8]) -> Result<Qcow2, HeaderError> {
    let version = be32(head, 4)?;
    if version != 2 && version != 3 {
        return Err(HeaderError::Version(version));
    }
    // Version 2 ends before the feature fields.
    let features = if version == 3 { be64(head, 72)? } else { 0 };
    Ok(Qcow2 {
        backing_file: backing_file(head)?,
        virtual_size: Bytes(be64(head, 24)?),
        encrypted: be32(head, 32)? != 0,
        external_data: features & EXTERNAL_DATA != 0,
        corrupt: features & CORRUPT != 0,
        unknown_features: features & !KNOWN,
    })
}

fn backing_file(head: &[u8]) -> Result<Option<String>, HeaderError> {
    let (offset, length) = (be64(head, 8)?, be32(head, 16)?);
    if offset == 0 || length == 0 {
        return Ok(None);
    }
    let start = usize::try_from(offset).map_err(|_| HeaderError::BackingName)?;
    let end = start.checked_add(length as usize).ok_or(HeaderError::BackingName)?;
    let name = head.get(start..end).filter(|_| length <= 1023).ok_or(HeaderError::BackingName)?;
    String::from_utf8(name.to_vec()).map(Some).map_err(|_| HeaderError::BackingName)
}

fn be32(head: &[u8], at: usize) -> Result<u32, HeaderError> {
    let octets = head.get(at..at + 4).and_then(|s| s.try_into().ok()).ok_or(HeaderError::Truncated)?;
    Ok(u32::from_be_bytes(octets))
}

fn be64(head: &[u8], at: usize) -> Result<u64, HeaderError> {
    let octets = head.get(at..at + 8).and_then(|s| s.try_into().ok()).ok_or(HeaderError::Truncated)?;
    Ok(u64::from_be_bytes(octets))
}

impl DiskImage {
    /// libvirt's name of the format, where a VM can use the image.
    pub fn format(&self) -> Option<&'static str> {
        match self {
            Self::Qcow2(_) => Some("qcow2"),
            Self::Raw => Some("raw"),
            Self::Foreign(_) | Self::Unknown => None,
        }
    }

    /// Why a VM must not be given this image, if so. A backing or data file is a path that the
    /// hypervisor would read in the name of whoever made the image.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Foreign(name) => {
                Some(format!("it is a {name} image; convert it with qemu-img convert -O qcow2"))
            }
            Self::Unknown => Some("it has neither a qcow2 header nor a boot sector".into()),
            Self::Raw => None,
            Self::Qcow2(header) => header.refusal(),
        }
    }
}

impl Qcow2 {
    fn refusal(&self) -> Option<String> {
        if let Some(file) = &self.backing_file {
            return Some(format!("it is an overlay on {file:?}; flatten it with qemu-img convert -O qcow2"));
        }
        if self.external_data {
            return Some("its data lies in another file; flatten it with qemu-img convert -O qcow2".into());
        }
        if self.encrypted {
            return Some("it is encrypted".into());
        }
        if self.corrupt {
            return Some("QEMU marked it corrupt; see qemu-img check".into());
        }
        (self.unknown_features != 0)
            .then(|| format!("it needs qcow2 features {:#x} that are not known", self.unknown_features))
    }
}

impl fmt::Display for DiskImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qcow2(_) => f.write_str("qcow2"),
            Self::Raw => f.write_str("raw"),
            Self::Foreign(name) => f.write_str(name),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn qemu_img(args: &[&str], file: &str) -> Vec<u8> {
        let done = Command::new("qemu-img").args(args).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        std::fs::read(file).unwrap()
    }

    #[test]
    fn images_of_qemu_img_are_read_as_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.img").display().to_string();
        for compat in ["compat=0.10", "compat=1.1,compression_type=zstd", "compat=1.1,extended_l2=on"] {
            let head = qemu_img(&["create", "-q", "-f", "qcow2", "-o", compat, &file, "5G"], &file);
            let DiskImage::Qcow2(header) = probe(&head).unwrap() else { panic!("{compat}") };
            assert_eq!(header.virtual_size, Bytes(5 << 30), "{compat}");
            assert_eq!(DiskImage::Qcow2(header).refusal(), None, "{compat}");
        }
        for (format, name) in [("vmdk", "VMDK"), ("vdi", "VDI"), ("vhdx", "VHDX")] {
            let head = qemu_img(&["create", "-q", "-f", format, &file, "64M"], &file);
            assert_eq!(probe(&head), Ok(DiskImage::Foreign(name)));
        }
    }

    #[test]
    fn overlays_and_external_data_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (base, top, split) = (path("base"), path("top"), path("split"));
        qemu_img(&["create", "-q", "-f", "qcow2", &base, "1G"], &base);
        let head = qemu_img(&["create", "-q", "-f", "qcow2", "-b", &base, "-F", "qcow2", &top], &top);
        let refusal = probe(&head).unwrap().refusal().unwrap();
        assert!(refusal.contains(&base), "{refusal}");
        let data = format!("data_file={}", path("data"));
        let head = qemu_img(&["create", "-q", "-f", "qcow2", "-o", &data, &split, "1G"], &split);
        assert!(probe(&head).unwrap().refusal().unwrap().contains("another file"));
    }

    #[test]
    fn raw_needs_a_boot_sector() {
        let mut head = vec![0; 1024];
        assert_eq!(probe(&head), Ok(DiskImage::Unknown));
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(probe(&head), Ok(DiskImage::Raw));
        assert_eq!(probe(&[]), Ok(DiskImage::Unknown));
    }

    #[test]
    fn what_has_no_beginning_is_a_torso_and_no_image() {
        assert!(is_torso(&[0; 1024]) && !is_torso(&[]));
        let mut head = vec![0; 1024];
        head[1000] = 1;
        assert!(!is_torso(&head));
    }

    #[test]
    fn hostile_headers_are_errors() {
        let mut head = b"QFI\xfb\0\0\0\x03".to_vec();
        assert_eq!(probe(&head), Err(HeaderError::Truncated));
        head.resize(112, 0);
        head[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
        head[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(probe(&head), Err(HeaderError::BackingName));
        head[7] = 9;
        assert_eq!(probe(&head), Err(HeaderError::Version(9)));
    }
}
