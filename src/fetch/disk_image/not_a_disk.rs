//! Recognizes files that are not disk images: installers, archives, web pages.

use std::fmt;

use super::has_bytes;
use crate::transfer::skippable_frame_length;

/// A known type of file that is not a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotADisk {
    /// An empty file.
    Empty,
    /// A CD or DVD image. If it boots, it is an installer or a live system.
    Iso {
        /// Whether it has a boot catalogue (El Torito).
        boots: bool,
    },
    /// Compressed data, with the name of the method.
    Compressed(&'static str),
    /// An archive, with its type.
    Archive(&'static str),
    /// Text, with its apparent type.
    Text(&'static str),
}

/// Position of the first volume descriptor of an ISO image: after 16 sectors of 2048 bytes (ECMA-119).
const ISO_SECTOR: usize = 2048;
const ISO_DESCRIPTORS: usize = 16 * ISO_SECTOR;

/// Magic numbers: name, offset, bytes.
const COMPRESSED: [(&str, usize, &[u8]); 12] = [
    ("gzip", 0, b"\x1f\x8b\x08"),
    ("xz", 0, b"\xfd7zXZ\0"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("bzip2", 4, b"1AY&SY"),
    ("lz4", 0, b"\x04\x22\x4d\x18"),
    ("lz4", 0, b"\x02\x21\x4c\x18"),
    // lzma has no magic number; these are the properties and dictionary size that xz writes: 5d, 64 KiB or more.
    ("lzma", 0, b"\x5d\0\0"),
    ("lzip", 0, b"LZIP"),
    ("lrzip", 0, b"LRZI"),
    ("lzop", 0, b"\x89LZO\0\r\n\x1a\n"),
    ("compress", 0, b"\x1f\x9d"),
    ("Snappy", 0, b"\xff\x06\0\0sNaPpY"),
];
const ARCHIVES: [(&str, usize, &[u8]); 9] = [
    ("zip", 0, b"PK\x03\x04"),
    ("tar", 257, b"ustar"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("RAR", 0, b"Rar!\x1a\x07"),
    ("cab", 0, b"MSCF\0\0\0\0"),
    ("WIM", 0, b"MSWIM\0\0\0"),
    ("cpio", 0, b"070701"),
    ("ar", 0, b"!<arch>\n"),
    ("squashfs", 0, b"hsqs"),
];

/// Detects files with a magic number.
pub(super) fn detect_by_magic(head: &[u8]) -> Option<NotADisk> {
    if head.is_empty() {
        return Some(NotADisk::Empty);
    }
    let named = |known: &[(&'static str, usize, &[u8])]| {
        known.iter().find(|(_, offset, magic)| has_bytes(head, *offset, magic)).map(|(name, ..)| *name)
    };
    let compressed = || match named(&COMPRESSED) {
        // These marks are short, and a boot sector may begin with them.
        Some("lzma" | "compress") if has_bytes(head, 510, b"\x55\xaa") => None,
        Some("lzma") if !is_lzma(head) => None,
        None => detect_after_skippable_frames(head).map(NotADisk::Compressed),
        name => name.map(NotADisk::Compressed),
    };
    compressed().or_else(|| named(&ARCHIVES).map(NotADisk::Archive)).or_else(|| detect_iso(head))
}

/// Whether it is an LZMA file, whose header ends with the uncompressed length, or with ones if it is unknown
/// (lzma-file-format, 1.1).
fn is_lzma(head: &[u8]) -> bool {
    let length = head.get(5..13).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    length.is_some_and(|length| length == u64::MAX || length < 1 << 50)
}

/// Detects zstd and lz4 after skippable frames, which both formats have.
fn detect_after_skippable_frames(head: &[u8]) -> Option<&'static str> {
    let mut rest = head;
    while let Some(length) = skippable_frame_length(rest) {
        rest = usize::try_from(length).ok().and_then(|length| rest.get(length..)).unwrap_or_default();
    }
    if rest.len() == head.len() {
        return None;
    }
    if has_bytes(rest, 0, b"\x04\x22\x4d\x18") || has_bytes(rest, 0, b"\x02\x21\x4c\x18") {
        Some("lz4")
    } else {
        Some("zstd")
    }
}

/// Detects an ISO image. The second descriptor of a bootable one is the boot record. UDF's sequence begins at the same
/// position (ECMA-167, 2/8.3).
fn detect_iso(head: &[u8]) -> Option<NotADisk> {
    let is_iso =
        has_bytes(head, ISO_DESCRIPTORS + 1, b"CD001") || has_bytes(head, ISO_DESCRIPTORS + 1, b"BEA01");
    let boots = has_bytes(head, ISO_DESCRIPTORS + ISO_SECTOR, b"\0CD001\x01EL TORITO SPECIFICATION");
    is_iso.then_some(NotADisk::Iso { boots })
}

/// Detects text, which servers send in place of a missing file.
pub(super) fn detect_text(head: &[u8]) -> Option<NotADisk> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |word: &str| head.get(..word.len()).is_some_and(|h| h.eq_ignore_ascii_case(word.as_bytes()));
    let start = &head[..head.len().min(512)];
    if !is_text(start) {
        return None;
    }
    Some(NotADisk::Text(if ["<!doctype html", "<html", "<head"].into_iter().any(begins) {
        "a web page"
    } else if begins("<") {
        "XML"
    } else if begins("{") || begins("[") {
        "JSON"
    } else {
        "text"
    }))
}

fn is_text(start: &[u8]) -> bool {
    let decoded = match std::str::from_utf8(start) {
        // A character may be cut at the end.
        Err(cut) if cut.error_len().is_none() => std::str::from_utf8(&start[..cut.valid_up_to()]),
        decoded => decoded,
    };
    let is_plain = |text: &str| !text.chars().any(|c| c.is_control() && !c.is_whitespace());
    decoded.is_ok_and(|text| !text.is_empty() && is_plain(text))
}

impl NotADisk {
    pub(super) fn refusal_text(self) -> String {
        match self {
            Self::Empty => "it is empty".into(),
            Self::Iso { boots: true } => "it is an ISO image of an installer or live system, not a disk; \
                use the distribution's cloud image (qcow2 or raw)"
                .into(),
            Self::Iso { boots: false } => "it is an ISO image, not a disk".into(),
            Self::Compressed(method) => {
                format!(
                    "it is compressed with {method}; decompress it (an import decompresses only one layer)"
                )
            }
            Self::Archive(kind) => {
                format!("it is a {kind} archive; unpack it and use the disk image inside")
            }
            Self::Text(look) => {
                format!("it is {look}, not a disk; servers send this in place of a missing file")
            }
        }
    }
}

impl fmt::Display for NotADisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Iso { .. } => f.write_str("an ISO image"),
            Self::Compressed(method) => write!(f, "compressed with {method}"),
            Self::Archive(kind) => write!(f, "a {kind} archive"),
            Self::Text(look) => f.write_str(look),
        }
    }
}
