//! Properties of a connection URI (libvirt's page "Connection URIs").

/// Whether a URI means this machine: no remote transport and no host. A socket that is forwarded to another machine
/// shows only after connecting; see [`crate::HostInfo::is_local`].
pub fn is_local_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, ""));
    driver == "qemu" && authority.is_empty() && matches!(transport, "" | "unix")
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
