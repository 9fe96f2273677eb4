//! This machine: the only code that reads its kernel, its users, its files outside of pools, and the environment.
//!
//! What has a `root` as its first argument reads below that directory, `/` for this machine: a test has its own.

mod accounts;
pub(crate) mod bridges;
pub(crate) mod daemon;
mod directories;
mod facts;
pub(crate) mod netlink;
mod process_status;

pub use accounts::{Accounts, UnixPermissions, User, is_root, path_below, permissions_along, permissions_of};
pub(crate) use directories::UserDirectories;
pub use directories::{DomainDirectories, LibvirtInstance, is_session, spool_directory};
pub use facts::{LinkFacts, LocalFacts, PoolDirectory, Virtlogd, kvm_device};
pub(crate) use process_status::descriptor_metadata;
pub use process_status::{ProcessStatus, own_status};
