//! Reads a log with its rotated backups, and what is appended to it later.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A log that virtlogd may rotate (virtlogd(8)): `PATH.0` is the newest backup. It reads the oldest backup first.
pub struct LogReader {
    path: PathBuf,
    is_allowed: Box<dyn Fn(&Metadata) -> bool>,
    /// The backups that are not read yet, the oldest last.
    backups: Vec<File>,
    /// The log; `None` if it did not exist when it was last opened.
    log: Option<File>,
}

/// What a log has to read.
#[derive(Debug, PartialEq, Eq)]
pub enum LogContent {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// Nothing now; more may be appended.
    End,
    /// The log does not exist.
    Missing,
}

impl LogReader {
    /// Opens the log, if it exists, and its backups. Only files that `is_allowed` accepts are read, and neither links
    /// nor pipes.
    ///
    /// # Errors
    /// If the log exists and cannot be read, or is not allowed ([`io::ErrorKind::InvalidInput`]).
    pub fn open(path: &Path, is_allowed: impl Fn(&Metadata) -> bool + 'static) -> io::Result<Self> {
        let mut reader =
            Self { path: path.to_owned(), is_allowed: Box::new(is_allowed), backups: Vec::new(), log: None };
        // The log first: if it is rotated meanwhile, it is found again as a backup, and known by its inode.
        reader.log = reader.open_file(path)?;
        let own = reader.log.as_ref().map(id_of).transpose()?;
        for number in 0.. {
            let mut backup = path.as_os_str().to_owned();
            backup.push(format!(".{number}"));
            let Some(file) = reader.open_file(Path::new(&backup))? else { break };
            if Some(id_of(&file)?) != own {
                reader.backups.push(file);
            }
        }
        Ok(reader)
    }

    /// Reads the next bytes. After a rotation, the rest of the old file comes before the new one; a log that was
    /// truncated is read from its beginning.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(&mut self) -> io::Result<LogContent> {
        while let Some(backup) = self.backups.last_mut() {
            if let Some(bytes) = read_chunk(backup)? {
                return Ok(LogContent::Bytes(bytes));
            }
            self.backups.pop();
        }
        if self.log.is_none() {
            self.log = self.open_file(&self.path)?;
        }
        let Some(log) = &mut self.log else { return Ok(LogContent::Missing) };
        // Before it is read to its end: what is appended before a rotation is in it.
        let now = match self.path.symlink_metadata() {
            Ok(now) => Some(now),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if let Some(bytes) = read_chunk(log)? {
            return Ok(LogContent::Bytes(bytes));
        }
        match now {
            None => {
                self.log = None;
                Ok(LogContent::Missing)
            }
            Some(now) if (now.dev(), now.ino()) != id_of(log)? => {
                self.log = None;
                self.read()
            }
            Some(now) if now.len() < log.stream_position()? => {
                log.seek(SeekFrom::Start(0))?;
                Ok(read_chunk(log)?.map_or(LogContent::End, LogContent::Bytes))
            }
            Some(_) => Ok(LogContent::End),
        }
    }

    /// `None` if there is no such file.
    fn open_file(&self, path: &Path) -> io::Result<Option<File>> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        if metadata.is_file() && (self.is_allowed)(&metadata) {
            return Ok(Some(file));
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a log that foundry reads"))
    }
}

fn id_of(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|file| (file.dev(), file.ino()))
}

/// `None` at the end.
fn read_chunk(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; CHUNK];
    let count = file.read(&mut bytes)?;
    bytes.truncate(count);
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text(reader: &mut LogReader) -> String {
        let mut all = Vec::new();
        while let LogContent::Bytes(bytes) = reader.read().unwrap() {
            all.extend(bytes);
        }
        String::from_utf8(all).unwrap()
    }

    fn append(path: &Path, text: &str) {
        let mut options = OpenOptions::new();
        options.append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn backups_come_first_and_rotation_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("log.1"), "a").unwrap();
        std::fs::write(file("log.0"), "b").unwrap();
        std::fs::write(file("log"), "c").unwrap();
        let mut reader = LogReader::open(&file("log"), |_| true).unwrap();
        assert_eq!(text(&mut reader), "abc");
        append(&file("log"), "d");
        assert_eq!(text(&mut reader), "d");
        append(&file("log"), "e");
        std::fs::rename(file("log"), file("log.0")).unwrap();
        append(&file("log"), "f");
        assert_eq!(text(&mut reader), "ef");
        std::fs::write(file("log"), "").unwrap();
        assert_eq!(reader.read().unwrap(), LogContent::End);
        append(&file("log"), "g");
        assert_eq!(text(&mut reader), "g", "it was truncated");
        std::fs::remove_file(file("log")).unwrap();
        assert_eq!(reader.read().unwrap(), LogContent::Missing);
        append(&file("log"), "h");
        assert_eq!(text(&mut reader), "h");
    }

    #[test]
    fn what_is_no_file_or_not_allowed_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let mut reader = LogReader::open(&file, |_| true).unwrap();
        assert_eq!(reader.read().unwrap(), LogContent::Missing, "it may come");
        std::fs::write(&file, "x").unwrap();
        let kind = |opened: io::Result<LogReader>| opened.err().map(|e| e.kind());
        assert_eq!(kind(LogReader::open(&file, |_| false)), Some(io::ErrorKind::InvalidInput));
        assert_eq!(kind(LogReader::open(folder.path(), |_| true)), Some(io::ErrorKind::InvalidInput));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(LogReader::open(&link, |_| true).is_err());
    }
}
