//! An image while it is read: its content, and its origin once it was read to its end.

use std::fs::File;
use std::io::Empty;

use super::ImageSource;
use foundry_core::error::Error;
use foundry_core::origin::ImageOrigin;
use foundry_fetch::content::Content;
use foundry_fetch::transfer::{Opened, SparseFile, TransferError, Transferred};

/// An image that is being read.
pub(super) struct IncomingImage<'a> {
    pub(super) from: String,
    /// Whether its origin will be recorded.
    noted: bool,
    length: Option<u64>,
    data: Option<u64>,
    pub(super) body: IncomingBody<'a>,
    pub(super) origin: ImageOrigin,
}

pub(super) enum IncomingBody<'a> {
    Opened(Opened<'a>, Box<dyn Fn() -> u64>),
    File(SparseFile),
    /// Read completely.
    Done(Empty),
}

impl<'a> IncomingImage<'a> {
    pub(super) fn new(from: String, opened: Opened<'a>, draft: ImageOrigin, noted: bool) -> Self {
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

    /// Counts, after the end, the bytes that followed the compressed data and were skipped.
    pub(super) fn trailing_bytes(&self) -> Box<dyn Fn() -> u64> {
        match &self.body {
            IncomingBody::Opened(opened, _) => Box::new(opened.skipped_counter()),
            _ => Box::new(|| 0),
        }
    }

    /// The complete origin; call it only after the content was read to its end.
    pub(super) fn finish_origin(&mut self) -> ImageOrigin {
        let mut origin = self.origin.clone();
        if let IncomingBody::Opened(opened, _) =
            std::mem::replace(&mut self.body, IncomingBody::Done(std::io::empty()))
        {
            // The content was read to its end, so `finish` cannot fail any more.
            complete_origin(&mut origin, opened.finish().ok());
        }
        origin
    }
}

impl IncomingImage<'static> {
    pub(super) fn of_file(file: File, from: String, origin: ImageOrigin) -> Result<Self, Error> {
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

/// A plain local file without a digest or conversion is not worth a note.
fn is_worth_a_note(origin: &ImageOrigin) -> bool {
    origin.digest.is_some() || origin.converted_from.is_some()
}

/// Adds the facts that are known only after the transfer: digest and validators.
fn complete_origin(origin: &mut ImageOrigin, transferred: Option<Transferred>) {
    let Some(transferred) = transferred else { return };
    origin.digest = transferred.digest.map(|digest| digest.to_string());
    if let Some(found) = transferred.found {
        origin.etag = found.validators.etag;
        origin.last_modified = found.validators.last_modified;
    }
}
