//! The code of the child process: only what signal-safety(7) allows and bare system calls
//! (`close_range`, `ioctl`). It allocates nothing, takes no lock and never returns.

use std::os::fd::RawFd;
use std::ptr;

/// How long the daemon has for what it has received, in milliseconds: a few MiB on their way to a disk.
const DIGEST_MS: i32 = 2000;
/// When the child ends at the latest, in seconds after foundry's end. What is left of a download is read in it
/// at 1 MB/s and more, and a daemon whose disk stands still has it.
const PATIENCE: u32 = 300;
/// What may end the child; all other signals stay blocked, with their handlers.
const ENDING: [libc::c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGALRM];

/// Holds the sockets until foundry is gone and the daemon has taken in what was sent.
///
/// # Safety
/// For the child only, with all signals blocked: closes every descriptor that is not in `kept`, which is in order
/// and has `ended` and the `sockets`. `ended` is the reading end of a pipe that foundry holds the other end of.
pub(super) unsafe fn hold(ended: RawFd, sockets: &[RawFd], kept: &[RawFd]) -> ! {
    // SAFETY: system calls on descriptors of this process; the buffer is a local. A session of its own keeps the child
    // from what is sent to foundry's group.
    unsafe {
        libc::setsid();
        close_others(kept);
        let_signals_end_it();
        let mut nothing = 0_u8;
        while libc::read(ended, (&raw mut nothing).cast(), 1) < 0 {}
        libc::alarm(PATIENCE);
        for socket in sockets {
            let_digest(*socket);
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

/// # Safety
/// For the child only: foundry's handlers for these signals are gone from this process.
unsafe fn let_signals_end_it() {
    let mut ending = std::mem::MaybeUninit::uninit();
    // SAFETY: the set is a local and empty before anything is added. signal(2) with SIG_DFL names no function.
    unsafe {
        libc::sigemptyset(ending.as_mut_ptr());
        for signal in ENDING {
            libc::signal(signal, libc::SIG_DFL);
            libc::sigaddset(ending.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, ending.as_ptr(), ptr::null_mut());
    }
}

/// Waits until the other end has taken in everything and has had time for it. What it still sends is thrown
/// away, since it would wait for somebody to read.
fn let_digest(socket: RawFd) {
    loop {
        while arrives(socket) {
            if !throw_away(socket) {
                return let_be_read(socket);
            }
        }
        if unread(socket) == 0 {
            return;
        }
    }
}

/// As [`let_digest`], of a socket from which nothing comes any more: foundry stopped listening to it, or the other end
/// is closed and leaves nothing unread.
fn let_be_read(socket: RawFd) {
    loop {
        let was_unread = unread(socket);
        // SAFETY: no entries are looked at.
        unsafe { libc::poll(ptr::null_mut(), 0, DIGEST_MS) };
        if was_unread == 0 {
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
