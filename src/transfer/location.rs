//! Where an image or a checksum file is: an address, a file, standard input.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use super::error::{Reason, TransferError};
use crate::text::printable;

/// Where something is read from.
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
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => local(text, rest),
            Some((scheme, _)) if is_scheme(scheme) => text.parse().map(Self::Url),
            _ => Ok(Self::File(text.into())),
        }
    }
}

/// What RFC 3986 lets a scheme be; a path with "://" in it has a slash or a blank in front of it.
fn is_scheme(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// `file:///path` and `file://localhost/path` (RFC 8089).
fn local(text: &str, rest: &str) -> Result<Location, TransferError> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let decoded = percent_decode_str(path).decode_utf8().ok();
    match decoded.filter(|path| path.starts_with('/') && !path.contains('\0')) {
        Some(path) => Ok(Location::File(path.as_ref().into())),
        None => Err(bad(text).because("a file is named as file:///path")),
    }
}

fn bad(text: &str) -> TransferError {
    TransferError::new(Reason::Input, format!("{:?} is not an address to download from", concealed(text)))
}

/// What is shown of a text that is no URL, as it may hold a password all the same.
fn concealed(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{}", printable(rest)),
        _ => printable(text),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::File(path) => f.write_str(&printable(&path.display().to_string())),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}

impl Location {
    /// The last component of the path, by which a checksum file lists it: `None` for standard input and for an
    /// address that ends in a slash.
    pub fn file_name(&self) -> Option<String> {
        match self {
            Self::Url(url) => url.file_name(),
            Self::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Self::StandardInput => None,
        }
    }
}

/// An `http://` or `https://` address, its user name and password apart.
///
/// Shown, it has neither those nor the values of its query, which may be as good as a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    uri: Uri,
    /// The value of the header `Authorization`.
    authorization: Option<String>,
}

impl FromStr for Url {
    type Err = TransferError;

    fn from_str(text: &str) -> Result<Self, TransferError> {
        // RFC 3986 knows no other characters; whoever has some must say how they are encoded.
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad(text)
                .because("it holds blanks or letters beyond ASCII")
                .hint("percent-encode them"));
        }
        let (plain, login) = without_login(text);
        let uri: Uri =
            plain.parse().map_err(|e: ureq::http::uri::InvalidUri| bad(text).because(e.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad(text).because("it is neither http:// nor https:// nor file://"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad(text).because("it names no host"));
        }
        Ok(Self { uri, authorization: login.map(basic) })
    }
}

/// Takes `user:password@` out of an address (RFC 3986, 3.2.1).
fn without_login(text: &str) -> (String, Option<&str>) {
    let Some((scheme, rest)) = text.split_once("://") else { return (text.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((login, host)) => (format!("{scheme}://{host}{}", &rest[end..]), Some(login)),
        None => (text.to_owned(), None),
    }
}

/// Basic authentication (RFC 7617).
fn basic(login: &str) -> String {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

impl Url {
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// An address that a server led to: it gets the login only where it is the same host, scheme and port.
    pub(super) fn led_to(&self, uri: &Uri) -> Self {
        let same = self.uri.scheme() == uri.scheme() && self.uri.authority() == uri.authority();
        Self { uri: uri.clone(), authorization: self.authorization.clone().filter(|_| same) }
    }

    /// Whether the connection is encrypted and the server proves who it is.
    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// The last component of its path, decoded.
    pub fn file_name(&self) -> Option<String> {
        let last = self.uri.path().rsplit('/').next().filter(|last| !last.is_empty())?;
        percent_decode_str(last).decode_utf8().ok().map(Into::into)
    }

    /// The whole address without user name and password, to be kept.
    pub fn without_password(&self) -> String {
        self.uri.to_string()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        let query = if self.uri.query().is_some() { "?…" } else { "" };
        write!(f, "{scheme}://{authority}{}{query}", self.uri.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let url = url("https://me:p%40ss@example.org:8443/a/disk.qcow2?token=s3cret");
        for shown in [url.to_string(), format!("{url:?}")] {
            assert!(shown.contains("https://example.org:8443/a/disk.qcow2?…"), "{shown}");
            assert!(!shown.contains("p%40ss") && !shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(url.authorization(), Some("Basic bWU6cEBzcw=="), "me:p@ss");
        assert_eq!(url.without_password(), "https://example.org:8443/a/disk.qcow2?token=s3cret");
        let told = "ftp://me:hunter2@host/x".parse::<Location>().unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_login_stays_on_its_host() {
        let from = url("https://me:pw@example.org/a");
        let to = |text: &str| from.led_to(&text.parse().unwrap()).authorization().is_some();
        assert!(to("https://example.org/b"));
        for other in ["https://example.com/a", "http://example.org/a", "https://example.org:444/a"] {
            assert!(!to(other), "{other}");
        }
    }

    #[test]
    fn locations_are_told_apart() {
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
