//! Reads files, standard input and servers: verified, decompressed, sparse, in bounded memory.
//!
//! ```text
//!  file, pipe ─┐
//!  cache ──────┼─▶ count, hash, keep, compare ─▶ unpack ─▶ runs of zeros are holes ─▶ Opened::content
//!  http(s) ────┘   (verified)                    (gz, xz, zst, bz2)
//! ```
//!
//! In an uncompressed local file, only existing holes are kept. Writing finds further zeros.
//!
//! The digest is computed from the transferred bytes, which is what checksum files list. The content **ends** (`Ok(0)`)
//! only when all bytes have arrived and the digest matches, even if the decompressed content was complete before.
//! Everything else is an [`io::Error`] that contains a [`TransferError`]. So only a read to the end is verified.
//!
//! Memory use does not depend on the size: a few MiB, and for decompression the window that the compressor chose, at
//! most 128 MiB (see `decompress`).
//!
//! This module knows nothing about libvirt, hosts or the terminal. Signatures are not checked: see [`checksum_file`].

mod basic_auth;
mod cache;
mod cached_download;
mod checksum;
pub mod checksum_file;
mod checksum_line;
pub mod compression;
mod decompress;
mod digest;
mod error;
mod hash_name;
mod http;
mod interruptible_file;
mod location;
mod login;
mod members;
mod netrc;
mod reference;
mod retry_control;
mod sparse;
mod url;
mod verified;
mod zeros;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

pub use cache::Cache;
pub use checksum::{Expected, expected_digest};
pub use compression::CompressionFormat;
pub(crate) use decompress::skippable_frame_length;
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Reason, TransferError};
pub use http::{
    Client, Download, FileFreshness, HttpSettings, Proxies, RemoteFile, Validators, check_freshness,
};
pub use location::Location;
pub use login::Login;
pub use retry_control::RetryControl;
pub use sparse::{SparseFile, SparseWriter};
pub use url::Url;
pub use verified::DigestCheck;
pub use zeros::ZerosAsHoles;

use self::cache::CacheWriter;
use self::interruptible_file::InterruptibleFile;
use self::verified::VerifyingReader;
use crate::content::Content;

/// Options for opening a location.
#[derive(Clone, Copy)]
pub struct TransferOptions<'a> {
    /// What to do with the digest.
    pub check: &'a DigestCheck,
    /// Sends HTTP requests.
    pub client: &'a Client,
    /// Waits between retries, and interrupts the transfer.
    pub control: &'a dyn RetryControl,
    /// Cache for downloads, if they are to be kept.
    pub cache: Option<&'a Cache>,
}

/// Content that is ready to be read.
pub struct Opened<'a> {
    /// Decompressed content with its holes. If it ends without an error, everything is verified.
    pub content: Box<dyn Content + 'a>,
    /// Compression format, if it is compressed.
    pub compressed: Option<CompressionFormat>,
    /// Number of bytes to transfer (compressed, if it is), if known.
    pub length: Option<u64>,
    /// Number of bytes in an uncompressed local file that are data and not holes.
    pub data_bytes: Option<u64>,
    /// The server's information about the file, if it is downloaded.
    pub found: Option<RemoteFile>,
    /// Whether it is a cached download, so nothing is transferred.
    pub from_cache: bool,
    passed_over: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
    done: Arc<OnceLock<Option<Digest>>>,
}

/// The result of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Digest of the transferred bytes, unless none was requested ([`DigestCheck::Nothing`]).
    pub digest: Option<Digest>,
    /// Number of transferred bytes.
    pub bytes: u64,
    /// The server's information about the file when the transfer began, if it was downloaded.
    pub found: Option<RemoteFile>,
}

/// Opens a file, standard input or a URL.
///
/// # Errors
/// Errors of the operating system or the server. Nothing is verified yet.
pub fn open_location<'a>(
    location: &Location,
    options: TransferOptions<'a>,
) -> Result<Opened<'a>, TransferError> {
    let name = location.to_string();
    match location {
        Location::File(path) => open_local(SparseFile::open(path)?, name, options),
        Location::StandardInput => open_local(standard_input(&name)?, name, options),
        Location::Url(url) => open_url(url, name, options),
    }
}

/// Opens standard input. If it is a redirected file, its holes are known.
fn standard_input(name: &str) -> Result<SparseFile, TransferError> {
    // A descriptor of its own: std's handle buffers, and cannot look for holes.
    let own = io::stdin().as_fd().try_clone_to_owned().map_err(|e| TransferError::from_io(e, name))?;
    SparseFile::new(File::from(own), name.to_owned())
}

