//! What an interrupted making or deletion of a warm image left in the image pool.

use super::store::{NOTE, is_blank_note, read_note};
use crate::{Context, image, lock};
use foundry_core::error::{Error, Kind};
use foundry_core::record::{Maker, VolumeRef};
use foundry_host::Volume;

/// Parts of a warm image that is not complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WarmLeftover {
    /// The image.
    pub(crate) image: VolumeRef,
    /// The process that made it; absent if there is no disk, and nobody works on it.
    pub(crate) maker: Option<Maker>,
}

/// Judges the volume with a note on a warm image; `None` if that image is complete, or the volume is something else.
///
/// # Errors
/// The connection is lost.
pub(crate) fn find_warm_leftover(context: &Context, volume: &Volume) -> Result<Option<WarmLeftover>, Error> {
    let Some(name) = volume.name.strip_suffix(NOTE) else { return Ok(None) };
    let image = VolumeRef::new(&volume.pool, name);
    let note = match read_note(context, &image) {
        Ok(Some(note)) => note,
        // A kill between the two calls that write a note leaves zeros.
        Ok(None) if is_blank_note(context, &image)? => return Ok(Some(WarmLeftover { image, maker: None })),
        Err(lost) if lost.kind() == Kind::Connection => return Err(lost),
        // Somebody else's, or a newer foundry's.
        Ok(None) | Err(_) => return Ok(None),
    };
    let has_disk = context.host.volume(&image)?.is_some();
    Ok(match (note.complete, has_disk) {
        (true, true) => None,
        (true, false) => Some(WarmLeftover { image, maker: None }),
        (false, _) => Some(WarmLeftover { image, maker: Some(note.maker) }),
    })
}

/// Deletes the parts of a warm image that is not complete.
///
/// # Errors
/// If a VM uses its disk, or a part cannot be deleted.
pub(crate) fn delete_warm_leftover(context: &Context, leftover: &WarmLeftover) -> Result<(), Error> {
    if leftover.maker.is_some() && context.host.volume(&leftover.image)?.is_some() {
        return image::delete_image(context, &leftover.image);
    }
    // Whoever makes the image holds the same lock.
    let _lock = lock::lock_image(context, &leftover.image)?;
    if context.host.volume(&leftover.image)?.is_some() {
        return Ok(());
    }
    super::delete_companions(context, &leftover.image)
}
