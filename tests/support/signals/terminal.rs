//! A terminal of a program's own, which can be closed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};

use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A pseudo terminal with a program in it, whose session is that program's.
pub(crate) struct Terminal {
    screen: BufReader<File>,
    child: Child,
}

impl Terminal {
    /// Runs a program in a terminal: stdin, stdout and stderr, and the one that controls it.
    pub(crate) fn run(command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || File::options().read(true).write(true).open(&name).unwrap();
        let mut inside = Command::new("setsid");
        inside.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        let child = inside.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        Self { screen: BufReader::new(File::from(master)), child }
    }

    /// Reads what it shows up to the `n`-th call of libvirt's; whether that came before the end.
    pub(crate) fn until_call(&mut self, n: u64) -> bool {
        let (mut count, mut line) = (0, Vec::new());
        // At the end, when nobody has it open any more, reading fails (pty(7)).
        while count < n && self.screen.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
            count += u64::from(String::from_utf8_lossy(&line).contains("[libvirt]"));
            line.clear();
        }
        count == n
    }

    /// Closes it, passes a second SIGHUP on as a shell does, and waits for the end; the exit code, or 128 and the
    /// signal.
    pub(crate) fn close(self) -> i32 {
        let Self { screen, mut child } = self;
        drop(screen);
        // One that has ended already cannot be signalled.
        let _ = Command::new("kill").args(["-HUP", &child.id().to_string()]).status_in_time();
        let status = child.wait_in_time().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        status.code().or(signal.map(|s| 128 + s)).unwrap()
    }
}
