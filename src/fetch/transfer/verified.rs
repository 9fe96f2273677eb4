//! Checksum layer: reports the end of the content only if the digest matches.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::cache::CacheWriter;
use super::digest::{Algorithm, Digest, Hasher};
use super::error::{Reason, TransferError};
use crate::content::Content;

/// What to do with the digest of the transferred bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DigestCheck {
    /// Nothing; copying a local file is then fastest.
    #[default]
    Nothing,
    /// Compute it with this function, without comparing it.
    Note(Algorithm),
    /// Compute it and compare it with this one.
    Expect(Digest),
}

impl DigestCheck {
    /// Whether a certain digest is expected.
    pub(super) fn is_expected(&self) -> bool {
        matches!(self, Self::Expect(_))
    }
}

/// Transferred bytes: they are counted, hashed, cached if wanted, and compared at the end.
pub(super) struct VerifyingReader<C> {
    inner: C,
    name: String,
    hasher: Option<Hasher>,
    expected: Option<Digest>,
    cache_writer: Option<Box<dyn CacheWriter>>,
    pub(super) count: Arc<AtomicU64>,
    /// The failure, which further reads return again.
    failed: Option<TransferError>,
    /// The result, set when everything has arrived and is correct.
    pub(super) done: Arc<OnceLock<Option<Digest>>>,
}

impl<C: Content> VerifyingReader<C> {
    /// Takes a source. `count` and `done` let others follow the progress.
    pub(super) fn new(
        inner: C,
        name: String,
        check: &DigestCheck,
        cache_writer: Option<Box<dyn CacheWriter>>,
    ) -> Self {
        let algorithm = match check {
            DigestCheck::Nothing => None,
            DigestCheck::Note(algorithm) => Some(*algorithm),
            DigestCheck::Expect(digest) => Some(digest.algorithm()),
        };
        let expected = if let DigestCheck::Expect(digest) = check { Some(digest.clone()) } else { None };
        let hasher = algorithm.map(Hasher::new);
        Self {
            inner,
            name,
            hasher,
            expected,
            cache_writer,
            count: Arc::default(),
            failed: None,
            done: Arc::default(),
        }
    }

    fn process_bytes(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.cache_writer.as_mut().map_or(Ok(()), |cache_writer| cache_writer.write(bytes))
    }

    /// Finishes once. Further calls return the same result.
    fn finish_once(&mut self) -> Result<(), TransferError> {
        if self.done.get().is_none() && self.failed.is_none() {
            self.failed = self.check_digest().err();
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn check_digest(&mut self) -> Result<(), TransferError> {
        let digest = self.hasher.take().map(Hasher::finish);
        // Taken out, because finishing and discarding consume it.
        let cache_writer = self.cache_writer.take();
        if let (Some(expected), Some(found)) = (&self.expected, &digest)
            && expected != found
        {
            if let Some(cache_writer) = cache_writer {
                cache_writer.discard();
            }
            return Err(mismatch_error(&self.name, expected, found));
        }
        cache_writer.map_or(Ok(()), |cache_writer| cache_writer.finish(digest.as_ref()))?;
        // It is set only here.
        let _ = self.done.set(digest);
        Ok(())
    }
}

fn mismatch_error(name: &str, expected: &Digest, found: &Digest) -> TransferError {
    TransferError::new(Reason::Checksum, format!("{name} does not match its checksum"))
        .because(format!("expected {expected}, got {found}"))
        .hint("download it again; if it still does not match, the checksum is for another version, or the file was changed")
}

impl<C: Content> Read for VerifyingReader<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = match self.inner.read(buffer) {
            // An interrupted read is repeated by the caller, so it is no failure.
            Err(e) if e.kind() != io::ErrorKind::Interrupted => {
                return Err(TransferError::from_io(e, &self.name).into());
            }
            read => read?,
        };
        if read == 0 {
            self.finish_once()?
        } else {
            self.process_bytes(&buffer[..read])?
        }
        Ok(read)
    }
}

impl<C: Content> Content for VerifyingReader<C> {
    fn skip_hole(&mut self, limit: u64) -> io::Result<u64> {
        let skipped = self.inner.skip_hole(limit)?;
        self.count.fetch_add(skipped, Ordering::Relaxed);
        if let Some(hasher) = &mut self.hasher {
            hasher.update_zeros(skipped);
        }
        Ok(skipped)
    }
}
