//! Gets an image from a file, standard input or a server; verifies and, if requested, converts it.

use std::fs::{File, OpenOptions};
use std::io::{Empty, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::ImageSource;
use super::import::{ImportReader, unreadable_source};
use crate::interruptible::Interruptible;
use crate::{Context, Event, Step, poll};
use foundry_core::error::{Code, Error};
use foundry_core::origin::ImageOrigin;
use foundry_fetch::content::Content;
use foundry_fetch::convert::{Conversion, ImageFormat, convert_file};
use foundry_fetch::disk_image::{self, DiskImage};
use foundry_fetch::ownership;
use foundry_fetch::transfer::{
    self, Algorithm, Cache, Client, Digest, DigestCheck, Expected, Location, Opened, RetryControl,
    SparseFile, SparseWriter, TransferError, TransferOptions, Transferred, expected_digest,
};
use foundry_host::local;

/// An image that is to be fetched.
#[derive(Clone, Copy)]
pub struct Fetch<'a> {
    /// Where it is.
    pub location: &'a Location,
    /// What its digest must be.
    pub expected: Option<&'a Expected>,
    /// What it is converted to.
    pub convert: Option<ImageFormat>,
    /// The name in the catalogue that was asked for.
    pub alias: Option<&'a str>,
    /// Makes requests.
    pub client: &'a Client,
    /// Where downloads are kept, if they are.
    pub cache: Option<&'a Cache>,
}

/// Lets a transfer be stopped and wait as the session does.
pub(super) struct ContextPace<'a>(pub(super) &'a Context);

impl RetryControl for ContextPace<'_> {
    fn should_stop(&self) -> bool {
        self.0.cancel.is_requested()
    }

    fn sleep(&self, time: std::time::Duration) {
        poll::pause(self.0, time);
    }

    fn on_retry(&self, what: &str) {
        self.0.warn(what);
    }
}

impl Fetch<'_> {
    /// Opens it, and hands it to somebody who reads it.
    ///
    /// # Errors
    /// Those of the file or the server, of the conversion, and of `read`.
    pub fn open<T>(
        &self,
        context: &Context,
        read: impl FnOnce(&mut dyn ImageSource) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.convert.is_some() {
            return read(&mut self.fetch_to_spool(context)?.source()?);
        }
        let pace = ContextPace(context);
        let check = self.digest_check(&pace)?;
        let mut incoming = self.open_location(context, self.transfer_options(&check, &pace))?;
        let passed_over = incoming.trailing_bytes();
        let read = read(&mut incoming)?;
        self.warn_of_trailing_bytes(context, passed_over());
        Ok(read)
    }

    /// Says how much of what was verified is not in the image.
    fn warn_of_trailing_bytes(&self, context: &Context, bytes: u64) {
        if bytes > 0 {
            let bytes = if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
            context.warn(format!(
                "{bytes} behind the end of the compressed data of {} are left out",
                self.location
            ));
        }
    }

    fn open_location<'a>(
        &self,
        context: &Context,
        options: TransferOptions<'a>,
    ) -> Result<IncomingImage<'a>, Error> {
        let opened = transfer::open_location(self.location, options)?;
        let mut draft = self.draft_origin(context);
        draft.compression = opened.compressed.map(|format| format.name().to_owned());
        let noted = *options.check != DigestCheck::Nothing;
        Ok(IncomingImage::new(self.location.to_string(), opened, draft, noted))
    }

    fn transfer_options<'a>(
        &'a self,
        check: &'a DigestCheck,
        pace: &'a dyn RetryControl,
    ) -> TransferOptions<'a> {
        TransferOptions { check, client: self.client, control: pace, cache: self.cache }
    }

    /// The digest that it must have, looked up if need be.
    pub(super) fn expected_digest_of(
        &self,
        pace: &dyn RetryControl,
    ) -> Result<Option<Digest>, TransferError> {
        let look_up =
            |by| expected_digest(by, self.location, self.transfer_options(&DigestCheck::Nothing, pace));
        self.expected.map(look_up).transpose()
    }

    /// What a server sends is always hashed, which costs nothing beside its way here; a file only if asked for.
    fn digest_check(&self, pace: &dyn RetryControl) -> Result<DigestCheck, TransferError> {
        Ok(match (self.expected_digest_of(pace)?, self.location) {
            (Some(digest), _) => DigestCheck::Expect(digest),
            (None, Location::Url(_)) => DigestCheck::Note(Algorithm::Sha256),
            (None, _) => DigestCheck::Nothing,
        })
    }

    /// What is known of its origin before it is read.
    fn draft_origin(&self, context: &Context) -> ImageOrigin {
        ImageOrigin {
            source: source_of(self.location),
            source_id: location_identity(self.location),
            alias: self.alias.map(str::to_owned),
            digest: None,
            verified_by: self.expected.map(ToString::to_string),
            compression: None,
            converted_from: None,
            etag: state_of(self.location),
            last_modified: None,
            fetched: context.clock.timestamp(),
        }
    }

    /// Fetches all of it, verified and converted, into a file aside that nobody else sees.
    pub(super) fn fetch_to_spool(&self, context: &Context) -> Result<SpooledImage, Error> {
        let pace = ContextPace(context);
        let check = self.digest_check(&pace)?;
        let mut incoming = self.open_location(context, self.transfer_options(&check, &pace))?;
        let passed_over = incoming.trailing_bytes();
        let file = self.read_into_file(context, &mut incoming)?;
        self.warn_of_trailing_bytes(context, passed_over());
        let (from, mut origin) = (incoming.from.clone(), incoming.finish_origin());
        let Some(to) = self.convert else { return Ok(SpooledImage { file, from, origin }) };
        origin.converted_from = Some(format_of(&file, &from)?);
        let file = convert_image(context, &from, &file, to)?;
        Ok(SpooledImage { file, from, origin })
    }

    /// The image in a file of its own, which nobody else has open: what is looked at is what is read afterwards, whoever
    /// may write to the one that it came from.
    fn read_into_file(&self, context: &Context, incoming: &mut IncomingImage<'_>) -> Result<File, Error> {
        let from = incoming.from.clone();
        if let Some(copy) = self.clone_local_file().filter(|_| incoming.origin.compression.is_none()) {
            incoming.body = IncomingBody::Done(std::io::empty());
            return Ok(copy);
        }
        let mut content = ImportReader::new(context, incoming, 0);
        let mut content = Interruptible { content: &mut content, cancel: &context.cancel };
        write_spool(&mut content, &from)
    }

    /// A local file, nothing of which has to be verified, where its file system shares blocks between files.
    fn clone_local_file(&self) -> Option<File> {
        let (Location::File(path), None) = (self.location, self.expected) else { return None };
        let (file, ..) = ownership::open_regular(path).ok()?;
        let copy = tempfile::tempfile_in(local::spool_directory()).ok()?;
        rustix::fs::ioctl_ficlone(&copy, &file).ok().map(|()| copy)
    }
}

