//! Gets an image from a file, standard input or a server; verifies and, if requested, converts it.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::ImageSource;
use super::incoming::{IncomingBody, IncomingImage};
use super::source::{ImportReader, unreadable_source};
use crate::interruptible::Interruptible;
use crate::{Context, Event, Step, poll};
use foundry_core::error::{Code, Error};
use foundry_core::origin::ImageOrigin;
use foundry_fetch::content::Content;
use foundry_fetch::convert::{Conversion, ImageFormat, convert_file};
use foundry_fetch::disk_image::{self, DiskImage};
use foundry_fetch::file_ownership;
use foundry_fetch::transfer::{
    self, Algorithm, Cache, Client, Digest, DigestCheck, Expected, Location, RetryControl, SparseWriter,
    TransferError, TransferOptions, expected_digest,
};
use foundry_host::local;

/// A request to fetch an image.
#[derive(Clone, Copy)]
pub struct Fetch<'a> {
    /// The file, URL or standard input to read.
    pub location: &'a Location,
    /// The checksum that the content must have.
    pub expected: Option<&'a Expected>,
    /// The format to convert to, if any.
    pub convert: Option<ImageFormat>,
    /// The catalogue name that the user gave, if any.
    pub alias: Option<&'a str>,
    /// The HTTP client.
    pub client: &'a Client,
    /// The download cache, if it is enabled.
    pub cache: Option<&'a Cache>,
}

/// Makes a transfer cancel, sleep and warn through the context.
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
    /// Opens the source and passes it to `read`.
    ///
    /// # Errors
    /// Errors of the file or server, of the conversion, and of `read`.
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

    /// Warns about verified bytes that are not part of the image.
    fn warn_of_trailing_bytes(&self, context: &Context, bytes: u64) {
        if bytes > 0 {
            let bytes = if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
            context.warn(format!(
                "{bytes} after the end of the compressed data of {} are ignored",
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

    /// The digest that the content must have. Downloads the list of checksums if the request names one.
    pub(super) fn expected_digest_of(
        &self,
        pace: &dyn RetryControl,
    ) -> Result<Option<Digest>, TransferError> {
        let look_up =
            |by| expected_digest(by, self.location, self.transfer_options(&DigestCheck::Nothing, pace));
        self.expected.map(look_up).transpose()
    }

    /// A download is always hashed, because the bytes pass through here anyway. A file is hashed only on request.
    fn digest_check(&self, pace: &dyn RetryControl) -> Result<DigestCheck, TransferError> {
        Ok(match (self.expected_digest_of(pace)?, self.location) {
            (Some(digest), _) => DigestCheck::Expect(digest),
            (None, Location::Url(_)) => DigestCheck::Note(Algorithm::Sha256),
            (None, _) => DigestCheck::Nothing,
        })
    }

    /// The part of the origin that is known before reading.
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

    /// Fetches, verifies and converts the whole image into an unnamed temporary file.
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

    /// Copies the image to a private file. qemu-img then reads exactly the bytes that were checked, even if someone
    /// writes to the source meanwhile.
    fn read_into_file(&self, context: &Context, incoming: &mut IncomingImage<'_>) -> Result<File, Error> {
        let from = incoming.from.clone();
        // A reflink copies the file as it is, so it must not be compressed.
        if let Some(copy) = self.clone_local_file().filter(|_| incoming.origin.compression.is_none()) {
            incoming.body = IncomingBody::Done(std::io::empty());
            return Ok(copy);
        }
        let mut content = ImportReader::new(context, incoming, 0);
        let mut content = Interruptible { content: &mut content, cancel: &context.cancel };
        write_spool(&mut content, &from)
    }

    /// A reflink copy of a local file without a checksum, if the file system can share blocks between files.
    fn clone_local_file(&self) -> Option<File> {
        let (Location::File(path), None) = (self.location, self.expected) else { return None };
        let (file, ..) = file_ownership::open_regular(path).ok()?;
        let copy = tempfile::tempfile_in(local::spool_directory()).ok()?;
        rustix::fs::ioctl_ficlone(&copy, &file).ok().map(|()| copy)
    }
}

/// Writes the content to an unnamed file and keeps its holes.
fn write_spool(content: &mut dyn Content, from: &str) -> Result<File, Error> {
    let directory = local::spool_directory();
    let unwritable = |e: std::io::Error| {
        Error::new(Code::LocalFile, format!("cannot keep a copy of {from} in {}", directory.display()))
            .because(e.to_string())
            .hint("set TMPDIR to use another directory")
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

/// Converts an image with qemu-img, which needs random access and therefore a file.
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

/// A complete, verified image in an unnamed temporary file.
pub(super) struct SpooledImage {
    file: File,
    from: String,
    origin: ImageOrigin,
}

impl SpooledImage {
    /// Reads the image from its first byte.
    pub(super) fn source(&self) -> Result<impl ImageSource, Error> {
        let file = self.file.try_clone().map_err(|e| TransferError::from_io(e, &self.from))?;
        IncomingImage::of_file(file, self.from.clone(), self.origin.clone())
    }

    /// Copies the image to a named file, so that it is not lost, and returns the path.
    pub(super) fn keep_under_name(&self, name: &str) -> std::io::Result<PathBuf> {
        let path = local::spool_directory().join(format!("foundry-{}-{name}", std::process::id()));
        // Anyone can guess the name, so an existing file or link of that name is not opened.
        let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut from = self.file.try_clone()?;
        from.rewind()?;
        let mut to = SparseWriter::new(to)?;
        std::io::copy(&mut from, &mut to)?;
        to.finish().map(|_| path)
    }
}

/// The source as it is recorded: a URL without secrets, or an absolute path.
pub(super) fn source_of(location: &Location) -> String {
    match location {
        Location::File(path) => {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            Location::File(whole).to_string()
        }
        other => other.to_string(),
    }
}

/// Distinguishes two URLs that are equal once their secrets are removed.
pub(super) fn location_identity(location: &Location) -> Option<String> {
    location.identity_digest().filter(|_| matches!(location, Location::Url(_)))
}

/// Identifies the state of a local file (modification time and length), like a server's ETag.
pub(super) fn state_of(location: &Location) -> Option<String> {
    let Location::File(path) = location else { return None };
    let now = std::fs::metadata(path).ok()?;
    Some(format!("{}.{}-{}", now.mtime(), now.mtime_nsec(), now.len()))
}

/// The format of the image before the conversion.
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
