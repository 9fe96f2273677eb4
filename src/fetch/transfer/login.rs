//! The login for a download, from a file or a variable. A URL would show it in the process list.

use super::basic_auth::basic_header;
use super::location::Location;
use super::netrc::{NetrcEntry, parse_netrc};
use super::url::Url;

/// A login. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login(LoginKind);

#[derive(Clone, PartialEq, Eq)]
enum LoginKind {
    /// A value of the header `Authorization`, for one server only.
    One(String),
    /// Logins for several hosts, from netrc.
    Hosts(Vec<NetrcEntry>),
}

impl Login {
    /// Parses `USER:PASSWORD`, `Bearer TOKEN` or a token (RFC 7617, RFC 6750), or netrc entries, as curl reads them:
    /// `machine HOST login USER password PASSWORD`.
    ///
    /// # Errors
    /// Half a sentence, which never contains a part of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
        if text.is_empty() {
            return Err("is empty");
        }
        if let Some(entries) = parse_netrc(text)? {
            return Ok(Self(LoginKind::Hosts(entries)));
        }
        if text.contains(char::is_control) {
            return Err("has more than one line, or control characters");
        }
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        if first.eq_ignore_ascii_case("bearer") {
            return token_login(rest.trim());
        }
        match text.split_once(':') {
            Some((user, password)) => {
                Ok(Self(LoginKind::One(basic_header(user.as_bytes(), password.as_bytes()))))
            }
            None => token_login(text),
        }
    }

    /// Whether the login names its hosts itself.
    pub fn names_hosts(&self) -> bool {
        matches!(self.0, LoginKind::Hosts(_))
    }

    /// Returns the header for a URL. A login without hosts is used only for the server of `to`.
    fn header_for(&self, url: &Url, to: &Location) -> Option<String> {
        match &self.0 {
            LoginKind::One(header) => {
                matches!(to, Location::Url(to) if to.is_same_server(url)).then(|| header.clone())
            }
            LoginKind::Hosts(entries) => {
                let host = url.host_name()?;
                let is_for =
                    |entry: &&NetrcEntry| entry.host.as_ref().is_none_or(|of| of.eq_ignore_ascii_case(&host));
                let entry = entries.iter().find(is_for)?;
                Some(basic_header(entry.user.as_bytes(), entry.password.as_bytes()))
            }
        }
    }

    /// Adds the login to a location, unless its URL has one; `to` is the location that the user specified.
    #[must_use]
    pub fn apply_to(&self, location: Location, to: &Location) -> Location {
        match location {
            Location::Url(url) if !url.has_login() => {
                let header = self.header_for(&url, to);
                Location::Url(url.with_authorization(header))
            }
            other => other,
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Checks that a token can be sent in a header.
fn token_login(token: &str) -> Result<Login, &'static str> {
    if token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err("is neither USER:PASSWORD nor a token");
    }
    Ok(Login(LoginKind::One(format!("Bearer {token}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap()
    }

    fn sent_header(login: &str, url: &str, to: &str) -> Option<String> {
        match Login::parse(login).unwrap().apply_to(location(url), &location(to)) {
            Location::Url(url) => url.authorization().map(str::to_owned),
            _ => None,
        }
    }

    #[test]
    fn login_is_a_pair_or_a_token() {
        let url = "https://example.org/a";
        for (text, header) in [
            ("me:p@ss:word\n", "Basic bWU6cEBzczp3b3Jk"),
            ("me:", "Basic bWU6"),
            ("Bearer abc.def", "Bearer abc.def"),
            ("bearer  abc", "Bearer abc"),
            ("ghp_123", "Bearer ghp_123"),
            // A space is part of the password.
            ("me:two words", "Basic bWU6dHdvIHdvcmRz"),
        ] {
            assert_eq!(sent_header(text, url, url).as_deref(), Some(header), "{text}");
        }
        for bad in ["", " \n", "Bearer ", "two words", "a:b\nc:d", "tökén", "Bearer a\u{1b}"] {
            let error = Login::parse(bad).unwrap_err();
            assert!(!error.contains("words") && !error.contains("tök"), "{error}");
        }
        assert_eq!(format!("{:?}", Login::parse("me:pw").unwrap()), "Login(…)");
    }

    #[test]
    fn login_is_used_for_the_named_server_only() {
        let to = "https://example.org/a";
        assert!(sent_header("me:pw", "https://EXAMPLE.org:443/SUMS", to).is_some());
        for other in
            ["http://example.org/a", "https://example.org:444/a", "https://a.example.org/", "file:///a"]
        {
            assert_eq!(sent_header("me:pw", other, to), None, "{other}");
        }
        assert_eq!(
            sent_header("me:pw", "https://u:p@example.org/a", to).as_deref(),
            Some("Basic dTpw"),
            "its own"
        );
    }

    #[test]
    fn netrc_logins_are_used_by_host() {
        let netrc = "machine a.example login me password pw\ndefault login any password one\n";
        assert_eq!(
            sent_header(netrc, "https://A.example:8443/x", "https://b/").as_deref(),
            Some("Basic bWU6cHc=")
        );
        assert_eq!(sent_header(netrc, "https://b/x", "https://c/").as_deref(), Some("Basic YW55Om9uZQ=="));
        assert_eq!(sent_header("machine a login me password pw", "https://b/x", "https://b/"), None);
    }
}
