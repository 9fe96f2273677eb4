//! Marks which import is writing a volume.
//!
//! A volume is found by its name, and during an import someone may delete it and create another one with that name. So
//! until the header is uploaded last, its place holds a marker: a magic word, the import's identity, and the process
//! that runs it. An import that finds another marker there, or an image, has lost the volume and leaves it alone. A
//! marker whose process has ended is the leftover of a killed import.

use uuid::Uuid;

use crate::Context;
use foundry_core::error::Error;
use foundry_core::record::{Maker, VolumeRef};
use foundry_core::units::Bytes;
use foundry_fetch::disk_image::{PARTIAL_IMAGE_MARK, is_partial_image};
use foundry_host::local::{Lease, prove};
use foundry_host::{HostError, Volume};

/// Maximum length of a marker, in bytes. The longest host name that Linux allows has 64 bytes.
const LONGEST: u64 = 4096;

/// The marker of one import.
pub(super) struct UploadMarker(Vec<u8>);

/// What an interrupted import left, or what a running one has written so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PartialImage {
    /// The volume starts with the marker of an import.
    Marked {
        /// The magic word and the identity, which no other import has.
        mark: Vec<u8>,
        /// The process that imports it, if the marker names one.
        maker: Option<Maker>,
        /// Whether a foundry on this machine wrote the marker for this volume. Otherwise a guest may have written it to
        /// its disk.
        proven: bool,
    },
    /// The volume starts with zeros, which do not tell what it is.
    Blank,
}

impl UploadMarker {
    /// A new marker for a volume of `room` bytes. A volume too small for the whole marker gets only the identity.
    pub(super) fn new(lease: &Lease, volume: &VolumeRef, room: u64) -> Self {
        let id = Uuid::new_v4();
        let mark = |rest: &str| [PARTIAL_IMAGE_MARK.as_slice(), format!("{id}{rest}\n").as_bytes()].concat();
        let maker = serde_json::to_string(&lease.maker()).unwrap_or_default();
        let proof = proof_of(volume, &id.to_string()).map(|proof| format!(" {proof}")).unwrap_or_default();
        let whole = mark(&format!("{proof}\n{maker}"));
        Self(if whole.len() as u64 <= room { whole } else { mark("") })
    }

    /// Writes the marker to a new volume.
    pub(super) fn write_to(&self, context: &Context, volume: &VolumeRef) -> Result<(), HostError> {
        context.host.upload_all(volume, &mut &*self.0, self.0.len() as u64)
    }

    /// Whether the volume has this marker, or only zeros yet.
    pub(super) fn is_on_volume(&self, context: &Context, volume: &VolumeRef) -> Result<bool, HostError> {
        let mut found = Vec::new();
        context.host.download(volume, &mut found, self.0.len() as u64)?;
        Ok(found == self.0 || found.iter().all(|byte| *byte == 0))
    }
}

/// Proves that this machine wrote the marker: anyone can write bytes at the start of a volume, and a guest does so on
/// its disk.
fn proof_of(volume: &VolumeRef, id: &str) -> Option<String> {
    prove(&format!("import {id} into volume {} of pool {}", volume.name, volume.pool))
}

/// Detects a partial image and its import; `None` for anything else and for an unreadable volume.
///
/// # Errors
/// The connection is lost.
pub(crate) fn read_partial_image(context: &Context, volume: &Volume) -> Result<Option<PartialImage>, Error> {
    if volume.format != "raw" || volume.capacity == Bytes(0) || !volume.path.starts_with('/') {
        return Ok(None);
    }
    let mut head = Vec::new();
    let length = LONGEST.min(volume.allocation.0.max(volume.capacity.0));
    match context.host.download(&volume.reference(), &mut head, length) {
        Err(lost) if lost.outcome_unknown() => Err(lost.into()),
        Err(_) => Ok(None),
        Ok(()) => Ok(parse_head(&volume.reference(), &head)),
    }
}

fn parse_head(volume: &VolumeRef, head: &[u8]) -> Option<PartialImage> {
    if !is_partial_image(head) {
        return None;
    }
    let Some(rest) = head.strip_prefix(PARTIAL_IMAGE_MARK.as_slice()) else {
        return Some(PartialImage::Blank);
    };
    // After the marker follow zeros or bytes of the image.
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let (id, maker) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let maker = serde_json::from_slice(maker).ok();
    let mark = [PARTIAL_IMAGE_MARK.as_slice(), id].concat();
    let said = std::str::from_utf8(id).ok().and_then(|id| id.split_once(' '));
    let proven = said.is_some_and(|(id, said)| proof_of(volume, id).is_some_and(|proof| proof == said));
    Some(PartialImage::Marked { mark, maker, proven })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_names_its_process() {
        let lease = Lease::default();
        let marker = UploadMarker::new(&lease, &VolumeRef::new("p", "v"), 64 << 10);
        let head = [marker.0.as_slice(), &[0; 100]].concat();
        let Some(PartialImage::Marked { mark, maker: Some(maker), proven: true }) =
            parse_head(&VolumeRef::new("p", "v"), &head)
        else {
            panic!("{head:?}")
        };
        assert!(marker.0.starts_with(&mark) && mark.len() > PARTIAL_IMAGE_MARK.len() + 30);
        assert_eq!(maker, lease.maker());
    }

    /// A marker that is copied from another volume, or invented, has no valid proof.
    #[test]
    fn marker_is_proven_for_its_volume_only() {
        let marker = UploadMarker::new(&Lease::default(), &VolumeRef::new("p", "v"), 64 << 10);
        let is_proven =
            |pool: &str, volume: &str, head: &[u8]| match parse_head(&VolumeRef::new(pool, volume), head) {
                Some(PartialImage::Marked { proven, .. }) => proven,
                other => panic!("{other:?}"),
            };
        assert!(is_proven("p", "v", &marker.0));
        assert!(!is_proven("p", "w", &marker.0) && !is_proven("q", "v", &marker.0));
        let text = String::from_utf8(marker.0.clone()).unwrap();
        let (begin, rest) = (&text[..32], &text[32..]);
        let forged = format!("{begin}{}{}", Uuid::new_v4(), &rest[36..]);
        assert!(!is_proven("p", "v", forged.as_bytes()));
        let bare = format!("{begin}{}\n{}", &rest[..36], &rest[36 + 66..]);
        assert!(!is_proven("p", "v", bare.as_bytes()));
    }

    #[test]
    fn marker_on_small_volume_is_short() {
        let marker = UploadMarker::new(&Lease::default(), &VolumeRef::new("p", "v"), 100);
        assert!(marker.0.len() <= 100, "{}", marker.0.len());
        let head = [marker.0.as_slice(), &[0; 10]].concat();
        assert!(
            matches!(
                parse_head(&VolumeRef::new("p", "v"), &head),
                Some(PartialImage::Marked { maker: None, proven: false, .. })
            ),
            "{head:?}"
        );
    }

    #[test]
    fn zeros_are_blank_and_other_bytes_are_no_partial_image() {
        assert_eq!(parse_head(&VolumeRef::new("p", "v"), &[0; 512]), Some(PartialImage::Blank));
        assert_eq!(parse_head(&VolumeRef::new("p", "v"), b"QFI\xfb"), None);
        assert_eq!(parse_head(&VolumeRef::new("p", "v"), b""), None);
    }
}
