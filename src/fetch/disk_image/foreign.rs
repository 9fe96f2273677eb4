//! Disk images in other formats, which are accepted after a conversion by qemu-img.
//!
//! Some can refer to data in other files, and qemu-img would open any such path with the permissions of its caller.
//! Those images are detected here and never converted. The positions of the fields are from QEMU's drivers
//! (block/vmdk.c, vdi.c, vpc.c, vhdx.c, qed.h, qcow.c, parallels.c).

use std::fmt;

use super::{bytes_at, contains_bytes, has_bytes, read_be32, read_be64, read_le32, read_le64};

/// A disk image in a format that libvirt should not boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignImage {
    /// Format of the image.
    pub format: ForeignFormat,
    /// Why it cannot be converted alone: it needs other files or a secret. Half a sentence about the image.
    pub dependence: Option<&'static str>,
}

/// The formats of foreign images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "proper names")]
pub enum ForeignFormat {
    Vmdk,
    Vdi,
    /// The first format of Virtual PC and Hyper-V. A fixed one is a raw image with a [footer](is_vhd_footer).
    Vhd,
    Vhdx,
    Qed,
    /// qcow version 1, a different format from qcow2.
    Qcow,
    Parallels,
    /// A device or partition with Linux disk encryption.
    Luks,
}

/// What to do about an image that needs other files. It contains no command, because any command run here would read
/// the files that the image refers to, which may be any file of this host.
pub(super) const MADE_WHOLE: &str =
    "only its author can combine the files (do not open it here: it may read any file of this host)";

const PARENT: Option<&str> = Some("has a parent image");
const ELSEWHERE: Option<&str> = Some("has its data in other files");

/// Detects the format, if it is one of these.
pub(super) fn detect_foreign(head: &[u8]) -> Option<ForeignImage> {
    use ForeignFormat::{Luks, Parallels, Qcow, Qed, Vdi, Vhd, Vhdx, Vmdk};
    let found = |format, dependence| Some(ForeignImage { format, dependence });
    match head {
        [b'K', b'D', b'M', b'V', ..] => found(Vmdk, vmdk_dependence(head)),
        [b'C', b'O', b'W', b'D', ..] => found(Vmdk, Some("is one part of several")),
        [b'Q', b'F', b'I', 0xfb, ..] => found(Qcow, qcow_dependence(head)),
        [b'Q', b'E', b'D', 0, ..] => found(Qed, qed_dependence(head)),
        _ if has_bytes(head, 0, b"LUKS\xba\xbe") => found(Luks, Some("is encrypted")),
        _ if has_bytes(head, 0, b"conectix") => found(Vhd, vhd_dependence(head)),
        // The reference to a parent is outside the header. QEMU refuses such an image.
        _ if has_bytes(head, 0, b"vhdxfile") => found(Vhdx, None),
        _ if has_bytes(head, 64, b"\x7f\x10\xda\xbe") => found(Vdi, vdi_dependence(head)),
        _ if has_bytes(head, 0, b"WithoutFreeSpace") || has_bytes(head, 0, b"WithouFreSpacExt") => {
            found(Parallels, None)
        }
        _ if is_vmdk_descriptor(head) => found(Vmdk, ELSEWHERE),
        _ => None,
    }
}

/// Whether the last 512 bytes of a file are the footer of a fixed VHD image; the data before it is raw.
pub fn is_vhd_footer(tail: &[u8]) -> bool {
    // Version 1.0, type "fixed".
    tail.starts_with(b"conectix")
        && read_be32(tail, 12) == Some(0x0001_0000)
        && read_be32(tail, 60) == Some(2)
}

/// Returns the disk size from the footer of a VHD image or its copy. The geometry beside it is less exact.
pub fn vhd_disk_size(footer: &[u8]) -> Option<u64> {
    read_be64(footer, 48)
}

