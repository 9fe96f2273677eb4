//! Where an image or a checksum file is: a URL, a file, standard input.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use super::basic_auth;
use super::digest::{Algorithm, Digest};
use super::error::{Reason, TransferError};
use super::reference::{is_scheme, resolved, scheme};
use foundry_core::text::escape_unseen;
use foundry_core::yaml::shortened;

/// What an address of a machine's own, or of what it is connected to alone, is no place for.
const LOOPBACK: &str = "is this machine itself, to which no other server leads";
const LINK_LOCAL: &str = "is an address of this machine's network alone, to which no server elsewhere leads";

/// What of an address says that it is reached from this machine only: half a sentence.
pub(super) fn nearness_of(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        address if address.is_loopback() || address.is_unspecified() => Some(LOOPBACK),
        IpAddr::V4(address) if address.is_link_local() => Some(LINK_LOCAL),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(LINK_LOCAL),
        _ => None,
    }
}

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

/// What is shown of a text that is no URL, as it may hold a password or a token anyway.
fn concealed(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), text),
    };
    let (place, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let hidden = if query.is_empty() { "" } else { "?…" };
    let shown = match place.rsplit_once('@') {
        // A password may hold a '?', and a query a '@': either may be what is secret.
        _ if query.contains('@') => "…".to_owned(),
        Some((_, host)) => format!("…@{host}{hidden}"),
        None => format!("{place}{hidden}"),
    };
    escape_unseen(&(scheme + &shown))
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
    /// The last component of the path, by which a checksum file lists it: `None` for standard input and for an
    /// address that ends in a slash.
    pub fn file_name(&self) -> Option<String> {
        match self {
            Self::Url(url) => url.file_name(),
            Self::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Self::StandardInput => None,
        }
    }

    /// The whole path, decoded: as it is in an address, absolute for a file. It ends in
    /// [`file_name`](Self::file_name).
    pub(super) fn whole_path(&self) -> Option<String> {
        self.file_name()?;
        match self {
            Self::Url(url) => percent_decode_str(url.uri.path()).decode_utf8().ok().map(Into::into),
            Self::File(path) => {
                let absolute = std::path::absolute(path).ok()?;
                Some(absolute.to_string_lossy().into_owned())
            }
            Self::StandardInput => None,
        }
    }

    /// Its path from the folder that another location is in, where it is below that.
    pub(super) fn below_folder_of(&self, list: &Self) -> Option<String> {
        match (self, list) {
            (Self::Url(image), Self::Url(list)) if image.origin() == list.origin() => {}
            (Self::File(_), Self::File(_)) => {}
            _ => return None,
        }
        let (image, list) = (self.whole_path()?, list.whole_path()?);
        let (folder, _) = list.rsplit_once('/')?;
        image.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned)
    }

    /// What tells it apart from other locations, to be kept: `sha256:…` of an address as [`Url::identity`] has it, or
    /// of the absolute path of a file, in which links and `..` stay as they are. `None` for standard input, and where
    /// a relative path has no working directory to begin from.
    pub fn identity(&self) -> Option<String> {
        let digest = match self {
            Self::Url(url) => url.identity(),
            Self::File(path) => {
                let absolute = std::path::absolute(path).ok()?;
                Digest::of(Algorithm::Sha256, absolute.as_os_str().as_bytes())
            }
            Self::StandardInput => return None,
        };
        Some(digest.to_string())
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

/// The header of what stands in an address, percent-encoded.
fn basic(login: &str) -> String {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    basic_auth::basic(&decoded(user), &decoded(password))
}

impl Url {
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Where a server leads by a reference (`Location`, RFC 9110, 10.2.2).
    ///
    /// Such an address gets the login only where it is the same host, scheme and port, and never the one that the
    /// server writes into it. It is http or https, and https where this one is.
    pub(super) fn led_to(&self, reference: &str) -> Result<Self, TransferError> {
        let target = resolved(&self.uri, reference);
        let refused = |why: &str| {
            let cause = format!("it leads to {}, which {why}", shortened(&concealed(&target)));
            TransferError::new(Reason::Refused, format!("cannot download {self}")).because(cause)
        };
        let is_http = |s: &str| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https");
        if !scheme(&target).is_some_and(is_http) {
            return Err(refused("is neither http:// nor https://"));
        }
        let no_address = || refused("is not an address to download from");
        let there: Self = target.parse().map_err(|_| no_address())?;
        // Percent-encoding is nothing for a host's name; what was encoded there belongs into IDNA's form.
        if there.uri.host().is_some_and(|host| !host.starts_with('[') && host.contains('%')) {
            return Err(no_address());
        }
        if self.is_https() && !there.is_https() {
            return Err(refused("is plain http after https: anybody on the way can change what comes"));
        }
        if let Some(near) = there.nearness().filter(|near| self.nearness() != Some(near)) {
            return Err(refused(near));
        }
        let same = self.origin() == there.origin();
        Ok(Self { uri: there.uri, authorization: self.authorization.clone().filter(|_| same) })
    }

    /// What of its host's name alone says that it is reached from this machine only, where a server elsewhere has
    /// nothing to send anybody: half a sentence.
    fn nearness(&self) -> Option<&'static str> {
        let host = self.uri.host()?.trim_end_matches('.').to_ascii_lowercase();
        if host == "localhost" || host.ends_with(".localhost") {
            return Some(LOOPBACK);
        }
        nearness_of(host.trim_start_matches('[').trim_end_matches(']').parse().ok()?)
    }

    /// Whether both are on one host, whatever their ports.
    pub fn is_on_host_of(&self, other: &Self) -> bool {
        self.uri.host().zip(other.uri.host()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    /// Whether a server that another one leads to may be on this machine: the same host, or one that a server on
    /// this machine names.
    pub(super) fn may_lead_near(&self, there: &Self) -> bool {
        self.is_on_host_of(there) || self.nearness().is_some()
    }

    /// Whether another address is this one, but for encryption: what is led there by the host itself is no mirror.
    pub(super) fn is_plain_form_of(&self, other: &Self) -> bool {
        !self.is_https()
            && other.is_https()
            && self.is_on_host_of(other)
            && self.uri.path_and_query() == other.uri.path_and_query()
    }

    /// Scheme, host and port as two addresses are compared by: small letters, and no port that goes without saying
    /// (RFC 3986, 6.2.2.1 and 6.2.3).
    fn origin(&self) -> String {
        let authority = self.uri.authority().map_or("", |a| a.as_str()).to_ascii_lowercase();
        let (scheme, usual) = if self.is_https() { ("https", ":443") } else { ("http", ":80") };
        let host = authority.strip_suffix(usual).or(authority.strip_suffix(':')).unwrap_or(&authority);
        format!("{scheme}://{host}")
    }

    /// A digest (SHA-256) by which two addresses are told apart without keeping either: of scheme, host, port, path
    /// **and query**, without the login and the fragment.
    ///
    /// Letters in scheme and host make no difference, nor does a port that goes without saying; all else does, also
    /// the order of a query. It is no secret-keeping by itself: whoever knows the address but for a short secret can
    /// try them all.
    pub fn identity(&self) -> Digest {
        let rest = self.uri.path_and_query().map_or("/", |rest| rest.as_str());
        Digest::of(Algorithm::Sha256, format!("{}{rest}", self.origin()).as_bytes())
    }

    /// With that value of the header `Authorization`, or none.
    pub(super) fn with_authorization(self, authorization: Option<String>) -> Self {
        Self { authorization, ..self }
    }

    /// Its host's name, or address.
    pub(super) fn host(&self) -> Option<String> {
        self.uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned())
    }

    /// Whether another address is the same server's: scheme, host and port.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_open_on_the_way(&self) -> bool {
        !self.is_https() && self.nearness() != Some(LOOPBACK)
    }

    /// Whether it is asked with a user name, a password or a token.
    pub fn has_login(&self) -> bool {
        self.authorization.is_some()
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

    /// The whole address without user name and password, but with its query, which may be as good as one: not to be
    /// kept or shown (see [`identity`](Self::identity)).
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
        let to = |text: &str| from.led_to(text).unwrap().authorization().map(str::to_owned);
        for same in
            ["https://example.org/b", "https://EXAMPLE.org:443/b", "/b", "https://u:other@example.org/"]
        {
            assert_eq!(to(same), from.authorization, "{same}");
        }
        for other in
            ["https://example.com/a", "https://u:p@example.com/a", "https://example.org:444/a", "//x"]
        {
            assert_eq!(to(other), None, "{other}");
        }
        let plain = url("http://me:pw@example.org/a").led_to("https://example.org/a").unwrap();
        assert_eq!(plain.authorization(), None, "another scheme");
    }

    #[test]
    fn what_is_encrypted_does_not_lead_to_what_is_not() {
        let told = url("https://a/x").led_to("http://u:pw@a/x?token=s3cret").unwrap_err();
        assert_eq!(told.reason(), Reason::Refused);
        assert!(
            told.to_string()
                .starts_with("cannot download https://a/x: it leads to http://…@a/x?…, which is plain http")
        );
        assert!(url("http://a/x").led_to("https://a/x").unwrap().is_https());
    }

    #[test]
    fn what_is_no_address_does_not_show_its_secrets_either() {
        for (text, shown) in [
            ("htp://x/z?tok=TTTT", "htp://x/z?…"),
            ("htp://x/z#TTTT", "htp://x/z?…"),
            ("http://u:TTTT@/z?tok=TTTT", "http://…@/z?…"),
            ("ftp://u:TTTT@x/z", "ftp://…@x/z"),
            ("ftp://u:TT?TT@x/z", "ftp://…"),
            ("ftp://u:p@x/z?tok=a@TTTT", "ftp://…"),
            ("https://x/a b?TTTT", "https://x/a b?…"),
            ("u:TTTT@x?y=://", "…@x?…"),
        ] {
            let told = text.parse::<Url>().unwrap_err().to_string();
            assert!(told.starts_with(&format!("{shown:?} is not")) && !told.contains("TT"), "{text}: {told}");
        }
    }

    #[test]
    fn addresses_are_the_same_but_for_login_and_spelling() {
        let of = |text: &str| text.parse::<Location>().unwrap().identity().unwrap();
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
    fn files_are_told_apart_by_their_absolute_paths() {
        let of = |text: &str| text.parse::<Location>().unwrap().identity();
        let here = std::env::current_dir().unwrap().join("disk.raw");
        assert_eq!(of("disk.raw"), of(here.to_str().unwrap()));
        assert_eq!(of("/a%20b"), of("file:///a%2520b"));
        assert_ne!(of("/disk.raw"), of("disk.raw"));
        assert_eq!(of("-"), None);
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
