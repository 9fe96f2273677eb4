//! Decompresses gzip, xz, zstd and bzip2 streams. The format is detected by the first bytes, never by the name.
//!
//! All formats may be concatenated as by their own tools: gzip members (RFC 1952, 2.2), xz streams with padding, zstd
//! frames (RFC 8878, including the skippable frames that pzstd begins with) and bzip2 streams. Damaged and truncated
//! data are errors. So is other data after the end, which `xz` and `zstd` refuse, too; for gzip and bzip2 see
//! `members`.
//!
//! # Memory
//!
//! The compressor chooses how far back the data refers, and decompression needs that much memory. This is in addition
//! to foundry's usual limit of 64 MiB:
//!
//! ```text
//!  gzip        32 KiB      xz, xz -6    9 MiB      zstd, zstd -3     2 MiB
//!  bzip2        4 MiB      xz -9       65 MiB      zstd --long=27  128 MiB
//! ```
//!
//! The limits are 128 MiB for xz including its decoder, and a window of 128 MiB (2^27) for zstd, the default limit of
//! `zstd -d`. Lower limits would refuse data from `xz -9` and `zstd --long`, which images are compressed with. Data
//! that needs more memory is an error.
//!
//! The length of the decompressed data is not limited here: a few bytes can expand to any size. The code that stores it
//! must limit it.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::compression::{CompressionFormat, unpacking_command};
use super::error::{Reason, TransferError};
use super::members::MemberReader;
use crate::content::Content;
use foundry_core::units::Bytes;

/// Maximum memory for xz's dictionary and decoder in bytes: twice what `xz -9` needs.
const XZ_MEMORY: u64 = 128 << 20;

/// Maximum window of zstd as a power of two: 128 MiB, the `ZSTD_WINDOWLOG_LIMIT_DEFAULT` of its library.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Number of compressed bytes that are read at once.
const INPUT: usize = 128 * 1024;

/// Number of bytes in which skippable frames are followed to see what comes after them. If there are more, the format
/// is zstd: only lz4 also has such frames, and does not write them itself.
const LOOKED_THROUGH: usize = 1 << 20;

/// Returns the length of a skippable frame including its header of eight bytes, if the bytes begin with one (RFC 8878,
/// 3.1.2).
pub(crate) fn skippable_frame_length(bytes: &[u8]) -> Option<u64> {
    let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] = *bytes else { return None };
    Some(8 + u64::from(u32::from_le_bytes([a, b, c, d])))
}

/// The content after its format was detected.
pub(super) struct Packed<'a> {
    /// Decompressed content, or the unchanged content.
    pub(super) content: Box<dyn Content + 'a>,
    pub(super) format: Option<CompressionFormat>,
    /// Number of bytes after the end of the compressed data that were skipped; known at the end of the content.
    pub(super) passed_over: Arc<AtomicU64>,
}

/// Decompresses compressed content, and passes other content through with its holes. `verified` means that the whole
/// file is compared with a digest.
///
/// # Errors
/// Errors of the source while its first bytes are read.
pub(super) fn unpack_content<'a, C: Content + 'a>(
    mut packed: C,
    name: &str,
    verified: bool,
) -> io::Result<Packed<'a>> {
    let mut head = Vec::new();
    let format = detect_compression(&mut packed, &mut head)?;
    let passed_over = Arc::default();
    let whole = PeekedContent { head: Cursor::new(head), rest: packed };
    let Some(format) = format else { return Ok(Packed { content: Box::new(whole), format, passed_over }) };
    let packed = BufReader::with_capacity(INPUT, whole);
    let decoder: Box<dyn Read + 'a> = match format {
        CompressionFormat::Gzip | CompressionFormat::Bzip2 => {
            Box::new(MemberReader::new(packed, format, name, verified, Arc::clone(&passed_over)))
        }
        CompressionFormat::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
        CompressionFormat::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    let content = Box::new(Unpacked { decoder, format, name: name.to_owned() });
    Ok(Packed { content, format: Some(format), passed_over })
}

/// Reads the first bytes into `head` and detects the format.
fn detect_compression(packed: &mut impl Read, head: &mut Vec<u8>) -> io::Result<Option<CompressionFormat>> {
    let mut at = 0_usize;
    loop {
        packed.by_ref().take((at + 8).saturating_sub(head.len()) as u64).read_to_end(head)?;
        let here = head.get(at..).unwrap_or_default();
        match skippable_frame_length(here) {
            Some(length) => at += usize::try_from(length).unwrap_or(LOOKED_THROUGH),
            None if at == 0 => return Ok(CompressionFormat::detect(here)),
            // Only skippable frames: empty zstd data.
            None if here.is_empty() => return Ok(Some(CompressionFormat::Zstd)),
            None => {
                return Ok(
                    CompressionFormat::detect(here).filter(|format| *format == CompressionFormat::Zstd)
                );
            }
        }
        if at > LOOKED_THROUGH {
            return Ok(Some(CompressionFormat::Zstd));
        }
    }
}

/// Content whose first bytes were already read.
struct PeekedContent<C> {
    head: Cursor<Vec<u8>>,
    rest: C,
}

impl<C: Content> PeekedContent<C> {
    fn head_is_read(&self) -> bool {
        self.head.position() >= self.head.get_ref().len() as u64
    }
}

impl<C: Content> Read for PeekedContent<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.head_is_read() { self.rest.read(buffer) } else { self.head.read(buffer) }
    }
}

impl<C: Content> Content for PeekedContent<C> {
    fn skip_hole(&mut self, limit: u64) -> io::Result<u64> {
        if self.head_is_read() { self.rest.skip_hole(limit) } else { Ok(0) }
    }
}

struct Unpacked<'a> {
    decoder: Box<dyn Read + 'a>,
    format: CompressionFormat,
    name: String,
}

impl Unpacked<'_> {
    /// Converts an error of the decoder; an error of its source is kept.
    fn decode_error(&self, error: io::Error) -> io::Error {
        if TransferError::find_in(&error).is_some() || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let cause = error.to_string();
        // zstd: "Frame requires too much memory for decoding"; xz: "memory limit reached".
        if cause.contains("memory") {
            let limit = Bytes(XZ_MEMORY);
            return TransferError::new(Reason::Damaged, format!("cannot unpack {}", self.name))
                .because(format!("it needs more than {limit} of memory, foundry's limit for unpacking"))
                .hint(unpacking_command(self.format, &self.name))
                .into();
        }
        let cause = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is truncated".to_owned(),
            _ => cause,
        };
        TransferError::new(Reason::Damaged, format!("{} is not valid {} data", self.name, self.format.name()))
            .because(cause)
            .into()
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| self.decode_error(error))
    }
}

impl Content for Unpacked<'_> {}
