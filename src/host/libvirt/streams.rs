//! The bytes of volumes, there and back, through libvirt's streams.

use virt::error::Error as VirtError;
use virt::stream::Stream;
use virt::sys as c;

use super::linger::linger;
use super::sys::{self, Received};
use super::{Asked, Libvirt, storage};
use crate::content::{Content, Sink};
use crate::host::{HostError, Result, Stopped, Zeros};

/// Bytes of one message of a stream: the fastest size measured, far below the protocol's 32 MiB.
const CHUNK: usize = 256 * 1024;
/// Zeros of this length, a cluster of most qcow2 images, become a hole.
const BLOCK: usize = 64 * 1024;
/// Bytes of one download. One that is left half read hangs libvirtd unless somebody reads it to its end
/// (see [`super::linger`]), so that the end is never far.
const PIECE: u64 = 256 << 20;

/// An upload on its way.
struct Sending<'a> {
    stream: &'a Stream,
    /// Bytes that may still come, holes included.
    left: u64,
    /// Bytes that may still be written.
    room: u64,
    /// Zeros that were not told yet.
    hole: u64,
    sparse: bool,
}

impl Libvirt {
    pub(super) fn send(
        &self,
        volume: (&str, &str),
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64> {
        let (pool, name) = volume;
        let asked = storage(format!("upload to volume '{name}' in pool '{pool}'"));
        let volume = self.volume_handle(pool, name, &asked)?;
        let stream = self.call("virStreamNew", &asked, || Stream::new(&self.connection, 0))?;
        let _lingering = linger();
        let (sparse, room) = match zeros {
            Zeros::Written => (false, u64::MAX),
            Zeros::Skipped { at_most } => (true, at_most),
        };
        let flags = if sparse { c::VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM } else { 0 };
        self.call("virStorageVolUpload", &asked, || volume.upload(&stream, offset, length, flags))?;
        let mut sending = Sending { stream: &stream, left: length, room, hole: 0, sparse };
        match self.send_all(&mut sending, content, &asked) {
            Ok(()) => {
                let sent = length - sending.left;
                self.call("virStreamFinish", &asked, || stream.finish()).map(|()| sent)
            }
            Err(e) => {
                // The first failure is what is told; an abort that fails too adds nothing to it.
                let _ = self.raw("virStreamAbort", &asked, || stream.abort());
                Err(e)
            }
        }
    }

    /// Never more than `left` bytes: one more ends the daemon.
    fn send_all(&self, sending: &mut Sending<'_>, content: &mut dyn Content, asked: &Asked) -> Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let want = sending.left.min(sending.room).min(CHUNK as u64);
            let want = &mut chunk[..usize::try_from(want).unwrap_or(CHUNK)];
            let next = sending.next(content, want).map_err(|e| transfer_failed(asked, &e))?;
            sending.send(&chunk[..next.data]).map_err(|e| self.failed(asked, &e))?;
            sending.skip(next.hole);
            if next.data == 0 && next.hole == 0 {
                return sending.tell_hole().map_err(|e| self.failed(asked, &e));
            }
        }
    }

    pub(super) fn receive(&self, pool: &str, name: &str, into: &mut dyn Sink, length: u64) -> Result<()> {
        let asked = storage(format!("download volume '{name}' in pool '{pool}'"));
        let volume = self.volume_handle(pool, name, &asked)?;
        let mut done = 0;
        while done < length {
            let wanted = PIECE.min(length - done);
            let stream = self.call("virStreamNew", &asked, || Stream::new(&self.connection, 0))?;
            let _lingering = linger();
            let flags = c::VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM;
            self.call("virStorageVolDownload", &asked, || volume.download(&stream, done, wanted, flags))?;
            let received = self.receive_all(&stream, into, &asked);
            let received = match received {
                Ok(received) => self.call("virStreamFinish", &asked, || stream.finish()).map(|()| received),
                Err(e) => {
                    // As in `send`: the first failure is what is told.
                    let _ = self.raw("virStreamAbort", &asked, || stream.abort());
                    Err(e)
                }
            }?;
            if received < wanted {
                return Ok(());
            }
            done += received;
        }
        Ok(())
    }

    fn receive_all(&self, stream: &Stream, into: &mut dyn Sink, asked: &Asked) -> Result<u64> {
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        loop {
            match sys::receive(stream, &mut chunk).map_err(|e| self.failed(asked, &e))? {
                Received::Data(0) => return Ok(done),
                Received::Data(got) => {
                    into.write_all(&chunk[..got]).map_err(|e| transfer_failed(asked, &e))?;
                    done += got as u64;
                }
                Received::Hole(length) => {
                    into.skip(length).map_err(|e| transfer_failed(asked, &e))?;
                    done += length;
                }
            }
        }
    }
}

/// What some content had next.
struct Next {
    data: usize,
    /// The zeros behind.
    hole: u64,
}

impl Sending<'_> {
    /// Fills the buffer as far as the content goes, but not from a hole.
    fn next(&self, content: &mut dyn Content, buffer: &mut [u8]) -> std::io::Result<Next> {
        let mut data = 0;
        loop {
            let left = self.left - data as u64;
            let hole = if self.sparse { content.skip_hole(left)? } else { 0 };
            if hole > 0 || data == buffer.len() {
                return Ok(Next { data, hole });
            }
            match content.read(&mut buffer[data..]) {
                Ok(0) => return Ok(Next { data, hole }),
                Ok(n) => data += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Blocks of zeros go as holes, those between them in as few messages as they can.
    fn send(&mut self, data: &[u8]) -> std::result::Result<(), VirtError> {
        if !self.sparse {
            return self.write(data);
        }
        let mut rest = data;
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(run_length(rest));
            if is_zero(run) {
                self.skip(run.len() as u64);
            } else {
                self.write(run)?;
            }
            rest = behind;
        }
        Ok(())
    }

    fn write(&mut self, mut data: &[u8]) -> std::result::Result<(), VirtError> {
        self.tell_hole()?;
        self.left -= data.len() as u64;
        self.room -= data.len() as u64;
        while !data.is_empty() {
            let sent = self.stream.send(data)?;
            // A blocking stream takes all of it; a negative count means "would block" and cannot come.
            data = &data[usize::try_from(sent).unwrap_or(0)..];
        }
        Ok(())
    }

    fn skip(&mut self, length: u64) {
        self.hole += length;
        self.left -= length;
    }

    fn tell_hole(&mut self) -> std::result::Result<(), VirtError> {
        match std::mem::take(&mut self.hole) {
            0 => Ok(()),
            hole => sys::send_hole(self.stream, hole),
        }
    }
}

/// The length of the blocks at the beginning that are all zeros or all not.
fn run_length(data: &[u8]) -> usize {
    let mut blocks = data.chunks(BLOCK);
    let zero = blocks.next().is_some_and(is_zero);
    let alike = 1 + blocks.take_while(|block| is_zero(block) == zero).count();
    data.len().min(alike * BLOCK)
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().fold(0, |any, byte| any | byte) == 0
}

fn transfer_failed(asked: &Asked, error: &std::io::Error) -> HostError {
    let interrupted = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>);
    HostError::Transfer { operation: asked.operation.clone(), cause: error.to_string(), interrupted }
}
