//! Identifies this process in records, and checks whether another is still at work.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, test_kill_process};

use super::machine_id::{derive_shown_id, read_machine_id};
use foundry_core::record::{Liveness, Maker};

/// This process, at no operation in particular.
pub fn this_process() -> Maker {
    let pid = std::process::id();
    Maker {
        host: host_id(),
        boot: boot_id(),
        pid,
        started: match look_up_process(pid) {
            ProcessState::Runs { started } => started,
            ProcessState::Hidden | ProcessState::Ended => 0,
        },
        since: start_of_work(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        operation: None,
    }
}

/// Whether the process of a maker is running.
pub(super) fn check_process(maker: &Maker) -> Liveness {
    if !is_this_machine(&maker.host) {
        return Liveness::Elsewhere;
    }
    if maker.boot != boot_id() {
        return check_earlier_boot(maker, boot_time());
    }
    match look_up_process(maker.pid) {
        ProcessState::Runs { started } if started == maker.started => Liveness::Alive,
        ProcessState::Hidden => Liveness::Elsewhere,
        ProcessState::Runs { .. } | ProcessState::Ended => Liveness::Dead,
    }
}

/// Judges a maker of another boot; `boot` is when this one began. A maker from an earlier boot is dead. One that
/// started later runs on a clone of this machine, with the same id and the same name.
fn check_earlier_boot(maker: &Maker, boot: Option<u64>) -> Liveness {
    match (maker.since, boot) {
        (Some(since), Some(boot)) if since < boot => Liveness::Dead,
        _ => Liveness::Elsewhere,
    }
}

/// What `/proc` shows of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessState {
    /// It is running; `started` is its start time in clock ticks since boot.
    Runs { started: u64 },
    /// The process exists but is hidden: it belongs to another user, and `/proc` is mounted with hidepid (proc(5)).
    Hidden,
    /// The process does not exist, or only its zombie.
    Ended,
}

fn look_up_process(pid: u32) -> ProcessState {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => start_time(&stat).map_or(ProcessState::Ended, |started| ProcessState::Runs { started }),
        Err(_) if process_exists(pid) => ProcessState::Hidden,
        Err(_) => ProcessState::Ended,
    }
}

/// Whether the process exists, by kill(2) with signal 0. A refusal (EPERM) shows that it does.
fn process_exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// Returns when this process began its work. It is computed once, so the process is always the same maker.
fn start_of_work() -> Option<u64> {
    static SINCE: OnceLock<Option<u64>> = OnceLock::new();
    *SINCE.get_or_init(|| Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()))
}

/// Returns the boot time of this machine in seconds since 1970 (`btime`, proc_stat(5)).
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn host_id() -> String {
    host_of(&derive_shown_id(&read_machine_id()))
}

/// Whether a record's host is this machine. Earlier versions wrote the machine id itself.
fn is_this_machine(host: &str) -> bool {
    host == host_id() || host == host_of(&read_machine_id())
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

/// Reads the start time from `/proc/PID/stat`. Returns `None` for a zombie.
fn start_time(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses. It may contain anything, including spaces and `)`.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if fields.first() == Some(&"Z") {
        return None;
    }
    // Field 22 of proc_pid_stat(5); this list begins with the third.
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        assert_eq!(check_process(&this_process()), Liveness::Alive);
    }

    #[test]
    fn zombie_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let started =
            if let ProcessState::Runs { started } = look_up_process(child.id()) { started } else { 1 };
        let maker = Maker { pid: child.id(), started, ..this_process() };
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(check_process(&maker), Liveness::Dead);
        child.wait().unwrap();
        assert_eq!(check_process(&maker), Liveness::Dead);
    }

    #[test]
    fn reused_process_id_is_not_the_maker() {
        let current = this_process();
        assert_eq!(check_process(&Maker { started: current.started + 1, ..current.clone() }), Liveness::Dead);
        assert_eq!(check_process(&Maker { host: "another".into(), ..current }), Liveness::Elsewhere);
    }

    /// Cloned machines (with `/etc/machine-id` and host name) look like one that was rebooted.
    #[test]
    fn maker_of_another_boot_is_dead_only_if_it_began_before_this_boot() {
        let booted = boot_time().unwrap();
        let other = |since| Maker { boot: "another".into(), since, ..this_process() };
        assert_eq!(check_process(&other(Some(booted - 1))), Liveness::Dead);
        assert_eq!(check_process(&other(Some(booted + 1))), Liveness::Elsewhere, "it began on a clone");
        assert_eq!(check_process(&other(None)), Liveness::Elsewhere);
        assert_eq!(check_earlier_boot(&this_process(), None), Liveness::Elsewhere);
    }

    #[test]
    fn host_contains_the_host_name() {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(this_process().host.split(' ').any(|word| word == name.trim()), "{}", this_process().host);
    }

    #[test]
    fn machine_id_is_not_shown_but_recognized_in_older_records() {
        let own = read_machine_id();
        let current = this_process();
        assert!(own.is_empty() || !current.host.contains(&own), "{}", current.host);
        let older = Maker { host: host_of(&own), ..current };
        assert_eq!(check_process(&older), Liveness::Alive);
    }

    /// kill(2) also finds a process that `/proc` may hide.
    #[test]
    fn process_exists_until_it_is_reaped() {
        assert!(process_exists(1), "even if signals to it are refused");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert!(process_exists(child.id()));
        child.wait().unwrap();
        assert!(!process_exists(child.id()));
        assert!(!process_exists(0) && !process_exists(u32::MAX));
    }
}
