//! Imports an image: read its header, check the space, send the rest, store its origin, write the header.

use foundry_core::record::VolumeRef;
use std::io::Read;

use super::room::{self, KnownSize, SpaceNeed};
use super::upload_marker::UploadMarker;
use super::{notes, writable_pool};
use crate::interruptible::Interruptible;
use crate::{Context, Event};
use foundry_core::error::{Advice, Code, Error, Kind, Outcome, Remainder, Verb};
use foundry_core::names::VolumeName;
use foundry_core::origin::ImageOrigin;
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_fetch::content::Content;
use foundry_fetch::disk_image::{self, DiskImage, ImageExtent};
use foundry_fetch::transfer::TransferError;
use foundry_host::{HostError, Stopped, Volume, Zeros};

/// Upper limit for an image; the length for libvirt if it is unknown.
const LONGEST: u64 = 1 << 50;

/// The longest that an image with that beginning can be. qcow2 has each cluster of its disk once, and tables of less
/// than an eighth of that; one with snapshots has older clusters, too.
fn longest_possible(image: &DiskImage) -> u64 {
    match image {
        DiskImage::Qcow2(header) if header.snapshots == 0 => {
            let disk = header.virtual_size.0;
            disk.saturating_add(disk / 8).saturating_add(TABLES).min(LONGEST)
        }
        _ => LONGEST,
    }
}

/// What a qcow2 image has beside its clusters and their tables at most: its first tables, bitmaps, what was discarded.
const TABLES: u64 = 256 << 20;

/// An image on its way to a pool: its bytes, and what is known of them.
pub trait ImageSource {
    /// Where it is from, for messages.
    fn source_name(&self) -> &str;
    /// Its bytes, from the first. Their end comes only if they are the right ones.
    fn content(&mut self) -> &mut dyn Content;
    /// How many there are, where that is known before the end.
    fn length(&self) -> Option<u64>;
    /// How many of them are no holes, where that is known before the end.
    fn data_bytes(&self) -> Option<u64>;
    /// How much was transferred, and of how much, where that is something else than what came out.
    fn transferred(&self) -> Option<(u64, Option<u64>)> {
        None
    }
    /// Whether there will be something to remember of where it came from, as far as can be said before the end.
    fn is_noted(&self) -> bool {
        false
    }
    /// What is to be remembered of where it came from. Asked once, after the end.
    fn origin(&mut self) -> Option<ImageOrigin> {
        None
    }
}

/// Imports an image into a pool, which is made if it is the default one and missing. A name without an
/// extension gets the one that the content calls for.
///
/// # Errors
/// [`Kind::Storage`] where it is no image, its name does not fit its format, the name is taken or there is
/// no room; then nothing was changed. Where the transfer fails, the volume is removed again.
pub fn import_image(
    context: &Context,
    pool: &str,
    name: &VolumeName,
    source: &mut dyn ImageSource,
) -> Result<Volume, Error> {
    context.progress.on_event(Event::Begins(format!("Importing image '{name}'...")));
    let head = read_head(source)?;
    let image = fitting_image(source.source_name(), &head)?;
    let name = fitting_name(name, source.source_name(), &image)?;
    let pool = writable_pool(context, pool)?;
    let image_ref = VolumeRef::new(&pool, name.as_str());
    refuse_taken(context, &image_ref)?;
    if source.is_noted() {
        notes::check_place(context, &image_ref)?;
    }
    let compact = matches!(image, DiskImage::Qcow2(_));
    let known = KnownSize { length: source.length(), data: source.data_bytes(), compact };
    let (space, available) = known.choose_space(context, &pool)?;
    let import = ImportJob {
        context,
        image: image_ref.clone(),
        length: known.length,
        longest: longest_possible(&image),
        marker: UploadMarker::new(&context.lease, &image_ref, first_size(&space, known.length)),
        space,
        available,
    };
    let volume = format!("may be left behind: {image_ref}");
    let _leaves = context.cancel.announce_leftovers([volume.into(), import.removal_advice().into()]);
    import.make_volume()?;
    let mut begun = false;
    let reach = ImageExtent::from_header(&image, &head);
    if let Err(failed) = import.fill_volume((&head, reach), source, &mut begun) {
        return Err(import.roll_back(failed, begun));
    }
    context.report_done("Image imported");
    // A host of unknown version is treated as a new one.
    let qemu = || context.host.machine().map_or(u32::MAX, |machine| machine.hypervisor_version);
    if let Some(note) = image.note().and_then(|_| image.note_for(qemu())) {
        context.warn(format!("image '{name}': {note}"));
    }
    import.imported_volume()
}

