//! Writing to a volume's file where it is within reach, as to any other file; and reading a little from it.
//!
//! A stream copies each byte four times more, and a write that fails inside of one ends libvirtd 11.3 for everybody.
//! So libvirt makes the volume, with the owner, the mode and the label that it wants, and the bytes go into its file
//! directly where that can be opened: on this machine, by who may write there. That the path means the same file here
//! as it means to libvirtd, which may live in another mount namespace, is proven and not believed: both must see the very
//! moment, to the nanosecond, at which the file was last changed.
//!
//! What is read in one piece (an image's head, a note, a mark) takes a stream three calls and a process that holds the
//! connection, and the open file none of them.
//!
//! It is also the safer way to write. Who may write to the pool's directory can put a link in the volume's place, and libvirtd's
//! stream follows it, as root. Such a file is refused, and the stream is not tried then.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use virt::storage_vol::StorageVol;

use super::sending::{CHUNK, Sending, transfer_failed};
use super::write_behind::{InPlace, WriteBehind};
use super::{Asked, Libvirt, libvirt_xml};
use crate::{HostError, HostInfo, Result};
use foundry_fetch::ownership;

/// The user that a file server makes of root, where it does so (exports(5), `root_squash`).
const SQUASHED: u32 = 65534;

/// The file of a volume.
pub(super) struct VolumeFile<'a> {
    file: File,
    /// Where the first byte goes.
    offset: u64,
    asked: &'a Asked,
}

impl Libvirt {
    /// The file of a volume, to be written from `offset` on; `None` where it is not within reach: the stream works
    /// everywhere.
    ///
    /// # Errors
    /// Where what is there is not what libvirt made.
    pub(super) fn file_to_write<'a>(
        &self,
        volume: &StorageVol,
        asked: &'a Asked,
        offset: u64,
    ) -> Result<Option<VolumeFile<'a>>> {
        let Some(described) = self.described_file(volume, asked) else { return Ok(None) };
        let path = Path::new(&described.path);
        let replaced = |why: String| HostError::Transfer {
            operation: asked.operation.clone(),
            cause: format!("the volume's file was replaced: {path:?} {why}"),
            interrupted: false,
        };
        // What cannot be opened or is another file here than there is not to be judged, but for what it surely is.
        let (file, found) = match open(path, OpenOptions::new().read(true).write(true)) {
            Ok(opened) => opened,
            Err(Refused::Replaced(why)) => return Err(replaced(why)),
            Err(Refused::OutOfReach) => return Ok(None),
        };
        if !described.is(&found) {
            return Ok(None);
        }
        match self.stranger(path, &found) {
            Some(why) => Err(replaced(why)),
            None => Ok(Some(VolumeFile { file, offset, asked })),
        }
    }

    /// The file of a volume, to be read; `None` where it is not within reach, or anything is odd about it: the stream
    /// reads what libvirt sees.
    pub(super) fn file_to_read(&self, volume: &StorageVol, asked: &Asked) -> Option<File> {
        let described = self.described_file(volume, asked)?;
        let (file, found) = open(Path::new(&described.path), OpenOptions::new().read(true)).ok()?;
        described.is(&found).then_some(file)
    }

    /// What libvirt says of a volume's file, if it may be on this machine.
    fn described_file(&self, volume: &StorageVol, asked: &Asked) -> Option<Described> {
        if self.streams_only || !self.is_local() {
            return None;
        }
        let xml = self.raw("virStorageVolGetXMLDesc", asked, || volume.xml_desc(0)).ok()?;
        Described::read(&xml)
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
    path: String,
    /// Seconds and nanoseconds of its last change, of whatever of it.
    changed: (i64, i64),
}

impl Described {
    /// `None` for what is no file, or of which libvirt does not say all.
    fn read(xml: &str) -> Option<Self> {
        let document = libvirt_xml::parse_xml(xml, "volume", "a volume").ok()?;
        let root = document.root_element();
        let target = root.children().find(|node| node.has_tag_name("target"))?;
        let text = |name: &str| target.descendants().find(|node| node.has_tag_name(name))?.text();
        let described = Self { path: text("path")?.to_owned(), changed: text("ctime").and_then(moment)? };
        (root.attribute("type") == Some("file")).then_some(described)
    }

    /// Whether that is the very file.
    fn is(&self, found: &Metadata) -> bool {
        self.changed == (found.ctime(), found.ctime_nsec())
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
    /// It is not here, or the caller may not open it.
    OutOfReach,
}

/// Neither through a link nor from a device: what libvirt made is a file.
fn open(path: &Path, options: &mut OpenOptions) -> std::result::Result<(File, Metadata), Refused> {
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let looked = opened.and_then(|file| file.metadata().map(|found| (file, found)));
    match looked {
        Ok((file, found)) if found.is_file() => Ok((file, found)),
        Ok((_, found)) => Err(Refused::Replaced(is(&found))),
        // Also what the caller may not open tells whether it is a link.
        Err(_) => match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Err(Refused::Replaced(is(&found))),
            _ => Err(Refused::OutOfReach),
        },
    }
}

fn is(found: &Metadata) -> String {
    format!("is {}", ownership::non_file_kind(found).unwrap_or("another file"))
}

impl VolumeFile<'_> {
    /// Writes all that is sent, at most `length` bytes; returns how far it came, holes included.
    pub(super) fn fill(&self, sending: Sending<'_>, length: u64) -> Result<u64> {
        let failed = |e: &std::io::Error| transfer_failed(self.asked, e);
        // A thread is not worth its start for a single chunk.
        let sent = if length <= CHUNK as u64 {
            sending.to(&mut InPlace { file: &self.file, position: self.offset, failed: &failed })?
        } else {
            WriteBehind::run(&self.file, self.offset, &failed, |target| sending.to(target))?
        };
        self.set_length(self.offset + sent).map_err(|e| failed(&e))?;
        Ok(sent)
    }

    /// A hole at the end is only there once the length is set.
    fn set_length(&self, least: u64) -> std::io::Result<()> {
        if self.file.metadata()?.len() < least { self.file.set_len(least) } else { Ok(()) }
    }
}
