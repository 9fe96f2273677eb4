//! Writes to a file in another thread, while the next bytes are read.
//!
//! Without it, a copy takes the sum of its read and write times; with two processors, it takes the longer of both. A
//! fixed number of buffers passes between the threads, so memory use does not grow with the amount written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::sending::{CHUNK, Piece, UploadTarget};
use crate::{HostError, Result};

/// The number of chunks: one is filled, one is written, one waits. More of them would drop out of the processor's cache
/// before they are written.
const BUFFERS: usize = 3;

/// A chunk, and the position of its first piece.
struct Write {
    chunk: Vec<u8>,
    pieces: Vec<Piece>,
    position: u64,
}

/// Writes the pieces of a chunk from `position` on, and returns the next position.
fn write_pieces(file: &File, mut position: u64, chunk: &[u8], pieces: &[Piece]) -> io::Result<u64> {
    for piece in pieces {
        if let Piece::Data(range) = piece {
            file.write_all_at(&chunk[range.clone()], position)?;
        }
        position += length(piece);
    }
    Ok(position)
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Data(range) => range.len() as u64,
        Piece::Hole(length) => *length,
    }
}

/// Writes in the thread that reads.
pub(super) struct InPlace<'a> {
    pub(super) file: &'a File,
    pub(super) position: u64,
    pub(super) failed: &'a dyn Fn(&io::Error) -> HostError,
}

impl UploadTarget for InPlace<'_> {
    fn put(&mut self, chunk: &mut Vec<u8>, pieces: Vec<Piece>) -> Result<()> {
        self.position =
            write_pieces(self.file, self.position, chunk, &pieces).map_err(|e| (self.failed)(&e))?;
        Ok(())
    }
}

/// Passes chunks to a writer thread.
pub(super) struct WriteBehind<'a> {
    filled: Sender<Write>,
    emptied: Receiver<Vec<u8>>,
    /// The position of the next piece, in bytes.
    position: u64,
    failed: &'a dyn Fn(&io::Error) -> HostError,
}

impl<'a> WriteBehind<'a> {
    /// Runs `send` with a target that writes into the file from `position` on. When it returns, with or without an
    /// error, nothing is written to the file any more.
    pub(super) fn run(
        file: &File,
        position: u64,
        failed: &'a dyn Fn(&io::Error) -> HostError,
        send: impl FnOnce(&mut dyn UploadTarget) -> Result<u64>,
    ) -> Result<u64> {
        let (filled, to_write) = channel::<Write>();
        let (give_back, emptied) = channel();
        // One less, because the reader brings a chunk of its own.
        for _ in 1..BUFFERS {
            // Cannot fail: the receiver lives in this function.
            let _ = give_back.send(vec![0; CHUNK]);
        }
        thread::scope(|scope| {
            let writer = scope.spawn(move || -> io::Result<()> {
                for write in to_write {
                    write_pieces(file, write.position, &write.chunk, &write.pieces)?;
                    // The reader may have finished and dropped the channel.
                    let _ = give_back.send(write.chunk);
                }
                Ok(())
            });
            let mut target = Self { filled, emptied, position, failed };
            let sent = send(&mut target);
            // Closing the channel tells the writer that no more chunks come.
            drop(target);
            match (writer.join(), sent) {
                (Err(panic), _) => std::panic::resume_unwind(panic),
                // An interruption has precedence. A reader that finds no writer does not know the reason.
                (Ok(Err(_)), Err(stopped @ HostError::Transfer { interrupted: true, .. })) => Err(stopped),
                (Ok(Err(e)), _) => Err(failed(&e)),
                (Ok(Ok(())), sent) => sent,
            }
        })
    }
}

impl UploadTarget for WriteBehind<'_> {
    fn put(&mut self, chunk: &mut Vec<u8>, pieces: Vec<Piece>) -> Result<()> {
        let position = self.position;
        self.position += pieces.iter().map(length).sum::<u64>();
        // A chunk of zeros only moves the position; the file has a hole there.
        if !pieces.iter().any(|piece| matches!(piece, Piece::Data(_))) {
            return Ok(());
        }
        // The writer failed and ended; its error is returned when it is joined.
        let gone = || (self.failed)(&io::ErrorKind::BrokenPipe.into());
        let next = self.emptied.recv().map_err(|_| gone())?;
        let chunk = std::mem::replace(chunk, next);
        self.filled.send(Write { chunk, pieces, position }).map_err(|_| gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: &io::Error) -> HostError {
        HostError::Transfer { operation: "write".into(), cause: error.to_string(), interrupted: false }
    }

    fn stopped() -> HostError {
        HostError::Transfer { operation: "read".into(), cause: "stopped".into(), interrupted: true }
    }

    /// Puts `count` chunks of ones, each followed by a hole of the same length.
    fn put_chunks(target: &mut dyn UploadTarget, count: usize) -> Result<u64> {
        let mut chunk = vec![0; CHUNK];
        for _ in 0..count {
            chunk.fill(1);
            target.put(&mut chunk, vec![Piece::Data(0..CHUNK), Piece::Hole(CHUNK as u64)])?;
            assert_eq!(chunk.len(), CHUNK);
        }
        Ok(count as u64)
    }

    #[test]
    fn every_piece_is_written_where_it_belongs() {
        let file = tempfile::tempfile().unwrap();
        let count = 3 * BUFFERS;
        WriteBehind::run(&file, 100, &failed, |target| put_chunks(target, count)).unwrap();
        let mut expected = vec![0_u8; 100];
        for _ in 0..count {
            expected.extend([[1; CHUNK], [0; CHUNK]].as_flattened());
        }
        expected.truncate(100 + (2 * count - 1) * CHUNK);
        let mut found = vec![9; expected.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == expected && file.metadata().unwrap().len() == expected.len() as u64);
    }

    #[test]
    fn a_failed_write_ends_the_reader_and_says_why() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let read_only = File::open(&path).unwrap();
        let error = WriteBehind::run(&read_only, 0, &failed, |target| put_chunks(target, 100)).unwrap_err();
        assert_eq!(error.cause().unwrap(), "Bad file descriptor (os error 9)");
    }

    #[test]
    fn a_reader_that_was_stopped_says_so_after_all_is_written() {
        let file = tempfile::tempfile().unwrap();
        let stop = |target: &mut dyn UploadTarget| {
            // Fails if the writer has ended.
            let _ = put_chunks(target, 2);
            Err(stopped())
        };
        assert_eq!(WriteBehind::run(&file, 0, &failed, stop).unwrap_err(), stopped());
        assert_eq!(file.metadata().unwrap().len(), 3 * CHUNK as u64);
        // An interruption wins over the writer's error.
        let read_only = File::open("/dev/null").unwrap();
        assert_eq!(WriteBehind::run(&read_only, 0, &failed, stop).unwrap_err(), stopped());
    }
}
