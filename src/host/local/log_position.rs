//! Reads what was appended to a log since a given position.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The end of a log at some moment.
pub struct LogPosition {
    path: PathBuf,
    /// Device, inode and length; `None` if there was no such file.
    was: Option<(u64, u64, u64)>,
}

impl LogPosition {
    /// The end as it is now.
    pub fn at_end(path: &Path) -> Self {
        let was = path.symlink_metadata().ok().map(|file| (file.dev(), file.ino(), file.len()));
        Self { path: path.to_owned(), was }
    }

    /// What was appended since, at most its last `most` bytes; `None` if the log cannot be read.
    pub fn read_since(&self, most: u64) -> Option<String> {
        let now = self.path.symlink_metadata().ok()?;
        // Of another file, and of one that was truncated, all is new.
        let from = match self.was {
            Some((device, inode, length))
                if (device, inode) == (now.dev(), now.ino()) && length <= now.len() =>
            {
                length
            }
            _ => 0,
        };
        read_tail(&self.path, from, most)
    }
}

/// The last `most` bytes of a plain file, but nothing before `from`, as UTF-8 with replacement characters. Links are
/// not followed, and a pipe is not waited for.
pub fn read_tail(path: &Path, from: u64, most: u64) -> Option<String> {
    read_tail_if(path, from, most, |_| true)
}

/// As [`read_tail`], if `may` accepts the opened file.
pub fn read_tail_if(path: &Path, from: u64, most: u64, may: impl Fn(&Metadata) -> bool) -> Option<String> {
    let mut file: File =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()?;
    let metadata = file.metadata().ok().filter(Metadata::is_file).filter(may)?;
    file.seek(SeekFrom::Start(from.max(metadata.len().saturating_sub(most)))).ok()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_the_end_of_what_is_new_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let new = LogPosition::at_end(&path);
        assert_eq!(new.read_since(10), None);
        std::fs::write(&path, "old\n").unwrap();
        assert_eq!(new.read_since(10).as_deref(), Some("old\n"));
        let mark = LogPosition::at_end(&path);
        assert_eq!(mark.read_since(10).as_deref(), Some(""));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"0123456789").unwrap();
        assert_eq!(mark.read_since(10).as_deref(), Some("0123456789"));
        assert_eq!(mark.read_since(3).as_deref(), Some("789"));
        std::fs::write(&path, "new").unwrap();
        assert_eq!(mark.read_since(10).as_deref(), Some("new"), "it was truncated");
    }

    #[test]
    fn neither_links_nor_pipes_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, pipe) =
            (folder.path().join("file"), folder.path().join("link"), folder.path().join("pipe"));
        std::fs::write(&file, "secret").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [&link, &pipe, folder.path()] {
            assert_eq!(read_tail(path, 0, 10), None, "{}", path.display());
        }
    }
}
