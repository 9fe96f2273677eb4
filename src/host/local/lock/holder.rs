//! Finds the process that holds a lock, as the kernel lists it: the content of a file proves nothing.

use rustix::fs::{Stat, major, minor};

/// The process that holds the lock of a file; `None` if it is not visible, for example in another PID namespace.
pub(super) fn of(file: &Stat) -> Option<u32> {
    in_locks(&std::fs::read_to_string("/proc/locks").ok()?, file.st_dev, file.st_ino)
}

/// Parses proc_locks(5): `2: FLOCK  ADVISORY  WRITE 42 00:1f:55 0 EOF`, with the device in hexadecimal. A waiting
/// process has an arrow in front.
fn in_locks(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, "FLOCK", _, _, pid, told, ..] if *told == file => pid.parse().ok().filter(|pid| *pid > 0),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::makedev;

    #[test]
    fn the_one_that_has_the_lock_is_found() {
        let locks = "1: OFDLCK ADVISORY  READ -1 08:11:1234 100 101
2: FLOCK  ADVISORY  WRITE 42 00:1f:55 0 EOF
2: -> FLOCK  ADVISORY  WRITE 43 00:1f:56 0 EOF
3: POSIX  ADVISORY  WRITE 44 00:1f:57 0 EOF
4: FLOCK  ADVISORY  WRITE 0 00:1f:58 0 EOF
";
        let found = |minor, inode| in_locks(locks, makedev(0, minor), inode);
        assert_eq!(found(31, 55), Some(42));
        for inode in [56, 57, 58, 1234] {
            assert_eq!(found(31, inode), None, "{inode}");
        }
        assert_eq!(found(32, 55), None, "another file system");
    }
}
