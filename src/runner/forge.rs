//! What foundry needs from a forge: runners that are registered, listed and forgotten.

use std::fmt;

/// A forge, as one pool uses it.
pub trait Forge {
    /// Lists the registrations of the pool's scope, of other programs, too.
    ///
    /// # Errors
    /// [`ForgeError`] if the list is not whole.
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError>;

    /// Registers a runner for one job.
    ///
    /// # Errors
    /// [`ForgeFailure::NameTaken`] if the name has a registration; otherwise it may or may not have been made.
    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError>;

    /// Removes a registration. One that is not there is removed, too.
    ///
    /// # Errors
    /// If the forge could not be asked, or did not say what it did.
    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError>;
}

/// A runner in the forge's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The forge's id.
    pub id: String,
    /// Name of the runner.
    pub name: String,
    /// Whether it is connected.
    pub online: bool,
    /// Whether the forge says that it works. `false` can be late by a minute.
    pub busy: bool,
    /// Its labels.
    pub labels: Vec<String>,
}

/// A new registration, with what the runner needs of it.
#[derive(Clone, PartialEq, Eq)]
pub struct RegisteredRunner {
    /// The forge's id.
    pub id: String,
    /// What the runner in the guest gets, a secret.
    pub configuration: String,
}

impl fmt::Debug for RegisteredRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredRunner").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// There is no such registration any more.
    Removed,
    /// The forge refuses, because the runner works on a job.
    Busy,
}

/// Why a forge did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeError {
    /// The kind of failure.
    pub failure: ForgeFailure,
    /// What the forge said, without secrets.
    pub message: String,
}

/// The kinds of failures that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeFailure {
    /// It could not be reached, or is overloaded; asking again helps.
    Unreachable,
    /// It refuses this caller; a person has to change something.
    Refused,
    /// The name has a registration already.
    NameTaken,
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ForgeError {}
