//! This machine: the only code that reads its kernel, its processes and users, its files outside of pools, and the
//! environment.
//!
//! What has a `root` as its first argument reads below that directory, `/` for this machine: a test has its own.

mod accounts;
pub(crate) mod bridges;
pub(crate) mod daemon;
mod facts;
mod lease;
pub(crate) mod lock;
mod machine_id;
pub(crate) mod netlink;
mod process;

pub use accounts::{Accounts, UnixPermissions, User, is_root, path_below, permissions_along, permissions_of};
pub use facts::{LinkFacts, LocalFacts, PoolDirectory, Virtlogd, kvm_device};
pub use lease::{Lease, check_liveness};
pub use lock::{HostLock, LockError};
pub use machine_id::prove;
pub use process::this_process;
