//! The host itself.

use crate::{Capabilities, GuestMachine, HostLock, LockError, Machine, Result};
use foundry_core::units::Bytes;

/// The host itself: its address, its hardware and its abilities.
pub trait HostInfo: Send + Sync {
    /// The URI of the connection, for messages.
    fn uri(&self) -> &str;
    /// Whether the host is this machine, so that its kernel and files can be read directly.
    fn is_local(&self) -> bool;
    /// Takes the lock of a resource of the host, which excludes other foundry processes of this machine only.
    ///
    /// # Errors
    /// Another process holds it, or the directory of the locks cannot be used.
    fn lock(&self, thing: &str) -> std::result::Result<HostLock, LockError> {
        let _ = thing;
        Ok(HostLock::free())
    }
    /// Name, versions and guest types of the host.
    fn capabilities(&self) -> Result<Capabilities>;
    /// Hardware, hypervisor and versions of the machine.
    fn machine(&self) -> Result<Machine>;
    /// The abilities of guests of an architecture, machine type (`q35`) and virtualization type (`kvm`). Refused if the
    /// host cannot run such guests.
    fn guest_machine(&self, arch: &str, machine: &str, virt_type: &str) -> Result<GuestMachine>;
    /// The host's total memory.
    fn memory(&self) -> Result<Bytes>;
}
