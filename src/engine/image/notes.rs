//! The notes that store where images came from.
//!
//! libvirt keeps no notes with a volume, so they are in a small volume beside it. An image without one is of
//! unknown origin, which is no fault.

use foundry_core::record::VolumeRef;
use serde::{Deserialize, Serialize};

use crate::Context;
use foundry_core::error::{Code, Error, Kind};
use foundry_core::origin::ImageOrigin;
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_fetch::disk_image::HEADER_LENGTH;
use foundry_fetch::transfer::{Algorithm, Digest};
use foundry_host::{HostError, Volume};

/// What the volume's name ends in, behind the image's.
const SUFFIX: &str = ".origin.json";
/// No note is longer.
const LONGEST: u64 = 64 << 10;

/// The note as it is stored; the word in front says whose it is.
#[derive(Serialize, Deserialize)]
struct OriginNote {
    #[serde(rename = "foundryImage")]
    image: String,
    /// The digest of the image's first bytes: what was noted of another image of that name is none of this one's.
    head: String,
    #[serde(flatten)]
    origin: ImageOrigin,
}

/// The longest name of an image beside which there is room for a note: a file's name has 255 bytes at most
/// (pathname(7)).
const LONGEST_NOTED_NAME: usize = 255 - SUFFIX.len();

/// Makes sure, before anything is transferred, that an image's origin can be noted.
///
/// # Errors
/// [`Kind::Validation`] where the name is too long, [`Kind::Storage`] where something else lies there.
pub(super) fn check_place(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    check_length(&image.name)?;
    let Some(volume) = context.host.volume(&note_of(image))? else { return Ok(()) };
    match noted_by_anybody(&read_content(context, &volume)?) {
        true => Ok(()),
        false => Err(in_the_way(image).unchanged()),
    }
}

/// Makes sure that there is room for a note beside an image of that name.
///
/// # Errors
/// [`Kind::Validation`] where the name is too long.
pub fn check_length(image: &str) -> Result<(), Error> {
    if image.len() <= LONGEST_NOTED_NAME {
        return Ok(());
    }
    Err(Error::new(Code::ImageNameUnfit, format!("image '{image}' cannot have so long a name"))
        .because(format!(
            "it has {} bytes of {LONGEST_NOTED_NAME}: the note on its origin is called so, too, with {SUFFIX} behind it",
            image.len()
        ))
        .hint("give a shorter name")
        .unchanged())
}

fn in_the_way(image: &VolumeRef) -> Error {
    let name = &image.name;
    Error::new(Code::VolumeTaken, format!("{} is in the way", note_of(image)))
        .because(format!("the origin of image '{name}' would be noted there, and it is something else"))
}

/// A kill between the two steps of [`write_note`] leaves a note of zeros.
fn noted_by_anybody(bytes: &[u8]) -> bool {
    serde_json::from_slice::<OriginNote>(bytes).is_ok() || bytes.iter().all(|byte| *byte == 0)
}

/// The volume with an image's origin.
fn note_of(image: &VolumeRef) -> VolumeRef {
    image.sibling(note_name(&image.name))
}

/// Name of the volume with an image's origin.
pub(super) fn note_name(image: &str) -> String {
    format!("{image}{SUFFIX}")
}

/// The image that a volume is the note of, by its name.
pub(crate) fn noted_image(volume: &str) -> Option<&str> {
    volume.strip_suffix(SUFFIX).filter(|image| !image.is_empty())
}

/// The origin of an image; `None` if it is unknown.
///
/// # Errors
/// A connection that is lost. A note that cannot be read is none.
pub(super) fn read_origin(context: &Context, image: &VolumeRef) -> Result<Option<ImageOrigin>, Error> {
    read_beside(context, image, || {
        let mut head = Vec::new();
        context.host.download(image, &mut head, HEADER_LENGTH).map(|()| head)
    })
}

/// As [`read_origin`], for who can say what the image begins with. It is asked only where there is a note.
///
/// # Errors
/// As [`read_origin`].
pub(crate) fn read_beside(
    context: &Context,
    image: &VolumeRef,
    head: impl FnOnce() -> Result<Vec<u8>, HostError>,
) -> Result<Option<ImageOrigin>, Error> {
    let Some(volume) = context.host.volume(&note_of(image))? else {
        return Ok(None);
    };
    let noted = read_content(context, &volume).and_then(|bytes| match parse_note(&bytes, &image.name) {
        Some(note) => Ok((note.head == digest_head(&head()?)).then_some(note.origin)),
        None => Ok(None),
    });
    match noted {
        Ok(origin) => Ok(origin),
        Err(e) if e.outcome_unknown() => Err(e.into()),
        Err(_) => Ok(None),
    }
}

/// What a volume is that bears the name of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteContent {
    /// The note on that image.
    Note,
    /// Zeros: a note that was not written any more, or anything.
    Blank,
    /// Something else.
    Other,
}

/// Whether a volume is the note on an image, by its content.
///
/// # Errors
/// A connection that is lost.
pub(crate) fn note_content(context: &Context, volume: &Volume, image: &str) -> Result<NoteContent, Error> {
    match read_content(context, volume) {
        Err(lost) if lost.outcome_unknown() => Err(lost.into()),
        Err(_) => Ok(NoteContent::Other),
        Ok(bytes) if parse_note(&bytes, image).is_some() => Ok(NoteContent::Note),
        Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Ok(NoteContent::Blank),
        Ok(_) => Ok(NoteContent::Other),
    }
}

fn digest_head(head: &[u8]) -> String {
    Digest::of_bytes(Algorithm::Sha256, head).to_string()
}

fn read_content(context: &Context, volume: &Volume) -> Result<Vec<u8>, HostError> {
    let mut bytes = Vec::new();
    context.host.download(&volume.reference(), &mut bytes, LONGEST)?;
    Ok(bytes)
}

/// A note on another image is none of this one's.
fn parse_note(bytes: &[u8], image: &str) -> Option<OriginNote> {
    serde_json::from_slice::<OriginNote>(bytes).ok().filter(|note| note.image == image)
}

/// Notes where an image is from. What was noted of an earlier image of that name is replaced.
pub(super) fn write_note(
    context: &Context,
    image: &VolumeRef,
    origin: &ImageOrigin,
    head: &[u8],
) -> Result<(), Error> {
    delete_note(context, image)?;
    let name = &image.name;
    let note = OriginNote { image: name.clone(), head: digest_head(head), origin: origin.clone() };
    let failed = |cause: String| {
        Error::new(Kind::Storage, format!("cannot note the origin of image '{name}'")).because(cause)
    };
    let bytes = serde_json::to_vec(&note).map_err(|e| failed(e.to_string()))?;
    let length = bytes.len() as u64;
    if length > LONGEST {
        return Err(failed(format!("it would take {}", Bytes(length))));
    }
    let spec = VolumeSpec {
        name: note_name(name),
        format: "raw".into(),
        capacity: Bytes(length),
        allocation: Bytes(length),
        backing: None,
    };
    let xml = storage_xml::render_volume(&spec).map_err(|e| failed(e.to_string()))?;
    context.host.create_volume(&image.pool, &xml)?;
    Ok(context.host.upload_all(&note_of(image), &mut &*bytes, length)?)
}

/// Removes the note on an image. A volume of that name that is no note stays, and is in the way.
pub(crate) fn delete_note(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    let note = note_of(image);
    let Some(volume) = context.host.volume(&note)? else { return Ok(()) };
    if noted_by_anybody(&read_content(context, &volume)?) {
        return Ok(context.host.delete_volume(&note)?);
    }
    Err(in_the_way(image))
}
