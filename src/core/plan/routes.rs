//! Decides which interface has the default route, for IPv4 and IPv6.
//!
//! | version | in this order, among those that do not say `defaultRoute: false` |
//! |---|---|
//! | IPv4 | the one that says `defaultRoute: true`, the first with `gateway`, the first with DHCP |
//! | IPv6 | the one that says `defaultRoute: true`, the first with `gateway6`, IPv4's; each if it has IPv6 at all |
//!
//! If no interface has an IPv4 default route, the first one with IPv6 addresses has the IPv6 default route. The others
//! ignore router advertisements, because those bring a default route.

use crate::manifest::NetworkInterface;

/// Indexes of the interfaces with the default routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DefaultRoutes {
    pub(super) v4: Option<usize>,
    pub(super) v6: Option<usize>,
    /// The first interface with `defaultRoute: true`.
    pub(super) requested: Option<usize>,
}

/// Chooses the interfaces with the default routes.
pub(super) fn choose_default_routes(manifests: &[NetworkInterface]) -> DefaultRoutes {
    let first = |wanted: &dyn Fn(&NetworkInterface) -> bool| {
        manifests.iter().position(|m| m.default_route != Some(false) && wanted(m))
    };
    let requested = first(&|m| m.default_route == Some(true));
    let requested_with = |has: fn(&NetworkInterface) -> bool| requested.filter(|at| has(&manifests[*at]));
    let v4 = requested_with(|m| m.gateway.is_some() || takes_dhcp(m))
        .or_else(|| first(&|m| m.gateway.is_some()))
        .or_else(|| first(&takes_dhcp));
    let v6 = requested_with(has_ipv6)
        .or_else(|| first(&|m| m.gateway6.is_some()))
        .or_else(|| v4.filter(|at| has_ipv6(&manifests[*at])))
        .or_else(|| first(&|m| v4.is_none() && has_ipv6_address(m)));
    DefaultRoutes { v4, v6, requested }
}

/// Whether the guest uses DHCP on an interface: on a bridge without any address, and on a libvirt network without `ip`.
pub(super) fn takes_dhcp(manifest: &NetworkInterface) -> bool {
    let is_open = manifest.network.is_some() || (manifest.bridge.is_some() && manifest.addresses.is_empty());
    manifest.ip.is_none() && is_open
}

/// Whether an interface can have an IPv6 default route. With DHCP it also listens to router advertisements.
fn has_ipv6(manifest: &NetworkInterface) -> bool {
    takes_dhcp(manifest) || manifest.gateway6.is_some() || has_ipv6_address(manifest)
}

/// Whether an interface has an IPv6 address. The colons identify it, even if the address is otherwise invalid.
pub(super) fn has_ipv6_address(manifest: &NetworkInterface) -> bool {
    manifest.addresses.iter().any(|address| address.contains(':'))
}
