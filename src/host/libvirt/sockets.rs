//! Finds the descriptors of a connection's sockets, because libvirt does not expose them.

use std::fs;
use std::os::fd::RawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::sys;

/// The sockets that were opened with a connection.
///
/// A socket that another thread opens in that moment is taken for one: it stays open a little longer when
/// foundry is killed, and is shut down with the connection when a call is given up.
#[derive(Clone)]
pub(super) struct Sockets(Vec<Socket>);

/// A socket, as this process and as the kernel calls it: a number may be another's later on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Socket {
    fd: RawFd,
    inode: u64,
}

impl Sockets {
    /// What `open` returns, and the sockets that are there since.
    pub(super) fn opened_by<T>(open: impl FnOnce() -> T) -> (T, Self) {
        let before = all();
        let opened = open();
        let mut since = all();
        since.retain(|socket| !before.contains(socket));
        (opened, Self(since))
    }

    /// That one alone.
    #[cfg(test)]
    pub(super) fn of(socket: &impl std::os::fd::AsRawFd) -> Self {
        Self(at(socket.as_raw_fd()).into_iter().collect())
    }

    /// Those that are still what they were.
    pub(super) fn still_open(&self) -> Vec<RawFd> {
        let same = |socket: &&Socket| at(socket.fd).as_ref() == Some(*socket);
        self.0.iter().filter(same).map(|socket| socket.fd).collect()
    }

    /// The processes at their other ends.
    pub(super) fn peers(&self) -> Vec<i32> {
        self.still_open().into_iter().filter_map(sys::peer).collect()
    }

    /// Lets whoever waits for something from them read an end, as if the other side had closed.
    pub(super) fn cut(&self) {
        self.still_open().into_iter().for_each(sys::stop_receiving);
    }
}

/// None where /proc is not mounted.
fn all() -> Vec<Socket> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    open.filter_map(|entry| at(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

fn at(fd: RawFd) -> Option<Socket> {
    let found = fs::metadata(format!("/proc/self/fd/{fd}")).ok()?;
    found.file_type().is_socket().then_some(Socket { fd, inode: found.ino() })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Other tests of this process open sockets meanwhile: what is asked is about known ones only.
    #[test]
    fn only_what_was_opened_meanwhile_and_is_the_same_still_is_kept() {
        let older = UnixStream::pair().unwrap();
        let (pair, sockets) = Sockets::opened_by(|| UnixStream::pair().unwrap());
        let (first, second) = (pair.0.as_raw_fd(), pair.1.as_raw_fd());
        let kept = sockets.still_open();
        assert!(kept.contains(&first) && kept.contains(&second), "{kept:?}");
        assert!(!kept.contains(&older.0.as_raw_fd()), "{kept:?}");

        // Another socket at the same number is not it.
        // SAFETY: both descriptors are open; `pair` owns the second one before and after.
        #[allow(unsafe_code, reason = "dup2(2) is how a number becomes another's")]
        let number = unsafe { libc::dup2(older.0.as_raw_fd(), second) };
        assert_eq!(number, second);
        let kept = sockets.still_open();
        assert!(kept.contains(&first) && !kept.contains(&second), "{kept:?}");
    }
}
