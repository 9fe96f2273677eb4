//! Parses the header of a qcow2 image: QEMU's "Qcow2 Image File Format" (docs/interop/qcow2), with the limits of QEMU's
//! own driver (block/qcow2.c).

use super::foreign::MADE_WHOLE;
use super::{bytes_at, has_bytes, read_be32, read_be64};
use foundry_core::units::Bytes;

const MAGIC: &[u8] = b"QFI\xfb";

/// Bits of `incompatible_features`.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;

/// Types of header extensions.
const END: u32 = 0;
const DATA_FILE_NAME: u32 = 0x4441_5441;
const FEATURE_NAMES: u32 = 0x6803_f857;

/// The header of a qcow2 image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qcow2 {
    /// Version of the format, 2 or 3.
    pub version: u32,
    /// Virtual size, as the guest sees it.
    pub virtual_size: Bytes,
    /// Cluster size in bytes, the unit of allocation.
    pub cluster_size: Bytes,
    /// Name of the backing file.
    pub backing_file: Option<String>,
    /// Whether its data is in another file.
    pub external_data: bool,
    /// Name of that data file, if the image states it.
    pub data_file: Option<String>,
    /// Encryption method, if it is encrypted.
    pub encryption: Option<Encryption>,
    /// Whether it was not closed after the last write; its reference counts may be wrong.
    pub dirty: bool,
    /// Whether QEMU marked it as corrupt.
    pub corrupt: bool,
    /// Whether its compressed clusters use zstd, which QEMU supports since 5.1.
    pub zstd: bool,
    /// Whether it has subclusters, which QEMU supports since 5.2.
    pub extended_l2: bool,
    /// Number of internal snapshots.
    pub snapshots: u32,
    /// Unknown incompatible features: the number of each bit, with the name that the image gives it.
    pub unknown_features: Vec<(u8, Option<String>)>,
}

/// The encryption method of a qcow2 image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// QEMU's old AES method, which is insecure and deprecated.
    Aes,
    /// LUKS.
    Luks,
    /// An unknown method, by its number.
    Other(u32),
}

/// Why a header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends within a field.
    #[error("the qcow2 header is truncated")]
    Truncated,
    /// The version is neither 2 nor 3.
    #[error("qcow2 version {0} is unknown; supported are versions 2 and 3")]
    Version(u32),
    /// Clusters of less than 512 bytes, of less than 16 KiB with extended L2 entries, or of more than 2 MiB.
    #[error("the qcow2 header is invalid: clusters of 2^{0} bytes, which QEMU does not support")]
    ClusterBits(u32),
    /// The virtual size is more than a signed file offset.
    #[error("the qcow2 header is invalid: a virtual size of {0} bytes is impossible")]
    VirtualSize(u64),
    /// The header is shorter than version 3 requires, or longer than a cluster.
    #[error("the qcow2 header is invalid: its stated length is {0} bytes")]
    Length(u32),
    /// Reference counts of more than 64 bits.
    #[error("the qcow2 header is invalid: reference counts of 2^{0} bits")]
    RefcountOrder(u32),
    /// The method is unknown, or contradicts the feature bits.
    #[error(
        "the qcow2 header has a compression method ({0}) that is unknown or contradicts its feature bits"
    )]
    Compression(u8),
    /// The backing file's name is not text, is outside of the bytes that were read, or is longer than QEMU's limit of
    /// 1023 bytes.
    #[error("the qcow2 header has an unreadable backing file name")]
    BackingName,
}

/// Whether it is qcow2. Version 1 is a different format with another header.
pub(super) fn is_qcow2(head: &[u8]) -> bool {
    has_bytes(head, 0, MAGIC) && read_be32(head, 4) != Some(1)
}

