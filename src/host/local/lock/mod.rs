//! Locks on resources, among the foundry processes of one machine.

mod directory;
mod holder;

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

pub(crate) use self::directory::LockDirectories;
pub(super) use self::directory::LockDirectory;
use foundry_core::record::digest_of;

/// How often a file is reopened because it was replaced before it was locked. Each time another foundry acquired and
/// released the lock.
const TRIES: usize = 32;

/// The exclusive right to change a resource, until this is dropped or the process ends for any reason.
///
/// It is a file lock (flock(2)), which the kernel releases when the process ends. The file is in a directory that only
/// users of the same libvirt can open (directory.rs), so nobody else can block foundry. Foundry processes on two
/// machines that change the same host do not see each other's locks.
///
/// The holder deletes the file on release, and a process that locks a file checks that the file still has its name. So
/// only killed processes leave files, which the next holder takes over and deletes.
#[derive(Debug)]
#[must_use]
pub struct HostLock {
    _held: Option<Held>,
}

/// Why a lock was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockError {
    /// Another process holds it: its id, if the kernel shows it.
    Taken(Option<u32>),
    /// The directory of the lock files, or a file in it, may belong to someone else or does not work; this is a
    /// sentence.
    Unusable(String),
}

impl HostLock {
    /// A lock that locks nothing, for a caller that does not have to wait.
    pub fn free() -> Self {
        Self { _held: None }
    }

    /// Takes the lock of a resource. If there is no directory for lock files, or no flock(2), nothing is locked.
    pub(crate) fn take(places: &LockDirectories, thing: &str) -> Result<Self, LockError> {
        match places.open()? {
            Some(place) => Self::take_file(&place, &digest_of(thing).replace("sha256:", "")),
            None => Ok(Self::free()),
        }
    }

    /// Takes the lock of a file of that name in the given directory.
    pub(super) fn take_file(place: &LockDirectory, name: &str) -> Result<Self, LockError> {
        for _ in 0..TRIES {
            match Held::lock(place, name)? {
                Locked::Ours(held) => return Ok(Self { _held: Some(held) }),
                Locked::Impossible => return Ok(Self::free()),
                Locked::Stale => {}
            }
        }
        Err(LockError::Taken(None))
    }

    /// Releases the lock and leaves the file, like a killed process.
    #[cfg(test)]
    pub(super) fn leave(self) {
        if let Some(held) = &self._held {
            let _ = rustix::fs::flock(&held.file, FlockOperation::Unlock);
        }
        std::mem::forget(self);
    }
}

/// A lock file that this process has locked.
#[derive(Debug)]
struct Held {
    file: OwnedFd,
    directory: OwnedFd,
    name: String,
}

enum Locked {
    Ours(Held),
    /// The previous holder deleted the file.
    Stale,
    /// The file system does not support locks.
    Impossible,
}

impl Held {
    fn lock(place: &LockDirectory, name: &str) -> Result<Locked, LockError> {
        let unusable = |why: &str| LockError::Unusable(format!("{} {why}", place.shown(name)));
        let file = match open(place, name) {
            Ok(file) => file,
            // Another process is creating it, or the directory was just deleted.
            Err(Errno::ACCESS | Errno::NOENT) => return Err(LockError::Taken(None)),
            Err(Errno::LOOP) => return Err(unusable("is a link")),
            Err(e) => return Err(unusable(&format!("cannot be opened: {e}"))),
        };
        let found = rustix::fs::fstat(&file).map_err(|e| unusable(&e.to_string()))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(unusable("is not a regular file"));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Taken(holder::of(&found))),
            // A signal came in between: try again, as with a replaced file.
            Err(Errno::INTR) => return Ok(Locked::Stale),
            Err(_) => return Ok(Locked::Impossible),
        }
        // The holder deletes the file through this descriptor, whatever its path leads to by then.
        let directory = place.directory.try_clone().map_err(|e| unusable(&e.to_string()))?;
        let held = Self { file, directory, name: name.to_owned() };
        Ok(if held.has_its_name() { Locked::Ours(held) } else { Locked::Stale })
    }

    /// Whether the name still refers to this file, so that the next process opens the same one.
    fn has_its_name(&self) -> bool {
        let there = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let same = |a: &Stat, b: &Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        matches!((rustix::fs::fstat(&self.file), there), (Ok(own), Ok(there)) if same(&own, &there))
    }
}

impl Drop for Held {
    /// Deletes only the locked file. If someone deleted it, a new file of its name belongs to another process.
    fn drop(&mut self) {
        if self.has_its_name() {
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
        // Closing the file is not enough: a child process that another thread is starting has it open until its exec,
        // and keeps the lock (flock(2)).
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Opens a lock file, or creates it. An existing file may be a link or a FIFO, so links are not followed and a FIFO
/// does not block. Only a file that was created here gets its permissions set.
fn open(place: &LockDirectory, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let made = flags | OFlags::CREATE | OFlags::EXCL;
    match rustix::fs::openat(&place.directory, name, made, Mode::RUSR | Mode::WUSR) {
        Ok(file) => {
            place.share(&file);
            Ok(file)
        }
        Err(Errno::EXIST) => rustix::fs::openat(&place.directory, name, flags, Mode::empty()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
