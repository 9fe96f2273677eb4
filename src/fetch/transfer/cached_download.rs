//! Downloads through the cache: reuse a kept one if it is current, resume a part, or start a new one.

use std::fs::File;
use std::io::{self, Read, Take};

use super::cache::{Cache, CachedDownload, DownloadRecord, PartialDownload};
use super::error::{Reason, TransferError};
use super::http::{Download, FileFreshness, RemoteFile, check_freshness};
use super::url::Url;
use super::{Algorithm, DigestCheck, Opened, SparseFile, TransferOptions, open_download};
use crate::content::Content;

/// Opens a URL and uses what the cache has of it.
pub(super) fn open_cached<'a>(
    cache: &Cache,
    url: &Url,
    name: String,
    options: TransferOptions<'a>,
) -> Result<Opened<'a>, TransferError> {
    if let Some(kept) = cache.find_download(url)
        && is_current(&kept, url, options)?
    {
        return open_from_cache(kept, url, name, options);
    }
    // Downloads are stored with a digest, so a later run can check that they are intact.
    let check = match options.check {
        DigestCheck::Nothing => &DigestCheck::Note(Algorithm::Sha256),
        check => check,
    };
    // Another process stores this file, so this one keeps nothing.
    let Some(part) = cache.open_partial(url)? else {
        let download = Download::open(options.client, url, options.control, check.is_expected())?;
        let found = download.remote_file();
        return open_download(download, found, name, check, None);
    };
    let source = ResumedDownload::open(&part, url, options)?;
    let found = source.rest.remote_file();
    let mut note = DownloadRecord::new(url, &found.validators);
    // Store the expected digest, so a later run knows that the part belongs to it, whatever the server says.
    if let DigestCheck::Expect(digest) = check {
        note.digest = Some(digest.clone());
    }
    let keep = cache.start_writing(url, part, note, source.bytes_present())?;
    open_download(source, found, name, check, Some(Box::new(keep)))
}

/// Whether the cached download is current: it has the requested digest, or the server says that the file is unchanged.
fn is_current(kept: &CachedDownload, url: &Url, options: TransferOptions<'_>) -> Result<bool, TransferError> {
    if is_expected(options.check, &kept.note) {
        return Ok(true);
    }
    if kept.note.validators.is_empty() {
        return Ok(false);
    }
    Ok(check_freshness(options.client, url, &kept.note.validators, options.control)?
        == FileFreshness::Unchanged)
}

/// Whether the stored digest is the requested one.
fn is_expected(check: &DigestCheck, note: &DownloadRecord) -> bool {
    matches!((check, &note.digest), (DigestCheck::Expect(expected), Some(digest)) if expected == digest)
}

fn open_from_cache<'a>(
    kept: CachedDownload,
    url: &Url,
    name: String,
    options: TransferOptions<'a>,
) -> Result<Opened<'a>, TransferError> {
    let check = match (options.check, &kept.note.digest) {
        (DigestCheck::Expect(_), _) | (_, None) => options.check.clone(),
        (_, Some(digest)) => DigestCheck::Expect(digest.clone()),
    };
    let file = SparseFile::open(&kept.path)?;
    let (validators, length) = (kept.note.validators.clone(), kept.note.length);
    let found = RemoteFile { length, validators, found_at: url.clone() };
    let mut opened = open_download(file, found, name, &check, Some(Box::new(kept)))?;
    opened.from_cache = true;
    Ok(opened)
}

/// A download whose first bytes may be in the cache.
struct ResumedDownload<'a> {
    part: Option<Take<File>>,
    rest: Download<'a>,
}

impl<'a> ResumedDownload<'a> {
    fn open(part: &PartialDownload, url: &Url, options: TransferOptions<'a>) -> Result<Self, TransferError> {
        let verified = options.check.is_expected();
        let expected = part.note.as_ref().is_some_and(|note| is_expected(options.check, note));
        let known = part.note.as_ref().map(|note| note.validators.clone());
        if let Some(validators) = known.filter(|known| expected || known.can_resume()) {
            let (client, control, length) = (options.client, options.control, part.length);
            match Download::open_after(client, url, control, length, validators, expected) {
                Ok(rest) => return Self::after_part(part, rest),
                // The server has another file by now, so the part is of no use.
                Err(e) if e.reason() == Reason::Changed => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Self { part: None, rest: Download::open(options.client, url, options.control, verified)? })
    }

    fn after_part(part: &PartialDownload, rest: Download<'a>) -> Result<Self, TransferError> {
        let name = part.path.display().to_string();
        let file = File::open(&part.path).map_err(|e| TransferError::from_io(e, &name))?;
        Ok(Self { part: Some(file.take(part.length)), rest })
    }

    /// Returns the number of bytes from the cache.
    fn bytes_present(&self) -> u64 {
        self.part.as_ref().map_or(0, Take::limit)
    }
}

impl Read for ResumedDownload<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(part) = &mut self.part {
            match part.read(buffer)? {
                // The part is shorter than when it was opened.
                0 if part.limit() > 0 && !buffer.is_empty() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                0 if !buffer.is_empty() => self.part = None,
                read => return Ok(read),
            }
        }
        self.rest.read(buffer)
    }
}

impl Content for ResumedDownload<'_> {}
