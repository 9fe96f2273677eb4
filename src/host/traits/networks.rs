//! Networks of libvirt and of the kernel.

use std::net::IpAddr;

use crate::{Bridge, Neighbourhood, Network, Result};

/// Networks of libvirt, and those of the host that it does not know.
pub trait Networks: Send + Sync {
    /// The network of that name.
    fn network(&self, name: &str) -> Result<Option<Network>>;
    /// Names of all networks.
    fn networks(&self) -> Result<Vec<String>>;
    /// What the machine is among its neighbours; those of `wanted` on the same wire are asked for first, which takes an
    /// instant. `None` where it cannot be known, as of a remote host.
    fn neighbourhood(&self, wanted: &[IpAddr]) -> Result<Option<Neighbourhood>>;
    /// The bridges of the host's kernel; `None` where they cannot be known, as on a remote host
    /// (libvirt does not list a bridge that was made after it started).
    fn bridges(&self) -> Result<Option<Vec<Bridge>>>;
}