/// Writes all of it to a file without a name, with its holes.
fn write_spool(content: &mut dyn Content, from: &str) -> Result<File, Error> {
    let directory = local::spool_directory();
    let unwritable = |e: std::io::Error| {
        Error::new(Code::LocalFile, format!("cannot keep a copy of {from} in {}", directory.display()))
            .because(e.to_string())
            .hint("TMPDIR names another directory")
            .unchanged()
    };
    let mut spool = tempfile::tempfile_in(&directory).and_then(SparseWriter::new).map_err(unwritable)?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        let hole = content.skip_hole(u64::MAX).map_err(|e| unreadable_source(from, e))?;
        spool.skip_hole(hole).map_err(unwritable)?;
        match content.read(&mut chunk) {
            Ok(0) => return spool.finish().map_err(unwritable),
            Ok(read) => spool.write_all(&chunk[..read]).map_err(unwritable)?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable_source(from, e)),
        }
    }
}

/// qemu-img reads here and there in an image, so that it needs a file of it.
fn convert_image(context: &Context, from: &str, image: &File, to: ImageFormat) -> Result<File, Error> {
    context.report_started(Step::Convert { from: from.to_string(), to: to.as_str() });
    convert_file(Conversion {
        from,
        image,
        to,
        directory: &local::spool_directory(),
        stop: &|| context.cancel.is_requested(),
        written: &|written| context.progress.on_event(Event::Bytes { done: written.0, total: None }),
    })
}

/// An image that lies aside, whole and verified, in a file without a name.
pub(super) struct SpooledImage {
    file: File,
    from: String,
    origin: ImageOrigin,
}

impl SpooledImage {
    /// It, from its beginning.
    pub(super) fn source(&self) -> Result<impl ImageSource, Error> {
        let file = self.file.try_clone().map_err(|e| TransferError::from_io(e, &self.from))?;
        IncomingImage::of_file(file, self.from.clone(), self.origin.clone())
    }

    /// Gives it a name, so that it is not lost; where it is then.
    pub(super) fn keep_under_name(&self, name: &str) -> std::io::Result<PathBuf> {
        let path = local::spool_directory().join(format!("foundry-{}-{name}", std::process::id()));
        let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut from = self.file.try_clone()?;
        from.rewind()?;
        let mut to = SparseWriter::new(to)?;
        std::io::copy(&mut from, &mut to)?;
        to.finish().map(|_| path)
    }
}

/// What is noted of a place: an address without anything secret, a path that is one anywhere on this machine.
pub(super) fn source_of(location: &Location) -> String {
    match location {
        Location::File(path) => {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            Location::File(whole).to_string()
        }
        other => other.to_string(),
    }
}

