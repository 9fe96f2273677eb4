//! SHA-256 and SHA-512 digests (FIPS 180-4) in their usual notations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

use super::error::{Reason, TransferError};

/// A hash function. The stronger one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Returns the name before a digest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the number of hexadecimal digits of a digest.
    fn digit_count(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let plain = name.trim().to_ascii_lowercase().replace("sha2-", "sha").replace('-', "");
        [Self::Sha256, Self::Sha512].into_iter().find(|a| a.name() == plain)
    }
}

/// A digest, written as `sha256:` or `sha512:` and hexadecimal digits in any case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    /// Hexadecimal digits in lower case.
    hex: String,
}

impl Digest {
    /// Returns the hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the digits in lower case.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Parses digits without a prefix; their number determines the hash function. Returns `None` for other texts.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let algorithm =
            [Algorithm::Sha256, Algorithm::Sha512].into_iter().find(|a| a.digit_count() == digits.len())?;
        let all = digits.bytes().all(|b| b.is_ascii_hexdigit());
        all.then(|| Self { algorithm, hex: digits.to_ascii_lowercase() })
    }

    /// Computes the digest of bytes.
    pub fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl FromStr for Digest {
    type Err = TransferError;

    /// Reads `sha256:HEX`, `sha512:HEX` or only the digits.
    fn from_str(text: &str) -> Result<Self, TransferError> {
        let read = match text.split_once(':') {
            Some((name, hex)) => {
                let algorithm = Algorithm::of_name(name).ok_or_else(|| unknown_algorithm(name))?;
                Self::from_hex(hex.trim()).filter(|digest| digest.algorithm == algorithm)
            }
            None => Self::from_hex(text),
        };
        read.ok_or_else(|| {
            TransferError::new(Reason::Input, format!("{text:?} is not a digest"))
                .hint("write sha256: and 64 hexadecimal digits, or sha512: and 128 digits")
        })
    }
}

fn unknown_algorithm(name: &str) -> TransferError {
    TransferError::new(Reason::Input, format!("{name:?} is not a hash function that foundry supports"))
        .hint("use a sha256: or sha512: digest")
}

impl TryFrom<String> for Digest {
    type Error = TransferError;

    fn try_from(text: String) -> Result<Self, TransferError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// Computes a digest incrementally.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a digest.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// Adds `count` zeros, the content of a hole.
    pub fn update_zeros(&mut self, mut count: u64) {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        while count > 0 {
            let length = usize::try_from(count).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
            self.update(&ZEROS[..length]);
            count -= length as u64;
        }
    }

    /// Returns the digest of all bytes that were added.
    pub fn finish(self) -> Digest {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(state) => Digest { algorithm: Algorithm::Sha256, hex: hex(&state.finalize()) },
            Self::Sha512(state) => Digest { algorithm: Algorithm::Sha512, hex: hex(&state.finalize()) },
        }
    }
}
