//! Identifies the process that makes a VM, so that another can check whether it is still running.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::machine;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process, identified beyond the reuse of its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maker {
    /// The machine, by an id of its own (of machine-id(5), which is not shown itself) and, since clones share that, its
    /// host name; and since containers share a machine, the PID namespace.
    pub host: String,
    /// The boot of that machine (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The process id.
    pub pid: u32,
    /// When the process began, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub started: u64,
    /// Seconds since 1970 when it began its work, to compare with boots; absent where its clock was before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The version of foundry.
    pub version: String,
}

/// Whether a maker still works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Alive,
    /// It does not run any more.
    Dead,
    /// It is on another machine, so its liveness cannot be checked.
    Elsewhere,
}

impl Maker {
    /// This process.
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self {
            host: host_id(),
            boot: boot_id(),
            pid,
            started: match look_up_process(pid) {
                ProcessState::Runs { started } => started,
                ProcessState::Hidden | ProcessState::Ended => 0,
            },
            since: start_of_work(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether the process still runs.
    pub fn check_liveness(&self) -> Liveness {
        if !is_this_machine(&self.host) {
            return Liveness::Elsewhere;
        }
        if self.boot != boot_id() {
            return self.check_earlier_boot(boot_time());
        }
        match look_up_process(self.pid) {
            ProcessState::Runs { started } if started == self.started => Liveness::Alive,
            ProcessState::Hidden => Liveness::Elsewhere,
            ProcessState::Runs { .. } | ProcessState::Ended => Liveness::Dead,
        }
    }

    /// A maker from an earlier boot (this one began at `boot`) is dead; one that started after this boot is on a clone.
    /// One that began later is of another machine with the same id and the same name, a clone of this one.
    fn check_earlier_boot(&self, boot: Option<u64>) -> Liveness {
        match (self.since, boot) {
            (Some(since), Some(boot)) if since < boot => Liveness::Dead,
            _ => Liveness::Elsewhere,
        }
    }
}

/// What can be seen of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessState {
    /// It runs; with its start in clock ticks since boot.
    Runs { started: u64 },
    /// There is a process of that number, and this one may not look at it: another user's, with hidepid (proc(5)).
    Hidden,
    /// There is none, or only its zombie.
    Ended,
}

fn look_up_process(pid: u32) -> ProcessState {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => start_time(&stat).map_or(ProcessState::Ended, |started| ProcessState::Runs { started }),
        Err(_) if process_exists(pid) => ProcessState::Hidden,
        Err(_) => ProcessState::Ended,
    }
}

/// Whether there is such a process, by kill(2) with no signal: a refusal (EPERM) says so, too.
fn process_exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// Once for a process, so that it is the same maker each time.
fn start_of_work() -> Option<u64> {
    static SINCE: OnceLock<Option<u64>> = OnceLock::new();
    *SINCE.get_or_init(|| Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()))
}

/// Seconds since 1970 when this machine was booted (`btime`, proc_stat(5)).
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn host_id() -> String {
    host_of(&machine::derive_shown_id(&machine::read_machine_id()))
}

/// Earlier versions wrote the machine's own id.
fn is_this_machine(host: &str) -> bool {
    host == host_id() || host == host_of(&machine::read_machine_id())
}

fn host_of(machine: &str) -> String {
    let namespace =
        fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{machine} {} {namespace}", name.trim())
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// From what `/proc/PID/stat` says; `None` of a zombie.
fn start_time(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses and may hold anything, blanks and `)` too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        assert_eq!(Maker::this_process().check_liveness(), Liveness::Alive);
    }

    #[test]
    fn a_process_that_ended_is_dead_even_while_it_is_a_zombie() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let started =
            if let ProcessState::Runs { started } = look_up_process(child.id()) { started } else { 1 };
        let maker = Maker { pid: child.id(), started, ..Maker::this_process() };
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(maker.check_liveness(), Liveness::Dead);
        child.wait().unwrap();
        assert_eq!(maker.check_liveness(), Liveness::Dead);
    }

    #[test]
    fn a_reused_number_is_not_the_maker() {
        let current = Maker::this_process();
        assert_eq!(
            Maker { started: current.started + 1, ..current.clone() }.check_liveness(),
            Liveness::Dead
        );
        assert_eq!(Maker { host: "another".into(), ..current }.check_liveness(), Liveness::Elsewhere);
    }

    /// Two machines that were cloned, `/etc/machine-id` and host name included, look like one that was booted again.
    #[test]
    fn only_what_began_before_this_boot_ended_with_another() {
        let booted = boot_time().unwrap();
        let other = |since| Maker { boot: "another".into(), since, ..Maker::this_process() };
        assert_eq!(other(Some(booted - 1)).check_liveness(), Liveness::Dead);
        assert_eq!(other(Some(booted + 1)).check_liveness(), Liveness::Elsewhere, "it began on a clone");
        assert_eq!(other(None).check_liveness(), Liveness::Elsewhere);
        assert_eq!(Maker::this_process().check_earlier_boot(None), Liveness::Elsewhere);
    }

    #[test]
    fn a_machine_is_more_than_its_id() {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(
            Maker::this_process().host.split(' ').any(|word| word == name.trim()),
            "{}",
            Maker::this_process().host
        );
    }

    #[test]
    fn the_machines_own_id_is_not_shown_and_is_known_in_an_older_record() {
        let own = machine::read_machine_id();
        let current = Maker::this_process();
        assert!(own.is_empty() || !current.host.contains(&own), "{}", current.host);
        let older = Maker { host: host_of(&own), ..current };
        assert_eq!(older.check_liveness(), Liveness::Alive);
    }

    /// kill(2) tells of a process that `/proc` may hide.
    #[test]
    fn a_process_exists_as_long_as_it_has_its_number() {
        assert!(process_exists(1), "though its number may only be refused");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert!(process_exists(child.id()));
        child.wait().unwrap();
        assert!(!process_exists(child.id()));
        assert!(!process_exists(0) && !process_exists(u32::MAX));
    }
}
