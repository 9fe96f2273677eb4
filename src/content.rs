//! The bytes of an image on their way, with the holes between them where the source knows them.

use std::io::{Empty, Read, Result};

/// Something that is read from its beginning to its end and may know where it has holes: ranges that read as
/// zeros and that nobody needs to read, send or store (lseek(2), `SEEK_HOLE`).
pub trait Content: Read {
    /// Skips a hole that begins at the present position, at most `limit` bytes of it, and returns how many
    /// bytes were skipped. 0 says that data come next, or the end, or that it is not known.
    ///
    /// # Errors
    /// The source's.
    fn skip_hole(&mut self, limit: u64) -> Result<u64> {
        let _ = limit;
        Ok(0)
    }
}

impl Content for &[u8] {}

impl Content for Empty {}

impl<C: Content + ?Sized> Content for &mut C {
    fn skip_hole(&mut self, limit: u64) -> Result<u64> {
        (**self).skip_hole(limit)
    }
}

impl<C: Content + ?Sized> Content for Box<C> {
    fn skip_hole(&mut self, limit: u64) -> Result<u64> {
        (**self).skip_hole(limit)
    }
}
