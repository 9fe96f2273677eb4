//! Reads proxies from the environment, as curl(1) does.

use ureq::Proxy;

use super::super::url::Url;

/// The proxies for each scheme.
///
/// Variables: `https_proxy` or `HTTPS_PROXY` for https, `http_proxy` for http (not in capitals, because a client can
/// set that variable in a CGI program with the header `Proxy:`), `all_proxy` or `ALL_PROXY` for both, and `no_proxy` or
/// `NO_PROXY` for hosts that are reached directly. HTTP proxies get a CONNECT request, for http URLs, too.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
}

impl Proxies {
    /// Reads the proxies from this process's environment.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the proxies from variables; `variable` looks up one by its name. Invalid values are ignored.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first =
            |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let direct = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let proxy = |names: &[&str]| first(names).and_then(|value| with_exceptions(&value, &direct));
        Self {
            http: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
        }
    }

    pub(super) fn for_url(&self, url: &Url) -> Option<Proxy> {
        if url.is_https() { self.https.clone() } else { self.http.clone() }
    }
}

/// Makes a proxy with a comma-separated list of hosts for which it is not used.
fn with_exceptions(value: &str, direct: &str) -> Option<Proxy> {
    let plain = Proxy::new(value).ok()?;
    // Built again, because ureq takes exceptions only while a proxy is built.
    let mut proxy = Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(user) = plain.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = plain.password() {
        proxy = proxy.password(password);
    }
    let entries = direct.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.fold(proxy, ureq::ProxyBuilder::no_proxy).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_for(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let read = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let url: Url = url.parse().unwrap();
        let proxy = Proxies::from_variables(read).for_url(&url)?;
        (!proxy.is_no_proxy(url.uri())).then(|| format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let both = [("http_proxy", "http://plain:3128"), ("HTTPS_PROXY", "secure:3129")];
        assert_eq!(proxy_for("http://a/", &both).as_deref(), Some("plain:3128"));
        assert_eq!(proxy_for("https://a/", &both).as_deref(), Some("secure:3129"));
        assert_eq!(proxy_for("https://a/", &[("http_proxy", "http://plain:1")]), None);
        assert_eq!(proxy_for("http://a/", &[("HTTP_PROXY", "http://cgi:1")]), None, "httpoxy");
        assert_eq!(
            proxy_for("http://a/", &[("http_proxy", ""), ("ALL_PROXY", "all:1")]).as_deref(),
            Some("all:1")
        );
    }

    #[test]
    fn hosts_in_no_proxy_are_reached_directly() {
        let direct = [("all_proxy", "http://me:pw@p:1"), ("NO_PROXY", "localhost, .example.org,10.0.0.1")];
        for near in ["http://localhost/", "https://x.example.org/", "http://10.0.0.1:80/"] {
            assert_eq!(proxy_for(near, &direct), None, "{near}");
        }
        assert_eq!(proxy_for("http://example.com/", &direct).as_deref(), Some("p:1"));
        assert_eq!(proxy_for("http://a/", &[("all_proxy", "p:1"), ("no_proxy", "*")]), None);
    }
}