fn open_local(
    file: SparseFile,
    name: String,
    options: TransferOptions<'_>,
) -> Result<Opened<'_>, TransferError> {
    let length = file.length();
    let data = file.data_bytes().map_err(|e| TransferError::from_io(e, &name))?;
    let mut opened = add_layers(
        InterruptibleFile { file, control: options.control },
        name,
        options.check,
        None,
        ZeroHandling::AsTheyAre,
    )?;
    opened.length = length;
    // The holes of a compressed file say nothing about its content.
    opened.data_bytes = length.filter(|_| opened.compressed.is_none()).map(|_| data);
    Ok(opened)
}

/// What to do with zeros that are not holes in the source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ZeroHandling {
    /// Keep them, unless the data is compressed. Finding them would copy every byte, and writing finds them anyway. A
    /// local file has the holes that its creator wanted.
    AsTheyAre,
    /// Turn whole blocks of zeros into holes.
    AsHoles,
}

/// Adds the layers on top of a source.
fn add_layers<'a, C: Content + 'a>(
    source: C,
    name: String,
    check: &DigestCheck,
    cache_writer: Option<Box<dyn CacheWriter>>,
    zeros: ZeroHandling,
) -> Result<Opened<'a>, TransferError> {
    let verified = VerifyingReader::new(source, name.clone(), check, cache_writer);
    let (count, done) = (Arc::clone(&verified.count), Arc::clone(&verified.done));
    let is_verified = matches!(check, DigestCheck::Expect(_));
    let packed = decompress::unpack_content(verified, &name, is_verified)
        .map_err(|e| TransferError::from_io(e, &name))?;
    let (compressed, passed_over) = (packed.format, packed.passed_over);
    let content: Box<dyn Content + 'a> = match zeros {
        ZeroHandling::AsTheyAre if compressed.is_none() => packed.content,
        _ => Box::new(ZerosAsHoles::new(packed.content)),
    };
    let whole = VerifiedEnd { content, done: Arc::clone(&done), name };
    Ok(Opened {
        content: Box::new(whole),
        compressed,
        length: None,
        data_bytes: None,
        found: None,
        from_cache: false,
        passed_over,
        count,
        done,
    })
}

fn open_url<'a>(url: &Url, name: String, options: TransferOptions<'a>) -> Result<Opened<'a>, TransferError> {
    if let Some(cache) = options.cache {
        return cached_download::open_cached(cache, url, name, options);
    }
    let download = Download::open(options.client, url, options.control, options.check.is_expected())?;
    let found = download.remote_file();
    open_download(download, found, name, options.check, None)
}

fn open_download<'a, C: Content + 'a>(
    source: C,
    found: RemoteFile,
    name: String,
    check: &DigestCheck,
    cache_writer: Option<Box<dyn CacheWriter>>,
) -> Result<Opened<'a>, TransferError> {
    let mut opened = add_layers(source, name, check, cache_writer, ZeroHandling::AsHoles)?;
    opened.length = found.length;
    opened.found = Some(found);
    Ok(opened)
}

impl Opened<'_> {
    /// Returns a counter of the bytes transferred so far, including holes; the total is [`length`](Self::length). It
    /// can be called while the content is read elsewhere.
    pub fn byte_counter(&self) -> impl Fn() -> u64 + 'static {
        let count = Arc::clone(&self.count);
        move || count.load(Ordering::Relaxed)
    }

    /// Returns a counter of the bytes after the end of the compressed data that were skipped. It is valid after the end
    /// of the content. The skipped bytes are verified, too.
    pub fn skipped_counter(&self) -> impl Fn() -> u64 + 'static {
        let passed_over = Arc::clone(&self.passed_over);
        move || passed_over.load(Ordering::Relaxed)
    }

    /// Reads the rest of the content, which verifies it, and returns the result.
    ///
    /// # Errors
    /// Errors of the content.
    pub fn finish(mut self) -> Result<Transferred, TransferError> {
        let name = "the rest of the content";
        io::copy(&mut self.content, &mut io::sink()).map_err(|e| TransferError::from_io(e, name))?;
        let digest = self.done.get().cloned().flatten();
        Ok(Transferred { digest, bytes: self.count.load(Ordering::Relaxed), found: self.found })
    }
}

/// The outermost layer. It does not end before the source's end is verified.
struct VerifiedEnd<'a> {
    content: Box<dyn Content + 'a>,
    done: Arc<OnceLock<Option<Digest>>>,
    name: String,
}

impl Read for VerifiedEnd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        // A read into an empty buffer returns 0 anywhere.
        if read == 0 && !buffer.is_empty() && self.done.get().is_none() {
            let cause = "other data follows after the end of the compressed data";
            let error = TransferError::new(Reason::Damaged, format!("{} is not valid", self.name));
            return Err(error.because(cause).into());
        }
        Ok(read)
    }
}

impl Content for VerifiedEnd<'_> {
    fn skip_hole(&mut self, limit: u64) -> io::Result<u64> {
        self.content.skip_hole(limit)
    }
}
