//! Decompresses gzip, xz, zstd and bzip2 as a stream, recognized by their first bytes, never by a name.
//!
//! All of them take what their own tools concatenate: members of gzip (RFC 1952, 2.2), streams of xz with padding,
//! frames of zstd (RFC 8878, also skippable ones, with which all begins that pzstd writes), streams of bzip2. Damage and
//! a missing end are errors. So is anything else behind the end, which `xz` and `zstd` refuse, too; for gzip and bzip2
//! see `members`.
//!
//! # Memory
//!
//! The packer chose how far back its data refer, and whoever unpacks must hold as much. That comes on top of the
//! 64 MiB within which foundry stays otherwise:
//!
//! ```text
//!  gzip        32 KiB      xz, xz -6    9 MiB      zstd, zstd -3     2 MiB
//!  bzip2        4 MiB      xz -9       65 MiB      zstd --long=27  128 MiB
//! ```
//!
//! It is bounded whatever the data ask for: 128 MiB for xz, its decoder included, and a window of 128 MiB (2^27) for
//! zstd, which is what `zstd -d` itself takes unless it is told more. Less would refuse what
//! `xz -9` and `zstd --long` make, with which images are packed. What asks for more is an error.
//!
//! How long the content gets is not bounded here; a few bytes can unpack to anything, and who stores it has to count.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::compression::{CompressionFormat, unpacking_command};
use super::error::{Reason, TransferError};
use super::members::MemberReader;
use crate::content::Content;
use foundry_core::units::Bytes;

/// The most memory for xz's dictionary and the decoder around it, in bytes: twice what `xz -9` wants.
const XZ_MEMORY: u64 = 128 << 20;

/// The largest window of zstd, as a power of two: 128 MiB, the `ZSTD_WINDOWLOG_LIMIT_DEFAULT` of its library.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How many bytes are read at once of what is packed.
const INPUT: usize = 128 * 1024;

/// How far skippable frames are looked through for what follows them. Behind more it is zstd: nothing else but lz4 has
/// such frames, and lz4 writes none by itself.
const LOOKED_THROUGH: usize = 1 << 20;

/// How much a skippable frame takes with its header of eight bytes, if bytes begin with one (RFC 8878, 3.1.2).
pub(crate) fn skippable_frame_length(bytes: &[u8]) -> Option<u64> {
    let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] = *bytes else { return None };
    Some(8 + u64::from(u32::from_le_bytes([a, b, c, d])))
}

/// What came of looking at the first bytes.
pub(super) struct Packed<'a> {
    /// Unpacked, or as it was.
    pub(super) content: Box<dyn Content + 'a>,
    pub(super) format: Option<CompressionFormat>,
    /// How many bytes behind the end of the packed data were passed over, at its end.
    pub(super) passed_over: Arc<AtomicU64>,
}

/// Unpacks what is packed and passes on what is not, with its holes; says which it was. `verified` says that the whole
/// of it is compared with a digest.
///
/// # Errors
/// Those of the source while its first bytes are read.
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

/// Reads the first bytes into `head`, and tells the format by them.
fn detect_compression(packed: &mut impl Read, head: &mut Vec<u8>) -> io::Result<Option<CompressionFormat>> {
    let mut at = 0_usize;
    loop {
        packed.by_ref().take((at + 8).saturating_sub(head.len()) as u64).read_to_end(head)?;
        let here = head.get(at..).unwrap_or_default();
        match skippable_frame_length(here) {
            Some(length) => at += usize::try_from(length).unwrap_or(LOOKED_THROUGH),
            None if at == 0 => return Ok(CompressionFormat::detect(here)),
            // Nothing but skippable frames is zstd's nothing.
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

/// Content of which the first bytes are read already.
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
    /// What the decoder found, unless it is what its source said.
    fn decode_error(&self, error: io::Error) -> io::Error {
        if TransferError::find_in(&error).is_some() || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let cause = error.to_string();
        // zstd: "Frame requires too much memory for decoding"; xz: "memory limit reached".
        if cause.contains("memory") {
            let limit = Bytes(XZ_MEMORY);
            return TransferError::new(Reason::Damaged, format!("cannot unpack {}", self.name))
                .because(format!("it wants more than the {limit} of memory that foundry gives to unpacking"))
                .hint(unpacking_command(self.format, &self.name))
                .into();
        }
        let cause = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is cut off".to_owned(),
            _ => cause,
        };
        TransferError::new(Reason::Damaged, format!("{} is not sound {} data", self.name, self.format.name()))
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