/// By which two places are told apart that look alike without their secrets.
pub(super) fn location_identity(location: &Location) -> Option<String> {
    location.identity_digest().filter(|_| matches!(location, Location::Url(_)))
}

/// By which a local file is recognized that did not change since, in the place of a server's word.
pub(super) fn state_of(location: &Location) -> Option<String> {
    let Location::File(path) = location else { return None };
    let now = std::fs::metadata(path).ok()?;
    Some(format!("{}.{}-{}", now.mtime(), now.mtime_nsec(), now.len()))
}

/// What the image was before it was converted.
fn format_of(image: &File, from: &str) -> Result<String, Error> {
    use std::os::unix::fs::FileExt;
    let mut head = vec![0; usize::try_from(disk_image::HEADER_LENGTH).unwrap_or(0)];
    let read = image.read_at(&mut head, 0).map_err(|e| TransferError::from_io(e, from))?;
    let probed = disk_image::detect_format(&head[..read]);
    let unfit = |e: disk_image::HeaderError| {
        Error::new(Code::NotAnImage, format!("{from} cannot be an image")).because(e.to_string()).unchanged()
    };
    probed.map(|image: DiskImage| image.to_string()).map_err(unfit)
}

/// Adds what is known after the end.
fn complete_origin(origin: &mut ImageOrigin, transferred: Option<Transferred>) {
    let Some(transferred) = transferred else { return };
    origin.digest = transferred.digest.map(|digest| digest.to_string());
    if let Some(found) = transferred.found {
        origin.etag = found.validators.etag;
        origin.last_modified = found.validators.last_modified;
    }
}

/// An image that comes in.
struct IncomingImage<'a> {
    from: String,
    /// Whether there is something to note of its origin.
    noted: bool,
    length: Option<u64>,
    data: Option<u64>,
    body: IncomingBody<'a>,
    origin: ImageOrigin,
}

enum IncomingBody<'a> {
    Opened(Opened<'a>, Box<dyn Fn() -> u64>),
    File(SparseFile),
    /// It was read to its end.
    Done(Empty),
}

impl<'a> IncomingImage<'a> {
    fn new(from: String, opened: Opened<'a>, draft: ImageOrigin, noted: bool) -> Self {
        let length = opened.length.filter(|_| opened.compressed.is_none());
        let transferred = opened.byte_counter();
        Self {
            from,
            noted,
            length,
            data: opened.data_bytes,
            body: IncomingBody::Opened(opened, Box::new(transferred)),
            origin: draft,
        }
    }

    /// Says after its end how many bytes behind the compressed data were passed over.
    fn trailing_bytes(&self) -> Box<dyn Fn() -> u64> {
        match &self.body {
            IncomingBody::Opened(opened, _) => Box::new(opened.skipped_counter()),
            _ => Box::new(|| 0),
        }
    }

    /// What is known of its origin after its end.
    fn finish_origin(&mut self) -> ImageOrigin {
        let mut origin = self.origin.clone();
        if let IncomingBody::Opened(opened, _) =
            std::mem::replace(&mut self.body, IncomingBody::Done(std::io::empty()))
        {
            // The end was seen, so that nothing is left to fail.
            complete_origin(&mut origin, opened.finish().ok());
        }
        origin
    }
}

impl IncomingImage<'static> {
    fn of_file(file: File, from: String, origin: ImageOrigin) -> Result<Self, Error> {
        let file = SparseFile::new(file, from.clone())?;
        let data = file.data_bytes().map_err(|e| TransferError::from_io(e, &from))?;
        let noted = is_worth_a_note(&origin);
        Ok(Self {
            length: file.length(),
            data: Some(data),
            from,
            noted,
            body: IncomingBody::File(file),
            origin,
        })
    }
}

impl ImageSource for IncomingImage<'_> {
    fn source_name(&self) -> &str {
        &self.from
    }

    fn content(&mut self) -> &mut dyn Content {
        match &mut self.body {
            IncomingBody::Opened(opened, _) => &mut opened.content,
            IncomingBody::File(file) => file,
            IncomingBody::Done(empty) => empty,
        }
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn data_bytes(&self) -> Option<u64> {
        self.data
    }

    fn transferred(&self) -> Option<(u64, Option<u64>)> {
        match &self.body {
            IncomingBody::Opened(opened, done) => Some((done(), opened.length)),
            _ => None,
        }
    }

    fn is_noted(&self) -> bool {
        self.noted
    }

    fn origin(&mut self) -> Option<ImageOrigin> {
        let origin = self.finish_origin();
        is_worth_a_note(&origin).then_some(origin)
    }
}

/// That somebody had it in a file is nothing worth a note.
fn is_worth_a_note(origin: &ImageOrigin) -> bool {
    origin.digest.is_some() || origin.converted_from.is_some()
}
