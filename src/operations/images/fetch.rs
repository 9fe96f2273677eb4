//! An image from outside: a file, standard input or a server; verified on its way, converted if asked for.

use std::fs::File;
use std::io::{BufWriter, Empty, Write};
use std::path::PathBuf;

use super::Source;
use crate::content::Content;
use crate::convert::{Conversion, ImageFormat, convert};
use crate::disk_image::{self, DiskImage};
use crate::error::{Error, Kind};
use crate::operations::{Event, Session};
use crate::origin::Origin;
use crate::transfer::{
    self, Algorithm, Cache, Check, Client, Expected, Format, Location, Opened, Options, Pace, SparseFile,
    SparseWriter, TransferError, Transferred, expected_digest,
};

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
pub(super) struct SessionPace<'a>(pub(super) &'a Session<'a>);

impl Pace for SessionPace<'_> {
    fn stopped(&self) -> bool {
        self.0.cancel.is_requested()
    }

    fn sleep(&self, time: std::time::Duration) {
        self.0.clock.sleep(time);
    }

    fn again(&self, what: &str) {
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
        session: &Session<'_>,
        read: impl FnOnce(&mut dyn Source) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let pace = SessionPace(session);
        let check = self.check(&pace)?;
        let options = self.options(&check, &pace);
        let opened = transfer::open(self.location, options)?;
        let mut draft = self.draft(session);
        draft.compression = opened.compressed.map(|format| format.name().to_owned());
        match self.convert {
            Some(to) => read(&mut self.converted(session, opened, to, draft)?),
            None => read(&mut Incoming::new(self.location.to_string(), opened, draft)),
        }
    }

    pub(super) fn options<'a>(&'a self, check: &'a Check, pace: &'a dyn Pace) -> Options<'a> {
        Options { check, client: self.client, pace, cache: self.cache }
    }

    /// What a server sends is always hashed, which costs nothing beside its way here; a file only if asked for.
    pub(super) fn check(&self, pace: &dyn Pace) -> Result<Check, TransferError> {
        match (self.expected, self.location) {
            (Some(expected), _) => {
                expected_digest(expected, self.location, self.options(&Check::Nothing, pace))
                    .map(Check::Expect)
            }
            (None, Location::Url(_)) => Ok(Check::Note(Algorithm::Sha256)),
            (None, _) => Ok(Check::Nothing),
        }
    }

    /// What is known of its origin before it is read.
    fn draft(&self, session: &Session<'_>) -> Origin {
        Origin {
            source: self.location.to_string(),
            alias: self.alias.map(str::to_owned),
            digest: None,
            verified_by: self.expected.map(ToString::to_string),
            compression: None,
            converted_from: None,
            etag: None,
            last_modified: None,
            fetched: session.clock.timestamp(),
        }
    }

    /// qemu-img reads here and there in an image, so that it needs a file of it.
    fn converted(
        &self,
        session: &Session<'_>,
        opened: Opened<'_>,
        to: ImageFormat,
        mut draft: Origin,
    ) -> Result<Incoming<'static>, Error> {
        let from = self.location.to_string();
        let directory = std::env::temp_dir();
        let (image, transferred) = self.as_file(session, opened, &directory)?;
        complete(&mut draft, transferred);
        draft.converted_from = Some(format_of(&image, &from)?);
        session.working(format!("Converting {from} to {}", to.as_str()));
        let result = convert(Conversion {
            from: &from,
            image: &image,
            to,
            directory: &directory,
            stop: &|| session.cancel.is_requested(),
            written: &|written| session.progress.tell(Event::Bytes { done: written.0, total: None }),
        })?;
        let result = SparseFile::new(result, from.clone())?;
        let data = result.data_bytes().map_err(|e| TransferError::from_io(e, &from))?;
        Ok(Incoming {
            length: result.length(),
            data: Some(data),
            from,
            body: Body::Converted(result),
            origin: Some(draft),
        })
    }

    /// The image in a file of its own, unless it is one already and nothing has to be verified.
    fn as_file(
        &self,
        session: &Session<'_>,
        mut opened: Opened<'_>,
        directory: &PathBuf,
    ) -> Result<(File, Option<Transferred>), Error> {
        let from = self.location.to_string();
        let unreadable = |e| TransferError::from_io(e, &from);
        if let (Location::File(path), None, None) = (self.location, self.expected, opened.compressed) {
            let file = File::open(path).map_err(unreadable)?;
            if file.metadata().map_err(unreadable)?.is_file() {
                return Ok((file, None));
            }
        }
        let spool = tempfile::tempfile_in(directory).and_then(SparseWriter::new).map_err(unreadable)?;
        let mut spool = BufWriter::with_capacity(1 << 20, spool);
        let (done, total) = (opened.transferred(), opened.length);
        let mut told = Told {
            into: &mut spool,
            tell: &|| {
                session.progress.tell(Event::Bytes { done: done(), total });
                session.cancel.is_requested()
            },
        };
        std::io::copy(&mut opened.content, &mut told).map_err(unreadable)?;
        let file =
            spool.into_inner().map_err(|e| unreadable(e.into_error()))?.finish().map_err(unreadable)?;
        Ok((file, Some(opened.finish()?)))
    }
}

