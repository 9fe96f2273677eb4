//! Finds the locks on a file in the kernel's list.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

/// The kernel's list of locks (proc_locks(5)).
const LOCKS: &str = "/proc/locks";

/// Why a file may be in use, by the locks on it: QEMU locks each image that it works on (its option `locking` of the
/// block driver `file`), also if no libvirt knows of it. `None` if it is free, or no plain file that can be seen.
pub fn reason_if_locked(path: &Path) -> Option<String> {
    judge_locks(fs::read_to_string(LOCKS), &plain_file(path)?)
}

/// Whether a program certainly has a file open and locked. If the locks cannot be seen, it is not certain.
pub fn is_locked(path: &Path) -> bool {
    let file = plain_file(path);
    let locks = file.as_ref().and_then(|_| fs::read_to_string(LOCKS).ok());
    file.zip(locks).is_some_and(|(file, locks)| has_lock(&locks, file.dev(), file.ino()))
}

/// Links are followed: a lock is on the file to which they lead.
fn plain_file(path: &Path) -> Option<Metadata> {
    fs::metadata(path).ok().filter(Metadata::is_file)
}

/// A file counts as locked if its locks cannot be seen.
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
    // stat(2) of a file on btrfs returns a device with major number 0, which is not the one in this list.
    let same_device =
        |listed: &str| major(device) == 0 || listed == format!("{:02x}:{:02x}", major(device), minor(device));
    let is_it = |word: &str| {
        word.rsplit_once(':').is_some_and(|(listed, number)| {
            listed.contains(':') && number.parse() == Ok(inode) && same_device(listed)
        })
    };
    locks.lines().any(|line| line.split_whitespace().any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::makedev;

    const LISTED: &str = "1: OFDLCK ADVISORY  READ -1 08:11:1234 100 101
1: -> POSIX  ADVISORY  WRITE 77 08:11:99 0 EOF
2: FLOCK  ADVISORY  WRITE 42 00:1f:55 0 EOF
";

    #[test]
    fn a_file_whose_locks_cannot_be_seen_counts_as_locked() {
        let file = fs::metadata("/proc/self/exe").unwrap();
        assert_eq!(judge_locks(Ok(LISTED.to_owned()), &file), None);
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
            assert_eq!(has_lock(LISTED, device, inode), held, "{device} {inode}");
        }
    }
}
