//! A checksum as a user specifies it: a digest, or the location of a checksum file.

use super::checksum_file::{ChecksumFile, WantedImage};
use super::digest::Digest;
use super::error::{Reason, TransferError};
use super::location::Location;
use super::{DigestCheck, TransferOptions, open_location};

/// An expected digest: `sha256:…`, `sha512:…`, digits only, or the path or URL of a checksum file that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The digest itself.
    Digest(Digest),
    /// A checksum file that lists it.
    ListedIn(Location),
}

impl std::str::FromStr for Expected {
    type Err = TransferError;

    fn from_str(text: &str) -> Result<Self, TransferError> {
        let plain = text.trim();
        if let Some(digest) = Digest::from_hex(plain) {
            return Ok(Self::Digest(digest));
        }
        if let Some(error) = unfit_digits(plain) {
            return Err(error);
        }
        // URLs contain a colon, too, but `http` is not a hash function; neither is a path with a slash.
        let looks_like_digest =
            plain.split_once(':').is_some_and(|(name, rest)| is_word(name) && is_word(rest.trim_start()));
        if looks_like_digest { plain.parse().map(Self::Digest) } else { text.parse().map(Self::ListedIn) }
    }
}

/// Explains why a text of hexadecimal digits is not a supported digest. If it is shorter than MD5's, it is more likely
/// a file name.
fn unfit_digits(text: &str) -> Option<TransferError> {
    if text.len() < 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let cause = match text.len() {
        32 => "it has the length of an MD5 digest, which foundry does not support".to_owned(),
        40 => "it has the length of a SHA-1 digest, which foundry does not support".to_owned(),
        56 => "it has the length of a SHA-224 digest, which foundry does not support".to_owned(),
        96 => "it has the length of a SHA-384 digest, which foundry does not support".to_owned(),
        count => format!("it has {count} digits; SHA-256 has 64 and SHA-512 has 128"),
    };
    let error = TransferError::new(Reason::Input, format!("{text:?} is not a supported digest"));
    Some(
        error.because(cause).hint(format!(
            "use a sha256: or sha512: digest; for a checksum file with this name write ./{text}"
        )),
    )
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::ListedIn(list) => list.fmt(f),
        }
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Returns the expected digest of a file: the given one, or the one that the checksum file lists for the file's name.
///
/// If the checksum file is named like the file with an extension (`disk.qcow2.sha256`), its only digest is used,
/// whatever name it lists.
///
/// # Errors
/// A checksum file that cannot be read or does not list the file.
pub fn expected_digest(
    expected: &Expected,
    image: &Location,
    options: TransferOptions<'_>,
) -> Result<Digest, TransferError> {
    let list = match expected {
        Expected::Digest(digest) => return Ok(digest.clone()),
        Expected::ListedIn(list) => list,
    };
    let options = TransferOptions { check: &DigestCheck::Nothing, cache: None, ..options };
    let lines = ChecksumFile::read(open_location(list, options)?.content, &list.to_string())?;
    let Some(name) = image.file_name() else {
        let message = format!("{image} has no name to look up in a checksum file");
        return Err(TransferError::new(Reason::Input, message).hint("specify its digest instead"));
    };
    let extension =
        list.file_name().and_then(|list| list.strip_prefix(&name)?.strip_prefix('.').map(str::to_owned));
    let beside = extension.is_some_and(|extension| is_word(&extension));
    let (below, path) = (image.relative_to_list(list), image.whole_path().unwrap_or(name));
    let wanted = WantedImage { below: below.as_deref(), path: &path };
    if beside { lines.digest_beside(wanted) } else { lines.digest_for(wanted) }
}
