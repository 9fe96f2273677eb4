//! Decides who could replace a file.
//!
//! A file that somebody else can change or replace is not what was looked at when it is used. So what is believed, obeyed
//! or handed to a guest belongs to root or to the caller, and so does each directory on its way (as sshd(8) and
//! sudoers(5) want it of theirs). A directory that everybody may write to is fine where it is sticky (`/tmp`): there
//! nobody replaces what is another's.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Whom files may belong to.
#[derive(Debug, Clone, Copy)]
pub struct Trusted {
    /// The caller.
    user: u32,
    /// Whoever else may own the file itself.
    also: Option<u32>,
}

impl Trusted {
    /// Root and the caller.
    pub fn root_and_caller() -> Self {
        Self { user: rustix::process::geteuid().as_raw(), also: None }
    }

    /// And, of the file itself, one more: libvirt gives a disk's files to the user that runs QEMU.
    pub fn with_file_owner(self, also: Option<u32>) -> Self {
        Self { also, ..self }
    }

    fn is_trusted_owner(self, found: &Metadata) -> bool {
        found.uid() == 0 || found.uid() == self.user
    }

    /// Who else may change an open file, or what is on its way: half a sentence about it. The path has no links in it.
    pub fn find_untrusted(self, path: &Path, file: &Metadata) -> io::Result<Option<String>> {
        let shown = |path: &Path| format!("{:?}", path.display().to_string());
        if !self.is_trusted_owner(file) && Some(file.uid()) != self.also {
            return Ok(Some(format!("{} belongs to user {}", shown(path), file.uid())));
        }
        if is_open_to_others(file) {
            return Ok(Some(format!(
                "{} may be written to by others (mode {})",
                shown(path),
                mode_text(file)
            )));
        }
        for directory in path.ancestors().skip(1).filter(|directory| directory.is_absolute()) {
            if let Some(who) = self.find_untrusted_directory_owner(&fs::symlink_metadata(directory)?) {
                return Ok(Some(format!("directory {} {who}", shown(directory))));
            }
        }
        Ok(None)
    }

    /// Who else may put something in the place of what lies in a directory.
    fn find_untrusted_directory_owner(self, found: &Metadata) -> Option<String> {
        if !self.is_trusted_owner(found) {
            return Some(format!("belongs to user {}", found.uid()));
        }
        (is_open_to_others(found) && found.mode() & STICKY == 0)
            .then(|| format!("may be written to by others (mode {})", mode_text(found)))
    }

    /// Who else may replace what lies in a directory, or the directory itself; `None` also where it cannot be seen.
    pub fn find_untrusted_above(self, directory: &Path) -> Option<String> {
        let whole = fs::canonicalize(directory).ok()?;
        whole.ancestors().find_map(|directory| {
            let who = self.find_untrusted_directory_owner(&fs::symlink_metadata(directory).ok()?)?;
            Some(format!("directory {:?} {who}", directory.display().to_string()))
        })
    }
}

/// A group of one's own has the number of its user on most systems; root's is root's.
fn is_open_to_others(found: &Metadata) -> bool {
    let group_is_owners = found.gid() == 0 || found.gid() == found.uid();
    found.mode() & OTHERS_WRITE != 0 || (found.mode() & GROUP_WRITES != 0 && !group_is_owners)
}

fn mode_text(found: &Metadata) -> String {
    format!("{:o}", found.mode() & 0o7777)
}

/// A file of settings or of names, open to be read: whatever it is, but nobody else's. It never waits for a writer before
/// that is known.
///
/// # Errors
/// The system's; one that [`is_disobeyed`] tells where somebody else than root and the caller decides what it says.
pub fn open_trusted(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    let disobeyed = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, UntrustedFile(why));
    if !Trusted::root_and_caller().is_trusted_owner(&found) {
        return Err(disobeyed(format!("it belongs to user {}, neither to you nor to root", found.uid())));
    }
    if found.is_file() && is_open_to_others(&found) {
        return Err(disobeyed(format!("others may write to it (mode {})", mode_text(&found))));
    }
    let status = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, status - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}

/// Why what a file says is not done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UntrustedFile(String);

/// Whether a file is there, and another user's.
pub fn is_untrusted(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<UntrustedFile>)
}

/// A regular file, open, with its place: links on the way are followed before, and none when it is opened, which never
/// waits.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] where it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<(File, PathBuf, Metadata)> {
    let whole = fs::canonicalize(path)?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    // A device may do something when it is opened.
    let what = non_file_kind(&fs::symlink_metadata(&whole)?);
    if let Some(what) = what {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what} and no file")));
    }
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&whole)?;
    let found = file.metadata()?;
    match non_file_kind(&found) {
        Some(what) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what} and no file"))),
        None => Ok((file, whole, found)),
    }
}

/// What something is that is no regular file.
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
        Trusted::root_and_caller().find_untrusted(&whole, &found).unwrap()
    }

    #[test]
    fn what_others_can_change_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        let file = below.join("file");
        fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&file, 0o644);
        assert_eq!(untrusted_part(&file), None);
        set(&file, 0o666);
        assert!(untrusted_part(&file).unwrap().contains("may be written to by others (mode 666)"));
        set(&file, 0o644);
        set(&below, 0o777);
        assert!(untrusted_part(&file).unwrap().starts_with("directory"));
        assert!(Trusted::root_and_caller().find_untrusted_above(&below).is_some());
        set(&below, 0o1777);
        assert_eq!(untrusted_part(&file), None, "sticky");
        set(&below, 0o755);
        set(dir.path(), 0o777);
        assert!(untrusted_part(&file).unwrap().contains("may be written to"), "a directory above");
        set(dir.path(), 0o755);
        if !rustix::process::geteuid().is_root() {
            return;
        }
        chown(&file, Some(12345), None).unwrap();
        assert!(untrusted_part(&file).unwrap().ends_with("belongs to user 12345"));
        let (_, whole, found) = open_regular(&file).unwrap();
        assert_eq!(
            Trusted::root_and_caller().with_file_owner(Some(12345)).find_untrusted(&whole, &found).unwrap(),
            None
        );
        chown(&file, Some(0), None).unwrap();
        chown(&below, Some(12345), None).unwrap();
        assert!(untrusted_part(&file).unwrap().contains("belongs to user 12345"));
    }

    #[test]
    fn only_ones_own_and_roots_files_are_obeyed() {
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
            assert_eq!(refused.to_string(), "it belongs to user 12345, neither to you nor to root");
        }
    }

    #[test]
    fn only_files_are_opened() {
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
            assert_eq!(refused.to_string(), format!("it is {what} and no file"));
        }
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(open_regular(&link).unwrap().1, file.canonicalize().unwrap());
    }
}
