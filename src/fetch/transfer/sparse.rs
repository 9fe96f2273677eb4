//! Files with holes, to read and to write (lseek(2), `SEEK_DATA` and `SEEK_HOLE`).

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

/// A local file as [`Content`]: of a regular file the holes are known where its file system knows them; a FIFO, a
/// terminal or a block device is read as it comes.
///
/// The file's length and time of change are taken when it is opened. One that is then written to, cut or made longer
/// is an error at its end, never a mixture.
#[derive(Debug)]
pub struct SparseFile {
    file: File,
    /// Its name in messages.
    name: String,
    position: u64,
    regular: Option<RegularFileState>,
}

/// What is known of a regular file.
#[derive(Debug)]
struct RegularFileState {
    length: u64,
    modified: Option<SystemTime>,
    /// The stretch around the present position: data up to here,
    data_until: u64,
    /// or else a hole up to here.
    hole_until: u64,
}

impl SparseFile {
    /// Opens a file. A FIFO that nobody writes to yet is open at once (fifo(7)), and has
    /// nothing to read yet ([`io::ErrorKind::WouldBlock`]).
    ///
    /// # Errors
    /// The system's, and a directory.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let name = path.display().to_string();
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        Self::new(opened.map_err(|e| TransferError::from_io(e, &name))?, name)
    }

    /// Whether it has a length, and never lets a reader wait for what comes.
    pub(super) fn is_regular(&self) -> bool {
        self.regular.is_some()
    }

    /// Takes an open file, from its beginning if it is a regular one and else from where it stands; `name` is its
    /// name in messages.
    ///
    /// # Errors
    /// The system's, and a directory.
    pub fn new(file: File, name: String) -> Result<Self, TransferError> {
        let meta = file.metadata().map_err(|e| TransferError::from_io(e, &name))?;
        if meta.is_dir() {
            return Err(TransferError::new(Reason::Local, format!("{name} is a directory")));
        }
        let regular = meta.is_file().then(|| RegularFileState::new(&meta));
        Ok(Self { file, name, position: 0, regular })
    }

    /// How many bytes it has, holes included; `None` where only reading can tell.
    pub fn length(&self) -> Option<u64> {
        match &self.regular {
            Some(regular) => Some(regular.length),
            None => self.device_length(),
        }
    }

    /// A block device ends where it can be sought to; FIFOs cannot be sought in. Reading goes on from 0.
    fn device_length(&self) -> Option<u64> {
        self.file.metadata().ok().filter(|meta| meta.file_type().is_block_device())?;
        let end = seek(&self.file, SeekFrom::End(0)).ok();
        seek(&self.file, SeekFrom::Start(self.position)).ok()?;
        end
    }

    /// How many of its bytes are data and not holes: what a sparse copy of it takes. The whole length where holes are
    /// not known, and 0 for what has no length.
    ///
    /// # Errors
    /// The system's.
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

    /// What begins at a position that lies within the file.
    fn range_at(&self, at: u64, length: u64) -> io::Result<FileRange> {
        let data = match seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) => data.min(length),
            // No data behind: either it ends with a hole, or it was cut meanwhile, which its end tells.
            Err(Errno::NXIO) => length,
            // Neither the file system nor the kernel knows: all of it is data.
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

    /// At the end: it must still be the file that was opened.
    fn check_unchanged(&self, opened: &RegularFileState) -> io::Result<usize> {
        let now = RegularFileState::new(&self.file.metadata()?);
        let cause = match now.length.cmp(&opened.length) {
            std::cmp::Ordering::Less => "it became shorter while it was read",
            std::cmp::Ordering::Greater => "it became longer while it was read",
            std::cmp::Ordering::Equal if now.modified != opened.modified => {
                "it was written to while it was read"
            }
            std::cmp::Ordering::Equal => return Ok(0),
        };
        Err(TransferError::new(Reason::Local, format!("{} changed", self.name))
            .because(cause)
            .hint("try again when nobody writes to it")
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
        // Not past the end of a known stretch of data, so that the hole behind it is seen.
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

/// What is looked at as a whole: the block of the common file systems.
const BLOCK: usize = 4096;

/// Writes a file so that what is zero becomes holes. Anything but a regular file (a pipe, a device) gets the zeros.
///
/// Ends with [`finish`](Self::finish): a hole at the end is only there once the length is set.
#[derive(Debug)]
pub struct SparseWriter {
    file: File,
    position: u64,
    sparse: bool,
}

impl SparseWriter {
    /// Takes an open file, whose content is given up.
    ///
    /// # Errors
    /// The system's.
    pub fn new(file: File) -> io::Result<Self> {
        let sparse = file.metadata()?.is_file();
        if sparse {
            file.set_len(0)?;
        }
        Ok(Self { file, position: 0, sparse })
    }

    /// Goes on behind a hole of so many bytes.
    ///
    /// # Errors
    /// The system's, where the zeros must be written.
    pub fn skip_hole(&mut self, length: u64) -> io::Result<()> {
        if !self.sparse {
            io::copy(&mut io::repeat(0).take(length), &mut self.file)?;
        }
        self.position += length;
        Ok(())
    }

    /// Sets the length, brings all of it to the disk and gives the file back.
    ///
    /// # Errors
    /// The system's.
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

    /// Up to the next border of a block, so that runs of zeros are found where blocks are.
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

/// How many bytes at the beginning are of whole blocks that are all zero, or none of them.
fn run_length(bytes: &[u8], zero: bool) -> usize {
    bytes.chunks(BLOCK).take_while(|block| is_zero(block) == zero).map(<[u8]>::len).sum()
}