fn read_head(source: &mut dyn ImageSource) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    let read = source.content().take(disk_image::HEADER_LENGTH).read_to_end(&mut head);
    read.map_err(|e| unreadable_source(source.source_name(), e).unchanged())?;
    Ok(head)
}

/// Makes sure that an image can be imported under that very name.
pub(super) fn fits_name(name: &VolumeName, source: &mut dyn ImageSource) -> Result<(), Error> {
    let head = read_head(source)?;
    let fitting = fitting_name(name, source.source_name(), &fitting_image(source.source_name(), &head)?)?;
    if fitting == *name {
        return Ok(());
    }
    let from = source.source_name();
    Err(Error::new(Code::ImageMisnamed, format!("what {from} has now would be called '{fitting}'"))
        .hint("pull it under another name with --name")
        .unchanged())
}

/// What a transfer says of itself is better than what can be said of it here.
pub(super) fn unreadable_source(from: &str, error: std::io::Error) -> Error {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>) {
        return Error::new(Kind::Interrupted, "interrupted");
    }
    TransferError::from_io(error, from).into()
}

fn refuse_taken(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    if context.host.volume(image)?.is_none() {
        return Ok(());
    }
    let VolumeRef { pool, name } = image;
    Err(Error::new(Code::ImageTaken, format!("image '{name}' exists in pool '{pool}'"))
        .hint(
            Advice::from(Verb::ImageDelete { image: name.clone(), pool: None, force: false })
                .text(" removes it"),
        )
        .unchanged())
}

/// Extensions of disk images; anything else behind a dot is part of the name (`debian-12.5`).
pub const EXTENSIONS: [&str; 7] = ["qcow2", "raw", "img", "vmdk", "vdi", "vhd", "vhdx"];

/// The extension by which a name says that it is an image's, as it is written there. Capitals make no difference.
pub fn image_extension(name: &str) -> Option<&str> {
    let (_, end) = name.rsplit_once('.')?;
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(end)).then_some(end)
}

/// What it is, if a VM may be given it.
fn fitting_image(from: &str, head: &[u8]) -> Result<DiskImage, Error> {
    let image = disk_image::detect_format(head).map_err(|e| not_an_image(from, e.to_string()))?;
    match image.refusal() {
        Some(reason) if image.driver().is_some() => {
            let convert = Verb::ImageImport { file: Some("FILE".into()), name: None, convert: true };
            Err(not_an_image(from, reason).hint(Advice::from(convert).text(" converts it")))
        }
        Some(reason) => Err(not_an_image(from, reason)),
        None => Ok(image),
    }
}

fn not_an_image(from: &str, cause: String) -> Error {
    Error::new(Code::NotAnImage, format!("{from} cannot be an image")).because(cause).unchanged()
}

/// The name must end as the content is, so that a name never lies.
fn fitting_name(name: &VolumeName, from: &str, image: &DiskImage) -> Result<VolumeName, Error> {
    let right = if matches!(image, DiskImage::Qcow2(_)) { "qcow2" } else { "raw" };
    let end = image_extension(name.as_str());
    match end.map(|end| (&name.as_str()[..name.as_str().len() - end.len() - 1], end)) {
        Some((_, end)) if end.eq_ignore_ascii_case(right) => Ok(name.clone()),
        None => format!("{name}.{right}").parse().map_err(|e| not_an_image(from, format!("its name {e}"))),
        Some((stem, _)) => {
            Err(Error::new(Code::ImageMisnamed, format!("'{name}' is not a name for this image"))
                .because(format!("{from} is {image}, and the names of such images end in .{right}"))
                .hint(format!("call it {stem}.{right}"))
                .unchanged())
        }
    }
}

/// How large the volume is made.
fn first_size(space: &SpaceNeed, length: Option<u64>) -> u64 {
    match space {
        SpaceNeed::Whole(length) => *length,
        SpaceNeed::AsWritten => length.unwrap_or(disk_image::HEADER_LENGTH),
    }
}

/// One image on its way into one pool.
struct ImportJob<'a> {
    context: &'a Context,
    image: VolumeRef,
    length: Option<u64>,
    /// How long it can be at most, where its length is not known.
    longest: u64,
    space: SpaceNeed,
    /// What the pool had left right before.
    available: u64,
    marker: UploadMarker,
}

