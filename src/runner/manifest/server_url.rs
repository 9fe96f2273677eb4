//! URLs of servers that get a secret.

/// What is said of a URL that [`is_safe_url`] refuses.
pub(super) const UNSAFE_URL: &str =
    "must be https://SERVER, without a login and a query; http:// is possible for this machine only";

/// Whether a secret may be sent there: encrypted, or to this machine.
pub(super) fn is_safe_url(url: &str) -> bool {
    let is_local = |host: &str| ["127.0.0.1", "localhost", "[::1]"].contains(&host);
    read_url(url).is_some_and(|(is_encrypted, host)| is_encrypted || is_local(host))
}

/// Whether it is the URL of a server.
pub(super) fn is_server_url(url: &str) -> bool {
    read_url(url).is_some()
}

/// Reads `https://HOST[:PORT][/PATH]`, or with http: whether it is encrypted, and the host.
fn read_url(url: &str) -> Option<(bool, &str)> {
    let encrypted = url.strip_prefix("https://");
    let rest = encrypted.or_else(|| url.strip_prefix("http://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
    path.chars().all(is_plain).then_some((encrypted.is_some(), read_host(authority)?))
}

/// The host of `HOST` or `HOST:PORT`. A login before it (`USER@`) would make another host look like this machine.
fn read_host(authority: &str) -> Option<&str> {
    let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
    let (host, port) = match authority[end..].find(':') {
        Some(colon) => (&authority[..end + colon], Some(&authority[end + colon + 1..])),
        None => (authority, None),
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    (is_host && is_port).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_to_encrypted_servers_and_to_this_machine() {
        for url in [
            "https://git.example.com",
            "https://git.example.com:8443/sub/path",
            "https://[fd00::1]:3000",
            "http://127.0.0.1:3000",
            "http://localhost",
            "http://[::1]:3000/x",
        ] {
            assert!(is_safe_url(url), "{url}");
        }
        for url in [
            "",
            "git.example.com",
            "ftp://localhost",
            "https://",
            "https:///x",
            "http://git.example.com",
            "http://localhost.example.com",
            "http://localhost:80@git.example.com",
            "http://127.0.0.1@git.example.com",
            "https://a b",
            "https://x/?a=b",
            "https://x/#a",
            "https://x:port",
            "https://x:99999",
            "https://[::1",
            "https://[x]",
            "https://x\\y",
            "https://x/\u{1b}",
        ] {
            assert!(!is_safe_url(url), "{url}");
        }
    }
}
