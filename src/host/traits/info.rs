//! The host itself.

use crate::{Capabilities, GuestMachine, Machine, NoTurn, Result, Turn};
use foundry_core::units::Bytes;

/// The host itself: where it is, what it is like, what it can run.
pub trait HostInfo: Send + Sync {
    /// The URI of the connection, for messages.
    fn uri(&self) -> &str;
    /// Whether the host is the machine foundry runs on, so that its kernel can be asked directly.
    fn is_local(&self) -> bool;
    /// The turn with a thing of the host's among the foundries of this machine, if no other has it.
    ///
    /// # Errors
    /// Why there is none, of which the host knows nothing.
    fn turn(&self, thing: &str) -> std::result::Result<Turn, NoTurn> {
        let _ = thing;
        Ok(Turn::free())
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
