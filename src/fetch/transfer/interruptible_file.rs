//! Reads a file that may make readers wait: a pipe, a FIFO or a terminal.

use std::io::{self, Read};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::TransferError;
use super::retry_control::{RetryControl, TICK};
use super::sparse::SparseFile;
use crate::content::Content;

/// A file whose reads can be interrupted. A blocking read(2) of a pipe would not return on a signal, because another
/// thread handles it.
pub(super) struct InterruptibleFile<'a> {
    pub(super) file: SparseFile,
    pub(super) control: &'a dyn RetryControl,
}

impl InterruptibleFile<'_> {
    /// Waits until data or the end can be read. Regular files never block.
    fn wait_for_data(&self) -> io::Result<()> {
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        loop {
            if self.control.should_stop() {
                return Err(TransferError::interrupted().into());
            }
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&tick)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Read for InterruptibleFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.file.is_regular() {
                self.wait_for_data()?;
            }
            match self.file.read(buffer) {
                // Another process with the same open file has read the data.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

impl Content for InterruptibleFile<'_> {
    fn skip_hole(&mut self, limit: u64) -> io::Result<u64> {
        self.file.skip_hole(limit)
    }
}
