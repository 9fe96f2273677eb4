//! The sockets of a connection.

use std::os::fd::RawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::{Arc, Mutex, PoisonError};

use super::sys;
use crate::local::descriptor_metadata;

/// The sockets of one connection, collected by the event loop while it is opened. A clone shares the list.
#[derive(Clone, Default)]
pub(super) struct Sockets(Arc<Mutex<Vec<Socket>>>);

/// A socket, identified by descriptor and inode, because a closed descriptor's number is reused.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Socket {
    fd: RawFd,
    inode: u64,
}

impl Sockets {
    /// Adds a descriptor, if it is a socket.
    pub(super) fn add(&self, fd: RawFd) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.extend(socket_at(fd));
    }

    /// The descriptors that still refer to the same sockets.
    pub(super) fn still_open(&self) -> Vec<RawFd> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |socket: &&Socket| socket_at(socket.fd).as_ref() == Some(*socket);
        sockets.iter().filter(is_same).map(|socket| socket.fd).collect()
    }

    /// The processes at their other ends.
    pub(super) fn peers(&self) -> Vec<i32> {
        self.still_open().into_iter().filter_map(sys::peer).collect()
    }

    /// Shuts down their receiving side: a thread that waits for data gets the end, as if the other side had closed.
    pub(super) fn cut(&self) {
        self.still_open().into_iter().for_each(sys::stop_receiving);
    }
}

fn socket_at(fd: RawFd) -> Option<Socket> {
    let found = descriptor_metadata(fd).ok()?;
    found.file_type().is_socket().then_some(Socket { fd, inode: found.ino() })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_closed_socket_and_a_file_are_left_out() {
        let (kept, closed) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let sockets = Sockets::default();
        for fd in [kept.as_raw_fd(), closed.as_raw_fd(), file.as_raw_fd()] {
            sockets.add(fd);
        }
        assert_eq!(sockets.still_open(), [kept.as_raw_fd(), closed.as_raw_fd()]);
        // The next socket may get the same number, but is a different socket.
        drop(closed);
        let _other = UnixStream::pair().unwrap();
        assert_eq!(sockets.still_open(), [kept.as_raw_fd()]);
    }
}