/// Parses a header of version 2, which ends at byte 72, or 3.
pub(super) fn parse_header(head: &[u8]) -> Result<Qcow2, HeaderError> {
    let version = u32_at(head, 4)?;
    if version != 2 && version != 3 {
        return Err(HeaderError::Version(version));
    }
    let features = if version == 3 { u64_at(head, 72)? } else { 0 };
    let cluster_size = cluster_size(head, features)?;
    let length = header_length(head, version, cluster_size)?;
    let extensions = Extensions::read(head, length, cluster_size);
    Ok(Qcow2 {
        version,
        virtual_size: virtual_size(head)?,
        cluster_size: Bytes(cluster_size),
        backing_file: backing_file(head, cluster_size)?,
        external_data: features & EXTERNAL_DATA != 0,
        data_file: extensions.data_file,
        encryption: parse_encryption(u32_at(head, 32)?),
        dirty: features & DIRTY != 0,
        corrupt: features & CORRUPT != 0,
        zstd: is_zstd(head, length, features)?,
        extended_l2: features & EXTENDED_L2 != 0,
        snapshots: u32_at(head, 60)?,
        unknown_features: unknown_features(features, &extensions.feature_names),
    })
}

fn cluster_size(head: &[u8], features: u64) -> Result<u64, HeaderError> {
    let least = if features & EXTENDED_L2 == 0 { 9 } else { 14 };
    match u32_at(head, 20)? {
        bits if (least..=21).contains(&bits) => Ok(1 << bits),
        bits => Err(HeaderError::ClusterBits(bits)),
    }
}

fn virtual_size(head: &[u8]) -> Result<Bytes, HeaderError> {
    match u64_at(head, 24)? {
        size if i64::try_from(size).is_ok() => Ok(Bytes(size)),
        size => Err(HeaderError::VirtualSize(size)),
    }
}

fn header_length(head: &[u8], version: u32, cluster_size: u64) -> Result<u32, HeaderError> {
    let length = if version == 2 { 72 } else { u32_at(head, 100)? };
    if version == 3 && !(104..=cluster_size).contains(&u64::from(length)) {
        return Err(HeaderError::Length(length));
    }
    match read_be32(head, 96).filter(|order| version == 3 && *order > 6) {
        Some(order) => Err(HeaderError::RefcountOrder(order)),
        None if head.len() < length as usize => Err(HeaderError::Truncated),
        None => Ok(length),
    }
}

/// Whether zstd is used. The feature bit and the field must agree.
fn is_zstd(head: &[u8], length: u32, features: u64) -> Result<bool, HeaderError> {
    // The field is optional: a header of 104 bytes ends before it.
    let kind = if length > 104 { bytes_at::<1>(head, 104).ok_or(HeaderError::Truncated)?[0] } else { 0 };
    match (kind, features & COMPRESSION_TYPE != 0) {
        (0, false) => Ok(false),
        (1, true) => Ok(true),
        _ => Err(HeaderError::Compression(kind)),
    }
}

fn backing_file(head: &[u8], cluster_size: u64) -> Result<Option<String>, HeaderError> {
    let (offset, length) = (u64_at(head, 8)?, u32_at(head, 16)?);
    if offset == 0 || length == 0 {
        return Ok(None);
    }
    let end = offset.checked_add(u64::from(length)).filter(|end| length <= 1023 && *end <= cluster_size);
    let range = |end: u64| Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?);
    let name = end.and_then(range).and_then(|range| head.get(range)).ok_or(HeaderError::BackingName)?;
    String::from_utf8(name.to_vec()).map(Some).map_err(|_| HeaderError::BackingName)
}

fn parse_encryption(method: u32) -> Option<Encryption> {
    match method {
        0 => None,
        1 => Some(Encryption::Aes),
        2 => Some(Encryption::Luks),
        other => Some(Encryption::Other(other)),
    }
}

fn unknown_features(features: u64, names: &[(u8, String)]) -> Vec<(u8, Option<String>)> {
    let bits = (0..64).filter(|bit| (features & !KNOWN) >> bit & 1 == 1);
    bits.map(|bit| (bit, names.iter().find(|(of, _)| *of == bit).map(|(_, name)| name.clone()))).collect()
}

/// The content of the header extensions. They only add details, so an unreadable one ends the reading without an error.
#[derive(Default)]
struct Extensions {
    data_file: Option<String>,
    /// Names of incompatible features, by bit.
    feature_names: Vec<(u8, String)>,
}

