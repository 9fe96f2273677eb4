//! System calls on descriptors that belong to libvirt.

use std::ffi::c_int;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// poll(2) with a timeout in milliseconds, -1 for none. A failure reports no events.
pub(in crate::libvirt) fn poll(descriptors: &mut [libc::pollfd], milliseconds: c_int) {
    let Ok(count) = libc::nfds_t::try_from(descriptors.len()) else { return };
    // SAFETY: the slice is alive and writable for the length of the call; each descriptor is a number, and poll(2)
    // reports an invalid one.
    unsafe { libc::poll(descriptors.as_mut_ptr(), count, milliseconds) };
}

/// Duplicates a socket's descriptor; the caller owns the copy (fcntl(2), F_DUPFD_CLOEXEC).
pub(in crate::libvirt) fn duplicate(socket: RawFd) -> Option<OwnedFd> {
    // SAFETY: takes a number; one that is not open only causes an error.
    let copy = unsafe { libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: the call has just opened it, and nothing else owns it.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes all descriptors except standard input, output and error. Only for a process that has just started.
pub(in crate::libvirt) fn close_inherited() {
    // SAFETY: the only caller runs first in its process, before anything opens a descriptor that has an owner; nothing
    // in this process owns an inherited descriptor.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Bytes that were sent over a socket and not yet read by the other end (unix(7) and tcp(7), `SIOCOUTQ`); 0 if the
/// socket does not report it.
pub(in crate::libvirt) fn unread(socket: &impl AsRawFd) -> c_int {
    let mut bytes = 0;
    // SAFETY: the out pointer is to a local.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    bytes
}

/// Shuts down the receiving side of a socket (shutdown(2)): every reader gets the end of the data. For the other side,
/// the socket stays open while any process has it.
pub(in crate::libvirt) fn stop_receiving(socket: RawFd) {
    // SAFETY: takes a number; one that is not a socket, or is closed, only causes an error.
    unsafe { libc::shutdown(socket, libc::SHUT_RD) };
}

/// The process that listens at the other end of a Unix socket (unix(7), SO_PEERCRED). 0 for a process that this one
/// cannot see, and for any other socket; `None` if it is not a socket.
pub(in crate::libvirt) fn peer(socket: RawFd) -> Option<i32> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: both pointers are to locals that outlive the call, and `length` is the first one's size.
    let answer = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut who).cast(), &raw mut length)
    };
    (answer == 0).then_some(who.pid)
}
