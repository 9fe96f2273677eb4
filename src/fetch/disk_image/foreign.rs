//! Disk images in other formats, which are accepted after a conversion by qemu-img.
//!
//! Some can say that their data lies in other files. qemu-img would open whatever path they name, in the
//! name of its caller, so that those are told apart here and never converted. The places of the fields are
//! those in QEMU's drivers (block/vmdk.c, vdi.c, vpc.c, vhdx.c, qed.h, qcow.c, parallels.c).

use std::fmt;

use super::{bytes_at, contains_bytes, has_bytes, read_be32, read_be64, read_le32, read_le64};

/// A disk image that libvirt cannot boot as it is, or should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignImage {
    /// What it is.
    pub format: ForeignFormat,
    /// Why it cannot be had without other files or a secret, if so: half a sentence about "it".
    pub dependence: Option<&'static str>,
}

/// The kinds of foreign images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "proper names")]
pub enum ForeignFormat {
    Vmdk,
    Vdi,
    /// Virtual PC's and Hyper-V's first one. A fixed one is a raw image with a [footer](is_vhd_footer).
    Vhd,
    Vhdx,
    Qed,
    /// qcow version 1, which is another format than qcow2.
    Qcow,
    Parallels,
    /// A device or partition under Linux's encryption.
    Luks,
}

/// What is to be done about an image that needs other files. No command: whoever runs one here has it read what the image
/// names, which may be any file of this host.
pub(super) const MADE_WHOLE: &str =
    "whoever made it can make it whole, where that is (opened here, it shows what it names of this host)";

const PARENT: Option<&str> = Some("lies on another image");
const ELSEWHERE: Option<&str> = Some("has its data in other files");

/// What it is, if it is one of them.
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
        // What it lies on is said behind the head. QEMU refuses one that does.
        _ if has_bytes(head, 0, b"vhdxfile") => found(Vhdx, None),
        _ if has_bytes(head, 64, b"\x7f\x10\xda\xbe") => found(Vdi, vdi_dependence(head)),
        _ if has_bytes(head, 0, b"WithoutFreeSpace") || has_bytes(head, 0, b"WithouFreSpacExt") => {
            found(Parallels, None)
        }
        _ if is_vmdk_descriptor(head) => found(Vmdk, ELSEWHERE),
        _ => None,
    }
}

/// Whether a file's last 512 bytes are the footer of a VHD image of fixed size, which is raw in front of it.
pub fn is_vhd_footer(tail: &[u8]) -> bool {
    // Version 1.0, type "fixed".
    tail.starts_with(b"conectix")
        && read_be32(tail, 12) == Some(0x0001_0000)
        && read_be32(tail, 60) == Some(2)
}

/// How many bytes the disk has, by the footer of a VHD image or its copy: the size, and not the geometry beside it.
pub fn vhd_disk_size(footer: &[u8]) -> Option<u64> {
    read_be64(footer, 48)
}

/// With a capacity of zero, the embedded descriptor names the files. QEMU looks for the parent in the 20
/// sectors from the second on, whatever the header says of the descriptor's place.
fn vmdk_dependence(head: &[u8]) -> Option<&'static str> {
    let descriptor = &head[512.min(head.len())..(21 * 512).min(head.len())];
    if read_le64(head, 12).is_none_or(|capacity| capacity == 0) {
        return ELSEWHERE;
    }
    PARENT.filter(|_| contains_bytes(descriptor, b"parentFileNameHint"))
}

/// Comments and blank lines may come before the version.
fn is_vmdk_descriptor(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    has_bytes(head, 0, b"# Disk DescriptorFile")
        || (first.is_some_and(|line| line.starts_with(b"version=")) && contains_bytes(head, b"createType"))
}

/// A copy of the footer. Type 3 is dynamic, 4 lies on a parent.
fn vhd_dependence(head: &[u8]) -> Option<&'static str> {
    PARENT.filter(|_| read_be32(head, 60) != Some(3))
}

/// Types 1 (dynamic) and 2 (fixed) are whole; the last two of four UUIDs name what one of the others lies on.
fn vdi_dependence(head: &[u8]) -> Option<&'static str> {
    let is_whole = matches!(read_le32(head, 0x4c), Some(1 | 2));
    PARENT.filter(|_| !is_whole || bytes_at::<32>(head, 0x1a8) != Some([0; 32]))
}

/// Feature bit 0.
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
    /// QEMU's name of the driver that can read it alone.
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
            None => format!("it is a {self} image, which has to be converted"),
            Some(why) => format!("it is a {self} image that {why}; {}", self.remedy_text()),
        }
    }

    fn remedy_text(self) -> &'static str {
        match (self.format, self.dependence) {
            (ForeignFormat::Luks, _) | (_, Some("is encrypted")) => "decrypt it where its passphrase is",
            (ForeignFormat::Vmdk, ELSEWHERE) => {
                "a file that it names *-flat.vmdk is a raw image; \
                 or whoever made it makes one file of them, where all are (opened here, it shows what it names of this host)"
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
