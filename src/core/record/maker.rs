//! The process that makes something, as records name it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A process, identified beyond the reuse of its number, and the operation of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maker {
    /// The machine: an id derived from machine-id(5) (which is not shown), the host name (because clones share the id)
    /// and the PID namespace (because containers share the machine).
    pub host: String,
    /// Boot id of the machine (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Process id, which may be reused by another process.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot (proc_pid_stat(5), field 22).
    pub started: u64,
    /// Seconds since 1970 when the process began its work, to compare with boot times; absent if the clock was set
    /// before 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Version of foundry that this process runs.
    pub version: String,
    /// The operation: a process that goes on may have given it up. Absent if the process had no place for its lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
}

/// An operation, by the lock that it holds for as long as it is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Names the lock.
    pub id: Uuid,
    /// The directory of the lock, as `DEVICE:INODE`: in another mount namespace, one of the same path is another.
    pub directory: String,
}

/// Whether a maker is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It works on it.
    Alive,
    /// It does not run any more, or has given the operation up.
    Dead,
    /// It runs on another machine or cannot be seen, so its liveness cannot be checked.
    Elsewhere,
}
