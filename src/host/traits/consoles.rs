//! Serial consoles and screens of guests.

use std::os::fd::BorrowedFd;

use uuid::Uuid;

use crate::Result;

/// Serial consoles and screens of guests.
pub trait Consoles: Send + Sync {
    /// Opens the first console of a running domain, for reading and writing. libvirt allows one session for each
    /// console: `None` if another one has it. With `take_over` the other session ends instead.
    fn open_console(&self, domain: Uuid, take_over: bool) -> Result<Option<Box<dyn Console + '_>>>;
    /// A picture of a running domain's screen, from 0. Refused if it has no such screen.
    fn screenshot(&self, domain: Uuid, screen: u32) -> Result<Screenshot>;
}

/// A picture of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// Its media type: `image/png` from QEMU 7.1 and libvirt 8.8 on, else `image/x-portable-pixmap`.
    pub media_type: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A session of a console. Dropped, it ends.
pub trait Console {
    /// A descriptor that poll(2) reports as readable if [`Console::read`] has something to return. It is only for that.
    fn readiness(&self) -> BorrowedFd<'_>;
    /// What the guest has written since the last call; it does not wait.
    fn read(&mut self) -> Result<ConsoleOutput>;
    /// Sends bytes to the guest. Those for a session that has ended are lost.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

/// What a console has to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleOutput {
    /// These bytes, as the guest wrote them; empty if there are none yet.
    Bytes(Vec<u8>),
    /// The session has ended: the domain stopped, or another session took the console over.
    Ended,
}
