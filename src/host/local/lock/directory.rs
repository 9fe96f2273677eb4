//! The directory of the lock files. Only users who may use the same libvirt can open it.

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
use foundry_fetch::file_ownership::TrustedOwners;

/// The directory shared by all users of the system's libvirt. It is deleted at each boot.
const SYSTEM: &str = "/run/foundry";
/// The group of the system libvirt's users, in the distributions' packages.
const GROUP: &str = "libvirt";

/// The possible directories for lock files; the first one that this user may use is taken.
#[derive(Debug, Clone)]
pub(crate) struct LockDirectories {
    shared: Option<PathBuf>,
    own: Option<PathBuf>,
    is_root: bool,
}

/// An open directory for lock files.
pub(in crate::local) struct LockDirectory {
    pub(super) directory: OwnedFd,
    path: PathBuf,
    /// The group that may use its files, too.
    group: Option<Gid>,
}

impl LockDirectories {
    /// For resources of the system's libvirt, or of another host, which all foundries on this machine share.
    pub(crate) fn of_all() -> Self {
        Self { shared: Some(SYSTEM.into()), own: own(), is_root: rustix::process::geteuid().is_root() }
    }

    /// For resources of this user's own libvirt. Root has one directory for everything.
    pub(crate) fn of_user() -> Self {
        let all = Self::of_all();
        Self { shared: all.shared.filter(|_| all.is_root), ..all }
    }

    /// A single private directory.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn only(own: &Path) -> Self {
        Self { shared: None, own: Some(own.to_owned()), is_root: false }
    }

    /// The directory with this identity, if it is one of these.
    pub(in crate::local) fn find(&self, identity: &str) -> Option<LockDirectory> {
        let paths = [&self.shared, &self.own].into_iter().flatten();
        let mut open = paths.filter_map(|path| LockDirectory::open(path).ok().flatten());
        open.find(|place| place.identity() == identity)
    }

    /// Opens the first directory that this user may use. `None` if there is none at all.
    ///
    /// # Errors
    /// If a directory exists, but users without access to that libvirt could tamper with it.
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
        // Usually it already exists; any other problem shows when it is opened.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(path);
        LockDirectory::open(path)
    }
}

impl LockDirectory {
    /// `None` if it does not exist, or this user may not create files in it.
    fn open(path: &Path) -> Result<Option<Self>, LockError> {
        let shown = format!("{:?}", path.display().to_string());
        let unusable = |why: &str| Err(LockError::Unusable(format!("directory {shown} {why}")));
        // Everything is checked on the open directory, so nobody can replace it in between.
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
            path.parent().and_then(|parent| TrustedOwners::root_and_caller().find_untrusted_above(parent))
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

    /// Its device and inode, which identify it as long as it exists.
    pub(in crate::local) fn identity(&self) -> String {
        let found = rustix::fs::fstat(&self.directory);
        found.map(|found| format!("{}:{}", found.st_dev, found.st_ino)).unwrap_or_default()
    }

    /// Whether it has a file of that name.
    pub(in crate::local) fn has_file(&self, name: &str) -> bool {
        rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The names of its files that begin with a prefix.
    pub(in crate::local) fn files_named(&self, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// The path of a file in it, for messages.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{:?}", self.path.join(name).display().to_string())
    }

    /// Gives a new file to the group of the directory. If that is refused, users who may not lock the file have to
    /// wait.
    pub(super) fn share(&self, file: &OwnedFd) {
        if let Some(group) = self.group {
            let _ = rustix::fs::fchown(file, None, Some(group));
            let _ = rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP);
        }
    }
}

/// Creates the shared directory as the packages' systemd-tmpfiles configuration does at boot: for root and, if it
/// exists, the group libvirt. It appears at its path with its final permissions; an existing one is unchanged.
fn make_shared(path: &Path) {
    let missing = matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
    if missing {
        // If /run is not writable, root uses a directory of its own.
        let _ = put_shared(path, Accounts::load(Path::new("/")).group_id(GROUP));
    }
}

fn put_shared(path: &Path, group: Option<u32>) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let made = tempfile::Builder::new().prefix(".foundry-").tempdir_in(parent)?;
    chown(made.path(), None, group)?;
    let mode = if group.is_some() { 0o770 } else { 0o700 };
    // After chown(2), and not at creation, because the umask would take bits away.
    fs::set_permissions(made.path(), Permissions::from_mode(mode))?;
    // NOREPLACE: another foundry may have put its directory there meanwhile, with locks in it.
    rustix::fs::renameat_with(CWD, made.path(), CWD, path, RenameFlags::NOREPLACE)?;
    // It was renamed, so there is nothing to clean up.
    let _ = made.keep();
    Ok(())
}

/// The user's own directory: below the runtime directory, which is deleted at logout (XDG Base Directory
/// Specification), or, for processes without a login, below the cache.
fn own() -> Option<PathBuf> {
    let directories = UserDirectories::from_environment().absolute();
    let user = rustix::process::geteuid().as_raw();
    // After su(1), the variable may name another user's directory.
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

    /// A shared directory as root creates it for a group.
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