impl Extensions {
    fn read(head: &[u8], header_length: u32, cluster_size: u64) -> Self {
        let end = usize::try_from(cluster_size).unwrap_or(usize::MAX).min(head.len());
        let mut rest = head.get(header_length as usize..end).unwrap_or_default();
        let mut found = Self::default();
        while let (Some(kind), Some(length)) = (read_be32(rest, 0), read_be32(rest, 4)) {
            let length = length as usize;
            let Some(data) = rest.get(8..).and_then(|data| data.get(..length)).filter(|_| kind != END) else {
                break;
            };
            match kind {
                DATA_FILE_NAME => found.data_file = Some(String::from_utf8_lossy(data).into_owned()),
                FEATURE_NAMES => found.feature_names = feature_names(data),
                _ => {}
            }
            // The data was present, so the sum exceeds the slice by no more than the padding.
            rest = rest.get(8 + length.next_multiple_of(8)..).unwrap_or_default();
        }
        found
    }
}

/// Parses entries of 48 bytes: kind (0 for incompatible features), bit, name padded with zeros.
fn feature_names(table: &[u8]) -> Vec<(u8, String)> {
    let entries = table.as_chunks::<48>().0.iter().filter(|entry| entry[0] == 0);
    entries
        .map(|entry| {
            let name = entry[2..].split(|byte| *byte == 0).next().unwrap_or_default();
            (entry[1], String::from_utf8_lossy(name).into_owned())
        })
        .collect()
}

fn u32_at(head: &[u8], at: usize) -> Result<u32, HeaderError> {
    read_be32(head, at).ok_or(HeaderError::Truncated)
}

fn u64_at(head: &[u8], at: usize) -> Result<u64, HeaderError> {
    read_be64(head, at).ok_or(HeaderError::Truncated)
}

impl Qcow2 {
    pub(super) fn refusal_text(&self) -> Option<String> {
        if let Some(file) = &self.backing_file {
            return Some(format!("it is an overlay on {file:?}; {MADE_WHOLE}"));
        }
        if self.external_data {
            let named = self.data_file.as_ref().map(|name| format!(" ({name:?})")).unwrap_or_default();
            return Some(format!("its data is in another file{named}; {MADE_WHOLE}"));
        }
        if let Some(method) = self.encryption {
            return Some(method.refusal_text());
        }
        self.damage_text().or_else(|| self.unknown_features_text())
    }

    fn damage_text(&self) -> Option<String> {
        if self.corrupt {
            return Some("QEMU marked it as corrupt; see qemu-img check".into());
        }
        if self.dirty {
            let repair = "stop that program, or repair the image with qemu-img check -r all";
            return Some(format!(
                "it was not closed: a program is still writing to it, or was interrupted; {repair}"
            ));
        }
        (self.virtual_size == Bytes(0)).then(|| "its disk is empty (0 bytes)".into())
    }

    fn unknown_features_text(&self) -> Option<String> {
        let named = |(bit, name): &(u8, Option<String>)| match name {
            Some(name) => format!("{bit} ({name:?})"),
            None => bit.to_string(),
        };
        let bits: Vec<String> = self.unknown_features.iter().map(named).collect();
        (!bits.is_empty()).then(|| format!("it needs unknown qcow2 features: bit {}", bits.join(", bit ")))
    }

    pub(super) fn note_text(&self, qemu: u32) -> Option<String> {
        let from = |version: u32, what: &str| (qemu < version).then(|| what.to_owned());
        let zstd = "it is compressed with zstd, which QEMU supports since 5.1";
        let zstd = self.zstd.then(|| from(5_001_000, zstd)).flatten();
        let l2 = "it has subclusters, which QEMU supports since 5.2";
        let l2 = self.extended_l2.then(|| from(5_002_000, l2)).flatten();
        let inside = match self.snapshots {
            0 => None,
            1 => Some("it contains a snapshot, which uses space and has no effect".to_owned()),
            many => Some(format!("it contains {many} snapshots, which use space and have no effect")),
        };
        let notes: Vec<String> = [zstd, l2, inside].into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Encryption {
    fn refusal_text(self) -> String {
        let method = match self {
            Self::Aes => "QEMU's old AES method".to_owned(),
            Self::Luks => "LUKS".to_owned(),
            Self::Other(number) => format!("an unknown method, {number}"),
        };
        format!(
            "it is encrypted ({method}), and foundry does not support a passphrase; \
             decrypt it on a machine with its passphrase"
        )
    }
}
