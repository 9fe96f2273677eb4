//! A reader that ends when the user interrupts.

use std::io::Read;

use crate::Cancel;
use foundry_fetch::content::Content;
use foundry_host::Stopped;

/// A reader that fails with [`Stopped`] as soon as cancellation is requested.
pub(super) struct Interruptible<'a, R> {
    pub(super) content: R,
    pub(super) cancel: &'a Cancel,
}

impl<R: Read> Read for Interruptible<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.cancel.is_requested() {
            return Err(std::io::Error::other(Stopped));
        }
        self.content.read(buffer)
    }
}

impl<C: Content> Content for Interruptible<'_, C> {
    fn skip_hole(&mut self, limit: u64) -> std::io::Result<u64> {
        self.content.skip_hole(limit)
    }
}
