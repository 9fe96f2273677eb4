//! Locations of images and checksum files: a URL, a file or standard input.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::digest::{Algorithm, Digest};
use super::error::TransferError;
use super::reference::is_scheme;
use super::url::{Url, not_an_address};
use foundry_core::text::escape_unseen;

/// The location that an image or a checksum file is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `http://` or `https://`.
    Url(Url),
    /// A file: a path, or a `file://` address.
    File(PathBuf),
    /// `-`.
    StandardInput,
}

impl FromStr for Location {
    type Err = TransferError;

    fn from_str(text: &str) -> Result<Self, TransferError> {
        if text == "-" {
            return Ok(Self::StandardInput);
        }
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => parse_file_url(text, rest),
            Some((scheme, _)) if is_scheme(scheme) => text.parse().map(Self::Url),
            _ => Ok(Self::File(text.into())),
        }
    }
}

/// Reads `file:///path` and `file://localhost/path` (RFC 8089).
fn parse_file_url(text: &str, rest: &str) -> Result<Location, TransferError> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let decoded = percent_decode_str(path).decode_utf8().ok();
    match decoded.filter(|path| path.starts_with('/') && !path.contains('\0')) {
        Some(path) => Ok(Location::File(path.as_ref().into())),
        None => Err(not_an_address(text).because("write a file as file:///path")),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::File(path) => f.write_str(&escape_unseen(&path.display().to_string())),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}

impl Location {
    /// Returns the last component of the path, which a checksum file lists. Returns `None` for standard input and for an
    /// address that ends in a slash.
    pub fn file_name(&self) -> Option<String> {
        match self {
            Self::Url(url) => url.file_name(),
            Self::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Self::StandardInput => None,
        }
    }

    /// Returns the whole path, decoded: the path of an address, or the absolute path of a file. It ends in
    /// [`file_name`](Self::file_name).
    pub(super) fn whole_path(&self) -> Option<String> {
        self.file_name()?;
        match self {
            Self::Url(url) => percent_decode_str(url.uri().path()).decode_utf8().ok().map(Into::into),
            Self::File(path) => {
                let absolute = std::path::absolute(path).ok()?;
                Some(absolute.to_string_lossy().into_owned())
            }
            Self::StandardInput => None,
        }
    }

    /// Returns the path relative to the folder of a checksum file, if this location is below that folder.
    pub(super) fn relative_to_list(&self, list: &Self) -> Option<String> {
        match (self, list) {
            (Self::Url(image), Self::Url(list)) if image.is_same_server(list) => {}
            (Self::File(_), Self::File(_)) => {}
            _ => return None,
        }
        let (image, list) = (self.whole_path()?, list.whole_path()?);
        let (folder, _) = list.rsplit_once('/')?;
        image.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned)
    }

    /// Returns a digest that identifies this location and can be stored: `sha256:…` of an address as in
    /// [`Url::identity_digest`], or of the absolute path of a file, in which links and `..` are not resolved. Returns `None`
    /// for standard input, and for a relative path without a working directory.
    pub fn identity_digest(&self) -> Option<String> {
        let digest = match self {
            Self::Url(url) => url.identity_digest(),
            Self::File(path) => {
                let absolute = std::path::absolute(path).ok()?;
                Digest::of_bytes(Algorithm::Sha256, absolute.as_os_str().as_bytes())
            }
            Self::StandardInput => return None,
        };
        Some(digest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Reason;

    #[test]
    fn identity_ignores_login_and_spelling() {
        let of = |text: &str| text.parse::<Location>().unwrap().identity_digest().unwrap();
        let one = of("https://example.org/a?x=1&y=2");
        // printf %s 'https://example.org/a?x=1&y=2' | sha256sum
        assert_eq!(one, "sha256:0e4f90eb6ba16656c492a0a1b17f31e6072b69ab2f0fa53955308174cd95d772");
        for same in ["https://me:pw@example.org/a?x=1&y=2", "HTTPS://Example.org:443/a?x=1&y=2#part"] {
            assert_eq!(of(same), one, "{same}");
        }
        for other in [
            "http://example.org/a?x=1&y=2",
            "https://example.org:444/a?x=1&y=2",
            "https://example.org/a?x=1&y=3",
            "https://example.org/a",
            "https://example.org/A?x=1&y=2",
        ] {
            assert_ne!(of(other), one, "{other}");
        }
        assert_eq!(of("https://example.org"), of("https://example.org/"));
    }

    #[test]
    fn identity_of_file_is_its_absolute_path() {
        let of = |text: &str| text.parse::<Location>().unwrap().identity_digest();
        let here = std::env::current_dir().unwrap().join("disk.raw");
        assert_eq!(of("disk.raw"), of(here.to_str().unwrap()));
        assert_eq!(of("/a%20b"), of("file:///a%2520b"));
        assert_ne!(of("/disk.raw"), of("disk.raw"));
        assert_eq!(of("-"), None);
    }

    #[test]
    fn location_kind_is_detected() {
        let at = |text: &str| text.parse::<Location>().unwrap();
        assert_eq!(at("-"), Location::StandardInput);
        assert_eq!(at("file:///a%20b/c"), Location::File("/a b/c".into()));
        assert_eq!(at("FILE://localhost/c"), Location::File("/c".into()));
        assert_eq!(at("./x://y"), Location::File("./x://y".into()));
        assert!(matches!(at("HTTPS://example.org/x"), Location::Url(_)));
        for wrong in [
            "ftp://a/b",
            "http://",
            "http:///x",
            "https://a b/",
            "https://ä.org/",
            "file://host/x",
            "file:///%00",
        ] {
            assert_eq!(wrong.parse::<Location>().unwrap_err().reason(), Reason::Input, "{wrong}");
        }
        assert_eq!(at("https://x.org/a/de%20b.qcow2?x=/y").file_name().as_deref(), Some("de b.qcow2"));
        assert_eq!(at("https://x.org/").file_name(), None);
    }
}
