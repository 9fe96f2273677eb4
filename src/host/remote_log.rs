//! Reads a log on another machine, by the system's ssh. libvirt has no call for it.
//!
//! A shell on the host prints the log. Its input is a pipe that stays open as long as the log is read: when it ends, so
//! does the shell, also if this process was killed or the connection was lost.

use std::io::{self, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use foundry_core::ssh::{JumpHost, quote_command};

/// Bytes that are passed on at once.
const CHUNK: usize = 64 << 10;

/// So many chunks are received before one is taken. A faster host waits.
const CHUNKS_AHEAD: usize = 16;

/// Bytes that are kept of what ssh and the shell complain about.
const COMPLAINT: usize = 4 << 10;

/// Prints the log `$1` with its rotated backups, the oldest first. tail(1) waits for a log that does not exist, and a
/// directory that cannot be searched looks the same to it.
const PRINT: &str = r#"
export LC_ALL=C
[ -x "${1%/*}" ] || { echo "${1%/*}: Permission denied" >&2; exit 1; }
number=0
while [ -e "$1.$number" ]; do number=$((number + 1)); done
print_backups() {
  while [ "$number" -gt 0 ]; do number=$((number - 1)); cat -- "$1.$number" || exit; done
}
"#;

/// All of it, to its end.
const ALL: &str = "print_backups \"$1\"; exec cat -- \"$1\"";

/// From the line `$2` on, as tail(1) has it, and what is appended, until the input ends.
const FOLLOWED: &str = r#"
[ ! -e "$1" ] || [ -r "$1" ] || { echo "$1: Permission denied" >&2; exit 1; }
[ "$2" != +1 ] || print_backups "$1"
tail -n "$2" -F -- "$1" &
cat >/dev/null
kill $!
"#;

/// A log on another machine.
pub struct RemoteLog {
    ssh: Child,
    /// Open as long as the log is wanted.
    input: Option<ChildStdin>,
    chunks: Receiver<io::Result<Vec<u8>>>,
    complaint: Option<JoinHandle<String>>,
}

/// The part of a log on another machine that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum RemoteLogContent {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// All was read.
    End,
}

impl RemoteLog {
    /// Begins to read a log with its backups.
    ///
    /// # Errors
    /// If ssh cannot be started.
    pub fn open(host: &JumpHost, path: &str) -> io::Result<Self> {
        Self::run(host, ALL, &[path])
    }

    /// Begins to follow a log: its last lines, or all with its backups, and what is appended to it later, also after a
    /// rotation. A log that does not exist is waited for.
    ///
    /// # Errors
    /// If ssh cannot be started.
    pub fn follow(host: &JumpHost, path: &str, tail: Option<usize>) -> io::Result<Self> {
        let from = tail.map_or_else(|| "+1".to_owned(), |lines| lines.to_string());
        Self::run(host, FOLLOWED, &[path, &from])
    }

    fn run(host: &JumpHost, script: &str, arguments: &[&str]) -> io::Result<Self> {
        let script = format!("{PRINT}{script}");
        let words = ["sh", "-c", &script, "sh"].into_iter().chain(arguments.iter().copied());
        let words: Vec<_> = words.map(str::to_owned).collect();
        let mut command = Command::new("ssh");
        command.arg("-T").args(host.ssh_arguments()).arg(quote_command(&words));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut ssh = command.spawn()?;
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        if let Some(output) = ssh.stdout.take() {
            std::thread::spawn(move || pass_on(output, &sender));
        }
        let complaint = ssh.stderr.take().map(|errors| std::thread::spawn(move || read_complaint(errors)));
        Ok(Self { input: ssh.stdin.take(), ssh, chunks, complaint })
    }

    /// Takes what has come. It does not wait.
    ///
    /// # Errors
    /// If ssh or the host's shell failed; it has the last line that they wrote to stderr.
    pub fn read(&mut self) -> io::Result<RemoteLogContent> {
        match self.chunks.try_recv() {
            Ok(bytes) => return bytes.map(RemoteLogContent::Bytes),
            Err(TryRecvError::Empty) => return Ok(RemoteLogContent::Nothing),
            Err(TryRecvError::Disconnected) => {}
        }
        if self.ssh.wait()?.success() {
            return Ok(RemoteLogContent::End);
        }
        let complaint = self.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let last = complaint.lines().map(str::trim).rfind(|line| !line.is_empty());
        Err(io::Error::other(last.unwrap_or("ssh ended without a word").to_owned()))
    }
}

impl Drop for RemoteLog {
    /// The shell's input ends first, so that it ends by itself.
    fn drop(&mut self) {
        drop(self.input.take());
        // Both fail if it has ended already.
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

/// Sends what is read, until the end or until nobody takes it any more.
fn pass_on(mut output: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut bytes = vec![0; CHUNK];
        let read = match output.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                bytes.truncate(count);
                Ok(bytes)
            }
            Err(error) => Err(error),
        };
        let is_last = read.is_err();
        if sender.send(read).is_err() || is_last {
            return;
        }
    }
}

/// Reads all, so that nobody waits for it, and keeps the end.
fn read_complaint(mut errors: impl Read) -> String {
    let (mut kept, mut bytes) = (Vec::new(), [0; 1 << 10]);
    while let Ok(count @ 1..) = errors.read(&mut bytes) {
        kept.extend_from_slice(&bytes[..count]);
        kept.drain(..kept.len().saturating_sub(COMPLAINT));
    }
    String::from_utf8_lossy(&kept).into_owned()
}
