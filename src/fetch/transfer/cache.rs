//! Stores downloads as they were transferred.
//!
//! ```text
//!  KEY         a complete, verified download    KEY.json   digest of the URL, validators, digest of the content
//!  KEY.part    a partial download               KEY.part.json
//! ```
//!
//! KEY is a digest of the URL and the file's name. A file gets its final name only when it is complete. A later run
//! resumes the part of an interrupted run if the server still has the same file. Two runs that download the same file
//! do not share it: the second one finds the part locked and stores nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::{Reason, TransferError};
use super::http::Validators;
use super::url::Url;
use crate::file_ownership::TrustedOwners;
use foundry_core::text::describe_io_error;

/// A directory of downloads, created with the first one.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

/// The data stored next to a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadRecord {
    /// Digest of the URL ([`Url::identity_digest`]), because the URL itself may contain a token.
    pub(super) address: Digest,
    #[serde(flatten)]
    pub(super) validators: Validators,
    /// Length of the whole download in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Digest>,
}

/// Receives the data of a transfer in order to store it.
pub(super) trait CacheWriter {
    /// Stores the next bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError>;
    /// Finishes the download: all data has arrived and is correct.
    fn finish(self: Box<Self>, digest: Option<&Digest>) -> Result<(), TransferError>;
    /// Deletes the download, because it is wrong. If deleting fails, the next run detects the error again.
    fn discard(self: Box<Self>);
}

/// A complete download in the cache.
#[derive(Debug)]
pub(super) struct CachedDownload {
    pub(super) path: PathBuf,
    pub(super) note: DownloadRecord,
}

/// A partial download in the cache, locked by this process.
#[derive(Debug)]
pub(super) struct PartialDownload {
    file: File,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    /// Stored data; `None` for a new part.
    pub(super) note: Option<DownloadRecord>,
}

/// A download that is being stored.
#[derive(Debug)]
pub(super) struct DownloadWriter {
    file: File,
    part: PathBuf,
    whole: PathBuf,
    note: DownloadRecord,
    /// Number of bytes that are already stored and will be received again.
    there: u64,
    length: u64,
}

impl DownloadRecord {
    /// Makes the data for a new download.
    pub(super) fn new(url: &Url, validators: &Validators) -> Self {
        Self { address: url.identity_digest(), validators: validators.clone(), length: None, digest: None }
    }
}

impl Cache {
    /// Makes a cache in a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn path_of(&self, url: &Url) -> PathBuf {
        let key = url.identity_digest();
        let name: String =
            // With digest and suffixes, a longer name could exceed the 255 bytes of most file systems.
            url.file_name().unwrap_or_default().chars().filter(|c| is_plain(*c)).take(100).collect();
        // Part of the digest is enough for a name: the note has all of it, and is compared.
        self.directory.join(format!("{}-{name}", &key.hex()[..16]))
    }

    /// Returns the complete download of a URL, if there is one with valid data.
    pub(super) fn find_download(&self, url: &Url) -> Option<CachedDownload> {
        // If another user can write to the directory, its content cannot be trusted.
        if TrustedOwners::root_and_caller().find_untrusted_above(&self.directory).is_some() {
            return None;
        }
        let path = self.path_of(url);
        let note = read_note(&path).filter(|note| note.address == url.identity_digest())?;
        let there = fs::metadata(&path).ok()?.len();
        (note.length == Some(there)).then_some(CachedDownload { path, note })
    }

    /// Opens the part of a URL, or a new one. Returns `None` if another process is using it.
    pub(super) fn open_partial(&self, url: &Url) -> Result<Option<PartialDownload>, TransferError> {
        let path = with_suffix(&self.path_of(url), ".part");
        self.lock_partial(url, &path).map_err(|e| self.cache_error(&e))
    }

    fn lock_partial(&self, url: &Url, path: &Path) -> io::Result<Option<PartialDownload>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        if let Some(who) = TrustedOwners::root_and_caller().find_untrusted_above(&self.directory) {
            return Err(io::Error::other(who));
        }
        // Not truncated: what is there belongs to somebody else until it is locked.
        let file = private_file_options().read(true).create(true).truncate(false).open(path)?;
        let found = file.metadata()?;
        // A second hard link would let this process overwrite a file elsewhere.
        if !found.is_file() || found.nlink() > 1 || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other(format!("{} was not created by foundry", path.display())));
        }
        // The previous holder of the lock may have renamed the file to its final name.
        if file.try_lock().is_err() || !is_at(&file, path) {
            return Ok(None);
        }
        // Again: another process may have written to the file until this one had the lock.
        let length = file.metadata()?.len();
        let note = read_note(path).filter(|note| length > 0 && note.address == url.identity_digest());
        Ok(Some(PartialDownload { file, path: path.to_owned(), length, note }))
    }

    /// Starts storing after the first `there` bytes of the part, or from the beginning if that is 0.
    pub(super) fn start_writing(
        &self,
        url: &Url,
        part: PartialDownload,
        note: DownloadRecord,
        there: u64,
    ) -> Result<DownloadWriter, TransferError> {
        let begun = part.file.set_len(there).and_then(|()| write_note(&part.path, &note));
        begun.map_err(|e| self.cache_error(&e))?;
        let (file, part) = (part.file, part.path);
        Ok(DownloadWriter { file, part, whole: self.path_of(url), note, there, length: 0 })
    }

    fn cache_error(&self, error: &io::Error) -> TransferError {
        TransferError::new(Reason::Local, format!("cannot keep downloads in {}", self.directory.display()))
            .because(describe_io_error(error))
    }
}

