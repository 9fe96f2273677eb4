//! Keeps the connection's socket open for a moment when foundry is killed in the middle of a transfer.
//!
//! libvirtd stops answering everybody, for ever, when a client's socket closes while data that the client has
//! sent to a stream still wait inside the daemon: `daemonStreamEvent` closes the client with the lock
//! of its streams held, and closing takes that lock again (src/remote/remote_daemon_stream.c; seen with 11.3 after
//! one killed upload in about twenty). A process that is killed closes its sockets at once. So while data
//! flow, a small process, the keeper, has the socket too. When foundry is gone, the keeper waits until the daemon has
//! taken in what was sent, and ends.
//!
//! The same happens when foundry gives up a transfer without an answer: the daemon may only be waiting for its
//! disk, and must not find the socket closed before that goes on. Then the keeper is left behind.
//!
//! The keeper is this program again, started with [`SOCKET_KEEPER`]. It has the socket as its standard output, and as
//! its standard input a pipe that ends when foundry does. It starts while the first bytes flow, and costs a transfer
//! the start of a process. A connection of its own for each transfer would do as well, but would ask people who log in
//! to the host with a password or a second factor for it again.

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

/// The first argument of the keeper. The second one is for people who list processes: what is being transferred.
pub const SOCKET_KEEPER: &str = "__keep-socket";

/// How long the daemon has to work off what it has received, in seconds: a few MiB on their way to a disk.
const DIGEST_SECONDS: i64 = 2;
/// When the keeper ends at the latest, after foundry's end. What is left of a download is read in it
/// at 1 MB/s and more, and a daemon whose disk stands still has it.
const LONGEST: Duration = Duration::from_secs(300);

/// The keeper, for as long as data flow. Dropped, it ends.
pub(super) struct SocketKeeper(Option<Child>);

impl SocketKeeper {
    /// Starts one for a connection. Without one a transfer is as it is with every other client of libvirt: nothing
    /// that would be worth failing for.
    pub(super) fn start(program: &Path, sockets: &Sockets, operation: &str) -> Option<Self> {
        // A connection has one socket.
        let socket = sys::duplicate(*sockets.still_open().first()?)?;
        let mut keeper = Command::new(program);
        keeper.arg0("foundry").arg(SOCKET_KEEPER).arg(OsStr::new(operation));
        // Of its own group, so that a signal from the terminal, meant for foundry, does not end it.
        keeper.stdin(Stdio::piped()).stdout(socket).stderr(Stdio::null()).process_group(0);
        // It may stay for a while: the directory of the caller is not to be in use by it.
        keeper.current_dir("/");
        keeper.spawn().ok().map(|child| Self(Some(child)))
    }

    /// Leaves the keeper behind, as if foundry had been killed: for a connection that broke under the transfer, with
    /// data that may still wait in the daemon.
    pub(super) fn leave_behind(mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            // So that it is no dead process of a program that goes on for months.
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

/// Runs this process as a keeper: waits until the process that started it is gone and libvirt's daemon has taken in
/// what was sent. Returns the exit code. It closes whatever the process has open, so it comes first in a program.
pub fn run_socket_keeper() -> u8 {
    sys::close_inherited();
    // A session of its own: the end of a terminal does not reach it.
    let _ = rustix::process::setsid();
    // Nothing is ever written to it.
    let _ = std::io::stdin().read(&mut [0]);
    let socket = std::io::stdout();
    let deadline = Instant::now() + LONGEST;
    while Instant::now() < deadline {
        if !has_input(&socket) {
            if sys::unread(&socket) == 0 {
                break;
            }
        } else if !discard_input(&socket) {
            wait_until_taken(&socket, deadline);
            break;
        }
    }
    0
}

/// Waits until something arrives, or for as long as the daemon has for what it has received.
fn has_input(socket: &impl AsFd) -> bool {
    let time = Timespec { tv_sec: DIGEST_SECONDS, tv_nsec: 0 };
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Discards what the daemon still sends, since it would wait for a reader; returns false at the end.
fn discard_input(socket: &impl AsFd) -> bool {
    match rustix::io::read(socket, &mut [0_u8; 1 << 16][..]) {
        Ok(read) => read > 0,
        Err(error) => matches!(error, Errno::AGAIN | Errno::INTR),
    }
}

/// Waits on a socket that has no input any more: foundry stopped listening to it, or the other end is closed.
fn wait_until_taken(socket: &impl AsRawFd, deadline: Instant) {
    while Instant::now() < deadline {
        let was_unread = sys::unread(socket);
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
        // Any program that waits for the end of its input.
        let keeper = SocketKeeper::start(Path::new("/bin/cat"), &sockets, "upload");
        drop(socket);
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "the keeper has it");
        drop(keeper);
        assert_eq!(other.read(&mut [0]).unwrap(), 0, "it is closed everywhere");
    }
}
