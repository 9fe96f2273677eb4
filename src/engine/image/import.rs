//! Imports an image: read its header, check the space, send the rest, store its origin, write the header.

use std::io::Read;

use super::file_name::{complete_name, detect_usable_format};
use super::room::{self, KnownSize, SpaceNeed};
use super::source::{ImageSource, ImportReader, read_head, unreadable_source};
use super::upload_marker::UploadMarker;
use super::{notes, writable_pool};
use crate::interruptible::Interruptible;
use crate::{Context, Step, Task};
use foundry_core::error::{Advice, Code, Error, Kind, Outcome, Remainder, Verb};
use foundry_core::names::VolumeName;
use foundry_core::record::VolumeRef;
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_fetch::disk_image::{self, DiskImage, ImageExtent};
use foundry_host::{HostError, Volume, Zeros};

/// Upper limit for an image; the length for libvirt if it is unknown.
const LONGEST: u64 = 1 << 50;

/// The maximum length of an image with this header. qcow2 stores each cluster of its disk once, plus tables of less
/// than an eighth of that. An image with snapshots also has older clusters.
fn longest_possible(image: &DiskImage) -> u64 {
    match image {
        DiskImage::Qcow2(header) if header.snapshots == 0 => {
            let disk = header.virtual_size.0;
            disk.saturating_add(disk / 8).saturating_add(TABLES).min(LONGEST)
        }
        _ => LONGEST,
    }
}

/// Upper limit for what a qcow2 image has beside its clusters and their tables: its first tables, bitmaps and discarded
/// clusters.
const TABLES: u64 = 256 << 20;

/// Imports an image into a pool. The default pool is created if it is missing. A name without an extension gets the one
/// that matches the content.
///
/// # Errors
/// [`Kind::Storage`] if the content is not an image, its name does not fit its format, the name is taken or there is no
/// space; nothing is changed then. If the transfer fails, the volume is deleted again.
pub fn import_image(
    context: &Context,
    pool: &str,
    name: &VolumeName,
    source: &mut dyn ImageSource,
) -> Result<Volume, Error> {
    context.report_begun(Task::ImportImage(name.to_string()));
    // Everything that the header decides is checked before the pool is changed.
    let head = read_head(source)?;
    let image = detect_usable_format(source.source_name(), &head)?;
    let name = complete_name(name, source.source_name(), &image)?;
    let pool = writable_pool(context, pool)?;
    let image_ref = VolumeRef::new(&pool, name.as_str());
    refuse_taken(context, &image_ref)?;
    // A note that cannot be written would fail the import only after the whole transfer.
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
    // If a second signal ends the process during a call, it still reports the volume that may exist.
    let _leaves = context.cancel.announce_leftovers([volume.into(), import.removal_advice().into()]);
    import.make_volume()?;
    let mut begun = false;
    let reach = ImageExtent::from_header(&image, &head);
    if let Err(failed) = import.fill_volume((&head, reach), source, &mut begun) {
        return Err(import.roll_back(failed, begun));
    }
    context.report_finished(Step::ImportImage);
    // A host of unknown version is treated as a new one.
    let qemu = || context.host.machine().map_or(u32::MAX, |machine| machine.hypervisor_version);
    if let Some(note) = image.note().and_then(|_| image.note_for(qemu())) {
        context.warn(format!("image '{name}': {note}"));
    }
    import.imported_volume()
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

/// The size with which the volume is created.
fn first_size(space: &SpaceNeed, length: Option<u64>) -> u64 {
    match space {
        SpaceNeed::Whole(length) => *length,
        SpaceNeed::AsWritten => length.unwrap_or(disk_image::HEADER_LENGTH),
    }
}

/// The import of one image into one pool.
struct ImportJob<'a> {
    context: &'a Context,
    image: VolumeRef,
    length: Option<u64>,
    /// Upper limit for the length, used if `length` is unknown.
    longest: u64,
    space: SpaceNeed,
    /// Free space of the pool just before the import, in bytes.
    available: u64,
    marker: UploadMarker,
}

