//! The volumes of a warm image: the disk, which is an image as any other, and beside it the memory and the note.

use foundry_core::error::{Code, Error, Kind};
use foundry_core::record::VolumeRef;
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_core::warm::{NOTE_VERSION, WarmNote};

use crate::Context;

/// Suffix of the memory's name, after the image's name.
const MEMORY: &str = ".memory";
/// Suffix of the note's name.
pub(super) const NOTE: &str = ".warm.json";
/// Length of a note in bytes: more than the longest manifest, and always the same, so that it can be written again.
const NOTE_LENGTH: u64 = 2 << 20;

/// The volume with the memory of a warm image.
pub(crate) fn memory_of(image: &VolumeRef) -> VolumeRef {
    image.sibling(format!("{}{MEMORY}", image.name))
}

/// The volume with the note on a warm image.
pub(super) fn note_of(image: &VolumeRef) -> VolumeRef {
    image.sibling(format!("{}{NOTE}", image.name))
}

/// The warm image that a volume is a part of, by the volume's name: its memory, or its note.
pub(crate) fn warm_companion_of(volume: &str) -> Option<&str> {
    let image = volume.strip_suffix(NOTE).or_else(|| volume.strip_suffix(MEMORY));
    image.filter(|image| image.ends_with(".qcow2"))
}

/// Reads the note on an image; `None` if it is no warm image, or the note is another image's.
///
/// # Errors
/// The connection is lost; [`Code::WarmImageUnfit`] if a newer foundry wrote the note.
pub(crate) fn read_note(context: &Context, image: &VolumeRef) -> Result<Option<WarmNote>, Error> {
    let note = note_of(image);
    if context.host.volume(&note)?.is_none() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    match context.host.download(&note, &mut bytes, NOTE_LENGTH) {
        Err(lost) if lost.outcome_unknown() => return Err(lost.into()),
        Err(_) => return Ok(None),
        Ok(()) => {}
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let parsed: Option<WarmNote> = serde_json::from_slice(bytes.get(..end).unwrap_or_default()).ok();
    let Some(note) = parsed.filter(|note| note.warm_image == image.name) else { return Ok(None) };
    if note.version > NOTE_VERSION {
        let message = format!("a newer foundry made warm image '{}'", image.name);
        return Err(Error::new(Code::WarmImageUnfit, message).hint("update foundry").unchanged());
    }
    Ok(Some(note))
}

/// Whether the volume with the name of a note has zeros only.
pub(super) fn is_blank_note(context: &Context, image: &VolumeRef) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    match context.host.download(&note_of(image), &mut bytes, NOTE_LENGTH) {
        Err(lost) if lost.outcome_unknown() => Err(lost.into()),
        Err(_) => Ok(false),
        Ok(()) => Ok(bytes.iter().all(|byte| *byte == 0)),
    }
}

/// Writes the note on an image, in place of an earlier one.
pub(super) fn write_note(context: &Context, image: &VolumeRef, note: &WarmNote) -> Result<(), Error> {
    let failed = |cause: String| {
        Error::new(Kind::Storage, format!("cannot write the note on image '{}'", image.name)).because(cause)
    };
    let mut bytes = serde_json::to_vec(note).map_err(|e| failed(e.to_string()))?;
    if bytes.len() as u64 > NOTE_LENGTH {
        return Err(failed(format!("it would take {}", Bytes(bytes.len() as u64))));
    }
    let volume = note_of(image);
    if context.host.volume(&volume)?.is_none() {
        let spec = VolumeSpec {
            name: volume.name.clone(),
            format: "raw".into(),
            capacity: Bytes(NOTE_LENGTH),
            allocation: Bytes(0),
            backing: None,
        };
        context.host.create_volume(&volume.pool, &storage_xml::render_volume(&spec)?)?;
    }
    bytes.resize(NOTE_LENGTH as usize, 0);
    Ok(context.host.upload_all(&volume, &mut &*bytes, NOTE_LENGTH)?)
}

/// Deletes the memory of an image and the note on it, the note last: until then, they can be found.
pub(crate) fn delete_companions(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    context.host.delete_volume(&memory_of(image))?;
    Ok(context.host.delete_volume(&note_of(image))?)
}
