//! The VMs of a pool of CI runners, on a libvirt host.

mod guest_runner;
mod pool_host;

pub use pool_host::{PoolHost, list_pool_vms, plan_runner, random_name};
