//! Marks which import is writing a volume.
//!
//! A volume is found by its name, and while an image comes in somebody may delete it and make another of that name. So
//! the place of the image's beginning, which goes last, holds a mark until then: a word that says what this is, which
//! import's, and which process does it. Who finds another mark there, or an image, has lost the volume and leaves it
//! alone; who finds the mark of a process that ended has found what a kill left.

use foundry_core::record::VolumeRef;
use uuid::Uuid;

use crate::Context;
use foundry_core::error::Error;
use foundry_core::record::Maker;
use foundry_core::units::Bytes;
use foundry_fetch::disk_image::{PARTIAL_IMAGE_MARK, is_partial_image};
use foundry_host::local::{Lease, prove};
use foundry_host::{HostError, Volume};

/// No mark is longer: the longest name of a machine that Linux allows is 64 bytes.
const LONGEST: u64 = 4096;

/// The mark of one import.
pub(super) struct UploadMarker(Vec<u8>);

/// What an import that was broken off left, or one that goes on has so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PartialImage {
    /// It bears the mark of an import.
    Marked {
        /// The whole mark, which no other import has.
        mark: Vec<u8>,
        /// Who imports it, where the mark says so.
        maker: Option<Maker>,
        /// Whether a foundry of this machine wrote it, for this volume. Else it may be what a guest wrote to its disk.
        proven: bool,
    },
    /// It begins with zeros, and nothing says what it is.
    Blank,
}

impl UploadMarker {
    /// A new one, for that volume of that many bytes: one too small for all of it gets no more than its identity.
    pub(super) fn new(lease: &Lease, volume: &VolumeRef, room: u64) -> Self {
        let id = Uuid::new_v4();
        let mark = |rest: &str| [PARTIAL_IMAGE_MARK.as_slice(), format!("{id}{rest}\n").as_bytes()].concat();
        let maker = serde_json::to_string(&lease.maker()).unwrap_or_default();
        let proof = proof_of(volume, &id.to_string()).map(|proof| format!(" {proof}")).unwrap_or_default();
        let whole = mark(&format!("{proof}\n{maker}"));
        Self(if whole.len() as u64 <= room { whole } else { mark("") })
    }

    /// Puts it on a volume that was just made.
    pub(super) fn write_to(&self, context: &Context, volume: &VolumeRef) -> Result<(), HostError> {
        context.host.upload_all(volume, &mut &*self.0, self.0.len() as u64)
    }

    /// Whether the volume has it, or nothing yet.
    pub(super) fn is_on_volume(&self, context: &Context, volume: &VolumeRef) -> Result<bool, HostError> {
        let mut found = Vec::new();
        context.host.download(volume, &mut found, self.0.len() as u64)?;
        Ok(found == self.0 || found.iter().all(|byte| *byte == 0))
    }
}

/// A mark is bytes at the beginning of a volume, and of a disk a guest writes these.
fn proof_of(volume: &VolumeRef, id: &str) -> Option<String> {
    prove(&format!("import {id} into volume {} of pool {}", volume.name, volume.pool))
}

/// Whether a volume is no whole image, and whose it is; `None` for anything else, and for what cannot be read.
///
/// # Errors
/// A connection that is lost.
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
    // Behind the mark are zeros, or bytes of the image.
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
    fn a_mark_tells_who_imports() {
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

    /// Who reads all of a mark, or makes one up, has no proof for another volume.
    #[test]
    fn a_mark_is_proven_for_the_volume_that_it_was_made_for() {
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
    fn a_small_volume_has_a_short_mark() {
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
    fn zeros_are_nobodys_and_anything_else_is_no_torso() {
        assert_eq!(parse_head(&VolumeRef::new("p", "v"), &[0; 512]), Some(PartialImage::Blank));
        assert_eq!(parse_head(&VolumeRef::new("p", "v"), b"QFI\xfb"), None);
        assert_eq!(parse_head(&VolumeRef::new("p", "v"), b""), None);
    }
}
