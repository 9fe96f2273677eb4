//! Image data in transit, with its known holes.

use std::io::{Empty, Read, Result, Write};

/// A sequential reader that may know where the data has holes: ranges of zeros that need not be read, sent or stored
/// (lseek(2), `SEEK_HOLE`).
pub trait Content: Read {
    /// Skips a hole at the present position, at most `limit` bytes of it, and returns the number of skipped bytes. 0
    /// means data, the end, or that holes are not known.
    ///
    /// # Errors
    /// Errors of the source.
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

/// A sequential writer that may have a cheap way to write zeros.
pub trait Sink: Write {
    /// Writes a hole of `length` bytes, with the same result as writing zeros.
    ///
    /// # Errors
    /// Errors of the sink.
    fn write_hole(&mut self, length: u64) -> Result<()> {
        std::io::copy(&mut std::io::repeat(0).take(length), &mut SizedWriter(self)).map(drop)
    }
}

/// A sized [`Write`] for one that may be unsized.
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

/// Whether all bytes are zero. Comparing them with themselves, shifted by one, is as fast as memcmp(3).
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == 0)
        && bytes.get(1..).is_none_or(|rest| rest == &bytes[..rest.len()])
}
