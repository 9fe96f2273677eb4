//! Keeps the connection's socket open for a moment when foundry is killed in the middle of a transfer.
//!
//! libvirtd stops answering everybody, for ever, when a client's socket closes while data that the client has
//! sent to a stream still waits inside the daemon: `daemonStreamEvent` closes the client with the lock
//! of its streams held, and closing takes that lock again (src/remote/remote_daemon_stream.c; seen with 11.3 after
//! one killed upload in about twenty). A process that is killed closes its sockets at once. So while data
//! flow, a child holds them too. When foundry is gone it waits until the daemon has taken in what was
//! sent, and ends.
//!
//! The child is nothing that a program which uses foundry as a library would notice: its end raises no SIGCHLD and
//! is no answer to a `waitpid` that does not ask for such children (clone(2), `__WCLONE` in waitpid(2)). When foundry
//! was killed, the child is left to the process that adopts orphans, which has one dead process more where
//! it does not wait for any.
//!
//! The same is so when foundry gives a transfer up that has no answer any more: the daemon may only be waiting for its
//! disk, and must not find the socket closed before that goes on. Then the child stays, too.
//!
//! It costs each transfer the copy of the page tables: 0.6 ms in all with a heap of no size and 7 ms with one of
//! 100 MiB (medians on two busy cores of a virtual machine), and the copy of each page that is written to meanwhile.
#![allow(unsafe_code, reason = "clone(2) and what may be called behind it; every block has its argument")]

mod holder;

use std::io::{PipeWriter, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use super::sockets::Sockets;

/// The child, for as long as data flow. Dropped, it ends.
pub(super) struct SocketKeeper {
    /// 0 for one that was left to itself.
    child: libc::pid_t,
    /// Nothing is ever written: that its other end reads an end is how the child learns that foundry is gone.
    _alive: PipeWriter,
}

/// Starts the child that holds a connection's sockets. Without one a transfer is as it is with every other
/// client of libvirt's: nothing that would be worth failing for.
pub(super) fn keep_sockets(sockets: &Sockets) -> Option<SocketKeeper> {
    let sockets = sockets.still_open();
    if sockets.is_empty() {
        return None;
    }
    let (ended, alive) = pipe().ok()?;
    let child = start(ended.as_raw_fd(), &sockets);
    (child > 0).then_some(SocketKeeper { child, _alive: alive })
}

/// The child begins with all signals blocked, so that no handler of this program's ever runs in it.
fn start(ended: RawFd, sockets: &[RawFd]) -> libc::pid_t {
    let mut kept = [sockets, &[ended]].concat();
    kept.sort_unstable();
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are locals, the first one filled before it is read and the second one by the call.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let child = fork_unnoticed();
    if child == 0 {
        // SAFETY: this is the child.
        unsafe { holder::hold(ended, sockets, &kept) }
    }
    // SAFETY: the set is what this thread's mask was.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    child
}

/// fork(2), with no signal to the parent when the child ends.
fn fork_unnoticed() -> libc::pid_t {
    let none: libc::c_ulong = 0;
    // SAFETY: without flags the child has memory of its own, a copy of this thread's stack included. `start`, the only
    // caller, calls nothing but `holder::hold` in it, which makes only calls that signal-safety(7) allows behind a fork
    // of a process with threads, and never returns. With all arguments 0 their order, which differs between
    // architectures, does not matter.
    let child = unsafe { libc::syscall(libc::SYS_clone, none, none, none, none, none) };
    libc::pid_t::try_from(child).unwrap_or(-1)
}

impl SocketKeeper {
    /// Leaves the child to itself, as if foundry had been killed: for a connection that broke under the transfer, with
    /// data that may still wait in the daemon.
    pub(super) fn stay(mut self) {
        self.child = 0;
    }
}

impl Drop for SocketKeeper {
    fn drop(&mut self) {
        if self.child == 0 {
            return;
        }
        // SAFETY: the process is this one's child, which nobody has waited for, so the number is not another's; no
        // status is asked for.
        unsafe {
            libc::kill(self.child, libc::SIGKILL);
            while libc::waitpid(self.child, ptr::null_mut(), libc::__WCLONE) < 0
                && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            {}
        }
    }
}
