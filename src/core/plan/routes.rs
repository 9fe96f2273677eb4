//! Decides which interface has the default route, for IPv4 and IPv6.
//!
//! | version | in this order, among those that do not say `defaultRoute: false` |
//! |---|---|
//! | IPv4 | the one that says `defaultRoute: true`, the first with `gateway`, the first with DHCP |
//! | IPv6 | the one that says `defaultRoute: true`, the first with `gateway6`, IPv4's; each if it has IPv6 at all |
//!
//! Where none has an IPv4 default route, the first with IPv6 addresses carries the IPv6 one. The others are told not to
//! listen to router advertisements: those bring a default route.

use crate::manifest::NetworkInterface;

/// The indexes of the interfaces that carry the default routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DefaultRoutes {
    pub(super) v4: Option<usize>,
    pub(super) v6: Option<usize>,
    /// The first one that says `defaultRoute: true`.
    pub(super) wished: Option<usize>,
}

/// The carriers among the interfaces of a VM.
pub(super) fn choose_default_routes(manifests: &[NetworkInterface]) -> DefaultRoutes {
    let first = |wanted: &dyn Fn(&NetworkInterface) -> bool| {
        manifests.iter().position(|m| m.default_route != Some(false) && wanted(m))
    };
    let wished = first(&|m| m.default_route == Some(true));
    let wished_with = |has: fn(&NetworkInterface) -> bool| wished.filter(|at| has(&manifests[*at]));
    let v4 = wished_with(|m| m.gateway.is_some() || takes_dhcp(m))
        .or_else(|| first(&|m| m.gateway.is_some()))
        .or_else(|| first(&takes_dhcp));
    let v6 = wished_with(has_ipv6)
        .or_else(|| first(&|m| m.gateway6.is_some()))
        .or_else(|| v4.filter(|at| has_ipv6(&manifests[*at])))
        .or_else(|| first(&|m| v4.is_none() && has_ipv6_address(m)));
    DefaultRoutes { v4, v6, wished }
}

/// Whether the guest asks for an address by DHCP: it has none of its own, or none on a libvirt network but further ones.
pub(super) fn takes_dhcp(manifest: &NetworkInterface) -> bool {
    let is_open = manifest.network.is_some() || (manifest.bridge.is_some() && manifest.addresses.is_empty());
    manifest.ip.is_none() && is_open
}

/// Whether an interface can have an IPv6 default route. One that asks by DHCP listens to router advertisements, too.
fn has_ipv6(manifest: &NetworkInterface) -> bool {
    takes_dhcp(manifest) || manifest.gateway6.is_some() || has_ipv6_address(manifest)
}

/// An IPv6 address is known by its colons, whatever else may be wrong with it.
pub(super) fn has_ipv6_address(manifest: &NetworkInterface) -> bool {
    manifest.addresses.iter().any(|address| address.contains(':'))
}
