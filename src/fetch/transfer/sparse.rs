//! Reads and writes sparse files (lseek(2), `SEEK_DATA` and `SEEK_HOLE`).

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::error::{Reason, TransferError};
use crate::content::{Content, is_zero};

/// A local file as [`Content`]. The holes of a regular file are known if its file system reports them. A FIFO, a
/// terminal or a block device is read without holes.
///
/// Length and modification time are recorded when the file is opened. If it changes while it is read, reading ends with
/// an error.
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    /// Name of the file in messages.
    name: String,
    position: u64,
    regular: Option<RegularFileState>,
}

/// The state of a regular file.
#[derive(Debug)]
struct RegularFileState {
    length: u64,
    modified: Option<SystemTime>,
    /// End of the data range at the present position,
    data_until: u64,
    /// or end of the hole at the present position.
    hole_until: u64,
}

impl SparseFile {
    /// Opens a file. A FIFO without a writer opens immediately (fifo(7)); reading it returns
    /// [`io::ErrorKind::WouldBlock`].
    ///
    /// # Errors
    /// Errors of the operating system, and directories.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let name = path.display().to_string();
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        Self::new(opened.map_err(|e| TransferError::from_io(e, &name))?, name)
    }

    /// Whether it is a regular file, which has a length and never blocks.
    pub(super) fn is_regular(&self) -> bool {
        self.regular.is_some()
    }

    /// Takes an open file. A regular file is read from its beginning, others from their present position; `name` is the
    /// file's name in messages.
    ///
    /// # Errors
    /// Errors of the operating system, and directories.
    pub fn new(file: File, name: String) -> Result<Self, TransferError> {
        let meta = file.metadata().map_err(|e| TransferError::from_io(e, &name))?;
        if meta.is_dir() {
            return Err(TransferError::new(Reason::Local, format!("{name} is a directory")));
        }
        let regular = meta.is_file().then(|| RegularFileState::new(&meta));
        Ok(Self { file, name, position: 0, regular })
    }

    /// Returns the length in bytes including holes. Returns `None` if it is only known after reading.
    pub fn length(&self) -> Option<u64> {
        match &self.regular {
            Some(regular) => Some(regular.length),
            None => self.device_length(),
        }
    }

    /// Returns the length of a block device, by seeking to its end and back. FIFOs cannot seek.
    fn device_length(&self) -> Option<u64> {
        self.file.metadata().ok().filter(|meta| meta.file_type().is_block_device())?;
        let end = seek(&self.file, SeekFrom::End(0)).ok();
        seek(&self.file, SeekFrom::Start(self.position)).ok()?;
        end
    }

    /// Returns the number of bytes that are data and not holes, which is the size of a sparse copy. If holes are not
    /// known, it is the whole length; without a length, it is 0.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn data_bytes(&self) -> io::Result<u64> {
        let Some(regular) = &self.regular else { return Ok(self.length().unwrap_or(0)) };
        let (mut at, mut sum) = (0, 0);
        while at < regular.length {
            match self.range_at(at, regular.length)? {
                FileRange::Data(until) => (sum, at) = (sum + until - at, until),
                FileRange::Hole(until) => at = until,
            }
        }
        Ok(sum)
    }

    /// Returns the range that begins at a position within the file.
    fn range_at(&self, at: u64, length: u64) -> io::Result<FileRange> {
        let data = match seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) => data.min(length),
            // There is no more data: the rest is a hole, or the file was truncated, which is detected at the end.
            Err(Errno::NXIO) => length,
            // Neither the file system nor the kernel supports holes: everything is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => return Ok(FileRange::Data(length)),
            Err(e) => return Err(e.into()),
        };
        if data > at {
            return Ok(FileRange::Hole(data));
        }
        match seek(&self.file, SeekFrom::Hole(at)) {
            Ok(hole) if hole > at => Ok(FileRange::Data(hole.min(length))),
            Ok(_) | Err(Errno::NXIO) => Ok(FileRange::Data(length)),
            Err(e) => Err(e.into()),
        }
    }

    /// Checks at the end that the file did not change while it was read.
    fn check_unchanged(&self, opened: &RegularFileState) -> io::Result<usize> {
        let now = RegularFileState::new(&self.file.metadata()?);
        let cause = match now.length.cmp(&opened.length) {
            std::cmp::Ordering::Less => "it was truncated while it was read",
            std::cmp::Ordering::Greater => "it grew while it was read",
            std::cmp::Ordering::Equal if now.modified != opened.modified => {
                "it was modified while it was read"
            }
            std::cmp::Ordering::Equal => return Ok(0),
        };
        Err(TransferError::new(Reason::Local, format!("{} changed", self.name))
            .because(cause)
            .hint("try again when no program is writing to it")
            .into())
    }
}

