//! HTTP addresses, shown without their secrets.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use super::basic_auth;
use super::digest::{Algorithm, Digest};
use super::error::{Reason, TransferError};
use super::reference::{is_scheme, resolve_reference, scheme_of};
use foundry_core::text::escape_unseen;
use foundry_core::yaml::shorten;

/// Why a redirect from another server to such an address is refused: half a sentence.
const LOOPBACK: &str = "is this machine itself; no other server may redirect there";
const LINK_LOCAL: &str = "is a link-local address of this machine; no other server may redirect there";

/// Returns a half sentence if an address can only be reached from this machine.
pub(super) fn local_scope_of(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        address if address.is_loopback() || address.is_unspecified() => Some(LOOPBACK),
        IpAddr::V4(address) if address.is_link_local() => Some(LINK_LOCAL),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(LINK_LOCAL),
        _ => None,
    }
}

pub(super) fn not_an_address(text: &str) -> TransferError {
    TransferError::new(Reason::Input, format!("{:?} is not an address to download from", hide_secrets(text)))
}

/// Shortens a text that is not a URL for a message. It may still contain a password or a token.
fn hide_secrets(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), text),
    };
    let (place, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let hidden = if query.is_empty() { "" } else { "?…" };
    let shown = match place.rsplit_once('@') {
        // A password may contain '?' and a query '@', so the secret may be on either side.
        _ if query.contains('@') => "…".to_owned(),
        Some((_, host)) => format!("…@{host}{hidden}"),
        None => format!("{place}{hidden}"),
    };
    escape_unseen(&(scheme + &shown))
}

/// An `http://` or `https://` address. User name and password are stored separately.
///
/// Its text form omits them, and also the query, which may contain a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    uri: Uri,
    /// Value of the header `Authorization`.
    authorization: Option<String>,
}

impl FromStr for Url {
    type Err = TransferError;