/// Says how far it is, and ends when asked to.
struct Told<'a, W> {
    into: W,
    tell: &'a dyn Fn() -> bool,
}

impl<W: Write> Write for Told<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.tell)() {
            return Err(TransferError::stopped().into());
        }
        self.into.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.into.flush()
    }
}

/// What the image was before it was converted.
fn format_of(image: &File, from: &str) -> Result<String, Error> {
    use std::os::unix::fs::FileExt;
    let mut head = vec![0; usize::try_from(disk_image::HEADER_LENGTH).unwrap_or(0)];
    let read = image.read_at(&mut head, 0).map_err(|e| TransferError::from_io(e, from))?;
    let probed = disk_image::probe(&head[..read]);
    let unfit = |e: disk_image::HeaderError| {
        Error::new(Kind::Storage, format!("{from} cannot be an image"))
            .because(e.to_string())
            .outcome("nothing was changed")
    };
    probed.map(|image: DiskImage| image.to_string()).map_err(unfit)
}

/// Adds what is known after the end.
fn complete(origin: &mut Origin, transferred: Option<Transferred>) {
    let Some(transferred) = transferred else { return };
    origin.digest = transferred.digest.map(|digest| digest.to_string());
    if let Some(found) = transferred.found {
        origin.etag = found.validators.etag;
        origin.last_modified = found.validators.last_modified;
    }
}

/// An image that comes in.
struct Incoming<'a> {
    from: String,
    length: Option<u64>,
    data: Option<u64>,
    body: Body<'a>,
    origin: Option<Origin>,
}

enum Body<'a> {
    Opened(Opened<'a>, Box<dyn Fn() -> u64>),
    Converted(SparseFile),
    /// It was read to its end.
    Done(Empty),
}

impl<'a> Incoming<'a> {
    fn new(from: String, opened: Opened<'a>, draft: Origin) -> Self {
        let packed: Option<Format> = opened.compressed;
        let length = opened.length.filter(|_| packed.is_none());
        let transferred = opened.transferred();
        Self {
            from,
            length,
            data: opened.data_bytes,
            body: Body::Opened(opened, Box::new(transferred)),
            origin: Some(draft),
        }
    }
}

impl Source for Incoming<'_> {
    fn from(&self) -> &str {
        &self.from
    }

    fn content(&mut self) -> &mut dyn Content {
        match &mut self.body {
            Body::Opened(opened, _) => &mut opened.content,
            Body::Converted(file) => file,
            Body::Done(empty) => empty,
        }
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn data(&self) -> Option<u64> {
        self.data
    }

    fn transferred(&self) -> Option<(u64, Option<u64>)> {
        match &self.body {
            Body::Opened(opened, done) => Some((done(), opened.length)),
            _ => None,
        }
    }

    fn origin(&mut self) -> Option<Origin> {
        let mut origin = self.origin.take()?;
        if let Body::Opened(opened, _) = std::mem::replace(&mut self.body, Body::Done(std::io::empty())) {
            // The end was seen, so that nothing is left to fail.
            complete(&mut origin, opened.finish().ok());
        }
        // That somebody had it in a file is nothing worth a note.
        let is_known = origin.digest.is_some() || origin.converted_from.is_some();
        is_known.then_some(origin)
    }
}
