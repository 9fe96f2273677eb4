//! Properties of a connection URI (libvirt's page "Connection URIs").

use foundry_core::error::Error;
use foundry_core::ssh::JumpHost;
use percent_encoding::percent_decode_str;

/// Whether a URI means this machine: no remote transport and no host. A socket that is forwarded to another machine
/// shows only after connecting; see [`crate::HostInfo::is_local`].
pub fn is_local_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, ""));
    driver == "qemu" && authority.is_empty() && matches!(transport, "" | "unix")
}

/// The SSH host of a URI, by which the guests of a remote libvirt can be reached; `None` for another transport (libvirt's
/// page "Connection URIs": `+ssh`, `+libssh` and `+libssh2`).
///
/// # Errors
/// If a part of it cannot be an option of ssh.
pub fn ssh_host_of(uri: &str) -> Result<Option<JumpHost>, Error> {
    let Some((scheme, rest)) = uri.split_once("://") else { return Ok(None) };
    let transport = scheme.split_once('+').map_or("", |(_, transport)| transport);
    if !matches!(transport, "ssh" | "libssh" | "libssh2") {
        return Ok(None);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, place) =
        authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    let (host, port) = split_port(place);
    let query = rest.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let value = |name: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    if host.is_empty() {
        return Ok(None);
    }
    let jump = JumpHost {
        user: user.map(decoded),
        host: decoded(host),
        port: port.and_then(|port| port.parse().ok()),
        key_file: value("keyfile").map(decoded),
        is_unverified: value("no_verify") == Some("1") || value("known_hosts_verify") == Some("ignore"),
    };
    jump.check().map(Some)
}

/// Splits `host:port`; an IPv6 address is in brackets.
fn split_port(place: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
}

/// The path of a URI: `/system`, `/session`.
pub(crate) fn driver_of(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_qemu_is_local() {
        for local in ["qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/x/libvirt-sock"] {
            assert!(is_local_uri(local), "{local}");
        }
        for other in
            ["qemu+ssh://root@hv1/system", "qemu+tcp://10.0.0.1/system", "test:///default", "nonsense"]
        {
            assert!(!is_local_uri(other), "{other}");
        }
    }

    #[test]
    fn ssh_uris_have_an_ssh_host() {
        let host = |uri: &str| ssh_host_of(uri).unwrap();
        for uri in ["qemu:///system", "qemu+tcp://hv1/system", "test:///default", "qemu+ssh:///system", "x"] {
            assert_eq!(host(uri), None, "{uri}");
        }
        let plain = JumpHost { user: Some("root".into()), host: "hv1".into(), ..JumpHost::default() };
        assert_eq!(host("qemu+ssh://root@hv1/system"), Some(plain.clone()));
        let full = JumpHost {
            host: "fd00::1".into(),
            port: Some(22),
            key_file: Some("/a b".into()),
            is_unverified: true,
            ..plain
        };
        let uri = "qemu+libssh://root@[fd00::1]:22/system?x=1&keyfile=/a%20b&known_hosts_verify=ignore";
        assert_eq!(host(uri), Some(full));
        for uri in ["qemu+ssh://-oProxyCommand=x/system", "qemu+ssh://a%20b@hv1/system", "qemu+ssh://h$x/"] {
            assert!(ssh_host_of(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_uri_names_a_driver() {
        for (uri, driver) in [
            ("qemu:///system", "/system"),
            ("qemu+unix:///session?socket=/run/x", "/session"),
            ("qemu+ssh://root@hv1/system", "/system"),
            ("qemu+tcp://10.0.0.1", ""),
            ("nonsense", ""),
        ] {
            assert_eq!(driver_of(uri), driver, "{uri}");
        }
    }
}
