//! Compression formats, detected by the first bytes.

use super::location::Location;
use foundry_core::error::{Advice, Verb};
use foundry_core::text::quote_for_shell;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionFormat {
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
}

impl CompressionFormat {
    /// Returns the name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Detects the format from the first bytes; six are enough.
    pub fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// Removes the format's extension from a name: `disk.raw.xz` becomes `disk.raw`. Case is ignored.
    pub fn strip_extension(self, name: &str) -> &str {
        let extensions: &[&str] = match self {
            Self::Gzip => &[".gz"],
            Self::Xz => &[".xz"],
            Self::Zstd => &[".zst", ".zstd"],
            Self::Bzip2 => &[".bz2"],
        };
        let without = |end: &&str| {
            let at = name.len().checked_sub(end.len())?;
            name.get(at..).filter(|last| last.eq_ignore_ascii_case(end)).map(|_| &name[..at])
        };
        extensions.iter().find_map(without).unwrap_or(name)
    }
}

/// Advises commands that unpack a file without foundry's limits and import it.
pub(super) fn unpacking_command(format: CompressionFormat, name: &str) -> Advice {
    let program = match format {
        CompressionFormat::Gzip => "gunzip -c",
        CompressionFormat::Xz => "xz -dc",
        CompressionFormat::Zstd => "zstd -dc --long=31",
        CompressionFormat::Bzip2 => "bunzip2 -c",
    };
    let is_file = !name.contains("://") && name != Location::StandardInput.to_string();
    let file = if is_file { quote_for_shell(name) } else { "FILE".into() };
    let import = Verb::ImageImport { file: Some("-".into()), name: Some("NAME".into()), convert: false };
    Advice::from(format!("{program} {file} | ")).run(import)
}
