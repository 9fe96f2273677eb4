//! Locks on a resource, among the foundry processes of one machine.

mod directory;
mod holder;

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

pub(crate) use self::directory::LockDirectories;
pub(super) use self::directory::LockDirectory;
use foundry_core::record::digest_of;

/// How often a file is opened anew that is another one by the time that it is locked. Each time another foundry came
/// and went.
const TRIES: usize = 32;

/// The right to act on a thing until it is dropped, or its process ends however it does.
///
/// It is the lock of a file (flock(2)), which the kernel takes back from a process that ends. The file lies in a directory
/// that only those may open who may use that libvirt anyway (place.rs): nobody else can keep a foundry from its work.
/// Foundries on two machines that change the same host know nothing of each other's.
///
/// Whoever has the lock removes the file, and whoever gets one looks whether it still is the file of that name: so none
/// lies around but those of processes that were killed, which the next one takes and removes.
#[derive(Debug)]
#[must_use]
pub struct HostLock {
    _held: Option<Held>,
}

/// Why a lock was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockError {
    /// Another has it: the process, as the kernel says, where it does.
    Taken(Option<u32>),
    /// The directory of the lock files, or what lies there, can be somebody else's, or does not work: a sentence.
    Unusable(String),
}

impl HostLock {
    /// The lock of one that need not wait for anybody.
    pub fn free() -> Self {
        Self { _held: None }
    }

    /// Takes the lock of a thing of that name. If there is no directory for files, or no flock(2), nobody waits.
    pub(crate) fn take(places: &LockDirectories, thing: &str) -> Result<Self, LockError> {
        match places.open()? {
            Some(place) => Self::take_in(&place, thing),
            None => Ok(Self::free()),
        }
    }

    /// Takes the lock of a thing of that name in that directory.
    pub(super) fn take_in(place: &LockDirectory, thing: &str) -> Result<Self, LockError> {
        let name = file_name(thing);
        for _ in 0..TRIES {
            match Held::lock(place, &name)? {
                Locked::Ours(held) => return Ok(Self { _held: Some(held) }),
                Locked::Impossible => return Ok(Self::free()),
                Locked::Stale => {}
            }
        }
        Err(LockError::Taken(None))
    }

    /// Whether there is a lock file of a thing of that name: a process has the lock, or was killed while it had it.
    pub(super) fn exists_in(place: &LockDirectory, thing: &str) -> bool {
        let found = rustix::fs::statat(&place.directory, file_name(thing), AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok()
    }

    /// Leaves the file behind, as a process does that is killed.
    #[cfg(test)]
    pub(super) fn leave(self) {
        if let Some(held) = &self._held {
            let _ = rustix::fs::flock(&held.file, FlockOperation::Unlock);
        }
        std::mem::forget(self);
    }
}

fn file_name(thing: &str) -> String {
    digest_of(thing).replace("sha256:", "")
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
    /// The file was removed by who had it before.
    Stale,
    /// This file system has no locks.
    Impossible,
}

impl Held {
    fn lock(place: &LockDirectory, name: &str) -> Result<Locked, LockError> {
        let unusable = |why: &str| LockError::Unusable(format!("{} {why}", place.shown(name)));
        let file = match open(place, name) {
            Ok(file) => file,
            // Being made by another, or the directory was just removed.
            Err(Errno::ACCESS | Errno::NOENT) => return Err(LockError::Taken(None)),
            Err(Errno::LOOP) => return Err(unusable("is a link")),
            Err(e) => return Err(unusable(&format!("cannot be opened: {e}"))),
        };
        let found = rustix::fs::fstat(&file).map_err(|e| unusable(&e.to_string()))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(unusable("is no regular file"));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Taken(holder::of(&found))),
            Err(Errno::INTR) => return Ok(Locked::Stale),
            Err(_) => return Ok(Locked::Impossible),
        }
        let directory = place.directory.try_clone().map_err(|e| unusable(&e.to_string()))?;
        let held = Self { file, directory, name: name.to_owned() };
        Ok(if held.has_its_name() { Locked::Ours(held) } else { Locked::Stale })
    }

    /// Whether the file is still the one of its name, which the next one opens.
    fn has_its_name(&self) -> bool {
        let there = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let same = |a: &Stat, b: &Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        matches!((rustix::fs::fstat(&self.file), there), (Ok(own), Ok(there)) if same(&own, &there))
    }
}

impl Drop for Held {
    /// Only the file that is locked goes: another one of the name, where somebody removed this one, is another's.
    fn drop(&mut self) {
        if self.has_its_name() {
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
        // To close the file is not enough: a program that another thread is about to start has it open until its exec,
        // and the lock with it (flock(2)).
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Opens a lock file, and makes it where there is none. What lies there may be a link or a FIFO: neither is followed nor
/// waited for. Only a file that was made here is given rights.
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
