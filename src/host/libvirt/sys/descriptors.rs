//! System calls on descriptors that belong to libvirt.

use std::ffi::c_int;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// poll(2), for so many milliseconds, -1 for as long as it takes. A failure reports no events.
pub(in crate::libvirt) fn poll(descriptors: &mut [libc::pollfd], milliseconds: c_int) {
    let Ok(count) = libc::nfds_t::try_from(descriptors.len()) else { return };
    // SAFETY: the slice is alive and writable for the length of the call; each descriptor is a number, and one that
    // is none is reported as such.
    unsafe { libc::poll(descriptors.as_mut_ptr(), count, milliseconds) };
}

/// Another descriptor for the same socket, which belongs to the caller (fcntl(2), F_DUPFD_CLOEXEC).
pub(in crate::libvirt) fn duplicate(socket: RawFd) -> Option<OwnedFd> {
    // SAFETY: takes a number; one that is not open is an error and nothing else.
    let copy = unsafe { libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: the call has just opened it, for nobody else.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes every descriptor but standard input, output and error: for a process that has just begun.
pub(in crate::libvirt) fn close_inherited() {
    // SAFETY: the only caller is the first thing that its process does, before anything is opened that has an owner; a
    // descriptor that a caller left open belongs to nothing in this process.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Bytes that were sent over a socket and that the other end has not taken yet (unix(7) and tcp(7), `SIOCOUTQ`); 0 where
/// the socket cannot say.
pub(in crate::libvirt) fn unread(socket: &impl AsRawFd) -> c_int {
    let mut bytes = 0;
    // SAFETY: the out pointer is to a local.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    bytes
}

/// Ends what comes over a socket (shutdown(2)): whoever reads from it reads an end. The other side finds it open as
/// long as anybody has it.
pub(in crate::libvirt) fn stop_receiving(socket: RawFd) {
    // SAFETY: takes a number; one that is no socket, or none any more, is an error and nothing else.
    unsafe { libc::shutdown(socket, libc::SHUT_RD) };
}

/// The process at the other end of a Unix socket: the one that listens there (unix(7), SO_PEERCRED). 0 for one that
/// this process cannot see, and of any other socket; `None` where there is no socket.
pub(in crate::libvirt) fn peer(socket: RawFd) -> Option<i32> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: both pointers are to locals that outlive the call, and `length` is the first one's size.
    let answer = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut who).cast(), &raw mut length)
    };
    (answer == 0).then_some(who.pid)
}
