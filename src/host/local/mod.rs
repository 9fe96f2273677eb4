//! This machine: the only code that reads its kernel, its users, its files outside of pools, and the environment.
//!
//! What has a `root` as its first argument reads below that directory, `/` for this machine: a test has its own.

mod accounts;
pub(crate) mod bridges;
pub(crate) mod daemon;
mod facts;
pub(crate) mod netlink;

pub use accounts::{Accounts, UnixPermissions, User, is_root, path_below, permissions_along, permissions_of};
pub use facts::{LinkFacts, LocalFacts, PoolDirectory, Virtlogd, kvm_device};
