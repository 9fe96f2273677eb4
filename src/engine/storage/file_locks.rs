//! Looks up locks on files in this machine's kernel. QEMU locks each image that it uses.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{major, minor};

use crate::Context;
use foundry_core::error::{Code, Error};

/// The metadata of a local file, without following links; `None` if it is remote or cannot be seen.
pub(crate) fn file_metadata(context: &Context, path: &str) -> Option<Metadata> {
    let is_here = context.host.is_local() && path.starts_with('/');
    is_here.then(|| fs::symlink_metadata(path).ok()).flatten()
}

/// Returns the reason to keep a file if a program has it locked. QEMU locks each image that it uses (option `locking` of
/// the block driver `file`), even if no libvirt manages it. Remote files cannot be checked.
pub(crate) fn reason_if_locked(context: &Context, path: &str) -> Option<String> {
    let is_here = context.host.is_local() && path.starts_with('/');
    // Links are followed, because the target is what gets locked.
    let file = is_here.then(|| fs::metadata(path).ok()).flatten().filter(Metadata::is_file)?;
    judge_locks(fs::read_to_string("/proc/locks"), &file)
}

/// Returns whether a program certainly has a file open and locked; false if that cannot be seen.
pub(crate) fn is_locked(context: &Context, path: &str) -> bool {
    let is_here = context.host.is_local() && path.starts_with('/');
    let file = is_here.then(|| fs::metadata(path).ok()).flatten().filter(Metadata::is_file);
    let locks = file.as_ref().and_then(|_| fs::read_to_string("/proc/locks").ok());
    file.zip(locks).is_some_and(|(file, locks)| has_lock(&locks, file.dev(), file.ino()))
}

/// The error for a disk that is in use by a program outside this libvirt.
pub(crate) fn open_elsewhere(vm: &str, pool: &str, name: &str) -> Error {
    Error::new(
        Code::DiskOpenElsewhere,
        format!("volume '{name}' in pool '{pool}', a disk of VM '{vm}', is open elsewhere"),
    )
    .because("a program has it open and locked, as a QEMU of another libvirt or of another host does")
}

/// Judges the list of locks; if it cannot be read, the file counts as locked.
fn judge_locks(locks: io::Result<String>, file: &Metadata) -> Option<String> {
    match locks {
        Err(e) => Some(format!("cannot check whether a program has it open: /proc/locks is unreadable: {e}")),
        Ok(locks) => {
            has_lock(&locks, file.dev(), file.ino()).then(|| "a program has it open and locked".to_owned())
        }
    }
}

/// Searches proc_locks(5). Each line has a field `08:01:1234`: the device in hexadecimal, and the inode.
fn has_lock(locks: &str, device: u64, inode: u64) -> bool {
    // On btrfs, stat(2) returns an anonymous device (major 0) that differs from the one in /proc/locks.
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
