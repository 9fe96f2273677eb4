//! Taking content apart for an upload: data in large pieces, and holes.

use std::ops::Range;

use super::Asked;
use crate::{HostError, Result, Stopped, Zeros};
use foundry_fetch::content::{Content, is_zero};

/// Bytes that are taken at once, and the most of one message of a stream: the fastest size measured, far below the
/// protocol's 32 MiB.
pub(super) const CHUNK: usize = 256 * 1024;
/// Zeros of this length, a cluster of most qcow2 images, become a hole.
const BLOCK: usize = 64 * 1024;

/// Where an upload goes.
pub(super) trait Target {
    /// Takes the pieces of a chunk, which follow what came before. It may keep the chunk, and leaves one of [`CHUNK`]
    /// bytes for what comes next.
    fn put(&mut self, chunk: &mut Vec<u8>, pieces: Vec<Piece>) -> Result<()>;
}

/// What a chunk is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// These of its bytes.
    Data(Range<usize>),
    /// So many zeros, which are left out.
    Hole(u64),
}

/// An upload on its way.
pub(super) struct Sending<'a> {
    content: &'a mut dyn Content,
    asked: &'a Asked,
    /// Bytes that may still come, holes included.
    left: u64,
    /// Bytes that may still be written.
    room: u64,
    sparse: bool,
}

/// What the content had next.
struct Next {
    data: usize,
    /// The zeros behind.
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

    /// Sends all, never more than the length; returns how far it came.
    pub(super) fn to(mut self, target: &mut dyn Target) -> Result<u64> {
        let length = self.left;
        let mut chunk = vec![0; CHUNK];
        loop {
            let want = self.left.min(self.room).min(CHUNK as u64);
            let want = &mut chunk[..usize::try_from(want).unwrap_or(CHUNK)];
            let next = self.next(want).map_err(|e| transfer_failed(self.asked, &e))?;
            if next.data == 0 && next.hole == 0 {
                return Ok(length - self.left);
            }
            let pieces = self.take_apart(&chunk[..next.data], next.hole);
            target.put(&mut chunk, pieces)?;
        }
    }

    /// Fills the buffer as far as the content goes, but not from a hole.
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

    /// Blocks of zeros are holes, and those between them come in as few pieces as they can.
    fn take_apart(&mut self, data: &[u8], hole: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let rest = &data[at..];
            let (zero, length) = if self.sparse { run(rest) } else { (false, rest.len()) };
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

/// Whether the first block is all zeros, and the length of the blocks at the beginning that are as it is.
fn run(data: &[u8]) -> (bool, usize) {
    let mut blocks = data.chunks(BLOCK);
    let zero = blocks.next().is_some_and(is_zero);
    let alike = 1 + blocks.take_while(|block| is_zero(block) == zero).count();
    (zero, data.len().min(alike * BLOCK))
}

pub(super) fn transfer_failed(asked: &Asked, error: &std::io::Error) -> HostError {
    let interrupted = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>);
    HostError::Transfer { operation: asked.operation.clone(), cause: error.to_string(), interrupted }
}