impl AsFd for SparseFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

enum FileRange {
    Data(u64),
    Hole(u64),
}

impl RegularFileState {
    fn new(meta: &Metadata) -> Self {
        Self { length: meta.len(), modified: meta.modified().ok(), data_until: 0, hole_until: 0 }
    }
}

impl Read for SparseFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(regular) = &self.regular else { return self.file.read(buffer) };
        // Stop at the end of the data range, so that the hole after it is detected.
        let until = if regular.data_until > self.position { regular.data_until } else { regular.length };
        let wanted = usize::try_from(until - self.position).map_or(buffer.len(), |n| n.min(buffer.len()));
        if wanted == 0 {
            return if buffer.is_empty() { Ok(0) } else { self.check_unchanged(regular) };
        }
        let read = self.file.read_at(&mut buffer[..wanted], self.position)?;
        if read == 0 {
            return self.check_unchanged(regular);
        }
        self.position += read as u64;
        Ok(read)
    }
}

impl Content for SparseFile {
    fn skip_hole(&mut self, limit: u64) -> io::Result<u64> {
        let Some(regular) = &self.regular else { return Ok(0) };
        if self.position >= regular.length || self.position < regular.data_until {
            return Ok(0);
        }
        let mut hole_until = regular.hole_until;
        if self.position >= hole_until {
            match self.range_at(self.position, regular.length)? {
                FileRange::Hole(until) => hole_until = until,
                FileRange::Data(until) => {
                    self.regular = Some(RegularFileState { data_until: until, ..*regular });
                    return Ok(0);
                }
            }
        }
        let skipped = limit.min(hole_until - self.position);
        self.regular = Some(RegularFileState { hole_until, ..*regular });
        self.position += skipped;
        Ok(skipped)
    }
}

/// Unit in which zeros are found: the block size of common file systems.
const BLOCK: usize = 4096;

/// Writes a file and turns zeros into holes. Anything but a regular file (a pipe, a device) gets the zeros.
///
/// Call [`finish`](Self::finish) at the end: a hole at the end of the file exists only when the length is set.
#[derive(Debug)]
pub struct SparseWriter {
    file: File,
    position: u64,
    sparse: bool,
}

impl SparseWriter {
    /// Takes an open file; its content is overwritten.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn new(file: File) -> io::Result<Self> {
        let sparse = file.metadata()?.is_file();
        if sparse {
            file.set_len(0)?;
        }
        Ok(Self { file, position: 0, sparse })
    }

    /// Skips a hole of `length` bytes.
    ///
    /// # Errors
    /// Errors of the operating system, if the zeros must be written.
    pub fn skip_hole(&mut self, length: u64) -> io::Result<()> {
        if !self.sparse {
            io::copy(&mut io::repeat(0).take(length), &mut self.file)?;
        }
        self.position += length;
        Ok(())
    }

    /// Sets the length, syncs the file to the disk and returns it.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn finish(mut self) -> io::Result<File> {
        self.file.flush()?;
        if self.sparse {
            self.file.set_len(self.position)?;
            self.file.sync_all()?;
        }
        Ok(self.file)
    }

    fn write_data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.sparse {
            self.file.write_all_at(bytes, self.position)?;
        } else {
            self.file.write_all(bytes)?;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Returns the number of bytes to the next block, so zeros are found in whole blocks.
    fn bytes_to_block_end(&self) -> usize {
        BLOCK - usize::try_from(self.position % BLOCK as u64).unwrap_or(0)
    }
}

impl Write for SparseWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.sparse {
            self.write_data(bytes)?;
            return Ok(bytes.len());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let first = self.bytes_to_block_end().min(rest.len());
            let zero = is_zero(&rest[..first]);
            let run = first + run_length(&rest[first..], zero);
            let (run, behind) = rest.split_at(run);
            if zero {
                self.skip_hole(run.len() as u64)?
            } else {
                self.write_data(run)?
            }
            rest = behind;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Returns how many bytes at the beginning are whole blocks of zeros, or whole blocks of data.
fn run_length(bytes: &[u8], zero: bool) -> usize {
    bytes.chunks(BLOCK).take_while(|block| is_zero(block) == zero).map(<[u8]>::len).sum()
}
