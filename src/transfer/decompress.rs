//! gzip, xz, zstd and bzip2, told by their first bytes and never by a name, unpacked as a stream.
//!
//! All of them take what their own tools concatenate: members of gzip (RFC 1952, 2.2), streams of xz with padding,
//! frames of zstd (RFC 8878, also skippable ones), streams of bzip2. Damage and a missing end are errors. So is
//! anything else behind the end, which `xz` and `zstd` refuse, too, and `gzip` and `bzip2` warn about: an image to
//! which something was added is not the image that somebody packed.
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

use std::io::{self, BufRead, BufReader, Cursor, Read};

use super::error::{Reason, TransferError};
use crate::content::Content;

/// The most memory for xz's dictionary and the decoder around it, in bytes: twice what `xz -9` wants.
const XZ_MEMORY: u64 = 128 << 20;

/// The largest window of zstd, as a power of two: 128 MiB, the `ZSTD_WINDOWLOG_LIMIT_DEFAULT` of its library.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How many bytes are read at once of what is packed.
const INPUT: usize = 128 * 1024;

/// A format of compressed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
}

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The format of which these are the first bytes; six are enough.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// A name without this format's extension, where it has it: `disk.raw.xz` is `disk.raw`.
    pub fn stem(self, name: &str) -> &str {
        let extensions: &[&str] = match self {
            Self::Gzip => &[".gz"],
            Self::Xz => &[".xz"],
            Self::Zstd => &[".zst", ".zstd"],
            Self::Bzip2 => &[".bz2"],
        };
        extensions.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
    }
}

/// Unpacks what is packed and passes on what is not, with its holes; says which it was.
///
/// # Errors
/// Those of the source while its first bytes are read.
pub fn unpack<'a, C: Content + 'a>(
    mut packed: C,
    name: &str,
) -> io::Result<(Box<dyn Content + 'a>, Option<Format>)> {
    let mut head = Vec::new();
    packed.by_ref().take(6).read_to_end(&mut head)?;
    let format = Format::of(&head);
    let whole = Begun { head: Cursor::new(head), rest: packed };
    let Some(format) = format else { return Ok((Box::new(whole), None)) };
    let decoder = decoder(format, BufReader::with_capacity(INPUT, whole))?;
    Ok((Box::new(Unpacked { decoder, format, name: name.to_owned() }), Some(format)))
}

fn decoder<'a>(format: Format, packed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
        Format::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Content of which the first bytes are read already.
struct Begun<C> {
    head: Cursor<Vec<u8>>,
    rest: C,
}

impl<C: Content> Begun<C> {
    fn head_is_read(&self) -> bool {
        self.head.position() >= self.head.get_ref().len() as u64
    }
}

impl<C: Content> Read for Begun<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.head_is_read() { self.rest.read(buffer) } else { self.head.read(buffer) }
    }
}

impl<C: Content> Content for Begun<C> {
    fn skip_hole(&mut self, limit: u64) -> io::Result<u64> {
        if self.head_is_read() { self.rest.skip_hole(limit) } else { Ok(0) }
    }
}

struct Unpacked<'a> {
    decoder: Box<dyn Read + 'a>,
    format: Format,
    name: String,
}

impl Unpacked<'_> {
    /// What the decoder found, unless it is what its source said.
    fn damaged(&self, error: io::Error) -> io::Error {
        if TransferError::in_io(&error).is_some() || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let cause = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is cut off".to_owned(),
            _ => error.to_string(),
        };
        TransferError::new(Reason::Damaged, format!("{} is not sound {} data", self.name, self.format.name()))
            .because(cause)
            .into()
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| self.damaged(error))
    }
}

impl Content for Unpacked<'_> {}
