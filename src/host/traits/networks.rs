//! Networks of libvirt and of the kernel.

use std::net::IpAddr;

use crate::{Bridge, Neighbourhood, Network, Result};

/// Networks of libvirt, and of the host's kernel.
pub trait Networks: Send + Sync {
    /// The network of that name.
    fn network(&self, name: &str) -> Result<Option<Network>>;
    /// Names of all networks.
    fn networks(&self) -> Result<Vec<String>>;
    /// The interfaces and addresses of the machine, and its neighbour table. Addresses in `wanted` that are on a directly
    /// connected network are resolved first, which takes a moment. `None` for a remote host.
    fn neighbourhood(&self, wanted: &[IpAddr]) -> Result<Option<Neighbourhood>>;
    /// The bridges of the host's kernel; `None` for a remote host. libvirt is not asked: it does not list bridges that
    /// were created after it started.
    fn bridges(&self) -> Result<Option<Vec<Bridge>>>;
}
