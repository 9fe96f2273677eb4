//! Reads concatenated gzip members and bzip2 streams, and handles the data after the last one.
//!
//! gzip and bzip2 ignore zeros after the end, which tapes and block devices leave, and skip other data with a warning.
//! OpenWrt appends a signature. Here, other data is skipped only if the digest of the whole file is known: then the
//! publisher put it there.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::compression::{CompressionFormat, unpacking_command};
use super::error::{Reason, TransferError};

/// Trailing bytes are counted up to this number.
const COUNTED: u64 = 64 << 20;

/// Decompresses members until other data follows.
pub(super) struct MemberReader<R> {
    part: MemberState<R>,
    behind: TrailingData,
}

/// The position in the compressed data.
enum MemberState<R> {
    Gzip(Box<flate2::bufread::GzDecoder<PeekReader<R>>>),
    Bzip2(Box<bzip2::bufread::BzDecoder<PeekReader<R>>>),
    Behind(PeekReader<R>),
    /// A placeholder while one state is converted to another.
    Between,
}

/// The state of the data after the end.
struct TrailingData {
    format: CompressionFormat,
    /// Name of the file in messages.
    name: String,
    count: u64,
    any: bool,
    /// Whether the data is covered by the expected digest.
    verified: bool,
    /// Counter of the skipped bytes, for the caller.
    skipped: Arc<AtomicU64>,
}

impl<R: BufRead> MemberReader<R> {
    pub(super) fn new(
        packed: R,
        format: CompressionFormat,
        name: &str,
        verified: bool,
        skipped: Arc<AtomicU64>,
    ) -> Self {
        let behind = TrailingData { format, name: name.to_owned(), count: 0, any: false, verified, skipped };
        Self { part: MemberState::start_member(format, PeekReader::new(packed)), behind }
    }

    /// Handles the end of a member: another one begins, or other data follows.
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
    /// Reads to the end of the file, because the digest covers the rest, too.
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
                self.skipped.store(self.count, Ordering::Relaxed);
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
        TransferError::new(Reason::Damaged, format!("{name} contains more than {format} data"))
            .because(format!("{count} the end of the {format} data"))
            .hint(
                unpacking_command(self.format, name)
                    .text(" ignores them; with a --checksum for the whole file foundry ignores them, too"),
            )
    }
}

/// A reader that can look at the next bytes.
struct PeekReader<R> {
    seen: Vec<u8>,
    given: usize,
    rest: R,
}

impl<R: BufRead> PeekReader<R> {
    fn new(rest: R) -> Self {
        Self { seen: Vec::new(), given: 0, rest }
    }

    /// Whether these bytes come next. They stay unread, even after an error.
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
