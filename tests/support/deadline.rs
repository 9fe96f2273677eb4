//! No wait of a test is without an end: one that takes too long fails, and says what was awaited.
#![allow(dead_code, reason = "each of the two programs takes what it needs")]

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Nothing that a test waits for takes this long.
const LIMIT: Duration = Duration::from_secs(600);

/// But for a test that runs in another process: its own waits have their ends. With every fault at every call and all
/// rounds that takes hours.
pub(crate) fn of_a_whole_test() -> Duration {
    let full = std::env::var_os("FOUNDRY_TEST_FULL").is_some_and(|value| !value.is_empty());
    Duration::from_secs(if full { 20 * 3600 } else { 1800 })
}

/// What was awaited has this long to end after its processes were killed.
const GRACE: Duration = Duration::from_secs(10);

/// Waits of the standard library's that have no end, with one.
pub(crate) trait CommandInTime {
    fn output_in_time(&mut self) -> io::Result<Output>;
    fn status_in_time(&mut self) -> io::Result<ExitStatus>;
}

impl CommandInTime for Command {
    #[track_caller]
    fn output_in_time(&mut self) -> io::Result<Output> {
        within(&format!("the output of {self:?}"), || self.output())
    }

    #[track_caller]
    fn status_in_time(&mut self) -> io::Result<ExitStatus> {
        within(&format!("the end of {self:?}"), || self.status())
    }
}

/// The same of a process that runs.
pub(crate) trait ChildInTime {
    fn wait_in_time(&mut self) -> io::Result<ExitStatus>;
    fn wait_within(&mut self, limit: Duration) -> io::Result<ExitStatus>;
    fn wait_with_output_in_time(self) -> io::Result<Output>;
}

impl ChildInTime for Child {
    #[track_caller]
    fn wait_in_time(&mut self) -> io::Result<ExitStatus> {
        self.wait_within(LIMIT)
    }

    #[track_caller]
    fn wait_within(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let pid = self.id();
        guard(&format!("the end of {}", command_line(pid)), limit, move || vec![pid], || self.wait())
    }

    #[track_caller]
    fn wait_with_output_in_time(self) -> io::Result<Output> {
        let pid = self.id();
        guard(
            &format!("the output of {}", command_line(pid)),
            LIMIT,
            move || vec![pid],
            || self.wait_with_output(),
        )
    }
}

/// Does something that waits, such as reading what a process writes that this thread has started.
#[track_caller]
pub(crate) fn within<T>(what: &str, wait: impl FnOnce() -> T) -> T {
    within_limit(what, LIMIT, wait)
}

/// The same, with an end of its own.
#[track_caller]
pub(crate) fn within_limit<T>(what: &str, limit: Duration, wait: impl FnOnce() -> T) -> T {
    // "1234/task/1235"
    let thread = Path::new("/proc")
        .join(std::fs::read_link("/proc/thread-self").unwrap_or_else(|_| PathBuf::from("self")));
    guard(what, limit, move || children(&thread), wait)
}

/// Kills the processes when the time is over. What then still waits, since others hold its pipe, ends with this process.
#[track_caller]
fn guard<T>(
    what: &str,
    limit: Duration,
    processes: impl Fn() -> Vec<u32> + Send + 'static,
    wait: impl FnOnce() -> T,
) -> T {
    let (ended, waits) = channel::<()>();
    let told = what.to_owned();
    let watcher = std::thread::spawn(move || {
        let in_time = |time| waits.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
        if in_time(limit) {
            return true;
        }
        processes().into_iter().for_each(kill);
        if !in_time(GRACE) {
            say(&format!("waited in vain for {told}"));
            std::process::abort();
        }
        false
    });
    let found = wait();
    drop(ended);
    assert!(watcher.join().is_ok_and(|in_time| in_time), "waited in vain, {limit:?}, for {what}");
    found
}

#[allow(clippy::print_stderr, reason = "the process ends right after it")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// The processes that a thread has started and that have not ended.
fn children(thread: &Path) -> Vec<u32> {
    let listed = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn kill(pid: u32) {
    // One that has ended meanwhile is what was awaited.
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
}

fn command_line(pid: u32) -> String {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{} (pid {pid})", line.replace('\0', " ").trim())
}
