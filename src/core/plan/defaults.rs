//! The user's defaults for fields that a manifest leaves out.

use std::net::IpAddr;

use crate::names::{BridgeName, PoolName};

/// Defaults for fields that a manifest does not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Pool of the VMs' disks.
    pub vm_pool: PoolName,
    /// Pool of the images.
    pub image_pool: PoolName,
    /// Pool that overrides the manifest's (`--pool`).
    pub pool_override: Option<PoolName>,
    /// Bridge of an interface that has neither a bridge nor a network.
    pub bridge: Option<BridgeName>,
    /// Name servers of a VM whose interfaces have none. They are set on the interfaces with a gateway.
    pub dns: Vec<IpAddr>,
}
