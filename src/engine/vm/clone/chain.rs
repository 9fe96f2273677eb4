//! Finds the files below the disks of a VM, with their formats.
//!
//! A format comes from the record, from the definition, or from libvirt's list of images. The chain ends at a raw file:
//! its guest may have written what looks like the header of an overlay.

use super::Original;
use crate::Context;
use crate::disk::own_disk::is_on;
use crate::preflight::storage::BackingFile;
use crate::vm::handle::refused_unchanged;
use foundry_core::error::{Code, Error};
use foundry_core::plan::DiskFormat;
use foundry_core::record::RecordedVolume;

/// The most files below a disk; QEMU's own limit is 200.
const LONGEST_CHAIN: usize = 190;

impl Original {
    /// A file below a disk, and all files below that one.
    ///
    /// # Errors
    /// If a format is not known, or there are too many files.
    pub(super) fn chain_from(&self, context: &Context, path: &str) -> Result<Vec<BackingFile>, Error> {
        self.chain_on(context, path, self.format_of(context, path)?)
    }

    /// As [`Self::chain_from`], for a file of a known format.
    ///
    /// # Errors
    /// As [`Self::chain_from`].
    pub(super) fn chain_on(
        &self,
        context: &Context,
        path: &str,
        format: String,
    ) -> Result<Vec<BackingFile>, Error> {
        let mut chain = vec![BackingFile { path: path.to_owned(), format }];
        while let Some(last) = chain.last().filter(|last| last.format != DiskFormat::Raw.as_str()) {
            if chain.len() > LONGEST_CHAIN {
                let message = format!("VM '{}' has too many snapshots", self.handle.name());
                return Err(refused_unchanged(Code::SnapshotInTheWay, message)
                    .because(format!("a disk of the copy would be on more than {LONGEST_CHAIN} files")));
            }
            let listed = context.host.volume_at(&last.path)?;
            let Some(below) = listed.and_then(|volume| volume.backing) else { break };
            let format = self.format_of(context, &below)?;
            chain.push(BackingFile { path: below, format });
        }
        Ok(chain)
    }

    fn format_of(&self, context: &Context, path: &str) -> Result<String, Error> {
        let handle = &self.handle;
        if let Some(own) = handle.record.volumes.iter().find(|volume| volume.path == path) {
            return Ok(own.format.clone());
        }
        let is_right_above = |volume: &&RecordedVolume| volume.backing.as_deref() == Some(path);
        let above = handle.record.volumes.iter().find(is_right_above);
        let defined = above.and_then(|volume| handle.next.disks.iter().find(|disk| is_on(disk, volume)));
        if let Some(format) = defined.and_then(|disk| disk.backing_format.clone()) {
            return Ok(format);
        }
        let listed = context.host.volume_at(path)?;
        listed.map(|volume| volume.format).ok_or_else(|| {
            let message =
                format!("the format of {path}, below a disk of VM '{}', is not known", handle.name());
            refused_unchanged(Code::ImageOutsidePools, message)
                .because("it is in no active pool, and the definition of the VM does not name its format")
        })
    }
}
