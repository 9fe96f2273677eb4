//! An output file that the user names.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;

/// An output file that gets its name only when it is complete.
pub(crate) struct OutputFile<'a> {
    file: &'a str,
    part: PathBuf,
    force: bool,
}

impl<'a> OutputFile<'a> {
    /// # Errors
    /// [`Code::FileTaken`] if it exists, unless it is a regular file and `force` is set.
    pub(crate) fn new(file: &'a str, force: bool) -> Result<Self, Error> {
        let there = Path::new(file).symlink_metadata();
        let refused = |message: String| Error::new(Code::FileTaken, message).unchanged();
        match there {
            // A link is refused: the user may have meant it or its target.
            Ok(there) if !there.is_file() => {
                return Err(refused(format!("{file} exists and is not a regular file")));
            }
            Ok(_) if !force => return Err(refused(format!("{file} exists")).hint("--force overwrites it")),
            _ => {}
        }
        // In the same directory, so that it can be linked or renamed into place.
        let part = PathBuf::from(format!("{file}.part.{}", std::process::id()));
        Ok(Self { file, part, force })
    }

    /// Writes the content and puts the file in its place. A failure leaves nothing.
    pub(crate) fn write_content<T>(&self, write: impl FnOnce(File) -> Result<T, Error>) -> Result<T, Error> {
        // Like libvirt's volumes, because an image may contain keys, and a screen secrets.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.part);
        let opened = opened.map_err(|e| cannot_write(self.file, &e))?;
        let written = write(opened).and_then(|written| {
            self.put_in_place().map(|()| written).map_err(|e| cannot_write(self.file, &e))
        });
        written.inspect_err(|_| {
            // If it cannot be deleted, its name ends in `.part`.
            let _ = fs::remove_file(&self.part);
        })
    }

    fn put_in_place(&self) -> io::Result<()> {
        if self.force {
            return fs::rename(&self.part, self.file);
        }
        // Unlike rename(2), link(2) fails if somebody has created the file meanwhile.
        fs::hard_link(&self.part, self.file)?;
        fs::remove_file(&self.part)
    }
}

/// The error for a file that cannot be written.
pub(crate) fn cannot_write(file: &str, error: &io::Error) -> Error {
    Error::new(Code::LocalFile, format!("cannot write {file}")).because(describe_io_error(error))
}
