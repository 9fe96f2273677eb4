//! Splits content for an upload into data, in large pieces, and holes.

use std::ops::Range;

use super::Asked;
use crate::{HostError, Result, Stopped, Zeros};
use foundry_fetch::content::{Content, is_zero};

/// Bytes of a chunk, and the maximum of one stream message. This size was the fastest one measured; the protocol allows
/// 32 MiB.
pub(super) const CHUNK: usize = 256 * 1024;
/// Zeros of this length, a cluster of most qcow2 images, become a hole.
const BLOCK: usize = 64 * 1024;

/// The destination of an upload: a stream or a file.
pub(super) trait UploadTarget {
    /// Writes the pieces of a chunk after the previous ones. It may keep the chunk, if it leaves another one of
    /// [`CHUNK`] bytes.
    fn put(&mut self, chunk: &mut Vec<u8>, pieces: Vec<Piece>) -> Result<()>;
}

/// A part of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A range of its bytes.
    Data(Range<usize>),
    /// This many zero bytes, which are not sent.
    Hole(u64),
}

/// A running upload, with what is left of its limits.
pub(super) struct Sending<'a> {
    content: &'a mut dyn Content,
    asked: &'a Asked,
    /// Bytes that may still come, holes included.
    left: u64,
    /// Bytes that may still be written.
    room: u64,
    sparse: bool,
}

/// The next chunk of the content.
struct Next {
    data: usize,
    /// The number of zeros after the data.
    hole: u64,
}

impl<'a> Sending<'a> {
    pub(super) fn new(content: &'a mut dyn Content, asked: &'a Asked, length: u64, zeros: Zeros) -> Self {
        let (sparse, room) = match zeros {
            Zeros::Written => (false, u64::MAX),
            Zeros::Skipped { at_most } => (true, at_most),
        };
        Self { content, asked, left: length, room, sparse }
    }

    /// Sends the content, at most the given length. Returns the number of bytes, holes included.
    pub(super) fn send_to(mut self, target: &mut dyn UploadTarget) -> Result<u64> {
        let length = self.left;
        let mut chunk = vec![0; CHUNK];
        loop {
            let want = self.left.min(self.room).min(CHUNK as u64);
            let want = &mut chunk[..usize::try_from(want).unwrap_or(CHUNK)];
            let next = self.next(want).map_err(|e| transfer_failed(self.asked, &e))?;
            if next.data == 0 && next.hole == 0 {
                return Ok(length - self.left);
            }
            let pieces = self.split_pieces(&chunk[..next.data], next.hole);
            target.put(&mut chunk, pieces)?;
        }
    }

    /// Fills the buffer from the content, up to the next hole.
    fn next(&mut self, buffer: &mut [u8]) -> std::io::Result<Next> {
        let mut data = 0;
        loop {
            let left = self.left - data as u64;
            let hole = if self.sparse { self.content.skip_hole(left)? } else { 0 };
            if hole > 0 || data == buffer.len() {
                return Ok(Next { data, hole });
            }
            match self.content.read(&mut buffer[data..]) {
                Ok(0) => return Ok(Next { data, hole }),
                Ok(n) => data += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Splits data into holes (blocks of zeros) and as few pieces of data as possible.
    fn split_pieces(&mut self, data: &[u8], hole: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let rest = &data[at..];
            let (zero, length) = if self.sparse { leading_blocks(rest) } else { (false, rest.len()) };
            if zero {
                pieces.push(Piece::Hole(length as u64));
            } else {
                self.room -= length as u64;
                pieces.push(Piece::Data(at..at + length));
            }
            at += length;
        }
        if hole > 0 {
            pieces.push(Piece::Hole(hole));
        }
        self.left -= data.len() as u64 + hole;
        pieces
    }
}

/// Returns whether the first block is all zeros, and the length of all leading blocks of the same kind.
fn leading_blocks(data: &[u8]) -> (bool, usize) {
    let mut blocks = data.chunks(BLOCK);
    let zero = blocks.next().is_some_and(is_zero);
    let alike = 1 + blocks.take_while(|block| is_zero(block) == zero).count();
    (zero, data.len().min(alike * BLOCK))
}

pub(super) fn transfer_failed(asked: &Asked, error: &std::io::Error) -> HostError {
    let interrupted = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>);
    HostError::Transfer { operation: asked.operation.clone(), cause: error.to_string(), interrupted }
}
