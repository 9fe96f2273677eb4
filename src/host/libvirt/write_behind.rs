//! Writing to a file on another thread, while the next bytes are read.
//!
//! A copy takes the time of its reads and of its writes, one after the other; on two processors it takes the longer of
//! both. A few buffers go back and forth between the threads, so that the memory does not grow with what is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::sending::{CHUNK, Piece, Target};
use crate::{HostError, Result};

/// How many chunks there are: one that is filled, one that is written, one between. More of them leave the processor's
/// cache before they are written.
const BUFFERS: usize = 3;

/// A chunk, and where its pieces go.
struct Write {
    chunk: Vec<u8>,
    pieces: Vec<Piece>,
    position: u64,
}

/// Writes the pieces of a chunk from `position` on; returns where the next ones go.
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

/// Writes on the thread that reads.
pub(super) struct InPlace<'a> {
    pub(super) file: &'a File,
    pub(super) position: u64,
    pub(super) failed: &'a dyn Fn(&io::Error) -> HostError,
}

impl Target for InPlace<'_> {
    fn put(&mut self, chunk: &mut Vec<u8>, pieces: Vec<Piece>) -> Result<()> {
        self.position =
            write_pieces(self.file, self.position, chunk, &pieces).map_err(|e| (self.failed)(&e))?;
        Ok(())
    }
}

/// Hands over to a thread what is to be written.
pub(super) struct WriteBehind<'a> {
    filled: Sender<Write>,
    emptied: Receiver<Vec<u8>>,
    /// Where the next piece goes.
    position: u64,
    failed: &'a dyn Fn(&io::Error) -> HostError,
}

impl<'a> WriteBehind<'a> {
    /// Runs `send` with a target whose bytes go into the file from `position` on. They are all written when it returns,
    /// whether well or not: nobody writes to the file any more.
    pub(super) fn run(
        file: &File,
        position: u64,
        failed: &'a dyn Fn(&io::Error) -> HostError,
        send: impl FnOnce(&mut dyn Target) -> Result<u64>,
    ) -> Result<u64> {
        let (filled, to_write) = channel::<Write>();
        let (give_back, emptied) = channel();
        for _ in 1..BUFFERS {
            // It has not been closed: the other end is in this function.
            let _ = give_back.send(vec![0; CHUNK]);
        }
        thread::scope(|scope| {
            let writer = scope.spawn(move || -> io::Result<()> {
                for write in to_write {
                    write_pieces(file, write.position, &write.chunk, &write.pieces)?;
                    // The reader may be done.
                    let _ = give_back.send(write.chunk);
                }
                Ok(())
            });
            let mut target = Self { filled, emptied, position, failed };
            let sent = send(&mut target);
            // The end of what is to be written.
            drop(target);
            match (writer.join(), sent) {
                (Err(panic), _) => std::panic::resume_unwind(panic),
                // The user's wish comes first. A reader that finds no writer has nothing to say of why.
                (Ok(Err(_)), Err(stopped @ HostError::Transfer { interrupted: true, .. })) => Err(stopped),
                (Ok(Err(e)), _) => Err(failed(&e)),
                (Ok(Ok(())), sent) => sent,
            }
        })
    }
}

impl Target for WriteBehind<'_> {
    fn put(&mut self, chunk: &mut Vec<u8>, pieces: Vec<Piece>) -> Result<()> {
        let position = self.position;
        self.position += pieces.iter().map(length).sum::<u64>();
        if !pieces.iter().any(|piece| matches!(piece, Piece::Data(_))) {
            return Ok(());
        }
        // A writer that failed is gone; why is known where it is joined.
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

    /// Puts `count` chunks of ones, each with a hole of as many bytes behind it.
    fn put_chunks(target: &mut dyn Target, count: usize) -> Result<u64> {
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
        let stop = |target: &mut dyn Target| {
            // Where the writer is gone, it fails.
            let _ = put_chunks(target, 2);
            Err(stopped())
        };
        assert_eq!(WriteBehind::run(&file, 0, &failed, stop).unwrap_err(), stopped());
        assert_eq!(file.metadata().unwrap().len(), 3 * CHUNK as u64);
        // Whatever the writer met.
        let read_only = File::open("/dev/null").unwrap();
        assert_eq!(WriteBehind::run(&read_only, 0, &failed, stop).unwrap_err(), stopped());
    }
}
