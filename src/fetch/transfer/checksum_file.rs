//! Reads checksum files: `SHA256SUMS`, `SHA512SUMS`, `CHECKSUM`, `image.qcow2.sha256`.
//!
//! Supported are the formats of GNU, BSD, OpenSSL, PowerShell and certutil, also mixed, and a single digest (see
//! `checksum_line`). The hash function is determined by the line itself, a heading above it, the name of the file, or
//! the number of digits, in this order. Lines with other hash functions, comments and other text are ignored.
//!
//! Clear-signed files (OpenPGP, RFC 9580 section 7) are read, but **their signatures are not checked**: only the TLS
//! connection protects the file.

use std::io::Read;

use super::checksum_line::{self, ChecksumLine};
use super::digest::Digest;
use super::error::{Reason, TransferError};
use super::hash_name::HashName;

/// Maximum size of a checksum file in bytes (1 MiB). That of a release with hundreds of images has 60 KiB.
pub const MAX_BYTES: usize = 1 << 20;

/// The digests in a checksum file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumFile {
    /// Name of the file in messages.
    from: String,
    entries: Vec<ListedDigest>,
    /// An unsupported hash function that the file has digests of.
    other: Option<HashName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ListedDigest {
    /// Name of the file; `None` for a single digest.
    name: Option<String>,
    digest: Digest,
}

/// The image to look up in a checksum file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedImage<'a> {
    /// Path relative to the folder of the checksum file, if the image is below that folder.
    pub below: Option<&'a str>,
    /// Path as far as it is known; it ends in the file's name.
    pub path: &'a str,
}

impl ChecksumFile {
    /// Reads a checksum file; `from` is its name in messages.
    ///
    /// # Errors
    /// Errors of the stream; a file larger than [`MAX_BYTES`]; a file without any digest (for example a page that says
    /// "not found").
    pub fn read(stream: impl Read, from: &str) -> Result<Self, TransferError> {
        let mut bytes = Vec::new();
        let limit = MAX_BYTES as u64 + 1;
        stream.take(limit).read_to_end(&mut bytes).map_err(|e| TransferError::from_io(e, from))?;
        if bytes.len() > MAX_BYTES {
            return Err(not_a_list_error(from, "it is larger than 1 MiB"));
        }
        let parsed = Self::parse(&decode_text(&bytes), from);
        if parsed.entries.is_empty() {
            return Err(not_a_list_error(from, &parsed.no_digest_text()));
        }
        Ok(parsed)
    }

    /// Parses the digests in a text; there may be none.
    pub fn parse(text: &str, from: &str) -> Self {
        let mut file = Self { from: from.to_owned(), entries: Vec::new(), other: None };
        let mut heading = HashName::in_list_name(list_name(from));
        let mut next_name = None;
        for line in strip_signature(text) {
            match checksum_line::parse_line(line) {
                ChecksumLine::Digest { name, digest, function } => {
                    let name = name.or_else(|| next_name.take());
                    let named = function.or_else(|| heading.clone()).filter(|f| f.may_have(&digest));
                    match named {
                        Some(other @ HashName::Other(_)) => file.other = Some(other),
                        _ => file
                            .entries
                            .push(ListedDigest { name: name.map(|name| plain_name(&name)), digest }),
                    }
                }
                ChecksumLine::NameOfLast(name) => {
                    if let Some(ListedDigest { name: last @ None, .. }) = file.entries.last_mut() {
                        *last = Some(name.to_owned());
                    }
                }
                ChecksumLine::Heading { function, name } => {
                    heading = Some(function);
                    next_name = name.map(str::to_owned);
                }
                ChecksumLine::Nothing => {}
            }
        }
        file
    }

    fn no_digest_text(&self) -> String {
        let none = "it contains no SHA-256 or SHA-512 digest";
        match &self.other {
            Some(other) => format!("{none}, only {other}, which foundry does not support"),
            None => none.into(),
        }
    }

    /// Returns the strongest digest listed for a file name. A listed path matches as a whole or, if none does, by its
    /// last component.
    ///
    /// # Errors
    /// [`Reason::Checksum`] if the file is not listed (with similar names), or if it is listed twice with different
    /// digests.
    pub fn digest_of(&self, name: &str) -> Result<Digest, TransferError> {
        self.digest_for(WantedImage { below: None, path: name })
    }

