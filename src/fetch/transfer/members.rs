//! gzip's members and bzip2's streams, one after the other, and what follows the last one.
//!
//! Both programs take zeros there, which tapes and blocks leave, and pass over anything else with a warning. OpenWrt
//! puts a signature there. Here it is passed over only where the digest of the whole file is known: then it is what
//! its publisher put there.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::compression::{CompressionFormat, unpacking_command};
use super::error::{Reason, TransferError};

/// Of more bytes behind the end nobody needs the number.
const COUNTED: u64 = 64 << 20;

/// Unpacks members until something else follows.
pub(super) struct MemberReader<R> {
    part: MemberState<R>,
    behind: TrailingData,
}

/// Where it is in the packed data.
enum MemberState<R> {
    Gzip(Box<flate2::bufread::GzDecoder<PeekReader<R>>>),
    Bzip2(Box<bzip2::bufread::BzDecoder<PeekReader<R>>>),
    Behind(PeekReader<R>),
    /// For the moment in which one part is made of another.
    Between,
}

/// What is known of the bytes behind the end.
struct TrailingData {
    format: CompressionFormat,
    /// The name of the whole in messages.
    name: String,
    count: u64,
    any: bool,
    /// Whether they belong to what the expected digest is of.
    verified: bool,
    /// Where the number of those that were passed over is told.
    told: Arc<AtomicU64>,
}

impl<R: BufRead> MemberReader<R> {
    pub(super) fn new(
        packed: R,
        format: CompressionFormat,
        name: &str,
        verified: bool,
        told: Arc<AtomicU64>,
    ) -> Self {
        let behind = TrailingData { format, name: name.to_owned(), count: 0, any: false, verified, told };
        Self { part: MemberState::start_member(format, PeekReader::new(packed)), behind }
    }

    /// The end of a member: another one begins, or something else.
    fn next_member(&mut self) -> io::Result<()> {
        let magic: &[u8] = if self.behind.format == CompressionFormat::Gzip { b"\x1f\x8b" } else { b"BZh" };
        let goes_on = match &mut self.part {
            MemberState::Gzip(member) => member.get_mut().begins_with(magic)?,
            MemberState::Bzip2(member) => member.get_mut().begins_with(magic)?,
            _ => false,
        };
        let packed = match std::mem::replace(&mut self.part, MemberState::Between) {
            MemberState::Gzip(member) => member.into_inner(),
            MemberState::Bzip2(member) => member.into_inner(),
            other => {
                self.part = other;
                return Ok(());
            }
        };
        self.part = if goes_on {
            MemberState::start_member(self.behind.format, packed)
        } else {
            MemberState::Behind(packed)
        };
        Ok(())
    }
}

impl<R: BufRead> MemberState<R> {
    fn start_member(format: CompressionFormat, packed: PeekReader<R>) -> Self {
        match format {
            CompressionFormat::Bzip2 => Self::Bzip2(Box::new(bzip2::bufread::BzDecoder::new(packed))),
            _ => Self::Gzip(Box::new(flate2::bufread::GzDecoder::new(packed))),
        }
    }
}

impl<R: BufRead> Read for MemberReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.part {
                MemberState::Gzip(member) => member.read(buffer)?,
                MemberState::Bzip2(member) => member.read(buffer)?,
                MemberState::Behind(packed) => return self.behind.read_to_end(packed).map(|()| 0),
                MemberState::Between => return Ok(0),
            };
            if read > 0 {
                return Ok(read);
            }
            self.next_member()?;
        }
    }
}

impl TrailingData {
    /// Reads all that is left. It belongs to what is verified, so that the end of it must be seen.
    fn read_to_end(&mut self, packed: &mut impl BufRead) -> io::Result<()> {
        loop {
            let bytes = packed.fill_buf()?;
            let length = bytes.len();
            if length == 0 {
                break;
            }
            self.any |= bytes.iter().any(|byte| *byte != 0);
            packed.consume(length);
            self.count += length as u64;
            if self.any && !self.verified && self.count > COUNTED {
                return Err(self.trailing_data_error().into());
            }
        }
        match (self.any, self.verified) {
            (false, _) => Ok(()),
            (true, true) => {
                self.told.store(self.count, Ordering::Relaxed);
                Ok(())
            }
            (true, false) => Err(self.trailing_data_error().into()),
        }
    }

    fn trailing_data_error(&self) -> TransferError {
        let (format, name) = (self.format.name(), &self.name);
        let count = match self.count {
            1 => "1 byte follows".to_owned(),
            count if count > COUNTED => format!("more than {COUNTED} bytes follow"),
            count => format!("{count} bytes follow"),
        };
        TransferError::new(Reason::Damaged, format!("{name} is not only {format} data"))
            .because(format!("{count} behind the end of the {format} data"))
            .hint(
                unpacking_command(self.format, name)
                    .text(" takes it without them; with --checksum for the whole file they are passed over"),
            )
    }
}

/// A reader of which the next bytes can be looked at.
struct PeekReader<R> {
    seen: Vec<u8>,
    given: usize,
    rest: R,
}

impl<R: BufRead> PeekReader<R> {
    fn new(rest: R) -> Self {
        Self { seen: Vec::new(), given: 0, rest }
    }

    /// Whether that comes next. What was looked at stays to be read, also after an error.
    fn begins_with(&mut self, magic: &[u8]) -> io::Result<bool> {
        while self.seen.len() - self.given < magic.len() {
            let mut byte = [0];
            match self.rest.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => self.seen.push(byte[0]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.seen[self.given..].starts_with(magic))
    }
}

impl<R: BufRead> Read for PeekReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for PeekReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given < self.seen.len() { Ok(&self.seen[self.given..]) } else { self.rest.fill_buf() }
    }

    fn consume(&mut self, count: usize) {
        if self.given == self.seen.len() {
            return self.rest.consume(count);
        }
        self.given += count;
        if self.given == self.seen.len() {
            self.seen.clear();
            self.given = 0;
        }
    }
}
