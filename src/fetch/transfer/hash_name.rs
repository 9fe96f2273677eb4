//! Recognizes the name of a hash function in a word, a heading or the name of a checksum file.
//!
//! The number of digits does not identify the function: BLAKE2b and SHA3-512 have as many as SHA-512, and SHA3-256 and
//! BLAKE3 as many as SHA-256.

use std::fmt;

use super::digest::{Algorithm, Digest};

/// The name of a hash function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HashName {
    /// A supported function.
    Known(Algorithm),
    /// Another function: its name in lower case, without hyphens and the usual suffixes.
    Other(String),
}

/// Usual suffixes of a function's name: `sha256sum`, `SHA256SUMS`, `SHA512 HASH`.
const ENDS: [&str; 8] = ["checksums", "checksum", "hashes", "digests", "digest", "sums", "sum", "hash"];

/// Prefixes of the names of other functions; a length may follow.
const OTHERS: [&str; 17] = [
    "md5",
    "sha1",
    "sha224",
    "sha384",
    "sha2224",
    "sha2384",
    "sha512224",
    "sha512256",
    "sha3",
    "blake",
    "whirlpool",
    "sm3",
    "gost",
    "streebog",
    "keccak",
    "shake",
    "skein",
];

/// Functions among [`OTHERS`] and SHA-3 whose digests have neither 64 nor 128 digits.
const SHORT: [&str; 9] =
    ["md5", "sha1", "sha224", "sha384", "sha2224", "sha2384", "sha512224", "sha3224", "sha3384"];

/// Maximum number of words in a heading. A longer line is prose, unless it ends with a colon.
const LONGEST_HEADING: usize = 5;

impl HashName {
    /// Parses the name of a function; hyphens and case are ignored: `SHA256`, `sha-256`, `SHA2-256`.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let lower = word.to_ascii_lowercase();
        let plain: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
        let end = ENDS.iter().find_map(|end| plain.strip_suffix(end));
        let name = end.unwrap_or(&plain);
        match name {
            "sha256" | "sha2256" => return Some(Self::Known(Algorithm::Sha256)),
            "sha512" | "sha2512" => return Some(Self::Known(Algorithm::Sha512)),
            // These names are too short to be recognized without a suffix.
            "b2" | "b3" => return end.map(|name| Self::Other(name.to_owned())),
            _ => {}
        }
        let is_length = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || "bspr".contains(c));
        let is_other = OTHERS.iter().any(|other| name.strip_prefix(other).is_some_and(is_length));
        is_other.then(|| Self::Other(name.to_owned()))
    }

    /// Returns the function that a heading announces for the next lines: `# SHA512 HASH`, `sha256:`, `### SHA-256
    /// checksums`. Returns `None` for prose, and if several functions are named.
    pub(super) fn in_heading(line: &str) -> Option<Self> {
        let words = line.split_whitespace().filter(|word| word.contains(|c: char| c.is_ascii_alphanumeric()));
        if words.count() > LONGEST_HEADING && !line.trim_end().ends_with(':') {
            return None;
        }
        single_name(names_in(line))
    }

    /// Returns the function in the name of a checksum file: `SHA256SUMS`, `b2sums.txt`, `disk.qcow2.sha3-256`.
    pub(super) fn in_list_name(name: &str) -> Option<Self> {
        let end = name.rsplit('.').next().unwrap_or(name);
        // These names are too short to be recognized inside another name.
        if ["b2", "b3"].iter().any(|short| end.eq_ignore_ascii_case(short)) {
            return Some(Self::Other(end.to_ascii_lowercase()));
        }
        names_in(name).pop()
    }

    /// Whether a digest of this length can be from this function. If not, the name did not refer to the digest.
    pub(super) fn may_have(&self, digest: &Digest) -> bool {
        let long = digest.algorithm() == Algorithm::Sha512;
        match self {
            Self::Known(algorithm) => *algorithm == digest.algorithm(),
            Self::Other(name) if name.ends_with("256") => !long,
            Self::Other(name) if name.ends_with("512") => long,
            Self::Other(name) => !SHORT.iter().any(|short| name.starts_with(short)),
        }
    }
}

/// Returns all functions that a text names. The longest name is used: `SHA3-256` is not SHA3 and 256.
fn names_in(text: &str) -> Vec<HashName> {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let (mut names, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let named =
            |count: usize| HashName::parse(&words.get(at..at + count)?.concat()).map(|name| (name, count));
        let found = (1..=3).rev().find_map(named);
        at += found.as_ref().map_or(1, |(_, count)| *count);
        names.extend(found.map(|(name, _)| name));
    }
    names
}

fn single_name(mut names: Vec<HashName>) -> Option<HashName> {
    let first = names.pop()?;
    names.iter().all(|name| *name == first).then_some(first)
}

impl fmt::Display for HashName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Known(algorithm) => algorithm.name().to_ascii_uppercase(),
            Self::Other(name) if name.starts_with("b2") => "BLAKE2".into(),
            Self::Other(name) if name.starts_with("b3") => "BLAKE3".into(),
            Self::Other(name) => name.to_ascii_uppercase(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other_function(name: &str) -> Option<HashName> {
        Some(HashName::Other(name.into()))
    }

    const SHA256: Option<HashName> = Some(HashName::Known(Algorithm::Sha256));
    const SHA512: Option<HashName> = Some(HashName::Known(Algorithm::Sha512));

    #[test]
    fn heading_names_one_function() {
        for (line, name) in [
            ("# SHA512 HASH", SHA512),
            ("sha256", SHA256),
            ("SHA-256:", SHA256),
            ("### SHA2-256 checksums", SHA256),
            ("[sha 512]", SHA512),
            ("# The digests of all images by SHA-256 are these:", SHA256),
            ("# BLAKE2B HASH", other_function("blake2b")),
            ("# SHA3-256", other_function("sha3256")),
            ("SHA512/256 digests", other_function("sha512256")),
            ("# check them with sha256sum -c of coreutils", None),
            ("# SHA256 and BLAKE2", None),
            ("# images of 2025", None),
        ] {
            assert_eq!(HashName::in_heading(line), name, "{line}");
        }
    }

    #[test]
    fn function_is_read_from_name_of_list() {
        for (name, function) in [
            ("SHA256SUMS", SHA256),
            ("sha512sum.txt", SHA512),
            ("disk-b2.qcow2.sha256", SHA256),
            ("b2sums.txt", other_function("b2")),
            ("disk.qcow2.b2", other_function("b2")),
            ("disk.qcow2.blake2b", other_function("blake2b")),
            ("SHA3-256SUMS", other_function("sha3256")),
            ("disk.sha3", other_function("sha3")),
            ("CHECKSUM", None),
        ] {
            assert_eq!(HashName::in_list_name(name), function, "{name}");
        }
    }
}