    /// Returns the strongest digest listed for an image. The image is looked up by its path relative to the list's
    /// folder, by its name, and by the path whose end has the most components in common with the image's, in this
    /// order.
    ///
    /// # Errors
    /// As [`digest_of`](Self::digest_of).
    pub fn digest_for(&self, wanted: WantedImage<'_>) -> Result<Digest, TransferError> {
        // A bare digest names no file, so it is for the one that it is used with.
        if let [ListedDigest { name: None, digest }] = self.entries.as_slice() {
            return Ok(digest.clone());
        }
        let name = last_component(wanted.path);
        let named: Vec<(&str, &Digest)> =
            self.entries.iter().filter_map(|entry| Some((entry.name.as_deref()?, &entry.digest))).collect();
        let mut found = best_matches(&named, wanted);
        if found.is_empty() {
            // Windows tools list paths with backslashes; try those as well.
            let plain: Vec<(String, &Digest)> = named.iter().map(|(n, d)| (with_slashes(n), *d)).collect();
            let plain: Vec<(&str, &Digest)> = plain.iter().map(|(n, d)| (n.as_str(), *d)).collect();
            found = best_matches(&plain, wanted);
        }
        let strongest = found.iter().map(|digest| digest.algorithm()).max();
        let mut found = found.into_iter().filter(|digest| Some(digest.algorithm()) == strongest);
        let first = found.next().ok_or_else(|| self.not_listed_error(name))?;
        if found.any(|other| other != first) {
            return Err(TransferError::new(
                Reason::Checksum,
                format!("{} lists {name:?} twice, with different digests", self.from),
            ));
        }
        Ok(first.clone())
    }

    /// Like [`digest_for`](Self::digest_for), for a checksum file that is named like the image and lies beside it
    /// (`image.qcow2.sha256`): its only digest is used, whatever name it lists. openSUSE's files list the name of the
    /// build behind the stable name.
    ///
    /// # Errors
    /// As [`digest_of`](Self::digest_of).
    pub fn digest_beside(&self, wanted: WantedImage<'_>) -> Result<Digest, TransferError> {
        match self.entries.as_slice() {
            [only] => Ok(only.digest.clone()),
            _ => self.digest_for(wanted),
        }
    }

    fn not_listed_error(&self, name: &str) -> TransferError {
        let error = TransferError::new(Reason::Checksum, format!("{} does not list {name:?}", self.from));
        match self.similar_names(name).as_slice() {
            [] => error,
            near => error.hint(format!("it lists {}", near.join(", "))),
        }
    }

    /// Returns at most three names, the most similar first.
    fn similar_names(&self, name: &str) -> Vec<String> {
        let names = self.entries.iter().filter_map(|entry| entry.name.as_deref());
        let mut near: Vec<_> = names.map(|listed| (strsim::jaro(listed, name), listed)).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.dedup_by(|a, b| a.1 == b.1);
        near.truncate(3);
        near.into_iter().map(|(_, listed)| format!("{listed:?}")).collect()
    }
}

fn not_a_list_error(from: &str, cause: &str) -> TransferError {
    TransferError::new(Reason::Checksum, format!("{from} is not a checksum file")).because(cause)
}

/// Decodes the text: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it.
fn decode_text(bytes: &[u8]) -> String {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Returns the name of the list from its name in messages.
fn list_name(from: &str) -> &str {
    last_component(from.split('?').next().unwrap_or(from))
}

/// Returns the lines of the text without the armour of a clear-signed message (RFC 9580, 7): without its headers, which
/// end with an empty line, its dash escapes and its signature.
fn strip_signature(text: &str) -> impl Iterator<Item = &str> {
    let (mut in_signature, mut in_headers) = (false, false);
    text.lines().filter_map(move |line| {
        if line.starts_with("-----BEGIN PGP SIGNATURE-----") {
            in_signature = true;
        }
        let end = line.starts_with("-----END PGP SIGNATURE-----");
        let skipped = in_signature || in_headers || line.starts_with("-----");
        in_signature &= !end;
        in_headers =
            line.starts_with("-----BEGIN PGP SIGNED MESSAGE-----") || (in_headers && !line.is_empty());
        (!skipped).then(|| line.strip_prefix("- ").unwrap_or(line))
    })
}

/// Returns the digests of the names that match best.
fn best_matches<'a>(named: &[(&str, &'a Digest)], wanted: WantedImage<'_>) -> Vec<&'a Digest> {
    let by = |matches: &dyn Fn(&str) -> bool| -> Vec<&'a Digest> {
        named.iter().filter(|(name, _)| matches(name)).map(|(_, digest)| *digest).collect()
    };
    let name = last_component(wanted.path);
    let below = wanted.below.map(|below| by(&|listed| listed == below)).unwrap_or_default();
    if !below.is_empty() {
        return below;
    }
    let whole = by(&|listed| listed == name);
    if !whole.is_empty() {
        return whole;
    }
    let common = |listed: &str| {
        let pairs = listed.rsplit('/').zip(wanted.path.rsplit('/'));
        pairs.take_while(|(listed, wanted)| listed == wanted).count()
    };
    let most = named.iter().map(|(listed, _)| common(listed)).max().unwrap_or(0);
    by(&|listed| most > 0 && common(listed) == most)
}

/// Converts a name from Windows' tools, and removes the spaces that fill up a table.
fn with_slashes(name: &str) -> String {
    plain_name(&name.trim().replace('\\', "/"))
}

fn plain_name(name: &str) -> String {
    name.strip_prefix("./").unwrap_or(name).to_owned()
}

fn last_component(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