    fn from_str(text: &str) -> Result<Self, TransferError> {
        // RFC 3986 allows no other characters. How to encode them is the user's decision.
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(not_an_address(text)
                .because("it contains spaces or non-ASCII characters")
                .hint("percent-encode them"));
        }
        let (plain, login) = without_login(text);
        let uri: Uri = plain
            .parse()
            .map_err(|e: ureq::http::uri::InvalidUri| not_an_address(text).because(e.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(not_an_address(text).because("it does not begin with http://, https:// or file://"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(not_an_address(text).because("it has no host"));
        }
        Ok(Self { uri, authorization: login.map(basic_from_login) })
    }
}

/// Removes `user:password@` from an address (RFC 3986, 3.2.1) and returns it separately.
fn without_login(text: &str) -> (String, Option<&str>) {
    let Some((scheme, rest)) = text.split_once("://") else { return (text.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // The last '@': people write a password with an '@' in it unencoded.
    match rest[..end].rsplit_once('@') {
        Some((login, host)) => (format!("{scheme}://{host}{}", &rest[end..]), Some(login)),
        None => (text.to_owned(), None),
    }
}

/// Makes the `Authorization` header from the percent-encoded login of an address.
fn basic_from_login(login: &str) -> String {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    basic_auth::basic_header(&decoded(user), &decoded(password))
}

impl Url {
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Resolves a redirect (`Location`, RFC 9110, 10.2.2).
    ///
    /// The new address keeps this one's login only if scheme, host and port are the same. A login in the redirect itself
    /// is ignored. The new address must be http or https, and https if this one is.
    pub(super) fn redirect_to(&self, reference: &str) -> Result<Self, TransferError> {
        let target = resolve_reference(&self.uri, reference);
        let refused = |why: &str| {
            let cause = format!("it redirects to {}, which {why}", shorten(&hide_secrets(&target)));
            TransferError::new(Reason::Refused, format!("cannot download {self}")).because(cause)
        };
        let is_http = |s: &str| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https");
        if !scheme_of(&target).is_some_and(is_http) {
            return Err(refused("is neither http:// nor https://"));
        }
        let no_address = || refused("is not an address to download from");
        let there: Self = target.parse().map_err(|_| no_address())?;
        // A host name is not percent-encoded; names beyond ASCII must be in IDNA form.
        if there.uri.host().is_some_and(|host| !host.starts_with('[') && host.contains('%')) {
            return Err(no_address());
        }
        if self.is_https() && !there.is_https() {
            return Err(refused(
                "is plain http after https, so anyone on the network path could change the data",
            ));
        }
        // A server on this machine may redirect to itself.
        if let Some(near) = there.local_scope().filter(|near| self.local_scope() != Some(near)) {
            return Err(refused(near));
        }
        let same = self.normalized_origin() == there.normalized_origin();
        Ok(Self { uri: there.uri, authorization: self.authorization.clone().filter(|_| same) })
    }

    /// Returns a half sentence if the host name alone shows that the address can only be reached from this machine. A
    /// server elsewhere has no reason to redirect there.
    fn local_scope(&self) -> Option<&'static str> {
        // A final dot only says that the name is complete (RFC 1034, 3.1).
        let host = self.uri.host()?.trim_end_matches('.').to_ascii_lowercase();
        if host == "localhost" || host.ends_with(".localhost") {
            return Some(LOOPBACK);
        }
        local_scope_of(host.trim_start_matches('[').trim_end_matches(']').parse().ok()?)
    }

    /// Whether both addresses have the same host; ports may differ.
    pub fn is_on_host_of(&self, other: &Self) -> bool {
        self.uri.host().zip(other.uri.host()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    /// Whether a redirect may lead to a server on this machine: if it stays on the same host, or if this server is itself
    /// on this machine.
    pub(super) fn may_redirect_locally(&self, there: &Self) -> bool {
        self.is_on_host_of(there) || self.local_scope().is_some()
    }

    /// Whether this is the http form of another address with https. Such a redirect stays on the host, so the target is
    /// not a mirror.
    pub(super) fn is_plain_form_of(&self, other: &Self) -> bool {
        !self.is_https()
            && other.is_https()
            && self.is_on_host_of(other)
            && self.uri.path_and_query() == other.uri.path_and_query()
    }

    /// Returns scheme, host and port in the form used for comparison: lower case, without the default port (RFC 3986,
    /// 6.2.2.1 and 6.2.3).
    fn normalized_origin(&self) -> String {
        let authority = self.uri.authority().map_or("", |a| a.as_str()).to_ascii_lowercase();
        let (scheme, usual) = if self.is_https() { ("https", ":443") } else { ("http", ":80") };
        let host = authority.strip_suffix(usual).or(authority.strip_suffix(':')).unwrap_or(&authority);
        format!("{scheme}://{host}")
    }

    /// Returns a SHA-256 digest that identifies the address without storing it: of scheme, host, port, path **and query**,
    /// without login and fragment.
    ///
    /// The case of scheme and host and a default port make no difference. Everything else does, also the order of the
    /// query. The digest does not protect a short secret: if the rest of the address is known, the secret can be found by
    /// trying all values.
    pub fn identity_digest(&self) -> Digest {
        let rest = self.uri.path_and_query().map_or("/", |rest| rest.as_str());
        Digest::of_bytes(Algorithm::Sha256, format!("{}{rest}", self.normalized_origin()).as_bytes())
    }

    /// Replaces the value of the header `Authorization`.
    pub(super) fn with_authorization(self, authorization: Option<String>) -> Self {
        Self { authorization, ..self }
    }

    /// Returns the host's name or IP address, an IPv6 address without brackets.
    pub(super) fn host_name(&self) -> Option<String> {
        self.uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned())
    }

    /// Whether both addresses have the same scheme, host and port.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.normalized_origin() == other.normalized_origin()
    }

    /// Whether data sent there can be read in transit.
    pub fn is_readable_in_transit(&self) -> bool {
        !self.is_https() && self.local_scope() != Some(LOOPBACK)
    }

    /// Whether requests contain a user name, a password or a token.
    pub fn has_login(&self) -> bool {
        self.authorization.is_some()
    }

    /// Whether the connection is encrypted and the server authenticated.
    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Returns the last component of the path, decoded.
    pub fn file_name(&self) -> Option<String> {
        let last = self.uri.path().rsplit('/').next().filter(|last| !last.is_empty())?;
        percent_decode_str(last).decode_utf8().ok().map(Into::into)
    }

    /// Returns the whole address without user name and password, but with its query. The query may contain a secret, so the
    /// result must not be stored or shown (see [`identity_digest`](Self::identity_digest)).
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
    fn secrets_of_url_are_not_shown() {
        let url = url("https://me:p%40ss@example.org:8443/a/disk.qcow2?token=s3cret");
        for shown in [url.to_string(), format!("{url:?}")] {
            assert!(shown.contains("https://example.org:8443/a/disk.qcow2?…"), "{shown}");
            assert!(!shown.contains("p%40ss") && !shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(url.authorization(), Some("Basic bWU6cEBzcw=="), "me:p@ss");
        assert_eq!(url.without_password(), "https://example.org:8443/a/disk.qcow2?token=s3cret");
        let error = "ftp://me:hunter2@host/x".parse::<Url>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn login_stays_on_its_host() {
        let from = url("https://me:pw@example.org/a");
        let to = |text: &str| from.redirect_to(text).unwrap().authorization().map(str::to_owned);
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
        let plain = url("http://me:pw@example.org/a").redirect_to("https://example.org/a").unwrap();
        assert_eq!(plain.authorization(), None, "another scheme");
    }

    #[test]
    fn redirect_from_https_to_http_is_refused() {
        let error = url("https://a/x").redirect_to("http://u:pw@a/x?token=s3cret").unwrap_err();
        assert_eq!(error.reason(), Reason::Refused);
        assert!(
            error.to_string().starts_with(
                "cannot download https://a/x: it redirects to http://…@a/x?…, which is plain http"
            )
        );
        assert!(url("http://a/x").redirect_to("https://a/x").unwrap().is_https());
    }

    #[test]
    fn secrets_of_invalid_url_are_not_shown() {
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
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{shown:?} is not")) && !error.contains("TT"),
                "{text}: {error}"
            );
        }
    }
}
