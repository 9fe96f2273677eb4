//! The private host from inside: its daemon, which is killed and started, and its state, which is put back.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::deadline::CommandInTime as _;

const SOCKET: &str = "/run/libvirt/libvirt-sock";
const PID_FILE: &str = "/run/libvirt/libvirtd.pid";
/// All that libvirt keeps: definitions, volumes and NVRAM, logs, and what it knows of what runs.
const KEPT: [&str; 5] = [
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/log/libvirt/qemu",
    "/run/libvirt/qemu",
    "/run/libvirt/storage",
];
const PATIENCE: Duration = Duration::from_secs(10);

/// The libvirtd in here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Daemon;

impl Daemon {
    pub(crate) fn connect(self) -> io::Result<UnixStream> {
        UnixStream::connect(SOCKET)
    }

    /// Kills it at once; the guests run on.
    pub(crate) fn kill(self) -> io::Result<()> {
        let pid = fs::read_to_string(PID_FILE)?;
        end(pid.trim());
        Ok(())
    }

    pub(crate) fn start(self) -> io::Result<()> {
        does(Command::new("libvirtd").args(["--daemon", "--pid-file", PID_FILE]));
        wait_until("libvirtd takes connections", || self.connect().is_ok());
        Ok(())
    }

    /// Whether it answers; 11.3 sometimes does not, for ever, after the loss of a client that sent data.
    pub(crate) fn answers(self) -> bool {
        let mut asked = Command::new("timeout");
        asked.args(["10", "virsh", "-q", "-c", "qemu:///system", "pool-list", "--all"]);
        asked.stdout(Stdio::null()).stderr(Stdio::null()).status_in_time().is_ok_and(|s| s.success())
    }
}

/// A state of the host, to be put back.
pub(crate) struct Saved(PathBuf);

impl Saved {
    /// Copies all that libvirt keeps. No guest may run.
    pub(crate) fn take(directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        stop();
        for (index, kept) in KEPT.iter().enumerate() {
            copy(Path::new(kept), &directory.join(index.to_string()));
        }
        Daemon.start().unwrap();
        Self(directory.to_owned())
    }

    /// Makes the host what it was then.
    pub(crate) fn put_back(&self) {
        stop();
        for (index, kept) in KEPT.iter().enumerate() {
            does(Command::new("find").args([kept, "-mindepth", "1", "-delete"]));
            copy(&self.0.join(index.to_string()), Path::new(kept));
        }
        Daemon.start().unwrap();
    }
}

/// Ends the daemon and all guests.
fn stop() {
    Daemon.kill().unwrap();
    for pid in guests() {
        end(&pid);
    }
}

/// The QEMUs of this PID namespace, in which there are only those of the private host.
fn guests() -> Vec<String> {
    assert!(super::is_inside());
    let is_qemu = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu-system"))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).filter(is_qemu).collect()
}

/// Kills a process and waits for its end; it may have ended by itself.
fn end(pid: &str) {
    let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status_in_time();
    wait_until("a killed process ends", || !Path::new(&format!("/proc/{pid}")).exists());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    does(Command::new("cp").args(["-a", "--sparse=always"]).arg(from.join(".")).arg(to));
}

/// Runs a program that must succeed.
pub(crate) fn does(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output_in_time().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}