/// Detects a VMDK that needs other files. If its capacity is zero, the embedded descriptor lists the files. QEMU looks
/// for the parent in the 20 sectors after the first one, wherever the header says that the descriptor is.
fn vmdk_dependence(head: &[u8]) -> Option<&'static str> {
    let descriptor = &head[512.min(head.len())..(21 * 512).min(head.len())];
    if read_le64(head, 12).is_none_or(|capacity| capacity == 0) {
        return ELSEWHERE;
    }
    PARENT.filter(|_| contains_bytes(descriptor, b"parentFileNameHint"))
}

/// Whether it is a VMDK descriptor. Comments and empty lines may precede the version.
fn is_vmdk_descriptor(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    has_bytes(head, 0, b"# Disk DescriptorFile")
        || (first.is_some_and(|line| line.starts_with(b"version=")) && contains_bytes(head, b"createType"))
}

/// Detects a VHD with a parent, by the copy of the footer: type 3 is dynamic, 4 has a parent.
fn vhd_dependence(head: &[u8]) -> Option<&'static str> {
    PARENT.filter(|_| read_be32(head, 60) != Some(3))
}

/// Detects a VDI with a parent. Types 1 (dynamic) and 2 (fixed) are complete; the last two of four UUIDs identify a
/// parent.
fn vdi_dependence(head: &[u8]) -> Option<&'static str> {
    let is_whole = matches!(read_le32(head, 0x4c), Some(1 | 2));
    PARENT.filter(|_| !is_whole || bytes_at::<32>(head, 0x1a8) != Some([0; 32]))
}

/// Detects a QED image with a parent, by feature bit 0.
fn qed_dependence(head: &[u8]) -> Option<&'static str> {
    PARENT.filter(|_| read_le64(head, 16).is_none_or(|features| features & 1 != 0))
}

fn qcow_dependence(head: &[u8]) -> Option<&'static str> {
    if read_be32(head, 36) != Some(0) {
        return Some("is encrypted");
    }
    PARENT.filter(|_| read_be64(head, 8) != Some(0))
}

impl ForeignImage {
    /// Returns QEMU's driver for the format, if it can read the image without other files.
    pub(super) fn driver(self) -> Option<&'static str> {
        let driver = match self.format {
            ForeignFormat::Vmdk => "vmdk",
            ForeignFormat::Vdi => "vdi",
            ForeignFormat::Vhd => "vpc",
            ForeignFormat::Vhdx => "vhdx",
            ForeignFormat::Qed => "qed",
            ForeignFormat::Qcow => "qcow",
            ForeignFormat::Parallels => "parallels",
            ForeignFormat::Luks => return None,
        };
        self.dependence.is_none().then_some(driver)
    }

    pub(super) fn refusal_text(self) -> String {
        match self.dependence {
            None => format!("it is a {self} image, which must be converted"),
            Some(why) => format!("it is a {self} image that {why}; {}", self.remedy_text()),
        }
    }

    fn remedy_text(self) -> &'static str {
        match (self.format, self.dependence) {
            (ForeignFormat::Luks, _) | (_, Some("is encrypted")) => {
                "decrypt it on a machine with its passphrase"
            }
            (ForeignFormat::Vmdk, ELSEWHERE) => {
                "a file *-flat.vmdk that it lists is a raw image; \
                 otherwise its author can combine the files (do not open it here: it may read any file of this host)"
            }
            _ => MADE_WHOLE,
        }
    }
}

impl fmt::Display for ForeignImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.format {
            ForeignFormat::Vmdk => "VMDK",
            ForeignFormat::Vdi => "VDI",
            ForeignFormat::Vhd => "VHD",
            ForeignFormat::Vhdx => "VHDX",
            ForeignFormat::Qed => "QED",
            ForeignFormat::Qcow => "qcow (version 1)",
            ForeignFormat::Parallels => "Parallels",
            ForeignFormat::Luks => "LUKS",
        })
    }
}
