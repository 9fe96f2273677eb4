//! Image data in transit, with its holes as far as they are known.

use std::io::{Empty, Read, Result, Write};

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

impl Content for std::fs::File {}

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

/// Something that is written from its beginning to its end and may have a cheap way to leave a hole.
pub trait Sink: Write {
    /// Goes on `length` bytes further, as if that many zeros had been written.
    ///
    /// # Errors
    /// The sink's.
    fn write_hole(&mut self, length: u64) -> Result<()> {
        std::io::copy(&mut std::io::repeat(0).take(length), &mut SizedWriter(self)).map(drop)
    }
}

/// A [`Write`] of its own size for one that may have none.
struct SizedWriter<'a, S: ?Sized>(&'a mut S);

impl<S: Write + ?Sized> Write for SizedWriter<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

impl Sink for Vec<u8> {}

/// Whether all of it is zero; it compares with itself shifted by one, which is as fast as memcmp(3) is.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == 0)
        && bytes.get(1..).is_none_or(|rest| rest == &bytes[..rest.len()])
}
