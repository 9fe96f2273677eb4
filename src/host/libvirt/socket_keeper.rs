//! Keeps the connection's socket open for a moment if foundry is killed during a transfer.
//!
//! libvirtd hangs for all clients, forever, if a client's socket closes while data that the client sent to a stream
//! still waits inside the daemon: `daemonStreamEvent` closes the client while it holds the lock of its streams, and
//! closing takes that lock again (src/remote/remote_daemon_stream.c; seen with 11.3 after one killed upload in about
//! twenty). The kernel closes the sockets of a killed process at once. So during a transfer, a small process, the
//! keeper, has the socket open, too. After foundry has ended, the keeper waits until the daemon has read what was sent,
//! and exits.
//!
//! The same happens if foundry gives up a transfer after a timeout: the daemon may only be waiting for its disk, and
//! must not find the socket closed when it continues. Then the keeper stays after foundry has ended.
//!
//! The keeper is this program, started with [`SOCKET_KEEPER`]. Its standard output is the socket, and its standard
//! input is a pipe that closes when foundry ends. It starts while the first bytes are sent, so a transfer costs one
//! more process. A separate connection for each transfer would also work, but users who log in to the host with a
//! password or a second factor would be asked for it again.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::sockets::Sockets;
use super::sys;

/// The first argument of the keeper. The second one tells readers of a process list what is being transferred.
pub const SOCKET_KEEPER: &str = "__keep-socket";

/// How long the daemon may take to process what it has received, in seconds: a few MiB to be written to a disk.
const DIGEST_SECONDS: i64 = 2;
/// Maximum lifetime of the keeper after foundry's end. The rest of a download is read in that time at 1 MB/s or more,
/// and a daemon with a stalled disk gets as long.
const LONGEST: Duration = Duration::from_secs(300);

/// The keeper of one transfer. It ends when this is dropped.
pub(super) struct SocketKeeper(Option<Child>);

impl SocketKeeper {
    /// Starts a keeper for a connection. A failure is ignored: without a keeper, the transfer is as safe as with any
    /// other libvirt client.
    pub(super) fn start(program: &Path, sockets: &Sockets, operation: &str) -> Option<Self> {
        let mut keeper = Command::new(program);
        keeper.arg0("foundry").arg(SOCKET_KEEPER).arg(OsStr::new(operation));
        Self::spawn(keeper, sockets)
    }

    fn spawn(mut keeper: Command, sockets: &Sockets) -> Option<Self> {
        // A connection has one socket, so the first is the only one.
        let socket = sys::duplicate(*sockets.still_open().first()?)?;
        // In its own process group, so that a signal from the terminal does not end it with foundry.
        keeper.stdin(Stdio::piped()).stdout(socket).stderr(Stdio::null()).process_group(0);
        // It can outlive foundry, and must not keep the caller's directory busy.
        keeper.current_dir("/");
        keeper.spawn().ok().map(|child| Self(Some(child)))
    }

    /// Leaves the keeper running, as if foundry had been killed: for a connection that broke during the transfer and
    /// whose data may still wait in the daemon.
    pub(super) fn leave_behind(mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            // Reaps the keeper, which would otherwise be a zombie of a program that may run for months.
            let _ = thread::Builder::new().name("socket-keeper".into()).spawn(move || child.wait());
        }
    }
}

impl Drop for SocketKeeper {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs this process as a keeper: waits until the process that started it has ended and libvirt's daemon has read what
/// was sent. Returns the exit code. It closes all open descriptors of the process, so a program must call it first.
pub fn run_socket_keeper() -> u8 {
    // An inherited pipe or lock must not stay open as long as the keeper lives.
    sys::close_inherited();
    // In its own session, the keeper gets no SIGHUP when a terminal closes.
    let _ = rustix::process::setsid();
    // Nothing is written to the pipe; the read returns when foundry has ended.
    let _ = std::io::stdin().read(&mut [0]);
    let socket = std::io::stdout();
    let deadline = Instant::now() + LONGEST;
    while Instant::now() < deadline {
        if !has_input(&socket) {
            if sys::unread(&socket) == 0 {
                break;
            }
        } else if !discard_input(&socket) {
            // The input has ended; now only what the daemon has not read yet matters.
            wait_until_taken(&socket, deadline);
            break;
        }
    }
    0
}

/// Waits for input, at most [`DIGEST_SECONDS`].
fn has_input(socket: &impl AsFd) -> bool {
    let time = Timespec { tv_sec: DIGEST_SECONDS, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Discards what the daemon still sends, because it would wait for a reader. Returns false at the end.
fn discard_input(socket: &impl AsFd) -> bool {
    match rustix::io::read(socket, &mut [0_u8; 1 << 16][..]) {
        Ok(read) => read > 0,
        Err(error) => matches!(error, Errno::AGAIN | Errno::INTR),
    }
}

/// Waits until the daemon has read everything, on a socket without further input: foundry shut down its receiving side,
/// or the other end is closed.
fn wait_until_taken(socket: &impl AsRawFd, deadline: Instant) {
    while Instant::now() < deadline {
        let was_unread = sys::unread(socket);
        // Even if nothing is unread: the daemon may still process what it has just read.
        thread::sleep(Duration::from_secs(DIGEST_SECONDS.unsigned_abs()));
        if was_unread == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn no_keeper_is_started_without_a_socket_or_a_program() {
        let sockets = Sockets::default();
        assert!(SocketKeeper::start(Path::new("/bin/true"), &sockets, "upload").is_none());
        let (socket, _other) = UnixStream::pair().unwrap();
        sockets.add(socket.as_raw_fd());
        assert!(SocketKeeper::start(Path::new("/nonexistent"), &sockets, "upload").is_none());
    }

    #[test]
    fn a_keeper_holds_the_socket_until_it_is_dropped() {
        let (socket, mut other) = UnixStream::pair().unwrap();
        let sockets = Sockets::default();
        sockets.add(socket.as_raw_fd());
        // cat(1) stands for the keeper: any program works that waits for the end of its input.
        let keeper = SocketKeeper::spawn(Command::new("cat"), &sockets);
        drop(socket);
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "the keeper has it");
        drop(keeper);
        // A process that another test has just forked may have the socket until its exec.
        other.set_nonblocking(false).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap(), 0, "it is closed everywhere");
    }
}
