//! Where the lock files are: a directory that only those may open who may use that libvirt.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Gid, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::LockError;
use crate::local::accounts::Accounts;
use crate::local::directories::UserDirectories;
use foundry_fetch::ownership::Trusted;

/// Of all that may use the system's libvirt. It is gone with the boot.
const SYSTEM: &str = "/run/foundry";
/// Who may use the system's libvirt, in the distributions' packages.
const GROUP: &str = "libvirt";

/// The directories that lock files may be in, the first that this user may use.
#[derive(Debug, Clone)]
pub(crate) struct LockDirectories {
    shared: Option<PathBuf>,
    own: Option<PathBuf>,
    is_root: bool,
}

/// A directory for lock files, open.
pub(in crate::local) struct LockDirectory {
    pub(super) directory: OwnedFd,
    path: PathBuf,
    /// The group that its files are for, too.
    group: Option<Gid>,
}

impl LockDirectories {
    /// For what all of this machine's foundries act on that may use the system's libvirt, or another host's.
    pub(crate) fn of_all() -> Self {
        Self { shared: Some(SYSTEM.into()), own: own(), is_root: rustix::process::geteuid().is_root() }
    }

    /// For what only this user's foundries act on. Root's have one place for everything.
    pub(crate) fn of_user() -> Self {
        let all = Self::of_all();
        Self { shared: all.shared.filter(|_| all.is_root), ..all }
    }

    /// One directory of a user's own.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn only(own: &Path) -> Self {
        Self { shared: None, own: Some(own.to_owned()), is_root: false }
    }

    /// The directory of that identity, if it is one of these.
    pub(in crate::local) fn find(&self, identity: &str) -> Option<LockDirectory> {
        let paths = [&self.shared, &self.own].into_iter().flatten();
        let mut open = paths.filter_map(|path| LockDirectory::open(path).ok().flatten());
        open.find(|place| place.identity() == identity)
    }

    /// Opens the first one that this user may use. `None` where there is none at all.
    ///
    /// # Errors
    /// Where one is there, and others than those who may use it could have a hand in it.
    pub(in crate::local) fn open(&self) -> Result<Option<LockDirectory>, LockError> {
        if let Some(path) = &self.shared {
            if self.is_root {
                make_shared(path);
            }
            if let Some(place) = LockDirectory::open(path)? {
                return Ok(Some(place));
            }
        }
        let Some(path) = &self.own else { return Ok(None) };
        // That it is there already is what mostly comes of it; all else shows when it is opened.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(path);
        LockDirectory::open(path)
    }
}

impl LockDirectory {
    /// `None` where it is not there, or this user may not make files in it.
    fn open(path: &Path) -> Result<Option<Self>, LockError> {
        let shown = format!("{:?}", path.display().to_string());
        let unusable = |why: &str| Err(LockError::Unusable(format!("directory {shown} {why}")));
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::ACCESS | Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return unusable("is a link, or no directory"),
            Err(e) => return unusable(&format!("cannot be opened: {e}")),
        };
        let found = match rustix::fs::fstat(&directory) {
            Ok(found) => found,
            Err(e) => return unusable(&e.to_string()),
        };
        let own = rustix::process::geteuid().as_raw();
        if found.st_uid != 0 && found.st_uid != own {
            return unusable(&format!("belongs to user {}, neither to you nor to root", found.st_uid));
        }
        if found.st_mode & 0o002 != 0 {
            return unusable(&format!("may be written to by everybody (mode {:o})", found.st_mode & 0o7777));
        }
        if let Some(stranger) =
            path.parent().and_then(|parent| Trusted::root_and_caller().find_untrusted_above(parent))
        {
            return Err(LockError::Unusable(format!("directory {shown} is not safe: {stranger}")));
        }
        if rustix::fs::accessat(&directory, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())
            .is_err()
        {
            return Ok(None);
        }
        let is_groups = found.st_mode & 0o020 != 0;
        let group = is_groups.then(|| Gid::from_raw(found.st_gid));
        Ok(Some(Self { directory, path: path.to_owned(), group }))
    }

    /// Its device and inode: while it is there, no other has these.
    pub(in crate::local) fn identity(&self) -> String {
        let found = rustix::fs::fstat(&self.directory);
        found.map(|found| format!("{}:{}", found.st_dev, found.st_ino)).unwrap_or_default()
    }

    /// A file in it, for messages.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{:?}", self.path.join(name).display().to_string())
    }

    /// Gives a new file to the group of the directory. That this is refused keeps out who may not lock it, and they wait.
    pub(super) fn share(&self, file: &OwnedFd) {
        if let Some(group) = self.group {
            let _ = rustix::fs::fchown(file, None, Some(group));
            let _ = rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP);
        }
    }
}

/// Makes the directory of all, as the packages have systemd-tmpfiles make it at a boot: for root and the group libvirt,
/// where there is one. It comes into place with its rights; one that is there stays as it is.
fn make_shared(path: &Path) {
    let missing = matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
    if missing {
        // Where /run cannot be written to, root has a directory of its own.
        let _ = put_shared(path, Accounts::load(Path::new("/")).group_id(GROUP));
    }
}

fn put_shared(path: &Path, group: Option<u32>) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let made = tempfile::Builder::new().prefix(".foundry-").tempdir_in(parent)?;
    chown(made.path(), None, group)?;
    let mode = if group.is_some() { 0o770 } else { 0o700 };
    fs::set_permissions(made.path(), Permissions::from_mode(mode))?;
    rustix::fs::renameat_with(CWD, made.path(), CWD, path, RenameFlags::NOREPLACE)?;
    // It has another name now.
    let _ = made.keep();
    Ok(())
}

/// The user's own: below the directory that is gone when the user has logged out (XDG Base Directory Specification), or,
/// for what runs without a login, below the cache.
fn own() -> Option<PathBuf> {
    let directories = UserDirectories::from_environment().absolute();
    let user = rustix::process::geteuid().as_raw();
    // After su(1) it may be another's.
    let is_own = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.uid() == user);
    let runtime = directories.runtime().filter(is_own);
    let runtime = runtime.or_else(|| Some(PathBuf::from(format!("/run/user/{user}"))).filter(is_own));
    let cache = || Some(directories.cache()?.join("foundry/turns"));
    runtime.map(|path| path.join("foundry")).or_else(cache)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    /// A shared directory as root makes it, of a group.
    pub(in crate::local) fn shared(path: &Path, group: Option<u32>) -> LockDirectories {
        put_shared(path, group).unwrap();
        LockDirectories { shared: Some(path.to_owned()), own: None, is_root: false }
    }

    #[test]
    fn a_directory_that_is_there_keeps_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("foundry");
        put_shared(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        assert!(put_shared(&path, None).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn who_may_not_use_the_first_one_has_a_directory_of_his_own() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let places = LockDirectories { shared: Some(at("shared")), own: Some(at("run/own")), is_root: false };
        assert_eq!(places.open().unwrap().unwrap().path, at("run/own"), "nobody made the shared one");
        let as_root = LockDirectories { is_root: true, ..places.clone() };
        assert_eq!(as_root.open().unwrap().unwrap().path, at("shared"));
        assert_eq!(places.open().unwrap().unwrap().path, at("shared"));
        let nowhere = LockDirectories { shared: None, own: Some("/proc/none".into()), is_root: false };
        assert!(nowhere.open().unwrap().is_none());
    }
}
