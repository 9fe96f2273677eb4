//! A checksum as a user gives it: a digest, or the place of a checksum file.

use super::checksum_file::{ChecksumFile, WantedImage};
use super::digest::Digest;
use super::error::{Reason, TransferError};
use super::location::Location;
use super::{DigestCheck, TransferOptions, open_location};

/// A digest that is given or is to be looked up: `sha256:…`, `sha512:…`, bare digits, or the path or the address of
/// a checksum file.
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
        // An address has a colon, too, but no hash function is called `http`; nor is a path with a slash one.
        let looks_like_digest =
            plain.split_once(':').is_some_and(|(name, rest)| is_word(name) && is_word(rest.trim_start()));
        if looks_like_digest { plain.parse().map(Self::Digest) } else { text.parse().map(Self::ListedIn) }
    }
}

/// Why a text of nothing but hexadecimal digits is no digest that foundry checks by. Fewer than those of MD5 are more
/// likely a file's name.
fn unfit_digits(text: &str) -> Option<TransferError> {
    if text.len() < 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let cause = match text.len() {
        32 => "it has as many digits as MD5 gives, which foundry does not check by".to_owned(),
        40 => "it has as many digits as SHA-1 gives, which foundry does not check by".to_owned(),
        56 => "it has as many digits as SHA-224 gives, which foundry does not check by".to_owned(),
        96 => "it has as many digits as SHA-384 gives, which foundry does not check by".to_owned(),
        count => format!("it has {count} digits; SHA-256 has 64 and SHA-512 has 128"),
    };
    let error = TransferError::new(Reason::Input, format!("{text:?} is not a digest to check by"));
    Some(
        error
            .because(cause)
            .hint(format!("use a sha256: or sha512: digest; a list of that name is ./{text}")),
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

/// The digest that a file is expected to have: the given one, or the one that the checksum file lists for the last
/// component of its location.
///
/// A checksum file called like the file and an extension (`disk.qcow2.sha256`) means the file by its only digest,
/// whatever name stands in it.
///
/// # Errors
/// Those of reading the checksum file; where it does not list the file.
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
        let message = format!("there is no name by which to find {image} in a checksum file");
        return Err(TransferError::new(Reason::Input, message).hint("give its digest itself"));
    };
    let extension =
        list.file_name().and_then(|list| list.strip_prefix(&name)?.strip_prefix('.').map(str::to_owned));
    let beside = extension.is_some_and(|extension| is_word(&extension));
    let (below, path) = (image.relative_to_list(list), image.whole_path().unwrap_or(name));
    let wanted = WantedImage { below: below.as_deref(), path: &path };
    if beside { lines.digest_beside(wanted) } else { lines.digest_for(wanted) }
}
