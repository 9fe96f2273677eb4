//! One at a time: the right to act on a thing, among the foundries of one machine.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::record::digest;

/// The right to act on a thing until it is dropped, or its process ends however it does.
///
/// It is the name of a socket in Linux's abstract namespace (unix(7)), which one process has at a time, whoever
/// its user is, and of which nothing is left behind. It is an agreement between foundries and no protection from
/// anybody; and foundries on two machines that change the same host know nothing of each other's.
#[derive(Debug)]
#[must_use]
pub struct Turn {
    _held: Option<UnixDatagram>,
}

impl Turn {
    /// The turn of who need not wait for anybody.
    pub fn free() -> Self {
        Self { _held: None }
    }

    /// Takes the turn with a thing of that name; `None` while another has it. Where there are no such sockets,
    /// nobody waits.
    pub(super) fn of(thing: &str) -> Option<Self> {
        let name = format!("foundry {}", digest(thing));
        let bound = SocketAddr::from_abstract_name(name).and_then(|name| UnixDatagram::bind_addr(&name));
        match bound {
            Ok(socket) => Some(Self { _held: Some(socket) }),
            Err(e) if e.kind() == ErrorKind::AddrInUse => None,
            Err(_) => Some(Self::free()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_until_it_is_dropped() {
        let thing = format!("a test's, of process {}", std::process::id());
        let first = Turn::of(&thing);
        assert!(first.is_some());
        assert!(Turn::of(&thing).is_none());
        assert!(Turn::of(&format!("{thing}, another")).is_some());
        drop(first);
        assert!(Turn::of(&thing).is_some());
    }
}
