//! Reads a file whose bytes may take long to arrive: a pipe, a FIFO, a terminal.

use std::io::{self, Read};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::TransferError;
use super::retry_control::{RetryControl, TICK};
use super::sparse::SparseFile;
use crate::content::Content;

/// A file that is read as soon as it has something, and that can be stopped until then. A read(2) of a pipe
/// whose writer is silent returns for no signal: another thread takes it.
pub(super) struct InterruptibleFile<'a> {
    pub(super) file: SparseFile,
    pub(super) control: &'a dyn RetryControl,
}

impl InterruptibleFile<'_> {
    /// Returns when there is something to read, or the end. A regular file always has one or the other.
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
                // What was there has been read by somebody else who has it open.
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
