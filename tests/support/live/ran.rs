//! Programs that a test runs, and what they said.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::codes;
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};

/// No program that a test runs takes this long. One that does is killed, so that its test fails and the others
/// have their turn. A Debian guest without KVM, beside other guests, needs some ten minutes.
const LIMIT: Duration = Duration::from_secs(1500);

/// How a program ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    #[allow(dead_code, reason = "a failed test shows it")]
    line: String,
    /// 128 and the signal's number, as a shell says it, where one ended the program.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    /// Without the codes of errors, and without the lines of `-vv`, which are in `calls`.
    pub(crate) stderr: String,
    /// The code of its last error.
    pub(crate) code_of_error: Option<String>,
    /// libvirt's functions in the order in which they were called, under `-vv`.
    pub(crate) calls: Vec<String>,
}

impl Ran {
    /// Asserts the exit code, and shows everything where it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Asserts all of stdout.
    #[track_caller]
    pub(crate) fn prints(self, stdout: &str) -> Self {
        assert_eq!(self.stdout, stdout, "stdout of {self:#?}");
        self
    }

    /// Asserts all of stderr.
    #[track_caller]
    pub(crate) fn tells(self, stderr: &str) -> Self {
        assert_eq!(self.stderr, stderr, "stderr of {self:#?}");
        self
    }

    /// Asserts a part of stderr, where the rest is the host's.
    #[track_caller]
    pub(crate) fn mentions(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} on the stderr of {self:#?}");
        self
    }

    /// Asserts the code of its last error.
    #[track_caller]
    pub(crate) fn has_code(self, code: &str) -> Self {
        assert_eq!(self.code_of_error.as_deref(), Some(code), "{self:#?}");
        self
    }

    /// How often a function of libvirt's was called.
    pub(crate) fn count(&self, function: &str) -> usize {
        self.calls.iter().filter(|call| *call == function).count()
    }
}

/// Runs a program of the machine to its end.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(name);
    command.args(arguments).env("LC_ALL", "C");
    Foundry::of(command).run()
}

/// A foundry, or another program, that is about to be run.
pub(crate) struct Foundry {
    pub(super) command: Command,
    pub(super) input: Option<String>,
    pub(super) stdin: Option<Stdio>,
}

impl Foundry {
    /// A command that is to be run as foundry is.
    pub(crate) fn of(command: Command) -> Self {
        Self { command, input: None, stdin: None }
    }

    /// Gives it something to read.
    pub(crate) fn reads(mut self, input: impl ToString) -> Self {
        self.input = Some(input.to_string());
        self
    }

    /// Gives it something to read that another program writes.
    pub(crate) fn reads_from(mut self, source: impl Into<Stdio>) -> Self {
        self.stdin = Some(source.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The command itself, for who runs it in a way of its own.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ran {
        self.start().end()
    }

    /// Starts it and lets it run.
    pub(crate) fn start(mut self) -> Started {
        let line = format!("{:?}", self.command);
        let stdin = match self.stdin {
            Some(source) => source,
            None if self.input.is_some() => Stdio::piped(),
            None => Stdio::null(),
        };
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{line}: {e}"));
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), self.input) {
            // A program that refuses its arguments ends without reading.
            let _ = stdin.write_all(text.as_bytes());
        }
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let limit = limit(child.id());
        Started {
            line,
            child,
            stdout: Some(reader),
            stderr,
            told: String::new(),
            calls: Vec::new(),
            _limit: limit,
        }
    }
}

/// Kills the process when its time is over, unless what this returns is dropped before.
fn limit(pid: u32) -> Sender<()> {
    let (ended, waits) = channel();
    std::thread::spawn(move || {
        if waits.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            kill(pid, "KILL");
        }
    });
    ended
}

fn kill(pid: u32, signal: &str) {
    // One that has ended meanwhile cannot be signalled, which the caller sees by its exit code.
    let _ =
        Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status_in_time();
}

/// A program that runs. Dropped, it is ended.
pub(crate) struct Started {
    line: String,
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: BufReader<std::process::ChildStderr>,
    told: String,
    calls: Vec<String>,
    _limit: Sender<()>,
}

impl Started {
    /// Reads its stderr up to a line that is wanted; whether that came before the end.
    pub(crate) fn until(&mut self, mut wanted: impl FnMut(&str) -> bool) -> bool {
        let mut line = String::new();
        while self.stderr.read_line(&mut line).unwrap_or(0) > 0 {
            let found = wanted(&codes::without(&line));
            self.note(&line);
            if found {
                return true;
            }
            line.clear();
        }
        false
    }

    /// Reads on up to the `n`-th call of libvirt's, counted from 1.
    pub(crate) fn until_call(&mut self, n: usize) -> bool {
        let mut count = 0;
        self.until(|line| {
            count += usize::from(line.starts_with("[libvirt]"));
            count == n
        })
    }

    fn note(&mut self, line: &str) {
        match line.strip_prefix("[libvirt]") {
            // "[libvirt]     0.123 ms  virDomainCreate (start domain 'web')"
            Some(call) => self.calls.extend(call.split_whitespace().nth(2).map(str::to_owned)),
            None => self.told.push_str(line),
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by the name that kill(1) knows.
    pub(crate) fn signal(&mut self, name: &str) {
        kill(self.child.id(), name);
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        self.until(|_| false);
        let status = self.child.wait_in_time().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Ran {
            line: std::mem::take(&mut self.line),
            code: status.code().or(signal.map(|s| 128 + s)).unwrap(),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            stderr: codes::without(&self.told),
            code_of_error: codes::of_error(&self.told),
            calls: std::mem::take(&mut self.calls),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail for one that has ended, as it mostly has.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
