//! This machine: the only place that looks at its processes, files and users.

mod lease;
pub(crate) mod lock;
mod machine_id;
mod process;

pub use lease::Lease;
pub use lock::{HostLock, LockError};
pub use machine_id::prove;
pub use process::{check_liveness, this_process};
