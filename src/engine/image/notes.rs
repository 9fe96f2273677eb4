//! The notes that store where images came from.
//!
//! libvirt stores no metadata with a volume, so the note is a small volume beside it. An image without a note has an
//! unknown origin, which is not an error.

use serde::{Deserialize, Serialize};

use crate::Context;
use foundry_core::error::{Code, Error, Kind};
use foundry_core::origin::ImageOrigin;
use foundry_core::record::VolumeRef;
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_fetch::disk_image::HEADER_LENGTH;
use foundry_fetch::transfer::{Algorithm, Digest};
use foundry_host::{HostError, Volume};

/// Suffix of the note's name, after the image's name.
const SUFFIX: &str = ".origin.json";
/// Maximum length of a note, in bytes.
const LONGEST: u64 = 64 << 10;

/// The note as it is stored. The key `foundryImage` marks it as foundry's.
#[derive(Serialize, Deserialize)]
struct OriginNote {
    #[serde(rename = "foundryImage")]
    image: String,
    /// The digest of the image's first bytes. It tells this image from an earlier one with the same name.
    head: String,
    #[serde(flatten)]
    origin: ImageOrigin,
}

/// The longest image name that leaves room for the note's name: a file name has at most 255 bytes (pathname(7)).
const LONGEST_NOTED_NAME: usize = 255 - SUFFIX.len();

/// Checks, before anything is transferred, that the origin can be recorded.
///
/// # Errors
/// [`Kind::Validation`] if the name is too long, [`Kind::Storage`] if another volume has the note's name.
pub(super) fn check_place(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    check_length(&image.name)?;
    let Some(volume) = context.host.volume(&note_of(image))? else { return Ok(()) };
    match noted_by_anybody(&read_content(context, &volume)?) {
        true => Ok(()),
        false => Err(in_the_way(image).unchanged()),
    }
}

/// Checks that the note's name is not too long.
///
/// # Errors
/// [`Kind::Validation`] if the name is too long.
pub fn check_length(image: &str) -> Result<(), Error> {
    if image.len() <= LONGEST_NOTED_NAME {
        return Ok(());
    }
    Err(Error::new(Code::ImageNameUnfit, format!("the name of image '{image}' is too long"))
        .because(format!(
            "it has {} bytes, and {LONGEST_NOTED_NAME} are allowed: the note on its origin adds {SUFFIX} to it",
            image.len()
        ))
        .hint("choose a shorter name")
        .unchanged())
}

fn in_the_way(image: &VolumeRef) -> Error {
    let name = &image.name;
    Error::new(Code::VolumeTaken, format!("volume {} is in the way", note_of(image))).because(format!(
        "the origin of image '{name}' is recorded under that name, but that volume is something else"
    ))
}

/// Whether these bytes are a note. A kill between the two calls of [`write_note`] leaves a note of zeros, so zeros
/// count, too.
fn noted_by_anybody(bytes: &[u8]) -> bool {
    serde_json::from_slice::<OriginNote>(bytes).is_ok() || bytes.iter().all(|byte| *byte == 0)
}

/// The volume that holds the note on `image`.
fn note_of(image: &VolumeRef) -> VolumeRef {
    image.sibling(note_name(&image.name))
}

/// The name of the volume that holds the note on `image`.
pub(super) fn note_name(image: &str) -> String {
    format!("{image}{SUFFIX}")
}

/// The image that a note belongs to, by the note's name.
pub(crate) fn noted_image(volume: &str) -> Option<&str> {
    volume.strip_suffix(SUFFIX).filter(|image| !image.is_empty())
}

/// The origin of an image; `None` if it is unknown.
///
/// # Errors
/// The connection is lost. An unreadable note counts as no note.
pub(super) fn read_origin(context: &Context, image: &VolumeRef) -> Result<Option<ImageOrigin>, Error> {
    read_beside(context, image, || {
        let mut head = Vec::new();
        context.host.download(image, &mut head, HEADER_LENGTH).map(|()| head)
    })
}

/// As [`read_origin`], with the image's first bytes from `head`. It is called only if there is a note.
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

/// The content of a volume that has the name of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteContent {
    /// The note on this image.
    Note,
    /// Zeros: a note whose writing was interrupted, or any other empty volume.
    Blank,
    /// Neither: the volume only has the name.
    Other,
}

/// Classifies a volume with the name of a note by its content.
///
/// # Errors
/// The connection is lost.
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

/// Parses a note; a note on another image is ignored.
fn parse_note(bytes: &[u8], image: &str) -> Option<OriginNote> {
    serde_json::from_slice::<OriginNote>(bytes).ok().filter(|note| note.image == image)
}

/// Records the origin of an image. Replaces the note of an earlier image with the same name.
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

/// Deletes the note on an image. Fails if a volume with the note's name is something else; that volume is kept.
pub(crate) fn delete_note(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    let note = note_of(image);
    let Some(volume) = context.host.volume(&note)? else { return Ok(()) };
    if noted_by_anybody(&read_content(context, &volume)?) {
        return Ok(context.host.delete_volume(&note)?);
    }
    Err(in_the_way(image))
}
