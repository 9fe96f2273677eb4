//! The content of volumes.

use crate::{HostError, Result};
use foundry_core::record::VolumeRef;
use foundry_fetch::content::{Content, Sink};

/// How an upload treats long runs of zeros, and holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// They are written like other data, so allocated space stays allocated.
    Written,
    /// They become holes of the volume, which cost nothing on the wire or on the host's disk. A hole does not erase old
    /// data, and truncates the volume until more is written, so the volume must be new and unallocated.
    Skipped {
        /// The most bytes of other data that the host has space for.
        at_most: u64,
    },
}

/// Uploads and downloads of volumes.
pub trait Transfers: Send + Sync {
    /// Writes `content` to a volume from `offset` on, until the content ends or `length` bytes are written, and returns
    /// the number of bytes. It never sends more: one byte beyond the declared length crashes libvirtd 11.3, and so does a
    /// full disk, so the caller checks the space first. libvirt detects the new format and capacity at the next
    /// [`Pools::refresh_pool`](super::Pools::refresh_pool).
    fn upload(
        &self,
        volume: &VolumeRef,
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64>;
    /// Writes `length` bytes of `content` to the start of a volume; it is an error if the content is shorter.
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
    /// Reads up to `length` bytes from the start of a volume; holes are passed to the sink as holes.
    fn download(&self, volume: &VolumeRef, into: &mut dyn Sink, length: u64) -> Result<()> {
        self.download_span(volume, into, (0, length))
    }
    /// Reads a span of a volume: from the offset in `span.0`, up to `span.1` bytes.
    fn download_span(&self, volume: &VolumeRef, into: &mut dyn Sink, span: (u64, u64)) -> Result<()>;
}
