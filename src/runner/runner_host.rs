//! What foundry needs from the host of a pool's VMs.

use foundry_core::error::Error;
use foundry_core::record::RunnerNote;

use crate::view::{DomainFact, GuestFact};

/// The host of a pool's VMs.
pub trait RunnerHost: Sync {
    /// Lists the VMs of the pool.
    ///
    /// # Errors
    /// If the host could not be asked. A list is whole.
    fn list_runners(&self) -> Result<Vec<HostedRunner>, Error>;

    /// Looks at the runner in a guest. A guest that does not answer is [`GuestFact::Silent`].
    fn look_at_guest(&self, name: &str) -> GuestFact;

    /// Looks at several guests, in the order of their names here. A guest that is slow to answer may hold up the others.
    fn look_at_guests(&self, names: &[&str]) -> Vec<GuestFact> {
        names.iter().map(|name| self.look_at_guest(name)).collect()
    }

    /// Creates a VM with a note and starts it, or leaves nothing. The note is there before anything else of it.
    ///
    /// # Errors
    /// If it was not created. If that could not be undone, the VM stays with its note.
    fn create_runner(&self, name: &str, note: &RunnerNote) -> Result<(), Error>;

    /// Replaces the note of a VM.
    ///
    /// # Errors
    /// If it could not be written.
    fn write_note(&self, name: &str, note: &RunnerNote) -> Result<(), Error>;

    /// Gives the guest the configuration of its runner, and starts that.
    ///
    /// # Errors
    /// If the runner may not have been started.
    fn hand_over(&self, name: &str, configuration: &str) -> Result<(), Error>;

    /// Connects all network interfaces of a VM, or disconnects them.
    ///
    /// # Errors
    /// If one may not have been changed.
    fn set_link(&self, name: &str, is_up: bool) -> Result<(), Error>;

    /// Destroys a VM with everything that was made for it. One that is not there is destroyed, too.
    ///
    /// # Errors
    /// If something is left, which its note still names.
    fn destroy_runner(&self, name: &str) -> Result<(), Error>;
}

/// A VM of a pool, before its guest was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct HostedRunner {
    /// Its name.
    pub name: String,
    /// foundry's note about it.
    pub note: RunnerNote,
    /// The state of its domain.
    pub domain: DomainFact,
}
