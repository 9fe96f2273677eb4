//! This machine: the only code that reads its kernel, its processes and users, its files outside of pools, and the
//! environment.
//!
//! A function with the argument `root` reads below that directory, which is `/` for this machine; a test has its own.

mod accounts;
mod bridge_helper;
pub(crate) mod bridges;
mod console_clients;
pub(crate) mod daemon;
mod directories;
mod facts;
mod file_locks;
mod kernel_log;
mod lease;
pub(crate) mod lock;
mod log_position;
mod log_reader;
mod machine_id;
pub(crate) mod netlink;
mod open_files;
mod path_access;
mod process;
mod process_status;
mod service_manager;

pub use accounts::{Accounts, UnixPermissions, User, is_root, path_below, permissions_along, permissions_of};
pub use bridge_helper::{BridgeObstacle, find_bridge_obstacle};
pub use bridges::read_mtus;
pub use console_clients::find_console_clients;
pub use directories::{
    DomainDirectories, LibvirtInstance, is_session, runner_directory, service_directory, spool_directory,
    state_directory,
};
pub use facts::{LinkFacts, LocalFacts, PoolDirectory, Virtlogd, kvm_device};
pub use file_locks::{is_locked, reason_if_locked};
pub use kernel_log::KernelLog;
pub use lease::{Lease, check_liveness};
pub use lock::{HostLock, LockError};
pub use log_position::{LogPosition, read_tail, read_tail_if};
pub use log_reader::{LogContent, LogReader};
pub use machine_id::prove;
pub use open_files::find_holders;
pub use path_access::find_barrier;
pub use process::this_process;
pub(crate) use process_status::descriptor_metadata;
pub use process_status::{ProcessStatus, own_status, user_and_host};
pub use service_manager::notify_service_manager;

#[cfg(test)]
mod tests;