impl CacheWriter for DownloadWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let known = usize::try_from(self.there.saturating_sub(self.length))
            .map_or(bytes.len(), |n| n.min(bytes.len()));
        // The part has the others already; they only come again to be hashed.
        let new = &bytes[known..];
        let at = self.length + known as u64;
        self.length += bytes.len() as u64;
        self.file.write_all_at(new, at).map_err(|e| self.write_error(&e))
    }

    fn finish(mut self: Box<Self>, digest: Option<&Digest>) -> Result<(), TransferError> {
        self.note.length = Some(self.length);
        self.note.digest = digest.cloned();
        self.put_in_place().map_err(|e| self.write_error(&e))
    }

    fn discard(self: Box<Self>) {
        let _ = remove_if_exists(&with_suffix(&self.part, ".json"));
        let _ = remove_if_exists(&self.part);
    }
}

impl DownloadWriter {
    /// The JSON file is written last: a download without it is ignored.
    fn put_in_place(&self) -> io::Result<()> {
        // Before the rename: after a power cut, the name must not lead to missing data.
        self.file.sync_all()?;
        // An older note must never be next to the new content.
        remove_if_exists(&with_suffix(&self.whole, ".json"))?;
        fs::rename(&self.part, &self.whole)?;
        write_note(&self.whole, &self.note)?;
        remove_if_exists(&with_suffix(&self.part, ".json"))
    }

    fn write_error(&self, error: &io::Error) -> TransferError {
        TransferError::new(Reason::Local, format!("cannot keep the download in {}", self.whole.display()))
            .because(describe_io_error(error))
    }
}

/// A cached download is already stored, so nothing is written.
impl CacheWriter for CachedDownload {
    fn write(&mut self, _: &[u8]) -> Result<(), TransferError> {
        Ok(())
    }

    fn finish(self: Box<Self>, _: Option<&Digest>) -> Result<(), TransferError> {
        Ok(())
    }

    fn discard(self: Box<Self>) {
        let _ = remove_if_exists(&with_suffix(&self.path, ".json"));
        let _ = remove_if_exists(&self.path);
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

fn with_suffix(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn private_file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().and_then(|file| Ok(same(file, fs::metadata(path)?))).unwrap_or(false)
}

fn remove_if_exists(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

fn read_note(download: &Path) -> Option<DownloadRecord> {
    serde_json::from_slice(&fs::read(with_suffix(download, ".json")).ok()?).ok()
}

fn write_note(download: &Path, note: &DownloadRecord) -> io::Result<()> {
    let (path, temporary) = (with_suffix(download, ".json"), with_suffix(download, ".json.new"));
    let mut file = private_file_options().create(true).truncate(true).open(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(note)?)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}
