//! Keeps the connection's socket open for a moment when foundry is killed in the middle of a transfer.
//!
//! libvirtd stops answering everybody, for ever, when a client's socket closes while data that the client has
//! sent to a stream still waits inside the daemon: `daemonStreamEvent` closes the client with the lock
//! of its streams held, and closing takes that lock again (src/remote/remote_daemon_stream.c; seen with 11.3 after
//! one killed upload in about twenty). A process that is killed closes its sockets at once. So while data
//! flow, a child holds them too. When foundry is gone it waits until the daemon has taken in what was
//! sent, and ends.
#![allow(unsafe_code, reason = "fork(2) and what may be called behind it; every block has its argument")]

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};

/// How long the daemon has for what it has received, in milliseconds: a few MiB on their way to a disk.
const DIGEST_MS: i32 = 2000;
/// How often the daemon gets as long again to take what is still in the socket.
const PATIENCE: u32 = 15;

/// The child, for as long as data flow. Dropped, it ends.
pub(super) struct Lingering {
    /// Its end of this pipe says what became of foundry: a byte for "done", an end for "killed".
    alive: PipeWriter,
    child: libc::pid_t,
}

/// Starts the child. Without one a transfer is as it is with every other client of libvirt's: nothing that
/// would be worth failing for.
pub(super) fn linger() -> Option<Lingering> {
    let (ended, alive) = pipe().ok()?;
    let kept = connected_sockets(&ended)?;
    // SAFETY: until it ends, the child makes only calls that signal-safety(7) allows behind a fork of a process
    // with threads: it allocates nothing, takes no lock and never returns from `child`.
    let child = unsafe { libc::fork() };
    match child {
        0 => hold(ended.as_raw_fd(), &kept),
        child => (child > 0).then_some(Lingering { alive, child }),
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // A child that is gone already needs no word.
        let _ = self.alive.write_all(b".");
        // SAFETY: the process is this one's child, which nobody else waits for; no status is asked for.
        while unsafe { libc::waitpid(self.child, std::ptr::null_mut(), 0) } < 0
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
    }
}

/// The descriptors that the child keeps, in order: sockets that lead somewhere, and its end of the pipe.
fn connected_sockets(ended: &PipeReader) -> Option<Vec<RawFd>> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut kept: Vec<RawFd> = numbers.filter(|fd| *fd > 2 && is_connected(*fd)).collect();
    kept.push(ended.as_raw_fd());
    kept.sort_unstable();
    Some(kept)
}

fn is_connected(fd: RawFd) -> bool {
    let mut length: libc::socklen_t = 0;
    // SAFETY: an address of no length is written to nowhere; a descriptor that is no socket is an error.
    unsafe {
        libc::getpeername(fd, std::ptr::NonNull::<libc::sockaddr>::dangling().as_ptr(), &raw mut length) == 0
    }
}

/// What the child does, from its first to its last moment.
fn hold(ended: RawFd, kept: &[RawFd]) -> ! {
    // SAFETY: system calls only (signal-safety(7)), on descriptors of this process; the buffer is a local. A group
    // of its own keeps it from what is sent to foundry's.
    unsafe {
        libc::setsid();
        close_others(kept);
        let mut word = 0_u8;
        let mut read = -1;
        while read < 0 {
            read = libc::read(ended, (&raw mut word).cast(), 1);
        }
        if read == 0 {
            kept.iter().filter(|fd| **fd != ended).for_each(|fd| let_digest(*fd));
        }
        libc::_exit(0)
    }
}

/// # Safety
/// For the child only: closes every descriptor that is not in `kept`, which is in order.
unsafe fn close_others(kept: &[RawFd]) {
    let mut first: libc::c_uint = 0;
    for fd in kept {
        let fd = fd.cast_unsigned();
        if fd > first {
            // SAFETY: nothing in this process uses them any more.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = fd + 1;
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Waits until the other end has taken in everything and has had time for it. What it still sends is thrown
/// away, since it would wait for somebody to read.
fn let_digest(socket: RawFd) {
    for _ in 0..PATIENCE {
        while arrives(socket) {
            if !throw_away(socket) {
                return;
            }
        }
        if unread(socket) == 0 {
            return;
        }
    }
}

/// Whether something arrives before the time is over.
fn arrives(socket: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: socket, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which is a local.
    unsafe { libc::poll(&raw mut asked, 1, DIGEST_MS) > 0 }
}

/// Whether there was something; at the end there is not.
fn throw_away(socket: RawFd) -> bool {
    let mut waste = [0_u8; 1 << 16];
    // SAFETY: the buffer is a local of that length.
    unsafe { libc::read(socket, waste.as_mut_ptr().cast(), waste.len()) > 0 }
}

/// Bytes that were sent and that the other end has not taken yet (unix(7) and tcp(7), `SIOCOUTQ`).
fn unread(socket: RawFd) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: the out pointer is to a local; a socket that cannot say leaves it 0.
    unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    bytes
}
