//! Finds holes in data without hole information: runs of zeros in downloads and in decompressed data.

use std::io::{self, Read};

use crate::content::{Content, is_zero};

/// Unit in which zeros are found: qcow2's usual cluster, and large enough to be worth a message for a hole.
const BLOCK: usize = 64 * 1024;

/// Content in which aligned blocks of 64 KiB of zeros are holes, too.
pub struct ZerosAsHoles<C> {
    inner: C,
    /// Bytes that were read ahead: those from `start` to `end` are still to be returned.
    block: Box<[u8]>,
    start: usize,
    end: usize,
    /// Whether these bytes are all zero.
    zero: bool,
}

impl<C: Content> ZerosAsHoles<C> {
    /// Takes content whose holes may be unknown.
    pub fn new(inner: C) -> Self {
        Self { inner, block: vec![0; BLOCK].into_boxed_slice(), start: 0, end: 0, zero: false }
    }

    fn bytes_left(&self) -> usize {
        self.end - self.start
    }

    /// Reads the next block ahead. At the end it is shorter, or empty.
    fn fill_block(&mut self) -> io::Result<()> {
        (self.start, self.end, self.zero) = (0, 0, false);
        while self.end < BLOCK {
            match self.inner.read(&mut self.block[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.zero = is_zero(&self.block[..self.end]);
        Ok(())
    }
}

impl<C: Content> Read for ZerosAsHoles<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left() == 0 {
            return self.inner.read(buffer);
        }
        let read = self.bytes_left().min(buffer.len());
        buffer[..read].copy_from_slice(&self.block[self.start..self.start + read]);
        self.start += read;
        Ok(read)
    }
}

impl<C: Content> Content for ZerosAsHoles<C> {
    fn skip_hole(&mut self, limit: u64) -> io::Result<u64> {
        if self.bytes_left() == 0 {
            let known = self.inner.skip_hole(limit)?;
            if known > 0 || limit == 0 {
                return Ok(known);
            }
            self.fill_block()?;
        }
        if !self.zero {
            return Ok(0);
        }
        let skipped = usize::try_from(limit).map_or(self.bytes_left(), |n| n.min(self.bytes_left()));
        self.start += skipped;
        Ok(skipped as u64)
    }
}
