//! The content of volumes.

use crate::{HostError, Result};
use foundry_core::record::VolumeRef;
use foundry_fetch::content::{Content, Sink};

/// What becomes of long runs of zeros, and of holes, in an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// They are written, like everything else: what the volume has allocated stays so.
    Written,
    /// They become holes of the volume, which cost nothing on the wire nor on the host's disk. A hole leaves
    /// what was there before, and cuts off what is behind it until more is written: the volume has to be new
    /// and without allocation.
    Skipped {
        /// How many other bytes are written at most: what the host has room for.
        at_most: u64,
    },
}

/// The content of volumes, there and back.
pub trait Transfers: Send + Sync {
    /// Writes `content` to a volume from `offset` on, until the content ends or `length` bytes are reached,
    /// and returns how far it came. Never sends more: one byte past the declared length ends libvirtd 11.3,
    /// as does a full disk, so that whoever calls makes sure of room. libvirt finds out some time later
    /// what was written (format, capacity); after [`Pools::refresh_pool`](super::Pools::refresh_pool) it knows.
    fn upload(
        &self,
        volume: &VolumeRef,
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64>;
    /// Writes `length` bytes of `content` to the beginning of a volume; fewer are an error.
    fn upload_all(&self, volume: &VolumeRef, content: &mut dyn Content, length: u64) -> Result<()> {
        let left = length - self.upload(volume, content, 0, length, Zeros::Written)?;
        if left == 0 {
            return Ok(());
        }
        Err(HostError::Transfer {
            operation: format!("upload to {volume}"),
            cause: format!("the content ended {left} bytes before its length of {length}"),
            interrupted: false,
        })
    }
    /// Reads up to `length` bytes of a volume from its beginning. Its holes are told as such.
    fn download(&self, volume: &VolumeRef, into: &mut dyn Sink, length: u64) -> Result<()> {
        self.download_span(volume, into, (0, length))
    }
    /// Reads up to so many bytes of a volume (the second number) from an offset on (the first).
    fn download_span(&self, volume: &VolumeRef, into: &mut dyn Sink, span: (u64, u64)) -> Result<()>;
}
