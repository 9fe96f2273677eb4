//! Keeps downloads, as they were transferred.
//!
//! ```text
//!  KEY         a whole download, verified       KEY.json   a digest of its address, how to recognize it, its digest
//!  KEY.part    one that is not there yet        KEY.part.json
//! ```
//!
//! KEY is a digest of the address and the file's name. A file appears under its name only when it is whole; what a
//! killed run left as a part is taken up by the next one, if the server still has the same file. Two runs that
//! download the same do not share: the second finds the part locked, and keeps nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::{Reason, TransferError};
use super::http::Validators;
use super::url::Url;
use crate::ownership::Trusted;
use foundry_core::text::describe_io_error;

/// A directory of downloads, made with the first one.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

/// What is noted beside a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadRecord {
    /// Of the address ([`Url::identity`]), which itself may hold a token.
    pub(super) address: Digest,
    #[serde(flatten)]
    pub(super) validators: Validators,
    /// Of the whole download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Digest>,
}

/// What is done beside a transfer with what comes.
pub(super) trait CacheWriter {
    /// Takes what came.
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError>;
    /// All of it came and is right.
    fn finish(self: Box<Self>, digest: Option<&Digest>) -> Result<(), TransferError>;
    /// It is worth nothing. What cannot be removed is found wrong again the next time.
    fn discard(self: Box<Self>);
}

/// A whole download that is there.
#[derive(Debug)]
pub(super) struct CachedDownload {
    pub(super) path: PathBuf,
    pub(super) note: DownloadRecord,
}

/// A part that is there, locked for this process.
#[derive(Debug)]
pub(super) struct PartialDownload {
    file: File,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    /// `None` for a new one.
    pub(super) note: Option<DownloadRecord>,
}

/// A download that is being kept.
#[derive(Debug)]
pub(super) struct DownloadWriter {
    file: File,
    part: PathBuf,
    whole: PathBuf,
    note: DownloadRecord,
    /// So many bytes are there already and come again.
    there: u64,
    length: u64,
}

impl DownloadRecord {
    /// What is noted when a download begins.
    pub(super) fn new(url: &Url, validators: &Validators) -> Self {
        Self { address: url.identity_digest(), validators: validators.clone(), length: None, digest: None }
    }
}

impl Cache {
    /// A cache in that directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn path_of(&self, url: &Url) -> PathBuf {
        let key = url.identity_digest();
        let name: String =
            url.file_name().unwrap_or_default().chars().filter(|c| is_plain(*c)).take(100).collect();
        self.directory.join(format!("{}-{name}", &key.hex()[..16]))
    }

    /// The whole download of an address, if it is there with its note.
    pub(super) fn find_download(&self, url: &Url) -> Option<CachedDownload> {
        // What somebody else put there was not downloaded.
        if Trusted::root_and_caller().find_untrusted_above(&self.directory).is_some() {
            return None;
        }
        let path = self.path_of(url);
        let note = read_note(&path).filter(|note| note.address == url.identity_digest())?;
        let there = fs::metadata(&path).ok()?.len();
        (note.length == Some(there)).then_some(CachedDownload { path, note })
    }

    /// The part of an address, begun if there is none; `None` where another process is at it.
    pub(super) fn open_partial(&self, url: &Url) -> Result<Option<PartialDownload>, TransferError> {
        let path = with_suffix(&self.path_of(url), ".part");
        self.lock_partial(url, &path).map_err(|e| self.cache_error(&e))
    }

    fn lock_partial(&self, url: &Url, path: &Path) -> io::Result<Option<PartialDownload>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        if let Some(who) = Trusted::root_and_caller().find_untrusted_above(&self.directory) {
            return Err(io::Error::other(who));
        }
        let file = private_file_options().read(true).create(true).truncate(false).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.nlink() > 1 || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other(format!("{} is not a file of foundry's", path.display())));
        }
        // Who had it may just have put it in place as a whole one.
        if file.try_lock().is_err() || !is_at(&file, path) {
            return Ok(None);
        }
        let length = file.metadata()?.len();
        let note = read_note(path).filter(|note| length > 0 && note.address == url.identity_digest());
        Ok(Some(PartialDownload { file, path: path.to_owned(), length, note }))
    }

    /// Keeps what comes: behind `there` bytes of the part, and from its beginning where that is 0.
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
    /// The note goes last: a download without one is not taken for one.
    fn put_in_place(&self) -> io::Result<()> {
        self.file.sync_all()?;
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

/// What is read from the cache is already there.
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
