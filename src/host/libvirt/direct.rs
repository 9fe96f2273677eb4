//! Writing to a volume's file where it is within reach, as to any other file.
//!
//! A stream copies each byte four times more, and a write that fails inside of one ends libvirtd 11.3 for everybody.
//! So libvirt makes the volume, with the owner, the mode and the label that it wants, and the bytes go into its file
//! directly where that can be opened: on this machine, by who may write there. That the path means the same file here
//! as it means to libvirtd, which may live in another mount namespace, is proven and not believed: libvirt writes a few
//! random bytes to the volume, and they have to be found here.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use uuid::Uuid;
use virt::storage_vol::StorageVol;

use super::sending::{Target, transfer_failed};
use super::{Asked, Libvirt};
use crate::host::{Host, Result, Zeros};

/// What is shorter is sent faster than the proof is made.
const WORTH_IT: u64 = 1 << 20;
/// Length of the random bytes.
const TOKEN: usize = 16;

/// The file of a volume.
pub(super) struct VolumeFile<'a> {
    file: File,
    position: u64,
    asked: &'a Asked,
}

impl Libvirt {
    /// The file of a volume, to be written from `offset` on; `None` where it is not within reach, for whatever
    /// reason: the stream works everywhere.
    pub(super) fn file_of<'a>(
        &self,
        volume: &StorageVol,
        asked: &'a Asked,
        offset: u64,
        length: u64,
    ) -> Option<VolumeFile<'a>> {
        if length < WORTH_IT || self.streams_only || !self.is_local() {
            return None;
        }
        let path = self.raw("virStorageVolGetPath", asked, || volume.path()).ok()?;
        let file = open(&path).ok()?;
        self.is_proven(&file, volume, asked, offset).then_some(VolumeFile { file, position: offset, asked })
    }

    fn is_proven(&self, file: &File, volume: &StorageVol, asked: &Asked, offset: u64) -> bool {
        let token = Uuid::new_v4().into_bytes();
        let sent = self.stream_to(volume, &mut &token[..], asked, (offset, TOKEN as u64), Zeros::Written);
        let mut found = [0; TOKEN];
        // What is to be a hole is zeros again.
        sent.is_ok()
            && file.read_exact_at(&mut found, offset).is_ok()
            && found == token
            && file.write_all_at(&[0; TOKEN], offset).is_ok()
    }
}

/// Neither through a link nor from a device: what libvirt made is a file.
fn open(path: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

impl VolumeFile<'_> {
    /// A hole at the end is only there once the length is set.
    pub(super) fn finish(&self) -> Result<()> {
        let long_enough = self.file.metadata().and_then(|now| {
            if now.len() < self.position { self.file.set_len(self.position) } else { Ok(()) }
        });
        long_enough.map_err(|e| transfer_failed(self.asked, &e))
    }
}

impl Target for VolumeFile<'_> {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all_at(data, self.position).map_err(|e| transfer_failed(self.asked, &e))?;
        self.position += data.len() as u64;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        self.position += length;
        Ok(())
    }
}
