//! The host itself.

use crate::{Capabilities, GuestMachine, HostLock, LockError, Machine, Result};
use foundry_core::units::Bytes;

/// The host itself: where it is, what it is like, what it can run.
pub trait HostInfo: Send + Sync {
    /// The URI of the connection, for messages.
    fn uri(&self) -> &str;
    /// Whether the host is the machine foundry runs on, so that its kernel can be asked directly.
    fn is_local(&self) -> bool;
    /// The lock of a thing of the host among the foundries of this machine, if no other holds it.
    ///
    /// # Errors
    /// Why there is none, of which the host knows nothing.
    fn lock(&self, thing: &str) -> std::result::Result<HostLock, LockError> {
        let _ = thing;
        Ok(HostLock::free())
    }
    /// Name, versions and guest types of the host.
    fn capabilities(&self) -> Result<Capabilities>;
    /// What the machine is like.
    fn machine(&self) -> Result<Machine>;
    /// What guests of that architecture, machine type (`q35`) and virtualization type (`kvm`) can have. Refused
    /// where the host has no such guests.
    fn guest_machine(&self, arch: &str, machine: &str, virt_type: &str) -> Result<GuestMachine>;
    /// All memory of the host.
    fn memory(&self) -> Result<Bytes>;
}
