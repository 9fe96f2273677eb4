//! The process that makes a VM, told so that another can see whether it still does.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process, identified beyond the reuse of its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maker {
    /// The machine, by machine-id(5) and, since containers share a machine, its PID namespace.
    pub host: String,
    /// The boot of that machine (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The process id.
    pub pid: u32,
    /// When the process began, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub started: u64,
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
    /// It is on another machine, so that nobody here can say.
    Elsewhere,
}

impl Maker {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            host: host_id(),
            boot: boot_id(),
            pid,
            started: start_time(pid).unwrap_or(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether the process still runs.
    pub fn liveness(&self) -> Liveness {
        if self.host != host_id() {
            return Liveness::Elsewhere;
        }
        match start_time(self.pid) {
            Some(started) if self.boot == boot_id() && started == self.started => Liveness::Alive,
            // With hidepid (proc(5)) another user's process cannot be told from none.
            None if self.boot == boot_id() && start_time(1).is_none() => Liveness::Elsewhere,
            _ => Liveness::Dead,
        }
    }
}

fn host_id() -> String {
    let namespace =
        fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    let machine = ["/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/hostname"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find(|text| !text.trim().is_empty())
        .unwrap_or_default();
    format!("{} {namespace}", machine.trim())
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// `None` where there is no such process, or only its zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
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
        assert_eq!(Maker::current().liveness(), Liveness::Alive);
    }

    #[test]
    fn a_process_that_ended_is_dead_even_while_it_is_a_zombie() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let maker =
            Maker { pid: child.id(), started: start_time(child.id()).unwrap_or(1), ..Maker::current() };
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(maker.liveness(), Liveness::Dead);
        child.wait().unwrap();
        assert_eq!(maker.liveness(), Liveness::Dead);
    }

    #[test]
    fn a_reused_number_or_another_boot_is_not_the_maker() {
        let current = Maker::current();
        assert_eq!(Maker { started: current.started + 1, ..current.clone() }.liveness(), Liveness::Dead);
        assert_eq!(Maker { boot: "another".into(), ..current.clone() }.liveness(), Liveness::Dead);
        assert_eq!(Maker { host: "another".into(), ..current }.liveness(), Liveness::Elsewhere);
    }
}
