//! Copies an image out of its pool.

use std::io::{Result as IoResult, Write};

use super::{is_unfinished, no_image};
use crate::{Context, Event};
use foundry_core::error::{Code, Error};
use foundry_core::record::VolumeRef;
use foundry_fetch::content::Sink;
use foundry_host::Stopped;

/// Writes an image to a sink, byte for byte as it is stored in its pool, and returns the number of bytes.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if there is no such image, if it is incomplete, or if it cannot be read or
/// written completely.
pub fn export_image(context: &Context, image: &VolumeRef, into: &mut dyn Sink) -> Result<u64, Error> {
    let Some(volume) = context.host.volume(image)? else {
        return Err(no_image(context, image)?);
    };
    if is_unfinished(context, &volume)? {
        return Err(Error::new(Code::ImageIncomplete, format!("image '{}' is incomplete", image.name))
            .because("its import was interrupted or is still running"));
    }
    let mut counted = ExportSink { into, done: 0, context };
    context.host.download(image, &mut counted, u64::MAX)?;
    Ok(counted.done)
}

/// Reports progress, and stops if the user interrupts.
struct ExportSink<'a> {
    into: &'a mut dyn Sink,
    done: u64,
    context: &'a Context,
}

impl ExportSink<'_> {
    fn count_bytes(&mut self, bytes: u64) -> IoResult<()> {
        if self.context.cancel.is_requested() {
            return Err(std::io::Error::other(Stopped));
        }
        self.done += bytes;
        self.context.progress.on_event(Event::Bytes { done: self.done, total: None });
        Ok(())
    }
}

impl Write for ExportSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        let written = self.into.write(bytes)?;
        self.count_bytes(written as u64).map(|()| written)
    }

    fn flush(&mut self) -> IoResult<()> {
        self.into.flush()
    }
}

impl Sink for ExportSink<'_> {
    fn write_hole(&mut self, length: u64) -> IoResult<()> {
        self.into.write_hole(length)?;
        self.count_bytes(length)
    }
}
