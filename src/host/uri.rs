//! What the URI of a connection says by itself (libvirt's page "Connection URIs").

#[cfg(doc)]
use crate::HostInfo;

/// Whether a URI means the machine that foundry runs on: no transport to elsewhere and no host. A socket that leads
/// elsewhere shows only when it is connected: [`HostInfo::is_local`] tells.
pub fn is_local_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, ""));
    driver == "qemu" && authority.is_empty() && matches!(transport, "" | "unix")
}
