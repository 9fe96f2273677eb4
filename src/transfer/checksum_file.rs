//! Checksum files: `SHA256SUMS`, `SHA512SUMS`, `CHECKSUM`, `image.qcow2.sha256`.
//!
//! Three forms are read, also mixed: GNU's (`HEX  name`, `HEX *name`; coreutils' "cksum output modes"), BSD's and
//! OpenSSL's (`SHA256 (name) = HEX`, `SHA256(name)= HEX`), and one bare digest. Which hash function it is, is told by
//! the number of digits. Comments (`#`), lines of other hash functions and anything else are passed over.
//!
//! A clear-signed file (OpenPGP, RFC 9580 section 7) is read, but **its signature is not checked**: what guards the
//! file is the TLS connection that it came by, nothing else.

use std::io::Read;

use super::digest::Digest;
use super::error::{Reason, TransferError};
use crate::text::printable;

/// The largest checksum file that is read, in bytes (1 MiB): that of a release with hundreds of images has 60 KiB.
pub const MAX_BYTES: usize = 1 << 20;

/// What a checksum file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumFile {
    /// Its name in messages.
    from: String,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// `None` for a bare digest.
    name: Option<String>,
    digest: Digest,
}

impl ChecksumFile {
    /// Reads one; `from` is its name in messages.
    ///
    /// # Errors
    /// The stream's; a file larger than [`MAX_BYTES`], and one without any digest in it (a page that says "not
    /// found", for example).
    pub fn read(stream: impl Read, from: &str) -> Result<Self, TransferError> {
        let mut bytes = Vec::new();
        let limit = MAX_BYTES as u64 + 1;
        stream.take(limit).read_to_end(&mut bytes).map_err(|e| TransferError::from_io(e, from))?;
        if bytes.len() > MAX_BYTES {
            return Err(useless(from, "it is larger than 1 MiB"));
        }
        let parsed = Self::parse(&String::from_utf8_lossy(&bytes), from);
        if parsed.lines.is_empty() {
            return Err(useless(from, "there is no SHA-256 or SHA-512 digest in it"));
        }
        Ok(parsed)
    }

    /// Takes the digests out of a text; there may be none.
    pub fn parse(text: &str, from: &str) -> Self {
        Self { from: from.to_owned(), lines: unsigned(text).filter_map(read_line).collect() }
    }

    /// The strongest digest that is listed for a file of that name. A listed path matches by its whole and, if none
    /// does, by its last component.
    ///
    /// # Errors
    /// [`Reason::Checksum`] where it is not listed, with the names that are near, and where it is listed twice with
    /// different digests.
    pub fn digest_of(&self, name: &str) -> Result<Digest, TransferError> {
        if let [Line { name: None, digest }] = self.lines.as_slice() {
            return Ok(digest.clone());
        }
        let whole = self.listed(|listed| listed == name);
        let found =
            if whole.is_empty() { self.listed(|listed| last_component(listed) == name) } else { whole };
        let strongest = found.iter().map(|digest| digest.algorithm()).max();
        let mut found = found.into_iter().filter(|digest| Some(digest.algorithm()) == strongest);
        let first = found.next().ok_or_else(|| self.absent(name))?;
        if found.any(|other| other != first) {
            return Err(TransferError::new(
                Reason::Checksum,
                format!("{} lists {:?} twice, with different digests", self.from, printable(name)),
            ));
        }
        Ok(first.clone())
    }

    /// As [`digest_of`](Self::digest_of), for a checksum file that is called like the file itself and lies beside it
    /// (`image.qcow2.sha256`): its only digest is meant, whatever name stands there. openSUSE's names the build there
    /// that its stable name leads to.
    ///
    /// # Errors
    /// As [`digest_of`](Self::digest_of).
    pub fn digest_beside(&self, name: &str) -> Result<Digest, TransferError> {
        match self.lines.as_slice() {
            [only] => Ok(only.digest.clone()),
            _ => self.digest_of(name),
        }
    }

    fn listed(&self, matches: impl Fn(&str) -> bool) -> Vec<&Digest> {
        let named = |line: &&Line| line.name.as_deref().is_some_and(&matches);
        self.lines.iter().filter(named).map(|line| &line.digest).collect()
    }

    fn absent(&self, name: &str) -> TransferError {
        let error = TransferError::new(
            Reason::Checksum,
            format!("{} does not list {:?}", self.from, printable(name)),
        );
        match self.near(name).as_slice() {
            [] => error,
            near => error.hint(format!("it lists {}", near.join(", "))),
        }
    }

    /// At most three names, the most similar first.
    fn near(&self, name: &str) -> Vec<String> {
        let names = self.lines.iter().filter_map(|line| line.name.as_deref());
        let mut near: Vec<_> = names.map(|listed| (strsim::jaro(listed, name), listed)).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.dedup_by(|a, b| a.1 == b.1);
        near.truncate(3);
        near.into_iter().map(|(_, listed)| printable(listed)).collect()
    }
}

fn useless(from: &str, cause: &str) -> TransferError {
    TransferError::new(Reason::Checksum, format!("{from} is not a checksum file")).because(cause)
}

/// The lines that are text: without the armour of a clear-signed message, its dash escapes and its signature.
fn unsigned(text: &str) -> impl Iterator<Item = &str> {
    let mut in_signature = false;
    text.lines().filter_map(move |line| {
        if line.starts_with("-----BEGIN PGP SIGNATURE-----") {
            in_signature = true;
        }
        let end = line.starts_with("-----END PGP SIGNATURE-----");
        let skipped = in_signature || line.starts_with("-----");
        in_signature &= !end;
        (!skipped).then(|| line.strip_prefix("- ").unwrap_or(line))
    })
}

/// A backslash in front of a line says that its name is escaped.
fn read_line(line: &str) -> Option<Line> {
    let (escaped, plain) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let (name, digest) = split_bsd(plain).or_else(|| split_gnu(plain))?;
    let name = match name {
        Some(name) if escaped => Some(unescaped(name)?),
        name => name.map(str::to_owned),
    };
    Some(Line { name: name.map(|name| plain_name(&name)), digest })
}

/// `SHA256 (name) = HEX`; OpenSSL leaves the blanks out and version 3 says `SHA2-256`.
fn split_bsd(line: &str) -> Option<(Option<&str>, Digest)> {
    let (function, rest) = line.split_once('(')?;
    let (name, hex) = rest.rsplit_once(')')?;
    let digest = Digest::from_hex(hex.trim_start().strip_prefix('=')?.trim())?;
    let function = function.trim().to_ascii_lowercase().replace("sha2-", "sha");
    (function == digest.algorithm().name()).then_some((Some(name), digest))
}

/// `HEX  name` and `HEX *name`, or a digest alone: `HEX`, and `HEX  -`, which sha256sum makes of its input.
fn split_gnu(line: &str) -> Option<(Option<&str>, Digest)> {
    let end = line.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(line.len());
    let (hex, rest) = line.split_at(end);
    let digest = Digest::from_hex(hex)?;
    let Some(first) = rest.chars().next() else { return Some((None, digest)) };
    if !first.is_whitespace() {
        return None;
    }
    // The second character says text or binary mode; who leaves it out has one blank or a tab.
    let behind = &rest[first.len_utf8()..];
    let name = behind.strip_prefix([' ', '*']).unwrap_or(behind);
    Some(if matches!(name, "" | "-") { (None, digest) } else { (Some(name), digest) })
}

/// coreutils' escapes, of the characters that would break the line.
fn unescaped(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

fn plain_name(name: &str) -> String {
    name.strip_prefix("./").unwrap_or(name).to_owned()
}

fn last_component(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
