//! Splits content for an upload into data, in large pieces, and holes.

use super::Asked;
use crate::{HostError, Result, Stopped, Zeros};
use foundry_fetch::content::{Content, is_zero};

/// Bytes that are taken at once, and of one message of a stream: the fastest size measured, far below the protocol's
/// 32 MiB.
const CHUNK: usize = 256 * 1024;
/// Zeros of this length, a cluster of most qcow2 images, become a hole.
const BLOCK: usize = 64 * 1024;

/// Where an upload goes.
pub(super) trait Target {
    /// Writes behind what came before.
    fn write(&mut self, data: &[u8]) -> Result<()>;
    /// Leaves a hole behind what came before.
    fn skip(&mut self, length: u64) -> Result<()>;
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
            self.send(&chunk[..next.data], target)?;
            self.skip(next.hole, target)?;
            if next.data == 0 && next.hole == 0 {
                return Ok(length - self.left);
            }
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

    /// Blocks of zeros go as holes, those between them in as few pieces as they can.
    fn send(&mut self, data: &[u8], target: &mut dyn Target) -> Result<()> {
        let mut rest = data;
        while !rest.is_empty() {
            let (zero, length) = if self.sparse { run(rest) } else { (false, rest.len()) };
            let (piece, behind) = rest.split_at(length);
            if zero {
                self.skip(length as u64, target)?;
            } else {
                self.left -= length as u64;
                self.room -= length as u64;
                target.write(piece)?;
            }
            rest = behind;
        }
        Ok(())
    }

    fn skip(&mut self, length: u64, target: &mut dyn Target) -> Result<()> {
        self.left -= length;
        if length > 0 { target.skip(length) } else { Ok(()) }
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
