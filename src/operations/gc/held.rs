//! What the kernel of this machine says of a file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use crate::operations::Session;

/// The file itself, and not what a link leads to; `None` elsewhere, and where it cannot be seen.
pub(super) fn metadata(session: &Session<'_>, path: &str) -> Option<Metadata> {
    let is_here = session.host.is_local() && path.starts_with('/');
    is_here.then(|| fs::symlink_metadata(path).ok()).flatten()
}

/// Whether a program holds a lock on the file: QEMU does on each image that it works on (its page "Disk image file
/// locking"), also where no libvirt knows of it. What cannot be opened from here is not known to be held.
pub(super) fn is_held(session: &Session<'_>, path: &str) -> bool {
    metadata(session, path).is_some_and(|m| m.is_file()) && open(path).is_some_and(|file| is_locked(&file))
}

fn open(path: &str) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()
}

fn is_locked(file: &File) -> bool {
    let whole = Flock {
        start: 0,
        length: 0,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    matches!(fcntl_getlk(file, &whole), Ok(Some(_)))
}
