//! What a warm image was made of, and whether it can be used.

use foundry_core::error::Error;
use foundry_core::record::{Liveness, VolumeRef};
use foundry_core::units::Bytes;
use foundry_core::warm::{WarmBase, WarmNote};
use foundry_fetch::disk_image::HEADER_LENGTH;
use foundry_fetch::transfer::{Algorithm, Digest};
use foundry_host::Volume;
use foundry_host::local::check_liveness;

use super::store::{memory_of, read_note};
use crate::{Context, image};

/// What an image is now that a guest was booted from, or is to be.
pub(super) fn base_of(
    context: &Context,
    reference: String,
    volume: Option<&VolumeRef>,
) -> Result<WarmBase, Error> {
    let Some(volume) = volume else { return Ok(WarmBase { reference, head: None, origin: None }) };
    let mut head = Vec::new();
    let read = context.host.download(volume, &mut head, HEADER_LENGTH);
    if let Err(lost) = &read
        && lost.outcome_unknown()
    {
        return Err(lost.clone().into());
    }
    let head = read.is_ok().then(|| Digest::of_bytes(Algorithm::Sha256, &head).to_string());
    Ok(WarmBase { reference, head, origin: image::image_origin(context, volume)? })
}

/// A warm image as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmView {
    /// The note on it.
    pub note: WarmNote,
    /// Why it cannot be used, or should be made anew; `None` if it is well.
    pub problem: Option<String>,
    /// Bytes that its memory takes on the host.
    pub memory: Bytes,
}

/// Looks at a warm image; `None` if the image is none.
///
/// # Errors
/// The connection is lost.
pub fn warm_view(context: &Context, image: &Volume) -> Result<Option<WarmView>, Error> {
    let reference = image.reference();
    let Some(note) = read_note(context, &reference)? else { return Ok(None) };
    let memory = context.host.volume(&memory_of(&reference))?;
    let problem = match (&memory, note.complete) {
        (Some(_), true) => outdated_base(context, &note)?,
        (None, true) => Some("its memory is missing".to_owned()),
        (_, false) if check_liveness(&note.maker) == Liveness::Dead => {
            Some("its making was interrupted".to_owned())
        }
        (_, false) => Some(format!("process {} makes it", note.maker.pid)),
    };
    Ok(Some(WarmView { note, problem, memory: memory.map_or(Bytes(0), |volume| volume.allocation) }))
}

/// Says that the base of a warm image has changed since, if that is certain.
fn outdated_base(context: &Context, note: &WarmNote) -> Result<Option<String>, Error> {
    let Some((pool, name)) = note.base.reference.split_once(':').filter(|(pool, _)| !pool.starts_with('/'))
    else {
        return Ok(None);
    };
    let volume = VolumeRef::new(pool, name);
    if context.host.volume(&volume)?.is_none() {
        return Ok(Some(format!("its base '{}' is gone", note.base.reference)));
    }
    let now = base_of(context, note.base.reference.clone(), Some(&volume))?;
    Ok(note.base.differs_from(&now).then(|| format!("its base '{}' has changed", note.base.reference)))
}
