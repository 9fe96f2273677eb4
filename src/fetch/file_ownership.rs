//! Determines who could replace a file.
//!
//! If another user can change or replace a file, it may not be the file that was checked. So every file that foundry
//! trusts or gives to a guest must belong to root or the caller, and so must each directory above it (as sshd(8) and
//! sudoers(5) require of their files). A directory that everyone can write to is allowed if it is sticky (`/tmp`):
//! users cannot replace each other's files there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// The users (uids) that a file and the directories above it may belong to.
#[derive(Debug, Clone, Copy)]
pub struct TrustedOwners {
    /// User id of the caller.
    user: u32,
    /// User id of another allowed owner, of the file itself only.
    also: Option<u32>,
}

impl TrustedOwners {
    /// Trusts root and the caller.
    pub fn root_and_caller() -> Self {
        Self { user: rustix::process::geteuid().as_raw(), also: None }
    }

    /// Also trusts one more owner of the file itself: libvirt gives disks to the user that runs QEMU.
    pub fn with_file_owner(self, also: Option<u32>) -> Self {
        Self { also, ..self }
    }

    fn is_trusted_owner(self, found: &Metadata) -> bool {
        found.uid() == 0 || found.uid() == self.user
    }

    /// Finds out who else can change an open file or the directories above it: half a sentence, or `None`. The path
    /// must not contain links.
    pub fn find_untrusted(self, path: &Path, file: &Metadata) -> io::Result<Option<String>> {
        let shown = |path: &Path| format!("{:?}", path.display().to_string());
        if !self.is_trusted_owner(file) && Some(file.uid()) != self.also {
            return Ok(Some(format!("{} belongs to user {}", shown(path), file.uid())));
        }
        if is_open_to_others(file) {
            return Ok(Some(format!("other users can write to {} (mode {})", shown(path), mode_text(file))));
        }
        for directory in path.ancestors().skip(1).filter(|directory| directory.is_absolute()) {
            if let Some(who) = self.find_untrusted_directory_owner(&fs::symlink_metadata(directory)?) {
                return Ok(Some(format!("directory {} {who}", shown(directory))));
            }
        }
        Ok(None)
    }

    /// Finds out who else can replace the files in a directory.
    fn find_untrusted_directory_owner(self, found: &Metadata) -> Option<String> {
        if !self.is_trusted_owner(found) {
            return Some(format!("belongs to user {}", found.uid()));
        }
        (is_open_to_others(found) && found.mode() & STICKY == 0)
            .then(|| format!("is writable by other users (mode {})", mode_text(found)))
    }

    /// Finds out who else can replace the files in a directory, or the directory itself. Returns `None` also if it
    /// cannot be examined.
    pub fn find_untrusted_above(self, directory: &Path) -> Option<String> {
        let whole = fs::canonicalize(directory).ok()?;
        whole.ancestors().find_map(|directory| {
            let who = self.find_untrusted_directory_owner(&fs::symlink_metadata(directory).ok()?)?;
            Some(format!("directory {:?} {who}", directory.display().to_string()))
        })
    }
}

/// Whether other users can write to it. On most systems a user's own group has the user's number; root's group is
/// trusted.
fn is_open_to_others(found: &Metadata) -> bool {
    let group_is_owners = found.gid() == 0 || found.gid() == found.uid();
    found.mode() & OTHERS_WRITE != 0 || (found.mode() & GROUP_WRITES != 0 && !group_is_owners)
}

fn mode_text(found: &Metadata) -> String {
    format!("{:o}", found.mode() & 0o7777)
}

/// Opens a file of settings or names for reading, of any type, if only root and the caller can change it. It does not
/// block on a FIFO before that is known.
///
/// # Errors
/// Errors of the operating system; an error that [`is_untrusted`] recognizes, if another user can change the file.
pub fn open_trusted(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    let disobeyed = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, UntrustedFile(why));
    if !TrustedOwners::root_and_caller().is_trusted_owner(&found) {
        return Err(disobeyed(format!("it belongs to user {} instead of you or root", found.uid())));
    }
    if found.is_file() && is_open_to_others(&found) {
        return Err(disobeyed(format!("other users can write to it (mode {})", mode_text(&found))));
    }
    // Only opening must not block; a reader of a FIFO has to wait for its writer.
    let status = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, status - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}

