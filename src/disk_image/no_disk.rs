//! What comes where a disk image is wanted and is none: installers, archives, web pages.

use std::fmt;

use super::has;

/// Something that is known and no disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDisk {
    /// No bytes.
    Empty,
    /// A CD or DVD; one that boots is an installer or a live system.
    Iso {
        /// Whether it has a boot catalogue (El Torito).
        boots: bool,
    },
    /// Compressed data, by the name of the method.
    Compressed(&'static str),
    /// An archive, by its name.
    Archive(&'static str),
    /// Text, by what it looks like.
    Text(&'static str),
}

/// Where the first volume descriptor of an ISO image is: behind 16 sectors of 2048 bytes (ECMA-119).
const ISO_SECTOR: usize = 2048;
const ISO_DESCRIPTORS: usize = 16 * ISO_SECTOR;

/// By magic numbers: name, offset, bytes.
const COMPRESSED: [(&str, usize, &[u8]); 5] = [
    ("gzip", 0, b"\x1f\x8b\x08"),
    ("xz", 0, b"\xfd7zXZ\0"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("bzip2", 4, b"1AY&SY"),
    ("lz4", 0, b"\x04\x22\x4d\x18"),
];
const ARCHIVES: [(&str, usize, &[u8]); 3] =
    [("zip", 0, b"PK\x03\x04"), ("tar", 257, b"ustar"), ("7z", 0, b"7z\xbc\xaf\x27\x1c")];

/// Tells what has a mark of its own.
pub(super) fn by_magic(head: &[u8]) -> Option<NoDisk> {
    if head.is_empty() {
        return Some(NoDisk::Empty);
    }
    let named = |known: &[(&'static str, usize, &[u8])]| {
        known.iter().find(|(_, offset, magic)| has(head, *offset, magic)).map(|(name, ..)| *name)
    };
    let compressed = || named(&COMPRESSED).map(NoDisk::Compressed);
    compressed().or_else(|| named(&ARCHIVES).map(NoDisk::Archive)).or_else(|| iso(head))
}

/// The second descriptor of one that boots is the boot record. UDF's sequence begins where ISO's does
/// (ECMA-167, 2/8.3).
fn iso(head: &[u8]) -> Option<NoDisk> {
    let is_iso = has(head, ISO_DESCRIPTORS + 1, b"CD001") || has(head, ISO_DESCRIPTORS + 1, b"BEA01");
    let boots = has(head, ISO_DESCRIPTORS + ISO_SECTOR, b"\0CD001\x01EL TORITO SPECIFICATION");
    is_iso.then_some(NoDisk::Iso { boots })
}

/// Tells what only looks like something: text, which a server sends in place of a file.
pub(super) fn by_look(head: &[u8]) -> Option<NoDisk> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |word: &str| head.get(..word.len()).is_some_and(|h| h.eq_ignore_ascii_case(word.as_bytes()));
    let start = &head[..head.len().min(512)];
    if !is_text(start) {
        return None;
    }
    Some(NoDisk::Text(if ["<!doctype html", "<html", "<head"].into_iter().any(begins) {
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
        // A letter may be cut in two at the end.
        Err(cut) if cut.error_len().is_none() => std::str::from_utf8(&start[..cut.valid_up_to()]),
        decoded => decoded,
    };
    let is_plain = |text: &str| !text.chars().any(|c| c.is_control() && !c.is_whitespace());
    decoded.is_ok_and(|text| !text.is_empty() && is_plain(text))
}

impl NoDisk {
    pub(super) fn refusal(self) -> String {
        match self {
            Self::Empty => "it is empty".into(),
            Self::Iso { boots: true } => "it is an ISO image, an installer or a live system and no disk; \
                take the distribution's cloud image (qcow2 or raw) in its place"
                .into(),
            Self::Iso { boots: false } => "it is an ISO image, and no disk to boot from".into(),
            Self::Compressed(method) => {
                format!("it is compressed with {method}; decompress it (an import takes off one layer)")
            }
            Self::Archive(kind) => {
                format!("it is a {kind} archive; unpack it and take the disk image inside")
            }
            Self::Text(look) => format!(
                "it is {look} and nothing to boot from; servers send that in place of a file that is not there"
            ),
        }
    }
}

impl fmt::Display for NoDisk {
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
