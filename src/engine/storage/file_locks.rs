//! Locks on a file, as this machine's kernel lists them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{major, minor};

use crate::Context;
use foundry_core::error::{Code, Error};

/// The file itself, and not what a link leads to; `None` elsewhere, and where it cannot be seen.
pub(crate) fn file_metadata(context: &Context, path: &str) -> Option<Metadata> {
    let is_here = context.host.is_local() && path.starts_with('/');
    is_here.then(|| fs::symlink_metadata(path).ok()).flatten()
}

/// Why a file is to stay by what the kernel says of its locks, if it is: QEMU holds one on each image that it works on
/// (its option `locking` of the block driver `file`), also where no libvirt knows of it. Of another machine's files
/// nobody can tell.
pub(crate) fn reason_if_locked(context: &Context, path: &str) -> Option<String> {
    let is_here = context.host.is_local() && path.starts_with('/');
    // The file that a link leads to is the one that is locked.
    let file = is_here.then(|| fs::metadata(path).ok()).flatten().filter(Metadata::is_file)?;
    judge_locks(fs::read_to_string("/proc/locks"), &file)
}

/// Whether a program surely has a file open and locked; where that cannot be seen, it is unknown.
pub(crate) fn is_locked(context: &Context, path: &str) -> bool {
    let is_here = context.host.is_local() && path.starts_with('/');
    let file = is_here.then(|| fs::metadata(path).ok()).flatten().filter(Metadata::is_file);
    let locks = file.as_ref().and_then(|_| fs::read_to_string("/proc/locks").ok());
    file.zip(locks).is_some_and(|(file, locks)| has_lock(&locks, file.dev(), file.ino()))
}

/// The error for a disk of a VM that a program has open which this libvirt does not know.
pub(crate) fn open_elsewhere(vm: &str, pool: &str, name: &str) -> Error {
    Error::new(
        Code::DiskOpenElsewhere,
        format!("volume '{name}' in pool '{pool}', a disk of VM '{vm}', is open elsewhere"),
    )
    .because("a program has it open and locked, as a QEMU of another libvirt or of another host does")
}

/// Locks that cannot be seen may be there.
fn judge_locks(locks: io::Result<String>, file: &Metadata) -> Option<String> {
    match locks {
        Err(e) => {
            Some(format!("/proc/locks, which tells whether a program has it open, cannot be read: {e}"))
        }
        Ok(locks) => {
            has_lock(&locks, file.dev(), file.ino()).then(|| "a program has it open and locked".to_owned())
        }
    }
}

/// Each line of proc_locks(5) has one word of device and inode: `08:01:1234`, the device in hexadecimal.
fn has_lock(locks: &str, device: u64, inode: u64) -> bool {
    // What stat(2) says of a file on btrfs is a device without a major number, which is not the one that is told here.
    let same_device =
        |told: &str| major(device) == 0 || told == format!("{:02x}:{:02x}", major(device), minor(device));
    let is_it = |word: &str| {
        word.rsplit_once(':').is_some_and(|(told, number)| {
            told.contains(':') && number.parse() == Ok(inode) && same_device(told)
        })
    };
    locks.lines().any(|line| line.split_whitespace().any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::makedev;

    const LOCKS: &str = "1: OFDLCK ADVISORY  READ -1 08:11:1234 100 101
1: -> POSIX  ADVISORY  WRITE 77 08:11:99 0 EOF
2: FLOCK  ADVISORY  WRITE 42 00:1f:55 0 EOF
";

    #[test]
    fn locks_that_cannot_be_seen_hold_a_file() {
        let file = fs::metadata("/proc/self/exe").unwrap();
        assert_eq!(judge_locks(Ok(LOCKS.to_owned()), &file), None);
        assert!(judge_locks(Err(io::ErrorKind::PermissionDenied.into()), &file).is_some());
    }

    #[test]
    fn a_lock_is_found_by_device_and_inode() {
        let (disk, other, without) = (makedev(8, 17), makedev(8, 1), makedev(0, 40));
        for (device, inode, held) in [
            (disk, 1234, true),
            (disk, 99, true),
            (disk, 100, false),
            (disk, 42, false),
            (other, 1234, false),
            (without, 55, true),
            (without, 56, false),
        ] {
            assert_eq!(has_lock(LOCKS, device, inode), held, "{device} {inode}");
        }
    }
}
