//! A terminal of a program's own, which can be closed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// Far longer than a guest takes to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pseudo terminal with a program in it, whose session is that program's.
pub(crate) struct Terminal {
    screen: BufReader<File>,
    child: Child,
    /// Keeps the terminal open after the program's end, with its mode.
    kept: Option<File>,
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
        Self { screen: BufReader::new(File::from(master)), child, kept: None }
    }

    /// The same; the terminal and its mode outlive the program.
    pub(crate) fn run_kept(command: Command) -> Self {
        let terminal = Self::run(command);
        let name = ptsname(terminal.screen.get_ref(), Vec::new()).unwrap().into_string().unwrap();
        let kept = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).unwrap();
        Self { kept: Some(kept), ..terminal }
    }

    /// The program's process: setsid(1) becomes it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.screen.get_mut().write_all(keys.as_bytes()).unwrap();
    }

    /// Reads what it shows until that is there.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        let (begun, mut seen) = (Instant::now(), String::new());
        while !seen.contains(text) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "no {text:?} on the terminal: {seen:?}");
            self.read_shown(&mut seen, left.min(Duration::from_millis(500)));
        }
    }

    /// Adds what is shown within that time; returns whether there was something.
    fn read_shown(&mut self, seen: &mut String, within: Duration) -> bool {
        if self.screen.buffer().is_empty() {
            let mut polled = [PollFd::new(self.screen.get_ref(), PollFlags::IN)];
            poll(&mut polled, Some(&Timespec::try_from(within).unwrap())).unwrap();
            if polled[0].revents().is_empty() {
                return false;
            }
        }
        let shown = self.screen.fill_buf().unwrap();
        let count = shown.len();
        seen.push_str(&String::from_utf8_lossy(shown));
        self.screen.consume(count);
        count > 0
    }

    /// Whether it passes on each key as it is, without an echo (termios(3)).
    pub(crate) fn is_raw(&self) -> bool {
        let mode = tcgetattr(self.kept.as_ref().unwrap()).unwrap();
        let raw = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        assert!(
            mode.local_modes.contains(raw) || !mode.local_modes.intersects(raw),
            "{:?}",
            mode.local_modes
        );
        mode.local_modes.is_empty() || !mode.local_modes.intersects(raw)
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, name: &str) {
        let killed = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status_in_time();
        assert!(killed.unwrap().success());
    }

    /// Waits for the program's end: its exit code, the rest of what it showed, and whether the terminal is raw then.
    pub(crate) fn end(mut self) -> (i32, String, bool) {
        let status = self.child.wait_within(PATIENCE).unwrap();
        let mut screen = String::new();
        while self.read_shown(&mut screen, Duration::from_millis(100)) {}
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        (status.code().or(signal.map(|s| 128 + s)).unwrap(), screen, self.is_raw())
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
        let Self { screen, mut child, .. } = self;
        drop(screen);
        // One that has ended already cannot be signalled.
        let _ = Command::new("kill").args(["-HUP", &child.id().to_string()]).status_in_time();
        let status = child.wait_in_time().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        status.code().or(signal.map(|s| 128 + s)).unwrap()
    }
}
