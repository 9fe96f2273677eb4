//! What the kernel shows of processes (proc(5)).

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::accounts::Accounts;
use foundry_core::text::escape_unseen;

/// A process, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus {
    /// The name that it gave itself, escaped; `a process` if that is not shown.
    pub name: String,
    /// The name of its user, escaped.
    pub user: Option<String>,
    /// Whether it is stopped, as after Ctrl-Z.
    pub is_stopped: bool,
}

impl ProcessStatus {
    /// Looks at a process; one that does not exist has no name and no user.
    pub fn read(pid: u32) -> Self {
        let process = Path::new("/proc").join(pid.to_string());
        let uid = fs::metadata(&process).map(|found| found.uid()).ok();
        let user = uid.map(|uid| Accounts::load(Path::new("/")).name_of(uid));
        Self {
            name: process_name(&process),
            user: user.map(|user| escape_unseen(&user)),
            is_stopped: is_stopped(&process),
        }
    }
}

/// The user of this process and the name of this machine, as `USER@HOST`, escaped.
pub fn user_and_host() -> Option<String> {
    let user = ProcessStatus::read(std::process::id()).user?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(format!("{user}@{}", escape_unseen(host.trim())))
}

/// A field of proc_pid_status(5) for this process.
pub fn own_status(field: &str) -> Option<String> {
    status_field(Path::new("/proc/self"), field)
}

fn status_field(process: &Path, field: &str) -> Option<String> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned())
}

/// The state `T (stopped)` of proc_pid_status(5).
fn is_stopped(process: &Path) -> bool {
    status_field(process, "State").is_some_and(|state| state.starts_with('T'))
}

/// The name that a process gave itself, escaped.
pub(super) fn process_name(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some(escape_unseen(name.trim())).filter(|name| !name.is_empty()).unwrap_or_else(|| "a process".into())
}

/// The file behind a descriptor of this process.
pub(crate) fn descriptor_metadata(descriptor: RawFd) -> io::Result<Metadata> {
    fs::metadata(format!("/proc/self/fd/{descriptor}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_has_a_name_and_a_user() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let user = Accounts::load(Path::new("/")).name_of(rustix::process::geteuid().as_raw());
        let found = ProcessStatus::read(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!((found.user, found.is_stopped), (Some(user), false));
        let gone = ProcessStatus { name: "a process".into(), user: None, is_stopped: false };
        assert_eq!(ProcessStatus::read(child.id()), gone);
        assert!(own_status("Pid").is_some_and(|pid| pid == std::process::id().to_string()));
    }
}
