//! Writes a volume's file directly if it is accessible, and reads small parts of it.
//!
//! A stream copies each byte four more times, and a failed write inside a stream crashes libvirtd 11.3 for all clients.
//! So libvirt creates the volume, with its owner, mode and label, and the data are written directly to its file if it
//! can be opened: on this machine, by a user who may write there. libvirtd may run in another mount namespace, so
//! foundry does not assume that the path means the same file to both: both must see the same time of the last change,
//! to the nanosecond.
//!
//! A stream needs three calls, and a process that holds the connection, even for a small read (an image's header, a
//! note, a marker). The open file needs neither.
//!
//! Direct writing is also safer. A user who may write to the pool's directory can replace the volume with a link, and
//! libvirtd's stream follows it as root. Such a file is refused, and the stream is not tried then.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use virt::storage_vol::StorageVol;

use super::sending::{CHUNK, Sending, transfer_failed};
use super::write_behind::{InPlace, WriteBehind};
use super::{Asked, Libvirt, libvirt_xml};
use crate::{HostError, HostInfo, Result};
use foundry_fetch::file_ownership;

/// The user to which a file server maps root, if it does (exports(5), `root_squash`).
const SQUASHED: u32 = 65534;

/// The open file of a volume.
pub(super) struct VolumeFile<'a> {
    file: File,
    /// The position of the first byte to write.
    offset: u64,
    asked: &'a Asked,
}

impl Libvirt {
    /// Opens the file of a volume for writing from `offset` on; `None` if it is not accessible. The stream always
    /// works.
    ///
    /// # Errors
    /// If the file at the path is not the one that libvirt created.
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
        // A file that cannot be opened, or that is another one here than for libvirtd, is not judged, unless it
        // certainly is a replacement.
        let (file, found) = match open(path, OpenOptions::new().read(true).write(true)) {
            Ok(opened) => opened,
            Err(Refused::Replaced(why)) => return Err(replaced(why)),
            Err(Refused::OutOfReach) => return Ok(None),
        };
        // Another file than libvirtd's, for example in another mount namespace: the stream writes to the right one.
        if !described.matches(&found) {
            return Ok(None);
        }
        match self.describe_foreign_file(path, &found) {
            Some(why) => Err(replaced(why)),
            None => Ok(Some(VolumeFile { file, offset, asked })),
        }
    }

    /// Opens the file of a volume for reading; `None` if it is not accessible or anything about it is unusual. The
    /// stream then reads what libvirt sees.
    pub(super) fn file_to_read(&self, volume: &StorageVol, asked: &Asked) -> Option<File> {
        let described = self.described_file(volume, asked)?;
        let (file, found) = open(Path::new(&described.path), OpenOptions::new().read(true)).ok()?;
        described.matches(&found).then_some(file)
    }

    /// What libvirt reports about a volume's file, if it may be on this machine.
    fn described_file(&self, volume: &StorageVol, asked: &Asked) -> Option<DescribedFile> {
        if self.streams_only || !self.is_local() {
            return None;
        }
        let xml = self.raw("virStorageVolGetXMLDesc", asked, || volume.xml_desc(0)).ok()?;
        DescribedFile::read(&xml)
    }

    /// Describes a file that libvirt did not create: it belongs to none of the users for whom libvirt creates files, or
    /// it has other hard links.
    fn describe_foreign_file(&self, path: &Path, found: &Metadata) -> Option<String> {
        // A second name means that someone linked an existing file into the volume's place.
        if found.nlink() > 1 {
            return Some(format!("has {} names", found.nlink()));
        }
        let uid = found.uid();
        let of_directory = || std::fs::metadata(path.parent()?).ok().map(|directory| directory.uid());
        let is_known = uid == 0
            || uid == rustix::process::geteuid().as_raw()
            || uid == SQUASHED
            || of_directory() == Some(uid)
            || self.capabilities().ok().and_then(|c| c.guest_ids()).is_some_and(|(user, _)| user == uid);
        (!is_known).then(|| format!("belongs to user {uid}"))
    }
}

/// libvirt's current description of a volume's file.
struct DescribedFile {
    path: String,
    /// Time of its last change of data or metadata (ctime), in seconds and nanoseconds.
    changed: (i64, i64),
}

impl DescribedFile {
    /// `None` if it is not a file, or if libvirt's description is incomplete.
    fn read(xml: &str) -> Option<Self> {
        let document = libvirt_xml::parse_xml(xml, "volume", "a volume").ok()?;
        let root = document.root_element();
        let target = root.children().find(|node| node.has_tag_name("target"))?;
        let text = |name: &str| target.descendants().find(|node| node.has_tag_name(name))?.text();
        let described = Self { path: text("path")?.to_owned(), changed: text("ctime").and_then(parse_time)? };
        (root.attribute("type") == Some("file")).then_some(described)
    }

    /// Whether an opened file is the described one.
    fn matches(&self, found: &Metadata) -> bool {
        self.changed == (found.ctime(), found.ctime_nsec())
    }
}

/// Parses `SECONDS.NANOSECONDS`; libvirt omits the nanoseconds if they are 0.
fn parse_time(text: &str) -> Option<(i64, i64)> {
    let (seconds, nanoseconds) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    Some((seconds.parse().ok()?, nanoseconds.parse().ok()?))
}

/// Why a volume's file was not opened.
enum Refused {
    /// libvirt did not create it.
    Replaced(String),
    /// It does not exist here, or the caller may not open it.
    OutOfReach,
}

/// Opens a regular file. Links and devices are refused, because libvirt creates files.
fn open(path: &Path, options: &mut OpenOptions) -> std::result::Result<(File, Metadata), Refused> {
    // NONBLOCK: opening a FIFO must not wait for its other end.
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let looked = opened.and_then(|file| file.metadata().map(|found| (file, found)));
    match looked {
        Ok((file, found)) if found.is_file() => Ok((file, found)),
        Ok((_, found)) => Err(Refused::Replaced(describe_kind(&found))),
        // This also detects a link that the caller may not open.
        Err(_) => match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Err(Refused::Replaced(describe_kind(&found))),
            _ => Err(Refused::OutOfReach),
        },
    }
}

fn describe_kind(found: &Metadata) -> String {
    format!("is {}", file_ownership::non_file_kind(found).unwrap_or("another file"))
}

impl VolumeFile<'_> {
    /// Writes the content, at most `length` bytes. Returns the number of bytes, holes included.
    pub(super) fn fill(&self, sending: Sending<'_>, length: u64) -> Result<u64> {
        let failed = |e: &std::io::Error| transfer_failed(self.asked, e);
        // For a single chunk, starting a thread does not pay.
        let sent = if length <= CHUNK as u64 {
            sending.send_to(&mut InPlace { file: &self.file, position: self.offset, failed: &failed })?
        } else {
            WriteBehind::run(&self.file, self.offset, &failed, |target| sending.send_to(target))?
        };
        self.set_length(self.offset + sent).map_err(|e| failed(&e))?;
        Ok(sent)
    }

    /// A hole at the end exists only after the length is set.
    fn set_length(&self, least: u64) -> std::io::Result<()> {
        if self.file.metadata()?.len() < least { self.file.set_len(least) } else { Ok(()) }
    }
}
