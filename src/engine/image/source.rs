//! An image that is being read: what an import needs from it, and how far the import has come.

use std::io::Read;

use crate::{Context, Event};
use foundry_core::error::{Error, Kind};
use foundry_core::origin::ImageOrigin;
use foundry_fetch::content::Content;
use foundry_fetch::disk_image::{self, ImageExtent};
use foundry_fetch::transfer::TransferError;
use foundry_host::Stopped;

/// An image to import: its content, and what is known about it.
pub trait ImageSource {
    /// The source, for messages.
    fn source_name(&self) -> &str;
    /// The bytes, from the first. The end is reported only if the content is verified.
    fn content(&mut self) -> &mut dyn Content;
    /// The length in bytes, if it is known in advance.
    fn length(&self) -> Option<u64>;
    /// The number of bytes outside holes, if it is known in advance.
    fn data_bytes(&self) -> Option<u64>;
    /// Transferred and total bytes, if they differ from the content (a compressed download).
    fn transferred(&self) -> Option<(u64, Option<u64>)> {
        None
    }
    /// Whether an origin will probably be recorded, as far as is known before the end.
    fn is_noted(&self) -> bool {
        false
    }
    /// The origin to record. Called once, after the end.
    fn origin(&mut self) -> Option<ImageOrigin> {
        None
    }
}

/// Reads the first bytes, by which the format is detected.
pub(super) fn read_head(source: &mut dyn ImageSource) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    let read = source.content().take(disk_image::HEADER_LENGTH).read_to_end(&mut head);
    read.map_err(|e| unreadable_source(source.source_name(), e).unchanged())?;
    Ok(head)
}

/// Prefers the transfer's own error, which says more than the I/O error around it.
pub(super) fn unreadable_source(from: &str, error: std::io::Error) -> Error {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>) {
        return Error::new(Kind::Interrupted, "interrupted");
    }
    TransferError::from_io(error, from).into()
}

/// Reads an image for an upload, reports progress, and records the end or the failure.
pub(super) struct ImportReader<'a> {
    pub(super) source: &'a mut dyn ImageSource,
    done: u64,
    pub(super) ended: bool,
    /// The transfer's own error, which the host would hide.
    pub(super) failure: Option<TransferError>,
    /// The image's tables seen so far.
    pub(super) reach: Option<ImageExtent>,
    context: &'a Context,
}

impl<'a> ImportReader<'a> {
    pub(super) fn new(context: &'a Context, source: &'a mut dyn ImageSource, done: u64) -> Self {
        Self { source, done, ended: false, failure: None, reach: None, context }
    }

    pub(super) fn with_reach(self, reach: ImageExtent) -> Self {
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
