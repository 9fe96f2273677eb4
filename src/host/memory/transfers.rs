//! Uploads and downloads of volumes.

use super::calls::Call;
use super::{Failure, MemoryHost};
use crate::{Result, Stopped, Transfers, Zeros};
use foundry_core::record::VolumeRef;
use foundry_fetch::content::{Content, Sink};

impl Transfers for MemoryHost {
    /// Content is written up to the point where it ended or failed, as on a real host.
    fn upload(
        &self,
        VolumeRef { pool, name }: &VolumeRef,
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64> {
        let call = Call::about_volume("upload", "upload to", pool, name);
        self.call(&call, |state| {
            let space = state.space.saturating_sub(state.allocated_bytes()).saturating_sub(state.others);
            let kind = state.existing_pool(pool)?.kind.clone();
            let file = state.file(pool, name)?;
            kind.check_upload()?;
            let mut sent = Sent { length, room: zeros, bytes: Vec::new(), data: 0 };
            let outcome = sent.take_from(content);
            kind.check_end(file, offset + sent.bytes.len() as u64)?;
            let before = file.allocation;
            file.write(offset, &sent.bytes, sent.data);
            if file.allocation.saturating_sub(before) > space {
                // On a full disk libvirtd 11.3 exits, and every client loses its connection.
                return Err(Failure::Lost("Cannot recv data: Connection reset by peer".into()));
            }
            outcome.map_err(|e| transfer_failed(&e))?;
            Ok(sent.bytes.len() as u64)
        })
    }

    fn download_span(
        &self,
        VolumeRef { pool, name }: &VolumeRef,
        into: &mut dyn Sink,
        (offset, length): (u64, u64),
    ) -> Result<()> {
        let call = Call::about_volume("download", "download", pool, name);
        self.call(&call, |state| {
            state.existing_pool(pool)?.kind.check_download()?;
            let bytes = state.file(pool, name)?.read(offset.saturating_add(length));
            let from = usize::try_from(offset).map_or(bytes.len(), |from| from.min(bytes.len()));
            into.write_all(&bytes[from..]).map_err(|e| transfer_failed(&e))
        })
    }
}

/// Content that was read.
struct Sent {
    length: u64,
    room: Zeros,
    bytes: Vec<u8>,
    /// The number of bytes that are not holes.
    data: u64,
}

impl Sent {
    fn take_from(&mut self, content: &mut dyn Content) -> std::io::Result<()> {
        loop {
            let left = self.length - self.bytes.len() as u64;
            let room = match self.room {
                Zeros::Written => left,
                Zeros::Skipped { at_most } => {
                    let hole = content.skip_hole(left)?;
                    self.bytes.resize(self.bytes.len() + hole as usize, 0);
                    (left - hole).min(at_most - self.data)
                }
            };
            let before = self.bytes.len();
            self.bytes.resize(before + room.min(64 << 10) as usize, 0);
            let outcome = content.read(&mut self.bytes[before..]);
            self.bytes.truncate(before + outcome.as_ref().unwrap_or(&0));
            let block = &self.bytes[before..];
            let is_hole = self.room != Zeros::Written && block.iter().all(|byte| *byte == 0);
            self.data += if is_hole { 0 } else { block.len() as u64 };
            if outcome? == 0 {
                return Ok(());
            }
        }
    }
}

fn transfer_failed(error: &std::io::Error) -> Failure {
    // As in the adapter, only this is the user's doing.
    let stopped = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>);
    Failure::Transfer { cause: error.to_string(), interrupted: stopped }
}