impl ImportJob<'_> {
    fn make_volume(&self) -> Result<(), Error> {
        let capacity = first_size(&self.space, self.length);
        let allocation = if matches!(self.space, SpaceNeed::Whole(_)) { capacity } else { 0 };
        let spec = VolumeSpec {
            name: self.image.name.clone(),
            format: "raw".into(),
            capacity: Bytes(capacity),
            allocation: Bytes(allocation),
            backing: None,
        };
        let xml = storage_xml::render_volume(&spec).map_err(|e| Error::new(Kind::Storage, e.to_string()))?;
        self.context
            .host
            .create_volume(&self.image.pool, &xml)
            .map(drop)
            .map_err(|failed| self.explain_failed_create(failed))
    }

    /// The beginning goes last. Volumes cannot be renamed, so that an import that is killed leaves a part of
    /// the image under its name; without a beginning nobody takes that for an image.
    fn fill_volume(
        &self,
        (head, reach): (&[u8], ImageExtent),
        source: &mut dyn ImageSource,
        begun: &mut bool,
    ) -> Result<(), Error> {
        self.marker.write_to(self.context, &self.image)?;
        let mut counted = ImportReader::new(self.context, source, head.len() as u64).with_reach(reach);
        let mut content = Interruptible { content: &mut counted, cancel: &self.context.cancel };
        let length = self.send_rest(head.len() as u64, &mut content)?;
        if let Some(reach) = counted.reach.take() {
            self.check_reach(reach, head, length, source.source_name())?;
        }
        self.check_marker()?;
        if let Some(origin) = source.origin() {
            notes::write_note(self.context, &self.image, &origin, head)?;
        }
        self.context.cancel.check()?;
        *begun = true;
        let host = &self.context.host;
        host.upload_all(&self.image, &mut &*head, head.len() as u64)?;
        // What a guest sees of it is known only after libvirt has looked into it again.
        Ok(host.refresh_pool(&self.image.pool)?)
    }

    /// Others may have deleted the volume and made one of their own.
    fn check_marker(&self) -> Result<(), Error> {
        if self.marker.is_on_volume(self.context, &self.image)? {
            return Ok(());
        }
        Err(Error::new(
            Code::VolumeChanged,
            format!("{} was replaced while the image was on its way", self.image),
        ))
    }

    /// How much may be written now; before each stretch but the first the volume must still be this import's.
    fn zeros_mode(&self, is_first: bool) -> Result<Zeros, Error> {
        if matches!(self.space, SpaceNeed::Whole(_)) {
            return Ok(Zeros::Written);
        }
        let available = if is_first {
            self.available
        } else {
            self.check_marker()?;
            room::available_bytes(self.context, &self.image.pool)?
        };
        let spare = room::bytes_to_spare(self.context, &self.image.pool, self.length)?;
        Ok(Zeros::Skipped { at_most: room::next_stretch(available, &self.image.pool, spare)? })
    }

    /// The image must hold what its own tables say. Those that passed by unrecognized, in front of what names them, are
    /// read from the volume, whose beginning is not in it yet.
    fn check_reach(&self, mut reach: ImageExtent, head: &[u8], length: u64, from: &str) -> Result<(), Error> {
        reach.read_missing_tables(length, |at, table| {
            let mut read = Vec::new();
            let span = (at, table.len() as u64);
            self.context.host.download_span(&self.image, &mut read, span)?;
            // No more came than was asked for.
            let read = read.get(..table.len()).unwrap_or(&read);
            table[..read.len()].copy_from_slice(read);
            let begin = usize::try_from(at).ok().and_then(|at| head.get(at..)).unwrap_or_default();
            let begin = begin.get(..table.len()).unwrap_or(begin);
            table[..begin.len()].copy_from_slice(begin);
            Ok::<(), HostError>(())
        })?;
        if reach.end() <= length {
            return Ok(());
        }
        let cause = format!(
            "it is truncated: by its own tables it has at least {} bytes, but only {length} are present",
            reach.end()
        );
        Err(Error::new(Code::ContentDamaged, format!("cannot read {from}")).because(cause))
    }

    /// Sends everything behind the beginning, and sees the end of the content; returns the whole length.
    fn send_rest(
        &self,
        begun: u64,
        content: &mut Interruptible<'_, &mut ImportReader<'_>>,
    ) -> Result<u64, Error> {
        let mut offset = begun;
        let whole = self.length.unwrap_or(self.longest);
        while offset < whole && !content.content.ended {
            let zeros = self.zeros_mode(offset == begun)?;
            let left = whole - offset;
            let sent = self.context.host.upload(&self.image, content, offset, left, zeros);
            offset += match (sent, content.content.failure.take()) {
                // What the host makes of it says less.
                (Err(_), Some(failure)) => return Err(failure.into()),
                (sent, _) => sent?,
            };
        }
        let from = content.content.source.source_name().to_owned();
        let cause = match content.read(&mut [0]) {
            Ok(0) if self.length.is_some_and(|length| offset < length) => "it ended before its length",
            Ok(0) => return Ok(offset),
            Ok(_) if self.length.is_none() => "it is longer than an image of a disk of its size can be",
            Ok(_) => "it is longer than it said",
            Err(e) => return Err(unreadable_source(&from, e)),
        };
        Err(Error::new(Code::ContentDamaged, format!("cannot read {from}")).because(cause))
    }

    /// What is there after a refusal is somebody else's, who was faster, or was there all along unseen; only of a call
    /// without an answer it is unknown.
    fn explain_failed_create(&self, failed: HostError) -> Error {
        if failed.outcome_unknown() {
            return Error::from(failed)
                .outcome(self.left_behind("it may exist"))
                .outcome(self.removal_advice());
        }
        match self.context.host.volume(&self.image) {
            Ok(Some(_)) => Error::from(failed)
                .outcome(format!("{} exists by now: somebody else made it meanwhile", self.image))
                .hint(Advice::from(Verb::ImageInfo { image: self.image.name.clone() }).text(" shows it")),
            _ => Error::from(failed).unchanged(),
        }
    }

    fn removal_advice(&self) -> Advice {
        let delete = Verb::ImageDelete { image: self.image.name.clone(), pool: None, force: true };
        Advice::from(delete).text(" removes it")
    }

    /// The volume as something that is left, and why.
    fn left_behind(&self, why: impl Into<String>) -> Outcome {
        let object = self.image.to_string();
        Outcome::Left(vec![Remainder::new(object, why)])
    }

    /// Once the beginning is on its way, there is no mark any more; the look right before saw it.
    fn roll_back(&self, failed: Error, begun: bool) -> Error {
        let (context, name) = (self.context, self.image.name.as_str());
        let left = |error: Error| self.left_behind(error.message());
        match self.marker.is_on_volume(context, &self.image) {
            Ok(false) if !begun => {
                return failed.outcome(format!("volume '{name}' is somebody else's by now, and stays"));
            }
            Err(lost) if lost.outcome_unknown() => {
                return failed.outcome(left(lost.into())).outcome(self.removal_advice());
            }
            // What is gone already is as it should be.
            _ => {}
        }
        if let Err(error) = context.host.delete_volume(&self.image) {
            return failed.outcome(left(error.into())).outcome(self.removal_advice());
        }
        match notes::delete_note(context, &self.image) {
            Ok(()) => failed.outcome("the volume is removed again"),
            Err(error) => failed.outcome(format!(
                "the volume is removed again, but not the note on its origin ({})",
                error.message()
            )),
        }
    }

    fn imported_volume(&self) -> Result<Volume, Error> {
        let looked = self.context.host.volume(&self.image);
        let there = format!("image '{}' was imported all the same", self.image.name);
        looked.map_err(|e| Error::from(e).outcome(there))?.ok_or_else(|| {
            Error::new(
                Code::VolumeChanged,
                format!(
                    "image '{}' vanished from pool '{}' as soon as it was imported",
                    self.image.name, &self.image.pool
                ),
            )
        })
    }
}

