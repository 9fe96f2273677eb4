//! Writing to a volume's file where it is within reach, as to any other file.
//!
//! A stream copies each byte four times more, and a write that fails inside of one ends libvirtd 11.3 for everybody.
//! So libvirt makes the volume, with the owner, the mode and the label that it wants, and the bytes go into its file
//! directly where that can be opened: on this machine, by who may write there. That the path means the same file here
//! as it means to libvirtd, which may live in another mount namespace, is proven and not believed: both must see the very
//! moment, to the nanosecond, at which the file was last changed.
//!
//! It is also the safer way. Who may write to the pool's directory can put a link in the volume's place, and libvirtd's
//! stream follows it, as root. Such a file is refused, and the stream is not tried then.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use virt::storage_vol::StorageVol;

use super::sending::{Target, transfer_failed};
use super::{Asked, Libvirt, libvirt_xml};
use crate::{HostError, HostInfo, Result};
use foundry_fetch::ownership;

/// The user that a file server makes of root, where it does so (exports(5), `root_squash`).
const SQUASHED: u32 = 65534;

/// The file of a volume.
pub(super) struct VolumeFile<'a> {
    file: File,
    position: u64,
    asked: &'a Asked,
}

impl Libvirt {
    /// The file of a volume, to be written from `offset` on; `None` where it is not within reach: the stream works
    /// everywhere.
    ///
    /// # Errors
    /// Where what is there is not what libvirt made.
    pub(super) fn file_of<'a>(
        &self,
        volume: &StorageVol,
        asked: &'a Asked,
        offset: u64,
    ) -> Result<Option<VolumeFile<'a>>> {
        if self.streams_only || !self.is_local() {
            return Ok(None);
        }
        let Ok(path) = self.raw("virStorageVolGetPath", asked, || volume.path()) else { return Ok(None) };
        let Ok(described) = self.raw("virStorageVolGetXMLDesc", asked, || volume.xml_desc(0)) else {
            return Ok(None);
        };
        let Some(described) = Described::read(&described).filter(|found| found.is_file) else {
            return Ok(None);
        };
        let replaced = |why: String| HostError::Transfer {
            operation: asked.operation.clone(),
            cause: format!("the volume's file was replaced: {path:?} {why}"),
            interrupted: false,
        };
        // What cannot be opened or is another file here than there is not to be judged, but for what it surely is.
        let (file, found) = match open(Path::new(&path)) {
            Ok(opened) => opened,
            Err(Refused::Replaced(why)) => return Err(replaced(why)),
            Err(Refused::OutOfReach) => return Ok(None),
        };
        if described.changed != Some((found.ctime(), found.ctime_nsec())) {
            return Ok(None);
        }
        match self.stranger(Path::new(&path), &found) {
            Some(why) => Err(replaced(why)),
            None => Ok(Some(VolumeFile { file, position: offset, asked })),
        }
    }

    /// Whose a file is that libvirt did not make: it belongs to none of those for whom libvirt makes files, or lies
    /// elsewhere, too.
    fn stranger(&self, path: &Path, found: &Metadata) -> Option<String> {
        if found.nlink() > 1 {
            return Some(format!("has {} names", found.nlink()));
        }
        let owner = found.uid();
        let of_directory = || std::fs::metadata(path.parent()?).ok().map(|directory| directory.uid());
        let is_known = owner == 0
            || owner == rustix::process::geteuid().as_raw()
            || owner == SQUASHED
            || of_directory() == Some(owner)
            || self.capabilities().ok().and_then(|c| c.guest_ids()).is_some_and(|(user, _)| user == owner);
        (!is_known).then(|| format!("belongs to user {owner}"))
    }
}

/// What libvirt says of a volume's file, which it looks at when it is asked.
struct Described {
    is_file: bool,
    /// Seconds and nanoseconds of its last change, of whatever of it.
    changed: Option<(i64, i64)>,
}

impl Described {
    fn read(xml: &str) -> Option<Self> {
        let document = libvirt_xml::parse(xml, "volume", "a volume").ok()?;
        let root = document.root_element();
        let changed = root.descendants().find(|node| node.has_tag_name("ctime")).and_then(|node| node.text());
        Some(Self { is_file: root.attribute("type") == Some("file"), changed: changed.and_then(moment) })
    }
}

/// `SECONDS.NANOSECONDS`, the latter left out where they are 0.
fn moment(text: &str) -> Option<(i64, i64)> {
    let (seconds, nanoseconds) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    Some((seconds.parse().ok()?, nanoseconds.parse().ok()?))
}

/// Why a volume's file is not opened.
enum Refused {
    /// It is something that libvirt did not make.
    Replaced(String),
    /// It is not here, or not to be written by the caller.
    OutOfReach,
}

/// Neither through a link nor from a device: what libvirt made is a file.
fn open(path: &Path) -> std::result::Result<(File, Metadata), Refused> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let looked = opened.and_then(|file| file.metadata().map(|found| (file, found)));
    match looked {
        Ok((file, found)) if found.is_file() => Ok((file, found)),
        Ok((_, found)) => Err(Refused::Replaced(is(&found))),
        // Also what may not be written to by the caller tells whether it is a link.
        Err(_) => match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Err(Refused::Replaced(is(&found))),
            _ => Err(Refused::OutOfReach),
        },
    }
}

fn is(found: &Metadata) -> String {
    format!("is {}", ownership::no_file(found).unwrap_or("another file"))
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