/// Why a file is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UntrustedFile(String);

/// Whether a file exists but is not trusted.
pub fn is_untrusted(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<UntrustedFile>)
}

/// Opens a regular file and returns it with its real path. Links are resolved before; opening neither follows a link
/// nor blocks.
///
/// # Errors
/// Errors of the operating system; [`io::ErrorKind::InvalidInput`] if it is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<(File, PathBuf, Metadata)> {
    let whole = fs::canonicalize(path)?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    // Opening a device could already have an effect.
    let what = non_file_kind(&fs::symlink_metadata(&whole)?);
    if let Some(what) = what {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")));
    }
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&whole)?;
    let found = file.metadata()?;
    // Again, on the open file: it may have been replaced since it was looked at.
    match non_file_kind(&found) {
        Some(what) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")))
        }
        None => Ok((file, whole, found)),
    }
}

/// Names the type of a file that is not regular.
pub fn non_file_kind(found: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = found.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_block_device() => Some("a block device"),
        () if kind.is_char_device() => Some("a character device"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_socket() => Some("a socket"),
        () if kind.is_symlink() => Some("a link"),
        () => Some("something else"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, chown};

    fn untrusted_part(path: &Path) -> Option<String> {
        let (_, whole, found) = open_regular(path).unwrap();
        TrustedOwners::root_and_caller().find_untrusted(&whole, &found).unwrap()
    }

    #[test]
    fn files_that_others_can_change_are_untrusted() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        let file = below.join("file");
        fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&file, 0o644);
        assert_eq!(untrusted_part(&file), None);
        set(&file, 0o666);
        assert!(untrusted_part(&file).unwrap().contains("other users can write to"));
        set(&file, 0o644);
        set(&below, 0o777);
        assert!(untrusted_part(&file).unwrap().starts_with("directory"));
        assert!(TrustedOwners::root_and_caller().find_untrusted_above(&below).is_some());
        set(&below, 0o1777);
        assert_eq!(untrusted_part(&file), None, "sticky");
        set(&below, 0o755);
        set(dir.path(), 0o777);
        assert!(untrusted_part(&file).unwrap().contains("is writable by other users"), "a directory above");
        set(dir.path(), 0o755);
        if !rustix::process::geteuid().is_root() {
            return;
        }
        chown(&file, Some(12345), None).unwrap();
        assert!(untrusted_part(&file).unwrap().ends_with("belongs to user 12345"));
        let (_, whole, found) = open_regular(&file).unwrap();
        assert_eq!(
            TrustedOwners::root_and_caller()
                .with_file_owner(Some(12345))
                .find_untrusted(&whole, &found)
                .unwrap(),
            None
        );
        chown(&file, Some(0), None).unwrap();
        chown(&below, Some(12345), None).unwrap();
        assert!(untrusted_part(&file).unwrap().contains("belongs to user 12345"));
    }

    #[test]
    fn only_own_and_root_files_are_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yaml");
        fs::write(&file, "x").unwrap();
        let set = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        set(0o644);
        let read = |path: &Path| {
            let mut text = String::new();
            open_trusted(path)?.take(10).read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read(&file).unwrap(), "x");
        assert_eq!(read(Path::new("/dev/zero")).unwrap(), "\0".repeat(10));
        assert!(read(Path::new("/dev/null")).unwrap().is_empty());
        assert!(!is_untrusted(&read(&dir.path().join("absent")).unwrap_err()));
        set(0o646);
        assert!(is_untrusted(&read(&file).unwrap_err()));
        set(0o644);
        if rustix::process::geteuid().is_root() {
            chown(&file, Some(12345), None).unwrap();
            let refused = read(&file).unwrap_err();
            assert!(is_untrusted(&refused));
            assert_eq!(refused.to_string(), "it belongs to user 12345 instead of you or root");
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        for (path, what) in [
            (fifo.as_path(), "a FIFO"),
            (&link, "a FIFO"),
            (dir.path(), "a directory"),
            (Path::new("/dev/null"), "a character device"),
        ] {
            let refused = open_regular(path).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(refused.to_string(), format!("it is {what}, not a regular file"));
        }
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(open_regular(&link).unwrap().1, file.canonicalize().unwrap());
    }
}