/// Tells how much of a transfer is done, and notices its end.
pub(super) struct ImportReader<'a> {
    source: &'a mut dyn ImageSource,
    done: u64,
    ended: bool,
    /// Why the transfer failed, in its own words.
    failure: Option<TransferError>,
    /// What of the image's tables passed by.
    reach: Option<ImageExtent>,
    context: &'a Context,
}

impl<'a> ImportReader<'a> {
    pub(super) fn new(context: &'a Context, source: &'a mut dyn ImageSource, done: u64) -> Self {
        Self { source, done, ended: false, failure: None, reach: None, context }
    }

    fn with_reach(self, reach: ImageExtent) -> Self {
        Self { reach: Some(reach), ..self }
    }

    fn keep_failure(&mut self, error: std::io::Error) -> std::io::Error {
        self.failure = TransferError::find_in(&error).cloned();
        error
    }

    fn count_bytes(&mut self, bytes: u64) {
        self.done += bytes;
        let (done, total) = self.source.transferred().unwrap_or((self.done, self.source.length()));
        self.context.progress.on_event(Event::Bytes { done, total });
    }
}

impl Read for ImportReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.content().read(buffer).map_err(|e| self.keep_failure(e))?;
        self.ended |= read == 0 && !buffer.is_empty();
        if let Some(reach) = &mut self.reach {
            reach.feed_bytes(self.done, &buffer[..read]);
        }
        self.count_bytes(read as u64);
        Ok(read)
    }
}

impl Content for ImportReader<'_> {
    fn skip_hole(&mut self, limit: u64) -> std::io::Result<u64> {
        let skipped = self.source.content().skip_hole(limit).map_err(|e| self.keep_failure(e))?;
        if let Some(reach) = &mut self.reach {
            reach.feed_hole(self.done, skipped);
        }
        self.count_bytes(skipped);
        Ok(skipped)
    }
}