impl ImportJob<'_> {
    fn make_volume(&self) -> Result<(), Error> {
        let capacity = first_size(&self.space, self.length);
        let allocation = if matches!(self.space, SpaceNeed::Whole(_)) { capacity } else { 0 };
        let spec = VolumeSpec {
            name: self.image.name.clone(),
            // Raw for every image: libvirt would run qemu-img for a qcow2 volume, and its header is uploaded.
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

    /// Uploads the content, and the header last. Volumes cannot be renamed, so a killed import leaves a partial image
    /// under the final name. Without its header, no program takes that for an image.
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
        // From here on, the header overwrites the marker, so a rollback can no longer check it.
        *begun = true;
        let host = &self.context.host;
        host.upload_all(&self.image, &mut &*head, head.len() as u64)?;
        // libvirt probes the format and the virtual size only on a refresh.
        Ok(host.refresh_pool(&self.image.pool)?)
    }

    /// Fails if someone deleted the volume and created another one under its name.
    fn check_marker(&self) -> Result<(), Error> {
        if self.marker.is_on_volume(self.context, &self.image)? {
            return Ok(());
        }
        Err(Error::new(Code::VolumeChanged, format!("{} was replaced during the import", self.image)))
    }

    /// Returns how much may be written now. Before each stretch but the first, checks that the volume still belongs to
    /// this import.
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

    /// Checks that the image is as long as its own tables require. Tables that passed before anything named them are
    /// read back from the volume, which does not have its header yet.
    fn check_reach(&self, mut reach: ImageExtent, head: &[u8], length: u64, from: &str) -> Result<(), Error> {
        reach.read_missing_tables(length, |at, table| {
            let mut read = Vec::new();
            let span = (at, table.len() as u64);
            self.context.host.download_span(&self.image, &mut read, span)?;
            // The host returns at most the span that was requested.
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

    /// Uploads everything after the header and checks that the content ends there. Returns the total length.
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
                // The transfer's error names the cause; the host's error only repeats it.
                (Err(_), Some(failure)) => return Err(failure.into()),
                (sent, _) => sent?,
            };
        }
        let from = content.content.source.source_name().to_owned();
        let cause = match content.read(&mut [0]) {
            Ok(0) if self.length.is_some_and(|length| offset < length) => "it ended before its length",
            Ok(0) => return Ok(offset),
            Ok(_) if self.length.is_none() => "it is longer than any image of a disk of its size",
            Ok(_) => "it is longer than its announced length",
            Err(e) => return Err(unreadable_source(&from, e)),
        };
        Err(Error::new(Code::ContentDamaged, format!("cannot read {from}")).because(cause))
    }

    /// Explains a failed creation. After a refusal, an existing volume belongs to someone else: it was created at the
    /// same time, or libvirt had not seen it yet. Only without an answer is it unknown who created it.
    fn explain_failed_create(&self, failed: HostError) -> Error {
        if failed.outcome_unknown() {
            return Error::from(failed)
                .outcome(self.left_behind("it may exist"))
                .outcome(self.removal_advice());
        }
        match self.context.host.volume(&self.image) {
            Ok(Some(_)) => Error::from(failed)
                .outcome(format!("{} exists now: someone else created it meanwhile", self.image))
                .hint(Advice::from(Verb::ImageInfo { image: self.image.name.clone() }).text(" shows it")),
            _ => Error::from(failed).unchanged(),
        }
    }

    fn removal_advice(&self) -> Advice {
        let delete = Verb::ImageDelete { image: self.image.name.clone(), pool: None, force: true };
        Advice::from(delete).text(" removes it")
    }

    /// Reports the volume as a leftover, with the reason.
    fn left_behind(&self, why: impl Into<String>) -> Outcome {
        let object = self.image.to_string();
        Outcome::Left(vec![Remainder::new(object, why)])
    }

    /// Deletes the volume after a failure. Once the header is being written (`begun`), the marker is overwritten; it
    /// was checked just before.
    fn roll_back(&self, failed: Error, begun: bool) -> Error {
        let (context, name) = (self.context, self.image.name.as_str());
        let left = |error: Error| self.left_behind(error.message());
        match self.marker.is_on_volume(context, &self.image) {
            Ok(false) if !begun => {
                return failed.outcome(format!("volume '{name}' belongs to someone else now and is kept"));
            }
            Err(lost) if lost.outcome_unknown() => {
                return failed.outcome(left(lost.into())).outcome(self.removal_advice());
            }
            // A volume that is already deleted needs no rollback; `delete_volume` accepts that.
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
        let there = format!("image '{}' was imported nevertheless", self.image.name);
        looked.map_err(|e| Error::from(e).outcome(there))?.ok_or_else(|| {
            Error::new(
                Code::VolumeChanged,
                format!(
                    "image '{}' disappeared from pool '{}' right after the import",
                    self.image.name, &self.image.pool
                ),
            )
        })
    }
}
