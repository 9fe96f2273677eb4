//! Reads files, standard input and servers: verified, decompressed, sparse, in bounded memory.
//!
//! ```text
//!  file, pipe ─┐
//!  cache ──────┼─▶ count, hash, keep, compare ─▶ unpack ─▶ runs of zeros are holes ─▶ Opened::content
//!  http(s) ────┘   (verified)                    (gz, xz, zst, bz2)
//! ```
//!
//! A local file that is not packed has the holes that it has: its zeros are left to whoever writes.
//!
//! What is hashed are the bytes as they are transferred, which are those that a checksum file is about. The content
//! **ends** (`Ok(0)`) only when all of them came and their digest is the expected one, also where the unpacked
//! content was complete before; anything else is an [`io::Error`] with a [`TransferError`] in it. So whoever reads to
//! the end has verified, and who gives up before has nothing that was verified.
//!
//! The memory that it takes does not grow with what is transferred: a few MiB. Unpacking adds the window that the packer
//! chose, 128 MiB at most (see `decompress`).
//!
//! It knows nothing of libvirt, of hosts, or of the terminal. A signature is checked nowhere: see [`checksum_file`].

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

/// How something is opened.
#[derive(Clone, Copy)]
pub struct TransferOptions<'a> {
    /// What becomes of its digest.
    pub check: &'a DigestCheck,
    /// Makes requests.
    pub client: &'a Client,
    /// Waits, and says whether to stop.
    pub control: &'a dyn RetryControl,
    /// Where downloads are kept, if they are.
    pub cache: Option<&'a Cache>,
}

/// Something that is ready to be read.
pub struct Opened<'a> {
    /// Unpacked, with its holes. Its end means that all was verified.
    pub content: Box<dyn Content + 'a>,
    /// How it is packed, if it is.
    pub compressed: Option<CompressionFormat>,
    /// How many bytes are to be transferred (packed, if it is), where that is known.
    pub length: Option<u64>,
    /// Of a local file that is not packed, how many bytes are data and not holes.
    pub data_bytes: Option<u64>,
    /// What the server said of it, if it is from one.
    pub found: Option<RemoteFile>,
    /// Whether it is a kept download and nothing is transferred.
    pub from_cache: bool,
    passed_over: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
    done: Arc<OnceLock<Option<Digest>>>,
}

/// What was transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// The digest of the bytes as they were transferred, unless nobody wanted it ([`DigestCheck::Nothing`]).
    pub digest: Option<Digest>,
    /// How many they were.
    pub bytes: u64,
    /// What the server said of it when it began, if it was from one.
    pub found: Option<RemoteFile>,
}

/// Opens a file, standard input or an address.
///
/// # Errors
/// The system's, the server's. Nothing was verified yet.
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

/// Standard input is a regular file after `<`, with its holes.
fn standard_input(name: &str) -> Result<SparseFile, TransferError> {
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
    opened.data_bytes = length.filter(|_| opened.compressed.is_none()).map(|_| data);
    Ok(opened)
}

/// What becomes of zeros that are no holes in the source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ZeroHandling {
    /// Nothing, unless they come out of compressed data: to look for them takes a copy of every byte, and whoever writes
    /// looks for them again. A file has holes where its maker wanted some.
    AsTheyAre,
    /// Whole blocks of them are holes.
    AsHoles,
}

/// The layers above a source.
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
    /// How many bytes are transferred so far, holes included; to be compared with [`length`](Self::length). It can be
    /// asked from elsewhere while the content is read.
    pub fn byte_counter(&self) -> impl Fn() -> u64 + 'static {
        let count = Arc::clone(&self.count);
        move || count.load(Ordering::Relaxed)
    }

    /// How many bytes behind the end of the compressed data were passed over, once the end of the content was seen.
    /// They belong to what was verified.
    pub fn skipped_counter(&self) -> impl Fn() -> u64 + 'static {
        let passed_over = Arc::clone(&self.passed_over);
        move || passed_over.load(Ordering::Relaxed)
    }

    /// Reads what is left of the content, which verifies it, and says what was transferred.
    ///
    /// # Errors
    /// Those of the content.
    pub fn finish(mut self) -> Result<Transferred, TransferError> {
        let name = "the rest of the content";
        io::copy(&mut self.content, &mut io::sink()).map_err(|e| TransferError::from_io(e, name))?;
        let digest = self.done.get().cloned().flatten();
        Ok(Transferred { digest, bytes: self.count.load(Ordering::Relaxed), found: self.found })
    }
}

/// The outermost layer: no end before the source's own was verified.
struct VerifiedEnd<'a> {
    content: Box<dyn Content + 'a>,
    done: Arc<OnceLock<Option<Digest>>>,
    name: String,
}

impl Read for VerifiedEnd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.done.get().is_none() {
            let cause = "something follows behind the end of the compressed data";
            let error = TransferError::new(Reason::Damaged, format!("{} is not sound", self.name));
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
