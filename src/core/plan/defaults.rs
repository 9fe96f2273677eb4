//! The user's defaults for fields that a manifest leaves out.

use std::net::IpAddr;

use crate::names::{BridgeName, PoolName};

/// What stands in for what a manifest leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Pool of the VMs' disks.
    pub vm_pool: PoolName,
    /// Pool of the images.
    pub image_pool: PoolName,
    /// A pool that beats the manifest's (`--pool`).
    pub pool_override: Option<PoolName>,
    /// Bridge of an interface that names neither bridge nor network.
    pub bridge: Option<BridgeName>,
    /// Name servers of a VM whose interfaces name none; they go to those with a gateway.
    pub dns: Vec<IpAddr>,
}
