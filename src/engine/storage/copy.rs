//! Copies the disk of a VM that is off into a new volume.
//!
//! A raw disk is copied by libvirt. A qcow2 disk is copied byte for byte, holes left out: libvirt would have qemu-img
//! flatten an overlay into an image of the old version 0.10 without its backing file. The new volume is created with the
//! planned format, size and backing file first and has these throughout, so what an interrupted copy leaves is recognized
//! as planned.

use std::collections::VecDeque;
use std::io::{Read, Result as IoResult, Write};

use super::usage::refresh_pool;
use super::volumes::{check_path, volume_xml};
use crate::preflight::ReadyVm;
use crate::vm::created::CreatedResource;
use crate::vm::journal::Journal;
use crate::{Context, Event, Step};
use foundry_core::error::{Code, Error};
use foundry_core::plan::DiskFormat;
use foundry_core::record::{RecordedVolume, VolumeRef};
use foundry_core::units::Bytes;
use foundry_fetch::content::{Content, Sink};
use foundry_host::{Volume, Zeros};

/// The part at the beginning that is written with its zeros. A new qcow2 image has its header and its first tables
/// there, in four clusters of 64 KiB, and a hole would leave them.
const BEGINNING: u64 = 256 << 10;

/// The most bytes that are held in memory.
const SPAN: u64 = 64 << 20;

/// Space kept free for other users of the pool, in bytes.
const MARGIN: u64 = 16 << 20;

/// Creates a volume with the content of another one.
pub(crate) fn copy_disk(
    context: &Context,
    ready: &ReadyVm,
    planned: &RecordedVolume,
    from: &Volume,
    creation: &mut Journal,
) -> Result<(), Error> {
    context.report_started(Step::CopyVolume(planned.reference()));
    let chain = ready.storage.linked_chain(&planned.reference());
    let below = chain.and_then(<[_]>::first).map(|below| below.format.clone());
    let allocation = ready.storage.backend.allocation(planned.capacity);
    let xml = volume_xml(planned, allocation, planned.backing.clone().zip(below))?;
    let note = CreatedResource::Volume(Box::new(planned.clone()));
    let is_raw = planned.format == DiskFormat::Raw.as_str();
    let created = match is_raw {
        true => context.host.clone_volume(&planned.pool, &xml, &from.reference()),
        false => context.host.create_volume(&planned.pool, &xml),
    };
    let made = creation.note_result(context, note, created)?;
    check_path(planned, &made)?;
    if !is_raw {
        copy_bytes(context, from, &planned.reference())?;
    }
    context.report_finished(Step::CopyVolume(planned.reference()));
    Ok(())
}

/// Copies the file of a volume, a span at a time: its length is known only at its end.
fn copy_bytes(context: &Context, from: &Volume, to: &VolumeRef) -> Result<(), Error> {
    let (mut done, mut length) = (0, BEGINNING);
    loop {
        context.cancel.check()?;
        let mut span = Span::default();
        context.host.download_span(&from.reference(), &mut span, (done, length))?;
        let received = span.length;
        if received > 0 {
            check_room(context, to, span.data)?;
            let zeros = match done {
                0 => Zeros::Written,
                _ => Zeros::Skipped { at_most: span.data },
            };
            context.host.upload(to, &mut span, done, received, zeros)?;
        }
        done += received;
        let total = Some(from.allocation.0.max(done));
        context.progress.on_event(Event::Bytes { done, total });
        if received < length {
            // libvirt shows the space that the volume takes only after a refresh.
            return refresh_pool(context, &to.pool).map(drop);
        }
        length = SPAN;
    }
}

/// Fails before the pool runs full: inside a stream, that would crash libvirtd 11.3.
fn check_room(context: &Context, to: &VolumeRef, needed: u64) -> Result<(), Error> {
    refresh_pool(context, &to.pool)?;
    let available = context.host.pool(&to.pool)?.map_or(Bytes(0), |pool| pool.available);
    if available.0 >= needed + MARGIN {
        return Ok(());
    }
    let message = format!("pool '{}' is full: it has {available} left", to.pool);
    Err(Error::new(Code::OutOfSpace, message))
}

/// A part of a file in memory, with its holes.
#[derive(Default)]
struct Span {
    pieces: VecDeque<CopyPiece>,
    length: u64,
    /// The number of bytes outside holes.
    data: u64,
}

enum CopyPiece {
    Data { bytes: Vec<u8>, taken: usize },
    Hole(u64),
}

impl CopyPiece {
    fn is_used_up(&self) -> bool {
        match self {
            Self::Data { bytes, taken } => *taken == bytes.len(),
            Self::Hole(left) => *left == 0,
        }
    }
}

impl Write for Span {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.length += bytes.len() as u64;
        self.data += bytes.len() as u64;
        match self.pieces.back_mut() {
            Some(CopyPiece::Data { bytes: before, .. }) => before.extend_from_slice(bytes),
            _ => self.pieces.push_back(CopyPiece::Data { bytes: bytes.to_vec(), taken: 0 }),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

impl Sink for Span {
    fn write_hole(&mut self, length: u64) -> IoResult<()> {
        self.length += length;
        self.pieces.push_back(CopyPiece::Hole(length));
        Ok(())
    }
}

impl Read for Span {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        while self.pieces.front().is_some_and(CopyPiece::is_used_up) {
            self.pieces.pop_front();
        }
        match self.pieces.front_mut() {
            None => Ok(0),
            Some(CopyPiece::Hole(left)) => {
                let zeros = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                buffer[..zeros].fill(0);
                *left -= zeros as u64;
                Ok(zeros)
            }
            Some(CopyPiece::Data { bytes, taken }) => {
                let read = (&bytes[*taken..]).read(buffer)?;
                *taken += read;
                Ok(read)
            }
        }
    }
}

impl Content for Span {
    fn skip_hole(&mut self, limit: u64) -> IoResult<u64> {
        while self.pieces.front().is_some_and(CopyPiece::is_used_up) {
            self.pieces.pop_front();
        }
        let Some(CopyPiece::Hole(left)) = self.pieces.front_mut() else { return Ok(0) };
        let skipped = limit.min(*left);
        *left -= skipped;
        Ok(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Span {
        let mut span = Span::default();
        span.write_all(b"ab").unwrap();
        span.write_all(b"c").unwrap();
        span.write_hole(3).unwrap();
        span.write_hole(2).unwrap();
        span.write_all(b"d").unwrap();
        span
    }

    #[test]
    fn a_span_reads_as_it_was_written() {
        let mut span = filled();
        assert_eq!((span.length, span.data), (9, 4));
        let mut read = Vec::new();
        span.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"abc\0\0\0\0\0d");
    }

    #[test]
    fn holes_of_a_span_are_skipped() {
        let mut span = filled();
        let mut data = [0; 8];
        assert_eq!((span.skip_hole(9).unwrap(), span.read(&mut data).unwrap()), (0, 3));
        assert_eq!((span.skip_hole(2).unwrap(), span.skip_hole(9).unwrap()), (2, 1));
        assert_eq!(span.skip_hole(9).unwrap(), 2);
        assert_eq!((span.skip_hole(9).unwrap(), span.read(&mut data).unwrap(), data[0]), (0, 1, b'd'));
        assert_eq!((span.skip_hole(9).unwrap(), span.read(&mut data).unwrap()), (0, 0));
    }
}
